"""Threads, and what one that sends or receives a message waits for."""

from __future__ import annotations

from typing import ClassVar, Final

from kernel.written import Object

# Thread states.
RUNNING: Final = 1
READY: Final = 2
BLOCKED: Final = 3
DEAD: Final = 4

# What a blocked thread waits for with an endpoint (Thread.waits).
SENDING: Final = 1
"""In the queue of an endpoint with a message that nobody has received."""
CALLING: Final = 2
"""The same; who receives the message is to reply."""
RECEIVING: Final = 3
"""In the queue of an endpoint, for a message."""
AWAITING: Final = 4
"""Its call was received: it waits for the reply."""

# What a message carries besides its words (Thread.item).
SHARE: Final = 1
"""Pages, mapped by both from then on."""
MOVE: Final = 2
"""Pages, with their charge: the sender has them no more."""
HANDLE: Final = 3


class Thread(Object):
    """A thread.  Its registers are the hypervisor's; the kernel knows its state, queue, and what it waits for."""

    __slots__ = ("process", "position", "state", "status", "core", "place", "next", "previous", "rank",
                 "holder_slot", "joiner", "waiting_for", "result",
                 "waits", "endpoint", "partner", "caller", "badge", "item", "item_first", "item_count", "item_rights",
                 "window", "window_pages", "takes", "fault")  # fmt: skip
    table_name: ClassVar[str] = "thread"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.process: int = 0
        self.position: int = 0
        """Its place in Process.threads."""
        self.state: int = 0
        self.status: int = 0
        self.core: int = 0
        """The core it is placed on; 0 if it has ended."""
        self.place: int = 0
        """Its place in Core.placed; -1 if it has ended."""
        self.next: int = 0
        self.previous: int = 0
        """Neighbours in its core's run queue, if ready; in the queue of an endpoint, if it waits in one."""
        self.rank: int = 0
        """Its ticket in the queue: ranks grow from head to tail."""
        self.holder_slot: int = 0
        """Slot of the handle its process has to it; -1 for none."""
        self.joiner: int = 0
        """The thread blocked in thread_join for it."""
        self.waiting_for: int = 0
        """The thread or process whose end it waits for."""
        self.result: int = 0
        """What the call it was blocked in returns."""
        self.waits: int = 0
        """SENDING, CALLING, RECEIVING or AWAITING; 0 if it waits for no message."""
        self.endpoint: int = 0
        """The endpoint in whose queue it is."""
        self.partner: int = 0
        """The thread that received its call, if it is AWAITING."""
        self.caller: int = 0
        """The thread that waits for its reply."""
        self.badge: int = 0
        """That of the handle by which it sends, while it waits in a queue."""
        self.item: int = 0
        """What its message carries, while it waits in a queue: SHARE, MOVE, HANDLE or 0."""
        self.item_first: int = 0
        """The first virtual page, or the handle's slot."""
        self.item_count: int = 0
        """Pages, or the handle's generation."""
        self.item_rights: int = 0
        """The permissions, or rights, that the receiver gets."""
        self.window: int = 0
        """The first virtual page of where it takes pages that a message carries."""
        self.window_pages: int = 0
        """How many it takes; 0 for none."""
        self.takes: int = 0
        """1 if it takes handles that messages carry."""
        self.fault: int = 0
        """The virtual page that its pager is asked for; 0 if it waits for no pager."""
