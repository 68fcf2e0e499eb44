"""What a transition means for whoever carries it out on a machine: read off the journal of its writes.

Most transitions mean little: a message from one thread to another on the same core nothing at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel.objects import DEAD, READY, Core, Kernel, Page, PageTable, Process, Thread


class Consequences:
    """What one transition wrote that matters outside the kernel."""

    __slots__ = ("entries", "kinds", "left", "processes", "threads")

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], None] = {}
        """Entries of page tables that were written: (table, index)."""
        self.kinds: dict[int, int] = {}
        """By page whose kind was written: what it was."""
        self.threads: list[tuple[Thread, bool]] = []
        """Threads that are ready or dead, once for each time that was written; and those that are ready with a result,
        which is written (True)."""
        self.processes: list[tuple[Process, int]] = []
        """Processes whose state was written, and what it was."""
        self.left: list[tuple[int, int]] = []
        """Threads that ran on a core and are ready on another: (thread, core that it ran on)."""


def consequences(k: Kernel) -> Consequences | None:
    """What the transition that the journal is of means; None: nothing."""
    found: Consequences | None = None
    journal: Sequence[tuple[Any, ...]] = k.journal
    for write in journal:
        field: str = write[1]
        written = write[0]
        if isinstance(written, Thread):
            if field == "state":
                if written.state != READY and written.state != DEAD: continue
                if found is None: found = Consequences()
                found.threads.append((written, False))
            elif field == "result":
                if written.state != READY: continue
                if found is None: found = Consequences()
                found.threads.append((written, True))
        elif isinstance(written, Page):
            if field != "kind": continue
            if found is None: found = Consequences()
            found.kinds.setdefault(written.id, write[2])
        elif isinstance(written, PageTable):
            if len(write) != 4 or (field != "entry" and field != "permission"): continue
            if found is None: found = Consequences()
            found.entries[written.id, write[2]] = None
        elif isinstance(written, Core):
            if field != "current": continue
            t: int = write[2]
            if t == 0 or k.thread[t].state != READY or k.thread[t].core == written.id: continue
            if found is None: found = Consequences()
            found.left.append((t, written.id))
        elif isinstance(written, Process):
            if field != "state": continue
            if found is None: found = Consequences()
            found.processes.append((written, write[2]))
    return found


__all__ = ["Consequences", "consequences"]
