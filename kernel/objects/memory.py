"""Memory: 1 GiB giants, each whole or split into 2 MiB blocks, these whole or split into 4 KiB pages."""

from __future__ import annotations

from typing import ClassVar, Final

from abi.layout import BLOCK_PAGES, GIANT_PAGES
from kernel.storage import Row
from kernel.written import Object

# What a page is (Page.kind): the one tag that is the type system of the kernel.
FREE: Final = 0
MAPPED: Final = 1
"""A 4 KiB page that address spaces map."""
MAPPED_BLOCK: Final = 2
"""The first page of a 2 MiB block that address spaces map by one entry."""
TABLE: Final = 3
CONTAINER: Final = 4
PROCESS: Final = 5
THREAD: Final = 6
ENDPOINT: Final = 7
MAPPED_GIANT: Final = 8
"""The first page of a 1 GiB giant that address spaces map by one entry."""
DEVICE: Final = 9
DOMAIN: Final = 10

KIND_NAMES: Final = (
    "free", "mapped", "mapped 2 MiB", "table", "container", "process", "thread", "endpoint", "mapped 1 GiB", "device",
    "domain",
)  # fmt: skip

PAGES_OF: Final = {MAPPED: 1, MAPPED_BLOCK: BLOCK_PAGES, MAPPED_GIANT: GIANT_PAGES}
"""4 KiB pages in what one entry maps, by the kind of its first."""

# What a 2 MiB block is (Block.kind).
BLOCK_FREE: Final = 0
BLOCK_WHOLE: Final = 1
"""Mapped as one 2 MiB page: its 512 pages are merged."""
BLOCK_SPLIT: Final = 2
"""Its pages are handed out one by one."""
BLOCK_GIANT: Final = 3
"""The first block of a giant that is mapped as one 1 GiB page."""

# What a 1 GiB giant is (Giant.kind).
GIANT_FREE: Final = 0
GIANT_WHOLE: Final = 1
"""Mapped as one 1 GiB page: its 512 blocks are merged."""
GIANT_SPLIT: Final = 2
"""Its blocks are handed out one by one."""


class Memory(Object):
    """The page allocator's own state (one object, id 0)."""

    __slots__ = ("blocks", "giants", "fresh", "free_count", "free_stack", "partial_giant_count", "partial_giant_stack",
                 "free_blocks", "partial_count", "partial_stack", "free_pages",
                 "promised_pages", "promised_blocks", "promised_giants")  # fmt: skip
    table_name: ClassVar[str] = "memory"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.blocks: int = 0
        """2 MiB blocks in the machine; they are numbered 1 to blocks, block 0 is never handed out."""
        self.giants: int = 0
        """1 GiB giants that can be mapped as one; they are numbered 1 to giants.  Giant 0, which lacks a block, and the
        one behind the last, if the machine has a part of it, are always split."""
        self.fresh: int = 1
        """Giants from here on were never used."""
        self.free_count: int = 0
        self.free_stack: Row = Row()
        """Free giants that were used before: entries 1 to free_count."""
        self.partial_giant_count: int = 0
        self.partial_giant_stack: Row = Row()
        """Split giants with a free block: entries 1 to partial_giant_count."""
        self.free_blocks: int = 0
        """Free blocks in split giants."""
        self.partial_count: int = 0
        self.partial_stack: Row = Row()
        """Split blocks with a free page: entries 1 to partial_count."""
        self.free_pages: int = 0
        """Free pages in split blocks."""
        self.promised_pages: int = 0
        """Sum of what containers may still allocate: 4 KiB pages."""
        self.promised_blocks: int = 0
        """Sum of what containers may still allocate: 2 MiB blocks."""
        self.promised_giants: int = 0
        """Sum of what containers may still allocate: 1 GiB giants."""


class Giant(Object):
    """A 1 GiB giant; its id is its first block's number divided by 512."""

    __slots__ = ("kind", "owner", "position", "carved", "listed", "stack")
    table_name: ClassVar[str] = "giant"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.kind: int = GIANT_FREE
        self.owner: int = 0
        """The container charged for it, if whole."""
        self.position: int = 0
        """Its place in Memory.free_stack or Memory.partial_giant_stack; 0 in neither."""
        self.carved: int = 0
        """If split: blocks handed out at least once, from the giant's start (and block 0)."""
        self.listed: int = 0
        self.stack: Row = Row()
        """If split: its blocks that were handed out and came back: entries 1 to listed."""


class Block(Object):
    """A 2 MiB block, or the 1 GiB giant that starts with it; its id is its first page's number divided by 512."""

    __slots__ = ("kind", "owner", "giant", "position", "carved", "listed", "stack")
    table_name: ClassVar[str] = "block"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.kind: int = BLOCK_FREE
        self.owner: int = 0
        """The container charged for it, if it is whole or starts a giant that is."""
        self.giant: int = 0
        """The giant it was carved from, or starts."""
        self.position: int = 0
        """Its place in Giant.stack while it is free, in Memory.partial_stack while it has a free page; else 0."""
        self.carved: int = 0
        """If split: pages handed out at least once, from the block's start."""
        self.listed: int = 0
        self.stack: Row = Row()
        """If split: its pages that were handed out and came back: entries 1 to listed."""


class Page(Object):
    """A 4 KiB page, or the 2 MiB block or 1 GiB giant that starts with it."""

    __slots__ = ("kind", "owner", "references", "block", "rank")
    table_name: ClassVar[str] = "page"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.kind: int = FREE
        self.owner: int = 0
        """The container charged for it."""
        self.references: int = 0
        """Address-space entries that map it."""
        self.block: int = 0
        """The block it was carved from, or starts; 0 if it never was."""
        self.rank: int = 0
        """Its place in Block.stack while it is free."""
