"""The state before a transition, seen through the journal of what it wrote.

Objects that were not written are the live ones; those that were are copies with their old fields.  Specifications read
it as ``old``, ledgers take from it what each written object used to contribute.
"""

from __future__ import annotations

from typing import Any

from kernel import COMPILED
from kernel.journal import Journal
from kernel.objects import CLASSES, TABLE_NAMES, Kernel, Memory
from kernel.storage import OldTable, old_table
from kernel.written import Written


class OldKernel(Kernel):
    """The state as it was.  ``enter`` makes it so, ``leave`` ends it; in between nothing is written."""

    __slots__ = ("now", "objects", "_tables")

    def __init__(self, now: Kernel) -> None:
        super().__init__()
        self.now = now
        """The state as it is."""
        self.objects: list[Written] = []
        """The objects that were written, in the order of their first writes."""
        self._tables: list[OldTable[Any] | None] = [None for _ in CLASSES]
        """By number; none for the allocator's own state."""
        for number, of in enumerate(CLASSES):
            if of is Memory: continue
            table = old_table(getattr(now, of.table_name))
            self._tables[number] = table
            setattr(self, of.table_name, table)
        self.memory = now.memory
        self.root = now.root
        self.cores = now.cores

    def enter(self, journal: Journal) -> None:
        """From here on this is the state before the journal's writes."""
        journal.attach()
        self.journal = journal
        self.objects = journal.written
        memory = self.now.memory.written
        if memory is not None:
            assert isinstance(memory.old, Memory)
            self.memory = memory.old
        if COMPILED: return  # then tables find the old objects by themselves
        for w in journal.written:
            table = self._tables[w.table]
            if table is not None: table.note(w.live.id, w.old)

    def leave(self) -> None:
        """From here on this is the state as it is."""
        if not COMPILED:
            for w in self.objects:
                table = self._tables[w.table]
                if table is not None: table.forget(w.live.id)
        self.memory = self.now.memory
        self.objects = []
        self.journal.detach()


__all__ = ["TABLE_NAMES", "OldKernel"]
