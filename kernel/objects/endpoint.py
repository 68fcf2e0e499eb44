"""Endpoints, and what handles to them allow."""

from __future__ import annotations

from typing import ClassVar, Final

from kernel.written import Object

# What a handle to an endpoint allows: any sum of these.
SEND: Final = 1
RECEIVE: Final = 2
GRANT: Final = 4
"""Passing the handle on to other processes."""


class Endpoint(Object):
    """Where threads meet: a FIFO of those that wait to send, or of those that wait to receive."""

    __slots__ = ("head", "tail", "ticket", "receiving", "references", "senders", "receivers", "signals", "timer")
    table_name: ClassVar[str] = "endpoint"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.head: int = 0
        self.tail: int = 0
        self.ticket: int = 0
        """The rank of the next thread in the queue."""
        self.receiving: int = 0
        """1 if those in the queue wait to receive; of no meaning while it is empty."""
        self.references: int = 0
        """Handles to it, and processes whose pager it is."""
        self.senders: int = 0
        """Those of them that can send."""
        self.receivers: int = 0
        """Those of them that can receive."""
        self.signals: int = 0
        """Interrupts and expiries that nobody has received."""
        self.timer: int = 0
        """1 if a timer is bound to it."""
