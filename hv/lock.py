"""The big kernel lock: all state of a machine but the inside of running guests is under it.

What transitions mean for translations is collected and carried out before the lock is given up, whoever held it: by
then, and not later, no guest may reach what it lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

LONGEST_SLEEP: Final = 1.0
"""Seconds that the main thread waits without looking whether a signal has come."""


class BigLock(threading.Condition):
    """A condition variable whose lock, ``raw``, is free exactly while guests run and host threads wait.

    ``settle`` is called each time before the lock is given up.  Who uses ``raw`` directly, as a core does on its way
    into the guest, calls it itself.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self.raw = threading.Lock()
        self._settle = settle
        self._cores: set[int] = set()
        super().__init__(self.raw)

    def core_begins(self) -> None:
        """The calling thread is a core: from now on it holds the lock whenever it is not in a guest or at rest, so
        that what takes the lock can be used from within system calls that are served in Python."""
        self._cores.add(threading.get_ident())

    def core_ends(self) -> None:
        """The calling thread no longer is a core; it still holds the lock."""
        self._cores.discard(threading.get_ident())

    def in_core(self) -> bool:
        """The calling thread is a core."""
        return threading.get_ident() in self._cores

    def refuse_cores(self, what: str) -> None:
        """RuntimeError in a core, which cannot do what waits for others."""
        if threading.get_ident() in self._cores:
            raise RuntimeError(f"{what} is not possible within a system call: its core would wait for itself")

    def rest(self) -> None:
        """As ``wait``, for a core that has nothing to run."""
        self._settle()
        super().wait()

    def _acquire_restore(self, state: object) -> None:
        """Takes the lock again after waiting.  An exception out of a signal handler has to wait until it has it:
        whoever waited is going to give it up."""
        late: BaseException | None = None
        while True:
            try:
                self.raw.acquire()
                break
            except BaseException as error:
                late = error
        if late is not None: raise late

    def __enter__(self) -> bool:
        return threading.get_ident() in self._cores or super().__enter__()

    def wait(self, timeout: float | None = None) -> bool:
        """Gives the lock up until another thread notifies, or ``timeout`` seconds have passed (False).  The main
        thread also returns in between, as if notified: a signal that comes just before it falls asleep would else be
        handled only when it wakes up."""
        self.refuse_cores("waiting")
        self._settle()
        if threading.current_thread() is threading.main_thread() and (timeout is None or timeout > LONGEST_SLEEP):
            super().wait(LONGEST_SLEEP)
            return True
        return super().wait(timeout)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.get_ident() in self._cores: return
        try:
            self._settle()
        finally:
            super().__exit__(kind, error, trace)


__all__ = ["BigLock"]
