"""Exceptions that a program's instructions raise: promised memory is given, the rest becomes a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abi.layout import EXECUTE, READ, USER_END, WRITE
from userland.linux.memory import BEYOND_FILE, NO_MEMORY, REPAIRED, UNMAPPED
from userland.linux.task import Task

if TYPE_CHECKING:
    from hv.personality import Fault

_PAGE_FAULT: Final = 14
_WRITE: Final = 2
_FETCH: Final = 16
"""Bits of a page fault's error code (Intel SDM volume 3, 4.7)."""

SIGILL: Final = 4
SIGTRAP: Final = 5
SIGBUS: Final = 7
SIGFPE: Final = 8
SIGKILL: Final = 9
SIGSEGV: Final = 11

_SI_KERNEL: Final = 0x80
_SEGV_MAPERR: Final = 1
_SEGV_ACCERR: Final = 2
_BUS_ADRERR: Final = 2

_SIGNALS: Final = {
    0: (SIGFPE, 1),
    1: (SIGTRAP, 1),
    3: (SIGTRAP, _SI_KERNEL),
    6: (SIGILL, 2),
    12: (SIGBUS, _SI_KERNEL),
    16: (SIGFPE, 7),
    17: (SIGBUS, 1),
    19: (SIGFPE, 7),
}
"""Vector to signal and si_code, as Linux's trap handlers choose them; all others are SIGSEGV."""


def handle_fault(task: Task, fault: Fault) -> bool:
    """Whether the program goes on: with the memory it was promised, or in its own signal handler."""
    signal, code, address = SIGSEGV, _SI_KERNEL, 0
    if fault.vector == _PAGE_FAULT:
        address = fault.fault_address
        need = WRITE if fault.error_code & _WRITE else EXECUTE if fault.error_code & _FETCH else READ
        touch = task.process.space.touch(address, need) if address < USER_END else UNMAPPED
        if touch == REPAIRED:
            return True
        if touch == NO_MEMORY:
            reason = f"out of memory: no page for {address:#x}, which the program had been promised"
            task.process.abort(128 + SIGKILL, reason, task)
            return False
        if touch == BEYOND_FILE:
            signal, code = SIGBUS, _BUS_ADRERR
        else:
            code = _SEGV_MAPERR if touch == UNMAPPED else _SEGV_ACCERR
    else:
        signal, code = _SIGNALS.get(fault.vector, (signal, code))
        if fault.vector in _SIGNALS:
            address = task.thread.rip
    from userland.linux.signals import force

    if force(task, signal, code, address, fault):
        return True
    task.process.keep_shared()
    return False


__all__ = ["handle_fault"]
