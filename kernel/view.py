"""The state before a transition, seen through the journal of what it wrote.

Objects that were not written are the live ones; those that were are copies with their old fields.  Specifications read
it as ``old``, ledgers take from it what each written object used to contribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel.evaluated import copy
from kernel.fields import BITS, NUMBERS, SETS
from kernel.objects import CLASSES, TABLE_NAMES, Kernel, Memory
from kernel.storage import OldRow, OldTable, old_table
from kernel.written import Object, Written

Journal = Sequence[tuple[Any, ...]]
"""Entries (object, field, old value) and (object, row, index, old value)."""

class OldKernel(Kernel):
    """The state as it was.  ``enter`` makes it so, ``leave`` ends it; in between nothing is written."""

    __slots__ = ("now", "objects", "_spare", "_tables")

    def __init__(self, now: Kernel) -> None:
        super().__init__()
        self.now = now
        """The state as it is."""
        self.objects: list[Written] = []
        """The objects that were written, in the order of their first writes."""
        self._spare: list[list[Written]] = [[] for _ in CLASSES]
        """By table: what was made for earlier journals, to be filled in again."""
        self._tables: dict[str, OldTable[Any]] = {name: old_table(getattr(now, name)) for name in TABLE_NAMES}
        for name in TABLE_NAMES:
            setattr(self, name, self._tables[name])
        self.memory = now.memory
        self.root = now.root
        self.cores = now.cores

    def enter(self, journal: Journal) -> None:
        """From here on this is the state before the journal's writes."""
        objects = self.objects
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
                    setattr(w.old, field, entry[2])
                continue
            if w.fields & bit == 0:
                w.fields |= bit
                setattr(w.old, field, self._row(w, field))
            row = w.rows[field]
            index: int = entry[2]
            if index not in row: row[index] = entry[3]

    def _written(self, live: Object) -> Written:
        """What is known of a written object: at first nothing."""
        name = live.table_name
        spare = self._spare[NUMBERS[name]]
        if spare:
            w = spare.pop()
        else:
            w = Written(NUMBERS[name], BITS[name], SETS[name], type(live)(live.id))
        w.live = live
        live.written = w
        if name == "memory":
            assert isinstance(w.old, Memory)
            self.memory = w.old
        else:
            self._tables[name].note(live.id, w.old)
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
        for w in self.objects:
            w.live.written = None
            w.fields = w.allowed = 0
            if w.items: w.items.clear()
            self._spare[w.table].append(w)
        self.objects.clear()
        for table in self._tables.values():
            if table: table.forget()
        self.memory = self.now.memory


__all__ = ["TABLE_NAMES", "Journal", "OldKernel"]
