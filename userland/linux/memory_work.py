"""Memory calls that take long: done in steps between which others run, as the native ones (kernel.calls.operations).

While one is in progress, its address space is half changed.  A fault of another thread of the process goes on with it
and is tried again; another memory call is made again when it has ended; and where the personality itself wants memory
of the program, in the middle of some other call, all that is left of it is done first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias

from hv.personality import UserFault
from kernel.calls.operations import Operation, SpaceBusy, Steps
from userland.linux.errors import EFAULT, EIO, ESRCH, LinuxError

Work: TypeAlias = Generator[Operation | None, None, int | None]
"""Steps of a memory call: after each it yields None, or what has to end before the next; returns the call's result,
None for 0, or raises LinuxError, OSError or UserFault."""


class MemoryWork:
    """The memory call that one process is in.  ``mistake`` is told of an exception that none of its steps may raise."""

    def __init__(self, mistake: Callable[[], None]) -> None:
        self._mistake = mistake
        self._operation: Operation | None = None

    def begin(self, work: Work) -> int | Operation:
        """Begins a call; none may be in progress (``free``).  Its result, if it is done with few steps, else what
        brings it to its end."""
        operation = Operation(lambda this: self._guarded(work))
        operation.begun = True
        if operation.advance():
            assert operation.result is not None
            return operation.result
        self._operation = operation
        return operation

    def _guarded(self, work: Work) -> Steps:
        try:
            return (yield from work) or 0
        except LinuxError as error:
            return -error.errno
        except UserFault:
            return -EFAULT
        except OSError as error:
            return -(error.errno or EIO)
        except Exception:
            self._mistake()
            return -EIO

    def free(self) -> None:
        """Raises SpaceBusy if a call is in progress."""
        if self._in_progress():
            assert self._operation is not None
            raise SpaceBusy(self._operation)

    def advance(self) -> bool:
        """Goes on with the call in progress.  False if there is none."""
        if not self._in_progress():
            return False
        assert self._operation is not None
        self._operation.advance()
        return True

    def complete(self) -> bool:
        """Does all that is left of the call in progress.  False if there is none."""
        if not self._in_progress():
            return False
        assert self._operation is not None
        self._operation.complete()
        return True

    def abandon(self) -> None:
        """The process has ended: nothing more is done."""
        if self._in_progress():
            assert self._operation is not None
            self._operation.result = -ESRCH

    def _in_progress(self) -> bool:
        if self._operation is not None and self._operation.result is not None:
            self._operation = None
        return self._operation is not None


def at_once(work: Work) -> int:
    """Does all steps of what is known to be short.  Returns what it does, and raises what it raises."""
    while True:
        try:
            awaited = next(work)
        except StopIteration as end:
            return end.value or 0
        if awaited is not None:
            awaited.complete()


def ended(begun: int | Operation) -> Generator[Operation, None, int]:
    """The result of a call of the kernel's that has been made, when it has ended."""
    if isinstance(begun, int):
        return begun
    while begun.result is None:
        yield begun
    return begun.result


__all__ = ["MemoryWork", "Work", "at_once", "ended"]
