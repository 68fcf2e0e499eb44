"""The seam for who watches a machine from outside: told of each exit, with the big lock held, and able to stop it.

What an observer raises stops the machine before any vCPU runs on.  There is none unless somebody asks for it: then it
costs a core a look at one attribute an exit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hv.engine import Engine
    from hv.process import Process
    from hv.thread import Thread


class StoppedByObserver(Exception):
    """An observer stopped the machine: nobody's mistake here, and raised as it is to who waits for a program."""


class Observer(Protocol):
    """Hears of what happens in the order in which it does."""

    def arrived(self, thread: Thread, engine: Engine, trap: int) -> None:
        """A thread has left the guest with this trap (``hv.engine``); it is served next."""

    def served(self, thread: Thread) -> None:
        """What a thread came with has been dealt with, or a call of it was tried again; it may be gone, and its
        process with it."""

    def ending(self, process: Process) -> None:
        """A process is going to lose its threads and memory, and still has them."""


__all__ = ["Observer", "StoppedByObserver"]
