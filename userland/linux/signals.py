"""Signals: who gets them, what they do by default, and the frames that handlers run on.

A pending signal is delivered when its thread next leaves a system call (or is preempted); a signal for a blocked thread
ends its wait.  Stop signals have no effect: there is no job control inside the machine.

Layouts: struct rt_sigframe, ucontext and sigcontext as in Linux's asm/sigcontext.h and asm/ucontext.h.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from abi.layout import USER_END
from hv.engine import Context
from hv.personality import BLOCKED, UserFault
from userland.linux.errors import EINTR, LinuxError
from userland.linux.task import LinuxProcess, Task

if TYPE_CHECKING:
    from hv.personality import Fault
    from userland.linux.hypervisor import Registers

SIGKILL: Final = 9
SIGSEGV: Final = 11
SIGSTOP: Final = 19
SIGNALS_MAX: Final = 64
_REAL_TIME_FIRST: Final = 32

SIG_DFL: Final = 0
SIG_IGN: Final = 1

SA_SIGINFO: Final = 0x4
SA_RESTORER: Final = 0x0400_0000
SA_ONSTACK: Final = 0x0800_0000
SA_RESTART: Final = 0x1000_0000
SA_NODEFER: Final = 0x4000_0000
SA_RESETHAND: Final = 0x8000_0000

SS_ONSTACK: Final = 1
SS_DISABLE: Final = 2

SI_USER: Final = 0
SI_KERNEL: Final = 0x80
SI_TKILL: Final = -6

_HARMLESS: Final = frozenset({17, 18, 19, 20, 21, 22, 23, 28})
"""CHLD CONT STOP TSTP TTIN TTOU URG WINCH: no effect by default."""
UNBLOCKABLE: Final = 1 << SIGKILL - 1 | 1 << SIGSTOP - 1

_REPORTED: Final = {
    3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV", 24: "SIGXCPU",
    25: "SIGXFSZ", 31: "SIGSYS",
}  # fmt: skip
"""Where Linux would dump core, a report is made."""

_RED_ZONE: Final = 128
_UCONTEXT: Final = struct.Struct("<QQQiiQ18QHHHHQQQQQ64xQ")
"""flags link, stack (sp flags pad size), r8-r15 di si bp bx dx ax cx sp ip flags, cs gs fs ss, err trapno oldmask cr2,
fpstate, reserved, sigmask."""
_SIGINFO_SIZE: Final = 128
_FRAME_SIZE: Final = 8 + _UCONTEXT.size + _SIGINFO_SIZE
_UC_FLAGS: Final = 0x6
"""UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS."""
_USER_CS: Final = 0x33
_USER_SS: Final = 0x2B
_FLAGS_CLEARED: Final = 0x10500
"""TF, DF, RF: not set when a handler begins."""

_FUTEX: Final = 202
_RESTARTABLE: Final = frozenset({0, 1, 19, 20, 40, 72, 73, _FUTEX})
"""read write readv writev sendfile fcntl flock futex: begun again after a handler with SA_RESTART."""


class Action:
    """What rt_sigaction installed for one signal."""

    __slots__ = ("flags", "handler", "mask", "restorer")

    def __init__(self, handler: int, flags: int, restorer: int, mask: int) -> None:
        self.handler = handler
        self.flags = flags
        self.restorer = restorer
        self.mask = mask


class Signal:
    """One signal on its way, with what its handler learns of it."""

    __slots__ = ("code", "fault", "fields", "number")

    def __init__(self, number: int, code: int = SI_KERNEL, fields: bytes = b"", fault: Fault | None = None) -> None:
        """``fields``: the part of siginfo_t that depends on the signal, from byte 16 on."""
        self.number = number
        self.code = code
        self.fields = fields
        self.fault = fault

    def siginfo(self) -> bytes:
        """``siginfo_t``, 128 bytes."""
        return (struct.pack("<iiiI", self.number, 0, self.code, 0) + self.fields).ljust(_SIGINFO_SIZE, b"\0")


def from_user(task: Task, number: int, code: int) -> Signal:
    """A signal that a thread sends: its handler learns who did."""
    return Signal(number, code, struct.pack("<iI", task.process.pid, task.process.personality.uid))


def bit(number: int) -> int:
    """A signal's bit in a mask."""
    return 1 << number - 1


def _ignored(process: LinuxProcess, number: int) -> bool:
    action = process.actions.get(number)
    if action is None or action.handler == SIG_DFL:
        return number in _HARMLESS
    return action.handler == SIG_IGN


def _queue(pending: list[Signal], signal: Signal) -> None:
    # Signals below the real-time ones are pending once at most.
    if signal.number >= _REAL_TIME_FIRST or all(other.number != signal.number for other in pending):
        if len(pending) < 1024:
            pending.append(signal)


def send_to_task(task: Task, signal: Signal) -> None:
    """To one thread."""
    if task.ended:
        return
    blocked = task.blocked & bit(signal.number)
    if not blocked and _ignored(task.process, signal.number):
        return
    _queue(task.pending, signal)
    if task.awaited & bit(signal.number):
        task.retry()
    elif not blocked:
        task.interrupt()


def send_to_process(process: LinuxProcess, signal: Signal) -> None:
    """To whichever thread does not block it."""
    free = [task for task in process.tasks.values() if not task.blocked & bit(signal.number) and not task.ended]
    if free and _ignored(process, signal.number):
        return
    _queue(process.pending, signal)
    waiting = next((task for task in process.tasks.values() if task.awaited & bit(signal.number)), None)
    if waiting is not None:
        waiting.retry()
    elif free:
        # A thread that waits anyway takes it soonest.
        next((task for task in free if task.wait is not None), free[0]).interrupt()


def notice(task: Task) -> None:
    """The mask has changed: what it lets through now is delivered when the call ends."""
    if any(not task.blocked & bit(signal.number) for signal in (*task.pending, *task.process.pending)):
        task.attention = True


def take(task: Task, wanted: int) -> Signal | None:
    """Removes and returns the first pending signal in the mask ``wanted``, lowest number first."""
    found: Signal | None = None
    queue = task.pending
    for pending in (task.pending, task.process.pending):
        for signal in pending:
            if wanted & bit(signal.number) and (found is None or signal.number < found.number):
                found, queue = signal, pending
    if found is not None:
        queue.remove(found)
    return found


def deliver(task: Task, number: int, result: int) -> int:
    """Delivers what is pending at the end of system call ``number``; the result for rax, or BLOCKED.

    A call that a signal has ended (EINTR) is begun again if the handler wants it, or if there is none.
    """
    regs = task.thread.regs
    restart = result == -EINTR
    handled = False
    while (signal := take(task, ~task.blocked)) is not None:
        action = task.process.actions.get(signal.number)
        if signal.number != SIGKILL and _ignored(task.process, signal.number):
            continue
        if action is None or action.handler == SIG_DFL:
            kill(task, signal.number)
            return BLOCKED
        if not handled:
            if restart and action.flags & SA_RESTART and _begins_again(number, regs):
                task.thread.rip -= 2
                regs.rax = number
            elif result != BLOCKED:
                regs.rax = result & 0xFFFF_FFFF_FFFF_FFFF
        if not enter_handler(task, action, signal):
            kill(task, SIGSEGV)
            return BLOCKED
        handled = True
    if handled:
        return BLOCKED
    if task.restore_mask is not None and not restart:
        task.blocked, task.restore_mask = task.restore_mask, None
        notice(task)
    if restart:
        task.thread.rip -= 2
        regs.rax = number
        return BLOCKED
    return result


def _begins_again(number: int, regs: Registers) -> bool:
    # A futex wait with a timeout would begin its whole time again.
    return number in _RESTARTABLE and not (number == _FUTEX and regs.r10)


def kill(task: Task, number: int) -> None:
    """The default action: the process ends with 128 + the signal's number."""
    task.process.killed_by = number
    name = _REPORTED.get(number)
    if name is None:
        task.process.terminate(128 + number)
    else:
        task.process.abort(128 + number, f"ended by its own signal {number} ({name})", task)


def force(task: Task, number: int, code: int, address: int, fault: Fault) -> bool:
    """A signal that an instruction caused.  False: there is no handler for it, or it cannot run."""
    action = task.process.actions.get(number)
    if action is None or action.handler in (SIG_DFL, SIG_IGN) or task.blocked & bit(number):
        return False
    return enter_handler(task, action, Signal(number, code, struct.pack("<Q", address), fault))


def on_altstack(task: Task, rsp: int) -> bool:
    """Whether a stack pointer lies on the alternate stack."""
    start, flags, size = task.altstack
    return not flags & SS_DISABLE and start < rsp <= start + size


def enter_handler(task: Task, action: Action, signal: Signal) -> bool:
    """Builds the frame and points the thread at the handler; False when the frame cannot be written."""
    thread, regs = task.thread, task.thread.regs
    if action.handler >= USER_END or not action.flags & SA_RESTORER:
        return False
    start, stack_flags, size = task.altstack
    rsp = thread.rsp
    if action.flags & SA_ONSTACK and size and not stack_flags & SS_DISABLE and not on_altstack(task, rsp):
        top = start + size
    else:
        top = rsp - _RED_ZONE
    frame = (top - _FRAME_SIZE & -16) - 8
    if frame < 0:
        return False
    mask = task.blocked if task.restore_mask is None else task.restore_mask
    fault = signal.fault
    context = _UCONTEXT.pack(
        _UC_FLAGS, 0, start, stack_flags, 0, size,
        regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
        regs.rdi, regs.rsi, regs.rbp, regs.rbx, regs.rdx, regs.rax, regs.rcx, rsp, thread.rip, thread.rflags,
        _USER_CS, 0, 0, _USER_SS,
        fault.error_code if fault else 0, fault.vector if fault else 0, mask, fault.fault_address if fault else 0,
        0, mask,
    )  # fmt: skip
    try:
        task.memory.write(frame, struct.pack("<Q", action.restorer) + context + signal.siginfo())
    except UserFault:
        return False
    save_extended_state(task, frame)
    task.restore_mask = None
    task.blocked |= action.mask
    if not action.flags & SA_NODEFER:
        task.blocked |= bit(signal.number)
    task.blocked &= ~UNBLOCKABLE
    if action.flags & SA_RESETHAND:
        task.process.actions.pop(signal.number, None)
    regs.rdi = signal.number
    regs.rsi = frame + 8 + _UCONTEXT.size
    regs.rdx = frame + 8
    regs.rax = 0
    thread.rsp = frame
    thread.rip = action.handler
    thread.rflags &= ~_FLAGS_CLEARED
    return True


def save_extended_state(task: Task, frame: int) -> None:
    """Keeps the FPU, SSE and AVX registers until the handler on ``frame`` returns.

    They are kept on the host, not in the frame (its fpstate pointer is null): what comes back is what was saved.  A
    frame below the new one was left by longjmp and is forgotten.
    """
    task.floating = [kept for kept in task.floating if kept[0] > frame]
    task.floating.append((frame, task.thread.engine.save().extended))


def restore_extended_state(task: Task, frame: int) -> None:
    """Puts back what was saved under ``frame``; before the other registers, which are loaded with it."""
    for address, state in task.floating:
        if address == frame:
            thread, machine = task.thread, task.thread.machine
            root = machine.frames.gpa(machine.kernel.process[thread.process.id].root)
            now = thread.engine.save()
            thread.engine.load(Context(now.registers, now.segments, state), root)
            break
    task.floating = [kept for kept in task.floating if kept[0] > frame]


def return_from_handler(task: Task) -> None:
    """rt_sigreturn: registers, mask and alternate stack from the frame; SIGSEGV for a frame that cannot be right."""
    thread, regs = task.thread, task.thread.regs
    try:
        values = _UCONTEXT.unpack(task.memory.read(thread.rsp, _UCONTEXT.size))
    except (UserFault, LinuxError):
        kill(task, SIGSEGV)
        return
    _, _, start, stack_flags, _, size = values[:6]
    rsp, rip, rflags = values[21:24]
    if rip >= USER_END:
        kill(task, SIGSEGV)
        return
    restore_extended_state(task, thread.rsp - 8)
    (
        regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
        regs.rdi, regs.rsi, regs.rbp, regs.rbx, regs.rdx, regs.rax, regs.rcx,
    ) = values[6:21]  # fmt: skip
    thread.rsp, thread.rip, thread.rflags = rsp, rip, rflags
    task.altstack = (start, stack_flags & ~SS_ONSTACK & 0xFFFF_FFFF, size)
    task.blocked = values[33] & ~UNBLOCKABLE
    notice(task)
