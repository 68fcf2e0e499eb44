"""The state before a transition, seen through the journal of what it wrote.

Objects that were not written are the live ones; those that were are copies with their old fields.  Specifications read
it as ``old``, ledgers take from it what each written object used to contribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel import COMPILED
from kernel.evaluated import copy, restore
from kernel.fields import BITS, SETS
from kernel.objects import CLASSES, TABLE_NAMES, Kernel, Memory
from kernel.storage import OldRow, OldTable, old_table
from kernel.written import Object, Written

Journal = Sequence[tuple[Any, ...]]
"""Entries (object, field, old value) and (object, row, index, old value)."""

class OldKernel(Kernel):
    """The state as it was.  ``enter`` makes it so, ``leave`` ends it; in between nothing is written."""

    __slots__ = ("now", "objects", "_spare", "_tables", "_numbers")

    def __init__(self, now: Kernel) -> None:
        super().__init__()
        self.now = now
        """The state as it is."""
        self.objects: list[Written] = []
        """The objects that were written, in the order of their first writes."""
        self._spare: list[list[Written]] = [[] for _ in CLASSES]
        """By table: what was made for earlier journals, to be filled in again."""
        self._numbers: dict[type[Object], int] = {of: number for number, of in enumerate(CLASSES)}
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
        objects = self.objects
        compiled = COMPILED  # then to tell fields apart by their bits is the faster way to set one
        for entry in journal:
            live: Object = entry[0]
            field: str = entry[1]
            w = live.written
            if w is None:
                w = self._written(live)
                objects.append(w)
                copy(w.table, w.old, live)
            bit = w.bits[field]
            if len(entry) == 3:
                if w.fields & bit == 0:
                    w.fields |= bit
                    if compiled: restore(w.table, w.old, bit, entry[2])
                    else: setattr(w.old, field, entry[2])
                continue
            if w.fields & bit == 0:
                w.fields |= bit
                setattr(w.old, field, self._row(w, field))
            row = w.rows[field]
            index: int = entry[2]
            if index not in row: row[index] = entry[3]

    def _written(self, live: Object) -> Written:
        """What is known of a written object: at first nothing."""
        number = self._numbers[type(live)]
        spare = self._spare[number]
        if spare:
            w = spare.pop()
        else:
            name = live.table_name
            w = Written(number, BITS[name], SETS[name], type(live)(live.id))
        w.live = live
        live.written = w
        table = self._tables[number]
        if table is not None:
            table.note(live.id, w.old)
        else:
            assert isinstance(w.old, Memory)
            self.memory = w.old
        return w

    @staticmethod
    def _row(w: Written, field: str) -> OldRow:
        """A row of a written object as it was, so far without old items."""
        row = w.rows.get(field)
        live = getattr(w.live, field)
        if row is None:
            row = w.rows[field] = OldRow(live)
        row.live = live
        row.clear()
        return row

    def leave(self) -> None:
        """From here on this is the state as it is."""
        tables = self._tables
        for w in self.objects:
            w.live.written = None
            w.fields = w.allowed = 0
            if w.items: w.items.clear()
            table = tables[w.table]
            if table is not None: table.forget(w.live.id)
            self._spare[w.table].append(w)
        self.objects.clear()
        self.memory = self.now.memory


__all__ = ["TABLE_NAMES", "Journal", "OldKernel"]
