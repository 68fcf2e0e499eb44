"""Rows and tables where the kernel is compiled: in the place of ``kernel.storage``, whose classes these are.

A class derived from ``dict`` gains nothing by being compiled.  A row here is a list as far as that goes and a
dictionary beyond; a table has, besides a dictionary, a list of its objects by id, 512 to a piece: reading
``k.thread[t]`` takes 5 ns instead of 45.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from itertools import chain
from typing import Final, Generic, TypeVar, cast

from mypy_extensions import i64

from kernel.written import Object

DENSE: Final = 512
"""Items of rows with indices from here on are in dictionaries."""
GAP: Final = 8
"""How many items that are 0 a list may take in to hold one more."""
PIECE: Final = 512
LISTED: Final = 1 << 30
"""Ids from here on, which no page has, are in the dictionary alone."""


class Row:
    """A sparse row of integers, 0 where nothing was written.

    Items with small indices are in a list, as long as few are missing there; the others in a dictionary.  Neither is
    there before it is needed: most rows of most objects are empty.
    """

    def __init__(self) -> None:
        self._dense: list[int | None] | None = None
        self._sparse: dict[int, int] | None = None

    def __getitem__(self, index: int) -> int:
        dense = self._dense
        if dense is not None and index < len(dense) and index >= 0:
            found = dense[index]
            return 0 if found is None else found
        sparse = self._sparse
        return 0 if sparse is None else sparse.get(index, 0)

    def __setitem__(self, index: int, value: int) -> None:
        dense, sparse = self._dense, self._sparse
        if dense is not None and index < len(dense) and index >= 0:
            dense[index] = value
        elif index >= 0 and index < DENSE and index <= GAP + (0 if dense is None else len(dense)) and (
            dense is not None or sparse is None
        ):
            self._extend(index, value)
        else:
            if sparse is None: sparse = self._sparse = {}
            sparse[index] = value

    def _extend(self, index: int, value: int) -> None:
        """Writes an item not far behind the last in the list."""
        dense, sparse = self._dense, self._sparse
        if dense is None: dense = self._dense = []
        while len(dense) < index: dense.append(None if sparse is None else sparse.pop(len(dense), None))
        if sparse is not None: sparse.pop(index, 0)
        dense.append(value)

    def __delitem__(self, index: int) -> None:
        if self.pop(index) is None: raise KeyError(index)

    def get(self, index: int, default: int | None = None) -> int | None:
        """The item, or the default where nothing was written."""
        dense = self._dense
        if dense is not None and index < len(dense) and index >= 0:
            found = dense[index]
            return default if found is None else found
        sparse = self._sparse
        return default if sparse is None else sparse.get(index, default)

    def pop(self, index: int, default: int | None = None) -> int | None:
        """Removes an item: it reads as 0 again.  Returns it, or the default."""
        dense = self._dense
        if dense is not None and index < len(dense) and index >= 0:
            found = dense[index]
            dense[index] = None
            return default if found is None else found
        sparse = self._sparse
        return default if sparse is None else sparse.pop(index, default)

    def clear(self) -> None:
        """Removes all items."""
        self._dense = None
        self._sparse = None

    def update(self, items: Row) -> None:
        """Writes all that was written in another row."""
        for index, item in items.items(): self[index] = item

    def items(self) -> list[tuple[int, int]]:
        """What was written: (index, item)."""
        found: list[tuple[int, int]] = []
        if self._dense is not None: found += [(i, item) for i, item in enumerate(self._dense) if item is not None]
        if self._sparse is not None: found += self._sparse.items()
        return found

    def keys(self) -> list[int]:
        """The indices where something was written."""
        return [index for index, _ in self.items()]

    def values(self) -> list[int]:
        """The items that were written."""
        return [item for _, item in self.items()]

    def __contains__(self, index: int) -> bool:
        return self.get(index) is not None

    def __iter__(self) -> Iterator[int]:
        """The indices where something was written."""
        first = [] if self._dense is None else [i for i, item in enumerate(self._dense) if item is not None]
        return iter(first) if self._sparse is None else chain(first, self._sparse)

    def __len__(self) -> int:
        count = 0 if self._sparse is None else len(self._sparse)
        if self._dense is not None:
            for item in self._dense:
                if item is not None: count += 1
        return count

    def __repr__(self) -> str:
        return repr(dict(self.items()))


class OldRow(Row):
    """A row as it was: its items are the old ones of those that were written, elsewhere it reads as the live row."""

    def __init__(self, live: Row) -> None:
        super().__init__()
        self.live = live
        self._items: dict[int, int] = {}
        self.allowed: set[int] = set()
        """Those of its items that the specification allows to be written."""

    def __getitem__(self, index: int) -> int:
        if index in self._items: return self._items[index]
        return self.live[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._items[index] = value

    def clear(self) -> None:
        """From here on it reads as the live row."""
        self._items.clear()

    def items(self) -> list[tuple[int, int]]:
        """What was written: (index, old item)."""
        return list(self._items.items())

    def values(self) -> list[int]:
        """The old items of those that were written."""
        return list(self._items.values())

    def __contains__(self, index: int) -> bool:
        return index in self._items

    def __iter__(self) -> Iterator[int]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


T = TypeVar("T")
"""A class of objects.  That it is one is not said here: what is looked up would be checked for that each time, before
whoever asks for it has it checked for the class expected there."""


class Table(Generic[T]):
    """All objects of one kind by id; a blank object stands where none was created."""

    def __init__(self, blank: Callable[[int], T]) -> None:
        self.blank = blank
        self._objects: dict[int, T] = {}
        self._pieces: list[list[T | None]] = []
        self._last_id = -1
        self._last: T | None = None
        """The object that was asked for last, which is often the next one, too."""

    def __getitem__(self, id: int) -> T:
        if id == self._last_id:
            last = self._last
            if last is not None: return last
        found = self._found(id)
        self._last_id, self._last = id, found
        return found

    def _found(self, id: int) -> T:
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
        self._last = None
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
        self._last = None
        if id >= 0 and id >> 9 < len(self._pieces) and self._pieces[id >> 9]:
            self._pieces[id >> 9][id & 511] = None
        return self._objects.pop(id, default)

    def __delitem__(self, id: int) -> None:
        if self.pop(id) is None: raise KeyError(id)

    def clear(self) -> None:
        """Removes all objects."""
        self._last = None
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
