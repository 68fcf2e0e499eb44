"""The journal: what was written since it was last cleared, and what was there before.

Of each written object it has a record (``kernel.written.Written``), made before the first write to it: a copy of the
object, and the set of fields that were written since.  The state before a transition is read off these copies
(``kernel.view``), what it means outside the kernel off the sets (``kernel.consequences``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kernel.evaluated import copy
from kernel.fields import BITS, SETS
from kernel.objects import CLASSES
from kernel.storage import OldRow
from kernel.written import Object, Written

Entry = tuple[Any, ...]
"""(object, field, old value) or (object, row, index, old value)."""


class Journal:
    """What was written to the objects of one kernel."""

    __slots__ = ("allowing", "written", "_attached", "_numbers", "_spare")

    def __init__(self) -> None:
        self.written: list[Written] = []
        """The objects that were written, in the order of their first writes."""
        self.allowing: list[OldRow] = []
        """Rows of which the specification allows items to be written."""
        self._attached = True
        """They know their records."""
        self._numbers: dict[type[Object], int] = {of: number for number, of in enumerate(CLASSES)}
        self._spare: list[list[Written]] = [[] for _ in CLASSES]
        """By table: records that were made earlier, to be filled in again."""

    # Writing.

    def append(self, entry: Entry) -> None:
        """Notes a write; of several to one place the first tells what was there."""
        live: Object = entry[0]
        field: str = entry[1]
        w = live.written
        if w is None: w = self.wrote(live)
        bit = w.bits[field]
        if len(entry) == 4:
            self.keep(w, field, bit, entry[2], entry[3])
        elif w.fields & bit == 0:
            w.fields |= bit
            setattr(w.old, field, entry[2])

    def wrote(self, live: Object) -> Written:
        """The record of an object that does not know it and is about to be written."""
        return self.record(live, self._numbers[type(live)])

    def record(self, live: Object, number: int) -> Written:
        """The same of an object of the class with this number."""
        if not self._attached:
            self.attach()
            if live.written is not None: return live.written
        spare = self._spare[number]
        if spare:
            w = spare.pop()
        else:
            name = live.table_name
            w = Written(number, BITS[name], SETS[name], type(live)(live.id))
        copy(number, w.old, live)
        w.live = live
        live.written = w
        self.written.append(w)
        return w

    def keep(self, w: Written, row: str, bit: int, index: int, before: int) -> None:
        """Notes a write to an item of a row; ``bit`` is that of the row."""
        if w.fields & bit == 0:
            w.fields |= bit
            live = getattr(w.live, row)
            kept = w.rows.get(row)
            if kept is None:
                kept = w.rows[row] = OldRow(live)
            kept.live = live
            kept.clear()
            setattr(w.old, row, kept)
        kept = w.rows[row]
        if index not in kept: kept[index] = before

    def clear(self) -> None:
        """Forgets everything."""
        if self._attached: self.detach()
        for w in self.written:
            w.fields = 0
            self._spare[w.table].append(w)
        self.written.clear()
        self._attached = True

    # Reading.

    def attach(self) -> None:
        """Objects that were written know their records."""
        if self._attached: return
        for w in self.written: w.live.written = w
        self._attached = True

    def detach(self) -> None:
        """Objects do not know their records: nothing is being asked about what was written."""
        for w in self.written:
            w.live.written = None
            w.allowed = 0
        for row in self.allowing: row.allowed.clear()
        self.allowing.clear()
        self._attached = False

    def entries(self) -> list[Entry]:
        """What was written, place by place."""
        found: list[Entry] = []
        for w in self.written:
            for field, bit in w.bits.items():
                if w.fields & bit == 0: continue
                before = getattr(w.old, field)
                if isinstance(before, OldRow): found += [(w.live, field, i, item) for i, item in before.items()]
                else: found.append((w.live, field, before))
        return found

    def replace(self, entries: Iterable[Entry]) -> None:
        """Notes these writes instead of what was written."""
        self.clear()
        for entry in entries: self.append(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries())

    def __bool__(self) -> bool:
        return len(self.written) > 0


__all__ = ["Entry", "Journal"]
