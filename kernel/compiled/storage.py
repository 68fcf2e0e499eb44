"""Rows and tables where the kernel is compiled: in the place of ``kernel.storage``, whose classes these are.

A class derived from ``dict`` gains nothing by being compiled.  These hold a dictionary; a table has besides a list of
its objects by id, 512 to a piece: what reading ``k.thread[t]`` costs is 5 ns instead of 45.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Final, Generic, TypeVar, cast

from mypy_extensions import i64

from kernel.written import Object

PIECE: Final = 512
LISTED: Final = 1 << 30
"""Ids from here on, which no page has, are in the dictionary alone."""


class Row:
    """A sparse row of integers, 0 where nothing was written."""

    def __init__(self) -> None:
        self._items: dict[int, int] = {}

    def __getitem__(self, index: int) -> int:
        return self._items.get(index, 0)

    def __setitem__(self, index: int, value: int) -> None:
        self._items[index] = value

    def __delitem__(self, index: int) -> None:
        del self._items[index]

    def get(self, index: int, default: int | None = None) -> int | None:
        """The item, or the default where nothing was written."""
        return self._items.get(index, default)

    def pop(self, index: int, default: int | None = None) -> int | None:
        """Removes an item: it reads as 0 again.  Returns it, or the default."""
        return self._items.pop(index, default)

    def clear(self) -> None:
        """Removes all items."""
        self._items.clear()

    def update(self, items: Row) -> None:
        """Writes all that was written in another row."""
        self._items.update(items._items)

    def items(self) -> ItemsView[int, int]:
        """What was written: (index, item)."""
        return self._items.items()

    def keys(self) -> KeysView[int]:
        """The indices where something was written."""
        return self._items.keys()

    def values(self) -> ValuesView[int]:
        """The items that were written."""
        return self._items.values()

    def __contains__(self, index: int) -> bool:
        return index in self._items

    def __iter__(self) -> Iterator[int]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


class OldRow(Row):
    """A row as it was: its items are the old ones of those that were written, elsewhere it reads as the live row."""

    def __init__(self, live: Row) -> None:
        super().__init__()
        self.live = live

    def __getitem__(self, index: int) -> int:
        if index in self._items: return self._items[index]
        return self.live[index]


T = TypeVar("T")
"""A class of objects.  That it is one is not said here: what is looked up would be checked for that each time, before
whoever asks for it has it checked for the class expected there."""


class Table(Generic[T]):
    """All objects of one kind by id; a blank object stands where none was created."""

    def __init__(self, blank: Callable[[int], T]) -> None:
        self.blank = blank
        self._objects: dict[int, T] = {}
        self._pieces: list[list[T | None]] = []

    def __getitem__(self, id: int) -> T:
        if id >= 0 and id < LISTED:
            n: i64 = id
            if n >> 9 < len(self._pieces):
                objects = self._pieces[n >> 9]
                if objects:
                    found = objects[n & 511]
                    if found is not None: return found
        made = self._objects.get(id)
        if made is None:
            made = self.blank(id)
            self[id] = made
        return made

    def get(self, id: int, default: T | None = None) -> T | None:
        """The object with this id, or the default if there is none."""
        if id >= 0 and id < LISTED:
            n: i64 = id
            if n >> 9 < len(self._pieces):
                objects = self._pieces[n >> 9]
                if objects:
                    found = objects[n & 511]
                    if found is not None: return found
        return self._objects.get(id, default)

    def __setitem__(self, id: int, value: T) -> None:
        self._objects[id] = value
        if id < 0 or id >= LISTED: return
        pieces = self._pieces
        piece = id >> 9
        while len(pieces) <= piece: pieces.append([])
        if not pieces[piece]:
            empty: list[T | None] = [None] * PIECE
            pieces[piece] = empty
        pieces[piece][id & 511] = value

    def pop(self, id: int, default: T | None = None) -> T | None:
        """Removes an object: blank again.  Returns it, or the default."""
        if id >= 0 and id >> 9 < len(self._pieces) and self._pieces[id >> 9]:
            self._pieces[id >> 9][id & 511] = None
        return self._objects.pop(id, default)

    def __delitem__(self, id: int) -> None:
        if self.pop(id) is None: raise KeyError(id)

    def clear(self) -> None:
        """Removes all objects."""
        self._objects.clear()
        self._pieces.clear()

    def items(self) -> ItemsView[int, T]:
        """(id, object), of all that were ever asked for and not removed."""
        return self._objects.items()

    def keys(self) -> KeysView[int]:
        """Their ids."""
        return self._objects.keys()

    def values(self) -> ValuesView[T]:
        """The objects."""
        return self._objects.values()

    def __contains__(self, id: int) -> bool:
        return id in self._objects

    def __iter__(self) -> Iterator[int]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        return repr(self._objects)


class OldTable(Table[T]):
    """A table as it was: old objects where they were written, the live ones elsewhere."""

    def __init__(self, live: Table[T]) -> None:
        super().__init__(live.blank)
        self.live = live

    def __getitem__(self, id: int) -> T:
        live = self.live[id]
        written = cast(Object, live).written
        return live if written is None else cast(T, written.old)

    def note(self, id: int, old: Object) -> None:
        """The object with this id was written; it was this: as its ``written`` says."""

    def forget(self, id: int) -> None:
        """From here on the object with this id is not written."""


def old_table(live: Table[T]) -> OldTable[T]:
    """The view of a table before anything was written."""
    return OldTable(live)


__all__ = ["OldRow", "OldTable", "Row", "Table", "old_table"]
