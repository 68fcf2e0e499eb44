"""Which kernel objects an invariant is due for: those that were written since it was last evaluated for them, and those
for which it then read something that was."""

from __future__ import annotations

from typing import Final

from aerostat.invariants.kernel_view import Objects, Seen
from kernel.objects import TABLES

CHARGED: Final = frozenset(TABLES.values())
"""Tables whose objects come to be, and go, by what their page is."""


class Due:
    """The objects of one kind that one invariant is due for."""

    def __init__(self, objects: Objects, table: str) -> None:
        self._objects = objects
        self._table = table
        self._due = set(objects.ids())
        self._readers: dict[tuple[str, int], set[int]] = {}
        """By object that was read: for which ones the invariant read it."""

    def wrote(self, table: str, id: int) -> None:
        """This object was written."""
        if table == self._table or (table == "page" and self._table in CHARGED): self._due.add(id)
        readers = self._readers.pop((table, id), None)
        if readers is not None: self._due |= readers

    def all(self) -> None:
        """It is due for each object that there is."""
        self._due.update(self._objects.ids())

    def take(self) -> list[int]:
        """The objects that it is due for; it is evaluated for them now."""
        taken, self._due = self._due, set()
        return [id for id in sorted(taken) if id in self._objects]

    def evaluated(self, id: int, seen: Seen) -> None:
        """What was looked at for one of these.  Where that is more than fields of objects, it stays due."""
        if seen.more: self._due.add(id)
        for key in seen.objects: self._readers.setdefault(key, set()).add(id)


__all__ = ["Due"]
