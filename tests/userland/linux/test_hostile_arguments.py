"""Every call that is served, with every argument a program should not give: an errno comes back, nothing else."""

from __future__ import annotations

import itertools
import random

import pytest

from abi.layout import STACK_SIZE, STACK_TOP, USER_END
from hv.personality import BLOCKED
from tests.userland.fake_machine import IMAGE_END, IMAGE_START, FakeMachine, open_descriptors
from tests.userland.linux.conftest import SCRATCH, Program
from userland.linux.calls import resolve, served
from userland.linux.numbers import NUMBERS

BAD_POINTERS = (
    0,
    1,
    0xFFF,
    IMAGE_END,
    IMAGE_END - 1,
    0x1234_5678_9000,
    USER_END - 1,
    USER_END,
    0x8000_0000_0000,
    0xFFFF_8000_0000_0000,
    (1 << 64) - 4096,
    (1 << 64) - 1,
)
NUMBERS_OF_ALL_KINDS = (0, 1, 2, 3, 8, 24, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 62, 1 << 63, (1 << 64) - 1)
ENDING = {"exit", "exit_group", "rt_sigreturn", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"}
"""Calls that may rightly end the process."""
GOOD = (SCRATCH, SCRATCH + 0x100, 3, 1)


def arity(name: str) -> int:
    entry = resolve(NUMBERS[name])
    assert entry is not None
    return entry[1]


def settle(program: Program, result: int) -> None:
    """A call that blocks is given up."""
    thread = program.thread
    if result == BLOCKED and thread.blocked:
        task = program.personality._tasks[thread]  # type: ignore[index]
        assert task.wait is not None
        task.wait.disarm()
        task.wait = None
        thread.blocked = False
        return
    assert result == BLOCKED or -4096 < result < 1 << 63


def fresh(machine: FakeMachine) -> Program:
    """The program, in a new process if the last one ended."""
    program = Program(machine)
    if machine.process.status is not None:
        machine.process = machine.spawn()
        machine.thread = machine.process.threads[0]
        program = Program(machine)
    return program


@pytest.mark.parametrize("name", served())
def test_bad_pointers_in_every_argument(name: str, program: Program, machine: FakeMachine) -> None:
    count = arity(name)
    for position in range(count):
        for bad, good in itertools.product(BAD_POINTERS, GOOD):
            program = fresh(machine)
            arguments = [good] * count
            arguments[position] = bad
            settle(program, program.thread.call(NUMBERS[name], *arguments))


@pytest.mark.parametrize("name", served())
def test_every_pair_of_strange_numbers(name: str, program: Program, machine: FakeMachine) -> None:
    count = arity(name)
    source = random.Random(name)
    values = (*NUMBERS_OF_ALL_KINDS, *BAD_POINTERS, SCRATCH, IMAGE_START, STACK_TOP - 8, STACK_TOP - STACK_SIZE)
    for _ in range(150 if count else 1):
        program = fresh(machine)
        settle(program, program.thread.call(NUMBERS[name], *(source.choice(values) for _ in range(count))))


def test_a_pointer_that_is_bad_is_efault(program: Program) -> None:
    """The calls whose pointer is surely used."""
    fd = program.open("/dev/zero")
    for bad in BAD_POINTERS[3:]:
        if bad == IMAGE_END - 1:
            continue
        assert program("read", fd, bad, 16) == -14
        assert program("write", 1, bad, 16) == -14
        assert program("open", bad, 0, 0) == -14
        assert program("fstat", fd, bad) == -14
        assert program("uname", bad) == -14
        assert program("readv", fd, bad, 1) == -14
        assert program("writev", 1, program.iovec((bad, 8)), 1) == -14
        assert program("clock_gettime", 0, bad) == -14
        assert program("getcwd", bad, 4096) == -14
        assert program("futex", bad & -4, 0, 0, 0, 0, 0) == -14
        assert program("nanosleep", bad, 0) == -14
        assert program("rt_sigaction", 10, bad, 0, 8) == -14
        assert program("getrandom", bad, 16, 0) == -14
        assert program("poll", bad, 1, 0) == -14
        assert program("pipe2", bad, 0) == -14


def test_unknown_calls_are_enosys_and_counted(program: Program) -> None:
    for number in (335, 400, 511, 512, 0xFFF):
        assert program.thread.call(number) == -38
    assert program("fork") == -38
    assert program("execve", 0, 0, 0) == -38
    assert program("fork") == -38
    unknown = program.personality.unknown
    assert unknown["fork"] == 2
    assert unknown["execve"] == 1
    assert unknown["call_400"] == 1


def test_a_mistake_of_ours_is_eio_and_counted(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.personality, "_debug", False)
    program = Program(machine)
    machine.personality._table[NUMBERS["getpid"]] = (lambda task: [][1], 0)
    assert program("getpid") == -5
    assert machine.personality.internal_errors == {"getpid": 1}
    machine.personality.internal_errors.clear()


def open_all_kinds(program: Program) -> None:
    """Descriptors of every kind, so that calls get beyond EBADF."""
    for path, flags in ((b"f", 0o102), (b".", 0), (b".", 0o10000000), (b"/proc/self/maps", 0), (b"/dev/zero", 2)):
        program("open", path, flags, 0o600)
    program("pipe2", program.room(8), 0o4000)
    program("eventfd2", 3, 0)
    program("epoll_create1", 0)
    program("timerfd_create", 1, 0)


def test_no_descriptor_is_leaked(machine: FakeMachine) -> None:
    before = open_descriptors()
    source = random.Random(7)
    names = [name for name in served() if name not in ENDING and name not in ("munmap", "mprotect", "mremap")]
    strings = [b"", b".", b"/", b"a", b"../x", b"/proc/self/exe", b"/dev/stdin", b"a/b/c", b"\xff" * 300]
    for _ in range(5000):
        program = fresh(machine)
        if source.random() < 0.02:
            open_all_kinds(program)
        name = source.choice(names)
        arguments = [
            source.choice((program.put(source.choice(strings) + b"\0"), source.choice(GOOD), source.randrange(8), -100))
            for _ in range(arity(name))
        ]
        settle(program, program.thread.call(NUMBERS[name], *arguments))
    machine.process.exit(0)
    assert open_descriptors() == before
