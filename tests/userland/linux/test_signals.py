"""Signals: frames, masks, hostile handlers and stacks."""

from __future__ import annotations

import struct

import pytest

from abi.layout import STACK_TOP, USER_END
from hv.personality import BLOCKED, Fault
from tests.userland.fake_machine import IMAGE_START, FakeMachine, FakeThread
from tests.userland.linux.conftest import Program
from userland.linux.task import Task

EINTR, EFAULT, ENOMEM, EINVAL, EPERM, ESRCH, EAGAIN = 4, 14, 12, 22, 1, 3, 11
SIGUSR1, SIGSEGV, SIGKILL, SIGPIPE, SIGALRM, SIGCHLD = 10, 11, 9, 13, 14, 17
SA_SIGINFO, SA_RESTORER, SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND = (
    4, 0x400_0000, 0x800_0000, 0x1000_0000, 0x4000_0000, 0x8000_0000,
)  # fmt: skip
HANDLER = IMAGE_START + 0x100
RESTORER = IMAGE_START + 0x200


def install(program: Program, number: int, handler: int = HANDLER, flags: int = SA_SIGINFO, mask: int = 0) -> int:
    action = struct.pack("<QQQQ", handler, flags | SA_RESTORER, RESTORER, mask)
    return program("rt_sigaction", number, program.put(action), 0, 8)


def task_of(program: Program) -> Task:
    return program.personality._tasks[program.thread]  # type: ignore[index]


def return_from(thread: FakeThread) -> int:
    """What the restorer does: ``ret`` took its address off the stack, then rt_sigreturn."""
    thread.rsp += 8
    return thread.call(15)


def test_a_handler_runs_on_a_frame_and_returns_to_everything(program: Program) -> None:
    thread = program.thread
    assert install(program, SIGUSR1) == 0
    names = ("rbx", "rbp", "r8", "r9", "r12", "r15")
    for position, name in enumerate(names):
        setattr(thread.regs, name, 0x1000 + position)
    thread.rip, thread.rsp, thread.rflags = 0x40_1234, STACK_TOP - 5000, 0x247
    thread.engine.extended = b"the program's"
    assert program("kill", 100, SIGUSR1) == BLOCKED
    assert thread.rip == HANDLER
    assert thread.rsp % 16 == 8
    assert thread.rsp < STACK_TOP - 5000 - 128
    assert program.get(thread.rsp, 8) == struct.pack("<Q", RESTORER)
    assert thread.regs.rdi == SIGUSR1
    signo, errno, code, _, pid, uid = struct.unpack("<iiiiiI", program.get(thread.regs.rsi, 24))
    assert (signo, errno, code, pid, uid) == (SIGUSR1, 0, 0, 100, program.personality.uid)
    assert task_of(program).blocked == 1 << SIGUSR1 - 1
    for name in names:
        setattr(thread.regs, name, 0xDEAD)
    thread.engine.extended = b"the handler's"
    assert return_from(thread) == BLOCKED
    assert (thread.rip, thread.rsp, thread.rflags) == (0x40_1234, STACK_TOP - 5000, 0x247)
    assert [getattr(thread.regs, name) for name in names] == [0x1000 + position for position in range(6)]
    assert thread.regs.rax == 0
    assert thread.engine.extended == b"the program's"
    assert task_of(program).blocked == 0


def test_default_actions(machine: FakeMachine, program: Program) -> None:
    assert program("kill", 100, SIGCHLD) == 0
    assert program("kill", 100, 19) == 0  # stop signals stop nothing
    assert program("kill", 100, 15) == BLOCKED
    assert machine.process.status == 128 + 15


@pytest.mark.parametrize("handler", [USER_END, 1 << 63, (1 << 64) - 1])
def test_a_handler_beyond_the_program_kills(handler: int, machine: FakeMachine, program: Program) -> None:
    assert install(program, SIGUSR1, handler) == 0
    assert program("kill", 100, SIGUSR1) == BLOCKED
    assert machine.process.status == 128 + SIGSEGV


@pytest.mark.parametrize("rsp", [0, 8, 4096, IMAGE_START, 0x1234_5678_9000, USER_END + 4096, (1 << 64) - 8])
def test_a_stack_that_cannot_hold_the_frame_kills(rsp: int, machine: FakeMachine, program: Program) -> None:
    install(program, SIGUSR1)
    program.thread.rsp = rsp
    assert program("kill", 100, SIGUSR1) == BLOCKED
    assert machine.process.status == 128 + SIGSEGV


@pytest.mark.parametrize("rsp", [0, 8, IMAGE_START - 4096, 0x1234_5678_9000, USER_END - 8, (1 << 64) - 8])
def test_sigreturn_from_anywhere_kills(rsp: int, machine: FakeMachine, program: Program) -> None:
    program("getpid")
    program.thread.rsp = rsp
    assert program("rt_sigreturn") == BLOCKED
    assert machine.process.status == 128 + SIGSEGV


def test_a_forged_frame_gives_nothing_that_is_not_allowed(machine: FakeMachine, program: Program) -> None:
    program("getpid")
    forged = bytearray(b"\xff" * 304)
    struct.pack_into("<Q", forged, 40 + 16 * 8, IMAGE_START)  # rip
    program.thread.rsp = program.put(bytes(forged))
    assert program("rt_sigreturn") == BLOCKED
    assert program.thread.rip == IMAGE_START
    blocked = task_of(program).blocked
    assert not blocked >> SIGKILL - 1 & 1
    assert not blocked >> 18 & 1
    struct.pack_into("<Q", forged, 40 + 16 * 8, USER_END)
    program.thread.rsp = program.put(bytes(forged))
    assert program("rt_sigreturn") == BLOCKED
    assert machine.process.status == 128 + SIGSEGV


def test_masks(program: Program) -> None:
    install(program, SIGUSR1, flags=SA_NODEFER, mask=1 << SIGALRM - 1)
    old = program.room(8)
    assert program("rt_sigprocmask", 0, program.put(struct.pack("<Q", (1 << 64) - 1)), old, 8) == 0
    assert program.get(old, 8) == bytes(8)
    assert program("rt_sigprocmask", 0, 0, old, 8) == 0
    assert struct.unpack("<Q", program.get(old, 8))[0] == (1 << 64) - 1 & ~(1 << 8 | 1 << 18)
    assert program("kill", 100, SIGUSR1) == 0
    pending = program.room(8)
    assert program("rt_sigpending", pending, 8) == 0
    assert program.get(pending, 8) == struct.pack("<Q", 1 << SIGUSR1 - 1)
    rip = program.thread.rip
    assert program("rt_sigprocmask", 2, program.put(bytes(8)), 0, 8) == BLOCKED
    assert program.thread.rip == HANDLER
    assert task_of(program).blocked == 1 << SIGALRM - 1
    return_from(program.thread)
    assert program.thread.rip == rip
    assert program("rt_sigprocmask", 3, program.put(bytes(8)), 0, 8) == -EINVAL
    assert program("rt_sigprocmask", 0, 0, 0, 16) == -EINVAL
    assert program("rt_sigaction", SIGKILL, program.put(bytes(32)), 0, 8) == -EINVAL
    assert program("rt_sigaction", 65, 0, 0, 8) == -EINVAL


def test_a_signal_ends_a_blocked_call(program: Program) -> None:
    install(program, SIGUSR1)
    pair = program.room(8)
    program("pipe2", pair, 0)
    reader, _ = struct.unpack("<ii", program.get(pair, 8))
    program.thread.rip = 0x40_5000
    assert program("read", reader, program.room(8), 8) == BLOCKED
    assert program.thread.blocked
    task_of(program).send(SIGUSR1)
    assert program.thread.settle() == BLOCKED
    assert program.thread.rip == HANDLER
    assert not program.machine.events.live()
    return_from(program.thread)
    assert program.thread.regs.rax == (1 << 64) - EINTR
    assert program.thread.rip == 0x40_5000


def test_a_blocked_call_begins_again_if_the_handler_says_so(program: Program) -> None:
    install(program, SIGUSR1, flags=SA_RESTART)
    pair = program.room(8)
    program("pipe2", pair, 0)
    reader, _ = struct.unpack("<ii", program.get(pair, 8))
    program.thread.rip = 0x40_5000
    program("read", reader, program.room(8), 8)
    task_of(program).send(SIGUSR1)
    program.thread.settle()
    return_from(program.thread)
    assert program.thread.rip == 0x40_5000 - 2
    assert program.thread.regs.rax == 0


def test_a_signal_reaches_a_program_that_makes_no_calls(program: Program) -> None:
    install(program, SIGUSR1)
    thread = program.thread
    thread.rip, thread.regs.rax = 0x40_7777, 1234
    task_of(program).send(SIGUSR1)
    program.machine.ticks[program.process.id](thread)
    assert thread.rip == HANDLER
    return_from(thread)
    assert (thread.rip, thread.regs.rax) == (0x40_7777, 1234)


def test_the_alternate_stack(program: Program) -> None:
    stack = program.put(struct.pack("<QI4xQ", IMAGE_START + 0x2000, 0, 0x4000))
    assert program("sigaltstack", stack, 0) == 0
    install(program, SIGUSR1, flags=SA_ONSTACK)
    program.thread.rsp = 0  # what is on the usual stack does not matter
    assert program("kill", 100, SIGUSR1) == BLOCKED
    assert IMAGE_START + 0x2000 < program.thread.rsp < IMAGE_START + 0x6000
    assert program("sigaltstack", stack, 0) == -EPERM
    old = program.room(24)
    assert program("sigaltstack", 0, old) == 0
    assert struct.unpack("<QI4xQ", program.get(old, 24)) == (IMAGE_START + 0x2000, 1, 0x4000)
    return_from(program.thread)
    small = program.put(struct.pack("<QI4xQ", IMAGE_START, 0, 100))
    assert program("sigaltstack", small, 0) == -ENOMEM
    assert program("sigaltstack", program.put(struct.pack("<QI4xQ", 0, 77, 8192)), 0) == -EINVAL
    assert program("sigaltstack", program.put(struct.pack("<QI4xQ", 0, 2, 0)), old) == 0


def test_a_fault_goes_to_its_handler_once(machine: FakeMachine, program: Program) -> None:
    program("getpid")
    thread = program.thread
    fault = Fault(14, 6, 0xDEAD_0000, 0x40_1000)
    assert not machine.personality.fault(thread, fault)
    install(program, SIGSEGV)
    thread.rip = 0x40_1000
    assert machine.personality.fault(thread, fault)
    assert thread.rip == HANDLER
    signo, _, code, _, address = struct.unpack("<iiiiQ", program.get(thread.regs.rsi, 24))
    assert (signo, code, address) == (SIGSEGV, 1, 0xDEAD_0000)
    error, trap, _, cr2 = struct.unpack("<4Q", program.get(thread.regs.rdx + 40 + 19 * 8, 32))
    assert (error, trap, cr2) == (6, 14, 0xDEAD_0000)
    # In the handler the signal is blocked: another fault is the end.
    assert not machine.personality.fault(thread, fault)


@pytest.mark.parametrize(("vector", "signal"), [(0, 8), (1, 5), (3, 5), (6, 4), (13, 11), (16, 8), (17, 7), (19, 8)])
def test_exceptions_and_their_signals(vector: int, signal: int, machine: FakeMachine, program: Program) -> None:
    install(program, signal)
    assert machine.personality.fault(program.thread, Fault(vector, 0, 0, 0x40_1000))
    assert program.thread.regs.rdi == signal


def test_reset_after_the_first(machine: FakeMachine, program: Program) -> None:
    install(program, SIGUSR1, flags=SA_RESETHAND | SA_NODEFER)
    assert program("kill", 100, SIGUSR1) == BLOCKED
    assert machine.process.status is None
    assert program("kill", 100, SIGUSR1) == BLOCKED
    assert machine.process.status == 128 + SIGUSR1


def test_waiting_for_a_signal(program: Program) -> None:
    wanted = program.put(struct.pack("<Q", 1 << SIGUSR1 - 1))
    program("rt_sigprocmask", 0, wanted, 0, 8)
    none = program.put(struct.pack("<qq", 0, 0))
    soon = program.put(struct.pack("<qq", 0, 1_000_000))
    assert program("rt_sigtimedwait", wanted, 0, none, 8) == -EAGAIN
    assert program.settled("rt_sigtimedwait", wanted, 0, soon, 8) == -EAGAIN
    info = program.room(128)
    assert program("rt_sigtimedwait", wanted, info, 0, 8) == BLOCKED
    task_of(program).send(SIGUSR1)
    assert program.thread.settle() == SIGUSR1
    assert program.get(info, 4) == struct.pack("<i", SIGUSR1)


def test_a_signal_from_the_mask_of_a_wait(program: Program) -> None:
    """ppoll lets through what is blocked otherwise; its handler runs with the old mask to return to."""
    install(program, SIGUSR1)
    mask = 1 << SIGUSR1 - 1
    program("rt_sigprocmask", 0, program.put(struct.pack("<Q", mask)), 0, 8)
    program("kill", 100, SIGUSR1)
    assert program("ppoll", 0, 0, 0, program.put(bytes(8)), 8) == BLOCKED
    assert program.thread.rip == HANDLER
    return_from(program.thread)
    assert task_of(program).blocked == mask
    assert program.thread.regs.rax == (1 << 64) - EINTR


def test_the_mask_of_a_wait_is_put_back(program: Program) -> None:
    """However the wait ends: at once, by an error, in time."""
    wanted = program.put(struct.pack("<Q", 1 << SIGALRM - 1))
    soon = program.put(struct.pack("<qq", 0, 1_000_000))
    now = program.put(bytes(16))
    for arguments in ((0, 0, now, wanted, 8), (8, 1, now, wanted, 8), (0, 0, soon, wanted, 8)):
        program.settled("ppoll", *arguments)
        assert task_of(program).blocked == 0
        assert task_of(program).restore_mask is None
    epoll = program("epoll_create1", 0)
    program("epoll_pwait", epoll, program.room(64), 4, 0, wanted)
    assert task_of(program).blocked == 0
    assert program("pselect6", 0, 0, 0, 0, now, program.put(struct.pack("<QQ", wanted, 8))) == 0
    assert task_of(program).blocked == 0


def test_an_alarm(program: Program) -> None:
    install(program, SIGALRM)
    assert program("setitimer", 0, program.put(struct.pack("<4q", 0, 0, 0, 2000)), 0) == 0
    assert program("pause") == BLOCKED
    assert program.thread.settle() == BLOCKED
    assert program.thread.rip == HANDLER
    return_from(program.thread)
    assert program("alarm", 100) == 0
    assert program("alarm", 0) == 100
    assert program("setitimer", 0, program.put(struct.pack("<4q", -1, 0, 0, 0)), 0) == -EINVAL


def test_only_the_own_process_can_be_signalled(program: Program) -> None:
    for pid in (1, 2, 99, -1, -55, 0x7FFF_FFFF):
        assert program("kill", pid, SIGUSR1) == -ESRCH
        assert program("kill", pid, 0) == -ESRCH
    assert program("tgkill", 100, 99, SIGUSR1) == -ESRCH
    assert program("tgkill", 100, 0, SIGUSR1) == -EINVAL
    assert program("kill", 100, 65) == -EINVAL


def test_frames_that_longjmp_left_do_not_pile_up(program: Program) -> None:
    install(program, SIGUSR1, flags=SA_NODEFER)
    rsp = program.thread.rsp
    for _ in range(200):
        program("kill", 100, SIGUSR1)
        program.thread.rsp = rsp
    assert len(task_of(program).floating) <= 1
