"""What the kernel's state is kept in: rows of integers, tables of objects, and both as they were before a transition.

Rows and tables are total: what was never written reads as 0, or as a blank object.  They are dictionaries here; where
the kernel is compiled (``kernel.compiled``), ``kernel/compiled/storage.py`` stands in for this module, with the same
classes: what is looked up there by a number of ordinary size is found without making a Python object of the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from kernel.written import Object


class Row(dict[int, int]):
    """A sparse row of integers, 0 where nothing was written."""

    __slots__ = ()

    def __missing__(self, index: int) -> int:
        return 0


class OldRow(Row):
    """A row as it was: its items are the old ones of those that were written, elsewhere it reads as the live row."""

    __slots__ = ("allowed", "live")

    def __init__(self, live: Row) -> None:
        super().__init__()
        self.live = live
        self.allowed: set[int] = set()
        """Those of its items that the specification allows to be written."""

    def __missing__(self, index: int) -> int:
        return self.live[index]


T = TypeVar("T", bound="Object")


class Table(dict[int, T], Generic[T]):
    """All objects of one kind by id; a blank object stands where none was created."""

    __slots__ = ("blank",)

    def __init__(self, blank: type[T]) -> None:
        super().__init__()
        self.blank = blank

    def __missing__(self, id: int) -> T:
        made = self.blank(id)
        self[id] = made
        return made


class OldTable(Table[T]):
    """A table as it was: old objects where they were written, the live ones elsewhere."""

    __slots__ = ()

    def __init__(self, live: Table[T]) -> None:
        super().__init__(live.blank)

    def note(self, id: int, old: Object) -> None:
        """The object with this id was written; it was this."""
        self[id] = cast(T, old)

    def forget(self, id: int) -> None:
        """From here on the object with this id is not written."""
        self.pop(id, None)


def old_table(live: Table[T]) -> OldTable[T]:
    """The view of a table before anything was written.  (Its class is its own, for the look-up of what was not written
    to go to the live table without a call in Python.)"""
    own: Any = type("OldTable", (OldTable,), {"__slots__": (), "__missing__": live.__getitem__})
    made: OldTable[T] = own(live)
    return made


__all__ = ["OldRow", "OldTable", "Row", "Table", "old_table"]
