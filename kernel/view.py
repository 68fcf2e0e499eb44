"""The state before a transition, seen through the journal of what it wrote.

Objects that were not written are the live ones; those that were answer with their old fields.  Specifications read it
as ``old``, ledgers take from it what each written object used to contribute.
"""

from __future__ import annotations

from typing import Any, Final

from kernel.objects import Block, Container, Core, Kernel, Memory, Object, Page, PageTable, Process, Row, Thread


class OldRow(dict[int, int]):
    """A row as it was: the old items where it was written, the live ones elsewhere."""

    __slots__ = ("live",)
    live: Row

    def __missing__(self, index: int) -> int:
        return self.live[index]


class OldObject:
    """An object as it was.  A field that was not written is not set here, and read from the live object."""

    __slots__ = ("live", "number", "bits", "entries")

    def __init__(self, number: int) -> None:
        self.live: Any = None
        self.number = number
        """Its place among the written objects, in the order of their first writes."""
        self.bits: dict[tuple[str, ...], int] = {}
        """For the frame of a specification: by fields, the bits that stand for their writes."""
        self.entries: dict[str, list[int]] = {}
        """Likewise: by row, which entries of the journal its writes are."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)


def _old_class(of: type[Object]) -> type[OldObject]:
    return type(f"Old{of.__name__}", (OldObject,), {"__slots__": tuple(of.__slots__)})


OLD_CLASSES: Final[dict[type[Object], type[OldObject]]] = {
    of: _old_class(of) for of in (Memory, Block, Page, Container, Process, Thread, PageTable, Core)
}


TABLE_NAMES: Final = ("page", "block", "container", "process", "thread", "table", "core")


class OldTable(dict[int, Any]):
    """A table as it was: old objects where they were written, the live ones elsewhere."""

    __slots__ = ("live",)

    def __init__(self, live: dict[int, Any]) -> None:
        super().__init__()
        self.live = live

    def __missing__(self, id: int) -> Any:
        return self.live[id]


class OldKernel:
    """The state as it was.  A table of which nothing was written may be the live one."""

    __slots__ = ("memory", "page", "block", "container", "process", "thread", "table", "core", "cores", "root")

    def __init__(self, k: Kernel) -> None:
        self.memory: Any = k.memory
        self.page: Any = k.page
        self.block: Any = k.block
        self.container: Any = k.container
        self.process: Any = k.process
        self.thread: Any = k.thread
        self.table: Any = k.table
        self.core: Any = k.core
        self.cores = k.cores
        self.root = k.root
