"""The big kernel lock: all state of a machine but the inside of running guests is under it.

What transitions mean for translations is collected and carried out before the lock is given up, whoever held it: by
then, and not later, no guest may reach what it lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class BigLock(threading.Condition):
    """A condition variable whose lock, ``raw``, is free exactly while guests run and host threads wait.

    ``settle`` is called each time before the lock is given up.  Who uses ``raw`` directly, as a core does on its way
    into the guest, calls it itself.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self.raw = threading.Lock()
        self._settle = settle
        super().__init__(self.raw)

    def wait(self, timeout: float | None = None) -> bool:
        """Gives the lock up until another thread notifies, or ``timeout`` seconds have passed (False)."""
        self._settle()
        return super().wait(timeout)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._settle()
        finally:
            super().__exit__(kind, error, trace)


__all__ = ["BigLock"]
