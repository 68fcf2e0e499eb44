"""Reports that are printed while the program runs on: by a thread of their own, since what is at the other end of
standard error may be slow, and whoever finds a violation holds the big lock."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from aerostat.invariants.violation import Violation


class Printer:
    """Prints what it is told, in order."""

    def __init__(self, print: Callable[[str], object]) -> None:
        self._print = print
        self._waiting: queue.SimpleQueue[Violation | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="aerostat-reports", daemon=True)
        self._thread.start()

    def say(self, violation: Violation) -> None:
        """Has this printed; returns at once."""
        self._waiting.put(violation)

    def _run(self) -> None:
        while (violation := self._waiting.get()) is not None:
            self._print(str(violation))

    def close(self) -> None:
        """Waits until all is printed."""
        self._waiting.put(None)
        self._thread.join()


__all__ = ["Printer"]
