"""The big kernel lock: all state of a machine but the inside of running guests is under it.

What transitions mean for translations is collected and carried out before the lock is given up, whoever held it: by
then, and not later, no guest may reach what it lost.

Nothing holds it for longer than a bounded piece of work takes.  Who has more to do gives it up between two pieces
(``pass_on``), and then leaves it alone for as long as the piece took if others want it, and until the one who asked
first has had it: a lock that is taken again at once is hardly ever to be had for those who have to wake up first.

Who wants it is not only who asks for it.  A core that comes out of its guest needs Python's own lock (the GIL) before
it can ask, and may wait milliseconds for that while another one works: so cores are counted where they come out.  How
long the lock is held is measured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple

from hv.kvm import ffi, lib

LONGEST_SLEEP: Final = 1.0
"""Seconds that the main thread waits without looking whether a signal has come."""
LONGEST_PAUSE: Final = 0.01
"""Seconds that long work leaves the lock to others at most between two pieces."""


class Holds(NamedTuple):
    """How long a lock was held: how often, and nanoseconds in all and at the longest."""

    times: int
    total: int
    longest: int


class BigLock(threading.Condition):
    """A condition variable whose lock, ``raw``, is free exactly while guests run and host threads wait.

    ``settle`` is called each time before the lock is given up.  Who uses ``raw`` directly, as a core does on its way
    into the guest, calls it itself.
    """

    _is_owned: Callable[[], bool]
    """The calling thread has the lock: Condition takes it from ``raw``."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self.raw = threading.RLock()  # of its kinds the one that knows whose it is
        self._turnstile = threading.Lock()
        """Held by the one who waits for ``raw`` and is the next to have it; the others wait for this one."""
        self._measured = ffi.new("struct aero_hold *")
        self._settle = settle
        self._cores: set[int] = set()
        self._resting = 0
        """Cores that are at rest."""
        self._woken = 0
        """Those of them that have been notified: they want the lock before they can ask for it."""
        super().__init__(self.raw)
        for name in ("_release_save", "_acquire_restore"): self.__dict__.pop(name, None)  # ours, not the raw lock's

    def core_begins(self) -> None:
        """The calling thread is a core: from now on it holds the lock whenever it is not in a guest or at rest, so
        that what takes the lock can be used from within system calls that are served in Python."""
        self._cores.add(threading.get_ident())
        lib.aero_hold_by_core(self._measured)

    def core_ends(self) -> None:
        """The calling thread no longer is a core; it still holds the lock."""
        lib.aero_hold_by_core(ffi.NULL)
        self._cores.discard(threading.get_ident())

    def in_core(self) -> bool:
        """The calling thread is a core."""
        return threading.get_ident() in self._cores

    def holds(self) -> Holds:
        """How long it was held so far: by a core from an exit of its guest to the next entry, by others from taking it
        to giving it up."""
        return Holds(self._measured.count, self._measured.total, self._measured.longest)

    def contend(self) -> None:
        """Takes ``raw``, which another thread holds."""
        with self._turnstile:
            self.raw.acquire()

    def pass_on(self, worked: float) -> None:
        """For a core: gives the lock up between two pieces of work, the last of which took ``worked`` seconds, and
        takes it again, at once if nobody wants it, else when others have had it for about as long."""
        self._settle()
        wanted = self._measured.cores_out + self._woken > 1 or self._turnstile.locked()
        self._release_save()
        if not wanted:
            self._acquire_restore(None)
            return
        lib.aero_cores_out(self._measured, -1)
        time.sleep(min(worked, LONGEST_PAUSE))
        lib.aero_cores_out(self._measured, 1)
        self.contend()  # who asked before has it before
        lib.aero_hold_begins()

    def refuse_cores(self, what: str) -> None:
        """RuntimeError in a core, which cannot do what waits for others."""
        if threading.get_ident() in self._cores:
            raise RuntimeError(f"{what} is not possible within a system call: its core would wait for itself")

    def rest(self) -> None:
        """As ``wait``, for a core that has nothing to run."""
        self._settle()
        self._resting += 1
        lib.aero_cores_out(self._measured, -1)
        super().wait()
        lib.aero_cores_out(self._measured, 1)
        self._resting -= 1
        self._woken -= 1

    def notify_all(self) -> None:
        """As Condition's."""
        self._woken = self._resting  # nothing that an exception out of a signal handler could leave half done
        super().notify_all()

    def _release_save(self) -> None:
        lib.aero_hold_ends(self._measured)
        self.raw.release()

    def _acquire_restore(self, state: object) -> None:
        """Takes the lock again after waiting.  An exception out of a signal handler has to wait until it has it:
        whoever waited is going to give it up."""
        late: BaseException | None = None
        while True:
            try:
                if self._is_owned() or self.raw.acquire(False): break
                self.contend()
                break
            except BaseException as error:
                late = error
        lib.aero_hold_begins()
        if late is not None: raise late

    def __enter__(self) -> bool:
        if threading.get_ident() in self._cores: return True
        try:
            if not self.raw.acquire(False): self.contend()
            lib.aero_hold_begins()
        except BaseException:  # out of a signal handler, perhaps just when it had it
            if self._is_owned(): self.raw.release()
            raise
        return True

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
            self._release_save()


__all__ = ["BigLock", "Holds"]
