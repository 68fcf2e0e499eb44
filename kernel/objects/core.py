"""Cores."""

from __future__ import annotations

from typing import ClassVar

from kernel.storage import Row
from kernel.written import Object


class Core(Object):
    """A core: the thread it runs, the FIFO of those that are ready to, and all that are placed on it."""

    __slots__ = ("container", "position", "current", "head", "tail", "ticket", "placed_count", "placed")
    table_name: ClassVar[str] = "core"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.container: int = 0
        """The container that owns it."""
        self.position: int = 0
        """Its place in Container.cores."""
        self.current: int = 0
        self.head: int = 0
        self.tail: int = 0
        self.ticket: int = 1
        self.placed_count: int = 0
        self.placed: Row = Row()
        """The threads placed on it, whatever their state: entries 0 to placed_count - 1."""
