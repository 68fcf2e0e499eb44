"""What a transition means for whoever carries it out on a machine: read off the journal of its writes.

Most transitions mean little: a message from one thread to another on the same core nothing at all.
"""

from __future__ import annotations

from typing import Final

from kernel.fields import BITS
from kernel.objects import DEAD, READY, Core, Device, Domain, Kernel, Page, PageTable, Process, Thread

_STATE_OF_THREAD: Final = BITS["thread"]["state"]
_RESULT: Final = BITS["thread"]["result"]
_KIND: Final = BITS["page"]["kind"]
_ENTRY: Final = BITS["table"]["entry"]
_PERMISSION: Final = BITS["table"]["permission"]
_ENTRIES: Final = _ENTRY | _PERMISSION
_CURRENT: Final = BITS["core"]["current"]
_STATE_OF_PROCESS: Final = BITS["process"]["state"]
_MAPPINGS: Final = BITS["domain"]["map_page"]


class Consequences:
    """What one transition wrote that matters outside the kernel."""

    __slots__ = ("devices", "entries", "kinds", "left", "mappings", "processes", "threads")

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], None] = {}
        """Entries of page tables that were written: (table, index)."""
        self.kinds: dict[int, int] = {}
        """By page whose kind was written: what it was."""
        self.threads: list[tuple[Thread, bool]] = []
        """Threads that are ready or dead, which was written (False); and those that are ready with a result that was
        written (True), which come before."""
        self.processes: list[tuple[Process, int]] = []
        """Processes whose state was written, and what it was."""
        self.left: list[tuple[int, int]] = []
        """Threads that ran on a core and are ready on another: (thread, core that it ran on)."""
        self.devices: list[tuple[Device, int, int]] = []
        """Devices that were written, and what their holder and their domain were."""
        self.mappings: dict[tuple[int, int], int] = {}
        """By IOMMU domain and I/O virtual page whose mapping was written: the page that was there."""


def consequences(k: Kernel) -> Consequences | None:
    """What the transition that the journal is of means; None: nothing."""
    found: Consequences | None = None
    for w in k.journal.written:
        live, old, fields = w.live, w.old, w.fields
        if isinstance(live, Thread):
            if not fields & (_STATE_OF_THREAD | _RESULT) or live.state not in (READY, DEAD): continue
            if found is None: found = Consequences()
            if fields & _RESULT and live.state == READY: found.threads.append((live, True))
            if fields & _STATE_OF_THREAD: found.threads.append((live, False))
        elif isinstance(live, Page):
            if not fields & _KIND: continue
            assert isinstance(old, Page)
            if found is None: found = Consequences()
            found.kinds[live.id] = old.kind
        elif isinstance(live, PageTable):
            if not fields & _ENTRIES: continue
            assert isinstance(old, PageTable)
            if found is None: found = Consequences()
            if fields & _ENTRY:
                for i in old.entry: found.entries[live.id, i] = None
            if fields & _PERMISSION:
                for i in old.permission: found.entries[live.id, i] = None
        elif isinstance(live, Core):
            if not fields & _CURRENT: continue
            assert isinstance(old, Core)
            t = old.current
            if t == 0 or k.thread[t].state != READY or k.thread[t].core == live.id: continue
            if found is None: found = Consequences()
            found.left.append((t, live.id))
        elif isinstance(live, Process):
            if not fields & _STATE_OF_PROCESS: continue
            assert isinstance(old, Process)
            if found is None: found = Consequences()
            found.processes.append((live, old.state))
        elif isinstance(live, Domain):
            if not fields & _MAPPINGS: continue
            assert isinstance(old, Domain)
            if found is None: found = Consequences()
            for page, before in old.map_page.items(): found.mappings[live.id, page] = before
        elif isinstance(live, Device):
            assert isinstance(old, Device)
            if found is None: found = Consequences()
            found.devices.append((live, old.holder, old.domain))
    return found


__all__ = ["Consequences", "consequences"]
