"""Containers."""

from __future__ import annotations

from typing import ClassVar, Final

from kernel.storage import Row
from kernel.written import Object

# Container states.
ACTIVE: Final = 1
CLOSING: Final = 2
"""Being ended: nothing is created in it any more, and what is in it is taken away, step by step."""

DEPTH_LIMIT: Final = 128
"""How deep the tree of containers can be; the root is at depth 0."""


class Container(Object):
    """A container: what it may still allocate, what it is charged for, its children, its processes."""

    __slots__ = (
        "state", "parent", "depth", "path", "position", "child_count", "children", "holder", "holder_slot", "hosted",
        "pages", "blocks", "giants", "used_pages", "used_blocks", "used_giants", "processes", "members", "born",
        "core", "cores_of", "core_count", "cores",
    )  # fmt: skip
    table_name: ClassVar[str] = "container"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.state: int = 0
        self.parent: int = 0
        self.depth: int = 0
        self.path: Row = Row()
        """Its ancestors by depth, the root at 0: entries 0 to depth - 1."""
        self.position: int = 0
        """Its place among its parent's children."""
        self.child_count: int = 0
        self.children: Row = Row()
        """Entries 0 to child_count - 1."""
        self.holder: int = 0
        """The process that has a handle to it; 0 for none."""
        self.holder_slot: int = 0
        self.hosted: int = 0
        """1 if the host created it and will end it."""
        self.pages: int = 0
        """4 KiB pages it may still allocate."""
        self.blocks: int = 0
        """2 MiB blocks it may still allocate."""
        self.giants: int = 0
        """1 GiB giants it may still allocate."""
        self.used_pages: int = 0
        self.used_blocks: int = 0
        self.used_giants: int = 0
        self.processes: int = 0
        self.members: Row = Row()
        """Its processes: entries 0 to processes - 1."""
        self.born: int = 0
        """Processes ever created in it."""
        self.core: int = 0
        """The core that its next thread is placed on: an index among those it uses, of which the first follows the
        last."""
        self.cores_of: int = 0
        """The container whose cores it uses: itself, or the nearest ancestor that owns some."""
        self.core_count: int = 0
        self.cores: Row = Row()
        """The cores it owns: entries 0 to core_count - 1."""
