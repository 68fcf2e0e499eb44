"""Exceptions that a program's instructions raise: promised memory is given, the rest becomes a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abi.layout import EXECUTE, READ, USER_END, WRITE
from userland.linux.memory import Touch
from userland.linux.task import Task

if TYPE_CHECKING:
    from userland.linux.hypervisor import Fault

_PAGE_FAULT: Final = 14
_WRITE: Final = 2
_FETCH: Final = 16
"""Bits of a page fault's error code (Intel SDM volume 3, 4.7)."""

SIGILL: Final = 4
SIGTRAP: Final = 5
SIGBUS: Final = 7
SIGFPE: Final = 8
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
        touch = task.process.space.touch(address, need) if address < USER_END else Touch.UNMAPPED
        if touch is Touch.REPAIRED:
            return True
        if touch is Touch.NO_MEMORY:
            task.process.out_of_memory = True
            return False
        if touch is Touch.BEYOND_FILE:
            signal, code = SIGBUS, _BUS_ADRERR
        else:
            code = _SEGV_MAPERR if touch is Touch.UNMAPPED else _SEGV_ACCERR
    else:
        signal, code = _SIGNALS.get(fault.vector, (signal, code))
        if fault.vector in _SIGNALS:
            address = task.thread.rip
    from userland.linux.signals import force

    return force(task, signal, code, address, fault)


__all__ = ["handle_fault"]
