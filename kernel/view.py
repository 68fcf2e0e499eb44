"""The state before a transition, seen through the journal of what it wrote.

Objects that were not written are the live ones; those that were answer with their old fields.  Specifications read it
as ``old``, ledgers take from it what each written object used to contribute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kernel.objects import (
    Block,
    Container,
    Core,
    Device,
    Domain,
    Endpoint,
    Giant,
    Kernel,
    Memory,
    Object,
    Page,
    PageTable,
    Process,
    Row,
    Thread,
)  # fmt: skip


class OldRow(dict[int, int]):
    """A row as it was: the old items where it was written, the live ones elsewhere."""

    __slots__ = ("live",)

    def __init__(self, live: Row, items: dict[int, int]) -> None:
        super().__init__(items)
        self.live = live

    def __missing__(self, index: int) -> int:
        return self.live[index]


class OldObject:
    """An object as it was.  A field is filled in when it is first asked for (``ask``), and from then on before."""

    __slots__ = ("live", "number", "ask", "bits", "entries")

    def __init__(self, number: int, ask: Callable[[OldObject, str], Any]) -> None:
        self.live: Any = None
        self.number = number
        """Its place among the written objects, in the order of their first writes."""
        self.ask = ask
        """Fills in a field, for this time and those to come, and returns it."""
        self.bits: dict[tuple[str, ...], int] = {}
        """For the frame of a specification: by fields, the bits that stand for their writes."""
        self.entries: dict[str, list[tuple[int, int]]] = {}
        """By row, which entries of the journal its writes are, and their bits."""

    def __getattr__(self, name: str) -> Any:
        return self.ask(self, name)


def _old_class(of: type[Object]) -> type[OldObject]:
    return type(f"Old{of.__name__}", (OldObject,), {"__slots__": tuple(of.__slots__)})


OLD_CLASSES: Final[dict[type[Object], type[OldObject]]] = {
    of: _old_class(of)
    for of in (Memory, Giant, Block, Page, Container, Process, Thread, Endpoint, Device, Domain, PageTable, Core)
}


TABLE_NAMES: Final = (
    "page", "block", "giant", "container", "process", "thread", "endpoint", "device", "domain", "table", "core",
)  # fmt: skip


class OldTable(dict[int, Any]):
    """A table as it was: old objects where they were written, the live ones elsewhere."""

    __slots__ = ()


def _old_table(live: dict[int, Any]) -> OldTable:
    """The view of a table before anything was written.  (Its class is its own, for the look-up of what was not written
    to go to the live table without a call in Python.)"""
    made = type("OldTable", (OldTable,), {"__slots__": (), "__missing__": live.__getitem__})()
    assert isinstance(made, OldTable)
    return made


class OldKernel:
    """The state as it was."""

    __slots__ = ("written", "page", "block", "giant", "container", "process", "thread", "endpoint", "device", "domain",
                 "table", "core", "cores", "root")  # fmt: skip

    def __init__(self, k: Kernel) -> None:
        self.written: dict[str, OldTable] = {name: _old_table(getattr(k, name)) for name in TABLE_NAMES}
        """The tables by name: what is in them are the written objects, as they were."""
        self.written["memory"] = _old_table({0: k.memory})
        self.page: Any = self.written["page"]
        self.block: Any = self.written["block"]
        self.giant: Any = self.written["giant"]
        self.container: Any = self.written["container"]
        self.process: Any = self.written["process"]
        self.thread: Any = self.written["thread"]
        self.endpoint: Any = self.written["endpoint"]
        self.device: Any = self.written["device"]
        self.domain: Any = self.written["domain"]
        self.table: Any = self.written["table"]
        self.core: Any = self.written["core"]
        self.cores = k.cores
        self.root = k.root

    @property
    def memory(self) -> Any:
        """The allocator's own state."""
        return self.written["memory"][0]
