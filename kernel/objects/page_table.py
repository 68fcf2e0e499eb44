"""A page table."""

from __future__ import annotations

from typing import ClassVar

from kernel.storage import Row
from kernel.written import Object


class PageTable(Object):
    """A 512-entry table page of one address space, level 4 (root) to 1."""

    __slots__ = ("level", "process", "parent", "slot", "base", "used", "entry", "permission")
    table_name: ClassVar[str] = "table"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.level: int = 0
        self.process: int = 0
        self.parent: int = 0
        self.slot: int = 0
        self.base: int = 0
        """The virtual page number that its entry 0 translates."""
        self.used: int = 0
        """Entries that are not empty."""
        self.entry: Row = Row()
        """A table of the next level, a page (level 1), or the first page of a block (level 2) or giant (level 3); 0 if
        empty."""
        self.permission: Row = Row()
        """Of entries that map a page: READ | WRITE | EXECUTE."""
