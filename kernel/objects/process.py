"""Processes."""

from __future__ import annotations

from typing import ClassVar, Final

from kernel.storage import Row
from kernel.written import Object

# Process states.
NEW: Final = 1
"""Created, no thread yet."""
ALIVE: Final = 2
ENDING: Final = 3
"""Ended; what it holds is being taken from it, step by step."""
ENDED: Final = 4
"""Only its status is left, for the holder of its handle."""

KILLED: Final = 137
"""Status of a thread or process that another one killed, and of what is ended with its container: 128 + SIGKILL."""

HANDLES: Final = 4096
"""Handles a process can hold at once."""


class Process(Object):
    """A process: an address space, threads, handles.

    ``map_page[v]`` and ``map_permission[v]`` are the address space as an abstract map from the virtual page number v
    to the page mapped there (of a block or giant the first) and its permissions; the concrete tables below ``root``
    refine it.
    """

    __slots__ = ("container", "place", "born", "parent", "position", "child_count", "children", "killed",
                 "state", "status", "root", "mappings", "map_page", "map_permission",
                 "thread_count", "threads", "holder", "holder_slot", "hosted", "waiter",
                 "handle_count", "handle_opened", "handle_carved", "handle_listed", "handle_stack", "handle_position",
                 "handle_object", "handle_generation", "handle_rights", "handle_badge",
                 "pager", "pager_badge")  # fmt: skip
    table_name: ClassVar[str] = "process"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.container: int = 0
        self.place: int = 0
        """Its place in Container.members."""
        self.born: int = 0
        """Its number among the processes of its container, in the order of their creation: a parent's is less."""
        self.parent: int = 0
        """The process of the same container that it descends from; 0 for none, and once it has ended."""
        self.position: int = 0
        """Its place among its parent's children."""
        self.child_count: int = 0
        self.children: Row = Row()
        """Entries 0 to child_count - 1."""
        self.killed: int = 0
        """1 while it is ending and its descendants end with it."""
        self.state: int = 0
        self.status: int = 0
        self.root: int = 0
        """Its level-4 table."""
        self.mappings: int = 0
        """Entries in map_page."""
        self.map_page: Row = Row()
        self.map_permission: Row = Row()
        self.thread_count: int = 0
        self.threads: Row = Row()
        """Its threads that have not ended: entries 0 to thread_count - 1."""
        self.holder: int = 0
        """The process that has a handle to it; 0 for none."""
        self.holder_slot: int = 0
        self.hosted: int = 0
        """1 if the host started it and will collect its status."""
        self.waiter: int = 0
        """The thread blocked in process_wait for it."""
        self.handle_count: int = 0
        self.handle_opened: int = 0
        """Handles ever opened: the generation of the last one."""
        self.handle_carved: int = 0
        """Slots used at least once, from 0."""
        self.handle_listed: int = 0
        self.handle_stack: Row = Row()
        """Slots that came back: entries 1 to handle_listed."""
        self.handle_position: Row = Row()
        """Where in handle_stack a slot is; 0 if it is open or was never used."""
        self.handle_object: Row = Row()
        self.handle_generation: Row = Row()
        """Of open handles; 0 where the slot is empty."""
        self.handle_rights: Row = Row()
        """Of handles to endpoints: SEND + RECEIVE + GRANT; 0 for other handles."""
        self.handle_badge: Row = Row()
        """Of handles to endpoints: the number that receivers are told of messages sent by it."""
        self.pager: int = 0
        """The endpoint that its page faults are sent to; 0 for none."""
        self.pager_badge: int = 0
