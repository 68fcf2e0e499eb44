"""Ctrl-C and its like: the first one ends the programs in good order, the second one everything at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from aerostat.program import Program

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """While it is entered, a signal ends the programs that it was told of with status 128 + its number.

    The handler raises nothing: an exception out of a handler could strike while the big lock is being taken or given
    back.  Signals that are ignored, as under ``nohup``, stay so.  Only in the main thread.
    """

    def __init__(self) -> None:
        self.number = 0
        """The first signal that came; 0 for none."""
        self._programs: tuple[Program, ...] = ()
        self._postponed = False
        self._before: dict[signal.Signals, Any] = {}

    def watch(self, *programs: Program) -> None:
        """These are the programs to end; at once, if a signal came while they were loaded."""
        self._programs = programs
        if self.number: self._end()

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """While the machine stands still at a prompt, Ctrl-C only says how to leave it."""
        self._postponed = True
        try:
            yield
        finally:
            self._postponed = False

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._postponed and number == signal.SIGINT:
            os.write(2, b"\n`continue` lets the program run on, `quit` ends it\n")
            return
        if self.number: os._exit(128 + number)
        self.number = number
        # Ending a program takes the big lock, and the thread that is interrupted here may hold it.
        threading.Thread(target=self._end, name="aerostat-interruption", daemon=True).start()

    def _end(self) -> None:
        for program in self._programs:
            program.process.kill(128 + self.number, f"ended by {signal.Signals(self.number).name}")

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


__all__ = ["Interruption"]
