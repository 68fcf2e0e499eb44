"""What a program asked of its address space: mappings, sorted by address, split and joined as calls cut them.

A mapping says what an address *means* (permissions, file and offset); which of its pages have memory already is the
business of ``userland.linux.memory``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from userland.linux.file_mapping import MappedFile


class Mapping:
    """Addresses [start, end), both page multiples, that mean one thing.

    ``file`` is None for anonymous memory; ``offset`` is the file's offset at ``start``.  ``grows_down`` mappings
    (stacks) are touched from the top.  The last ``slack`` bytes were not asked for: they make the mapping end with a
    2 MiB block, and go when what is before them goes.  ``expected`` and ``window`` are the state of the read-ahead at
    faults.
    """

    __slots__ = (
        "end", "expected", "file", "grows_down", "name", "offset", "permissions", "shared", "slack", "start", "window",
    )  # fmt: skip

    def __init__(
        self,
        start: int,
        end: int,
        permissions: int,
        *,
        shared: bool = False,
        grows_down: bool = False,
        file: MappedFile | None = None,
        offset: int = 0,
        name: str = "",
        slack: int = 0,
    ) -> None:
        self.start = start
        self.end = end
        self.permissions = permissions
        self.shared = shared
        self.grows_down = grows_down
        self.file = file
        self.offset = offset
        self.name = name
        self.slack = slack
        self.expected = 0
        self.window = 0

    def cut(self, address: int) -> Mapping:
        """Keeps [start, address) and returns the rest as a mapping of its own."""
        rest = Mapping(
            address,
            self.end,
            self.permissions,
            shared=self.shared,
            grows_down=self.grows_down,
            file=self.file,
            offset=self.offset + (address - self.start if self.file else 0),
            name=self.name,
        )
        if self.file is not None:
            self.file.references += 1
        rest.expected, rest.window = self.expected, self.window
        rest.slack = min(self.slack, rest.end - address)
        self.slack -= rest.slack
        self.end = address
        return rest

    def continues(self, before: Mapping) -> bool:
        """Whether ``before``, which ends where this starts, means the same."""
        return (
            before.end == self.start
            and before.permissions == self.permissions
            and before.file is self.file
            and before.shared == self.shared
            and before.grows_down == self.grows_down
            and before.name == self.name
            and before.slack == 0
            and (self.file is None or before.offset + (before.end - before.start) == self.offset)
        )


class MappingList:
    """The mappings of one address space: disjoint, ascending."""

    __slots__ = ("_mappings", "_starts")

    def __init__(self) -> None:
        self._mappings: list[Mapping] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._mappings)

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self._mappings)

    def find(self, address: int) -> Mapping | None:
        """The mapping that holds ``address``."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._mappings[index].end:
            return self._mappings[index]
        return None

    def _span(self, start: int, end: int) -> tuple[int, int]:
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self._mappings[first].end <= start:
            first += 1
        return first, bisect_left(self._starts, end)

    def overlapping(self, start: int, end: int) -> list[Mapping]:
        """The mappings with an address in [start, end), ascending."""
        first, last = self._span(start, end)
        return self._mappings[first:last]

    def is_free(self, start: int, end: int) -> bool:
        """Whether no mapping has an address in [start, end)."""
        first, last = self._span(start, end)
        return first >= last

    def with_slack(self, end: int) -> int:
        """The end of a range that a program names, moved behind the slack if the range reaches it."""
        mapping = self.find(end)
        return mapping.end if mapping is not None and mapping.slack and mapping.end - mapping.slack <= end else end

    def covers(self, start: int, end: int) -> bool:
        """Whether every address of [start, end) is in some mapping."""
        for mapping in self.overlapping(start, end):
            if mapping.start > start:
                return False
            start = mapping.end
        return start >= end

    def _split(self, address: int) -> None:
        mapping = self.find(address)
        if mapping is not None and mapping.start < address:
            index = bisect_right(self._starts, address)
            self._mappings.insert(index, mapping.cut(address))
            self._starts.insert(index, address)

    def carve(self, start: int, end: int) -> list[Mapping]:
        """Cuts mappings at ``start`` and ``end``; returns those that now lie wholly inside."""
        self._split(start)
        self._split(end)
        return self.overlapping(start, end)

    def insert(self, mapping: Mapping) -> Mapping:
        """Adds a mapping where nothing is; joined with equal neighbours.  Returns the one that now holds it."""
        index = bisect_left(self._starts, mapping.start)
        self._mappings.insert(index, mapping)
        self._starts.insert(index, mapping.start)
        self._join(index + 1)
        if self._join(index):
            index -= 1
        return self._mappings[index]

    def remove(self, start: int, end: int) -> list[Mapping]:
        """Takes [start, end) out; returns the removed mappings, whose files are the caller's to release."""
        removed = self.carve(start, end)
        first, last = self._span(start, end)
        del self._mappings[first:last]
        del self._starts[first:last]
        return removed

    def join(self, start: int, end: int) -> None:
        """Joins equal neighbours in and around [start, end), after permissions changed."""
        first, last = self._span(start, end)
        for index in range(min(last + 1, len(self._mappings) - 1), max(first - 1, 0), -1):
            self._join(index)

    def _join(self, index: int) -> bool:
        if not 0 < index < len(self._mappings):
            return False
        before, mapping = self._mappings[index - 1], self._mappings[index]
        if not mapping.continues(before):
            return False
        before.end = mapping.end
        before.slack = mapping.slack
        before.expected, before.window = mapping.expected, mapping.window
        if mapping.file is not None:
            mapping.file.references -= 1
        del self._mappings[index]
        del self._starts[index]
        return True

    def place(self, length: int, bottom: int, top: int, alignment: int) -> int | None:
        """The highest free range of ``length`` bytes in [bottom, top), aligned; None when there is none."""
        index = bisect_left(self._starts, top) - 1
        ceiling = top
        while True:
            mapping = self._mappings[index] if index >= 0 else None
            floor = bottom if mapping is None else max(bottom, mapping.end)
            start = (ceiling - length) & -alignment
            if start >= floor:
                return start
            if mapping is None or mapping.start <= bottom:
                return None
            ceiling = min(ceiling, mapping.start)
            index -= 1


__all__ = ["Mapping", "MappingList"]
