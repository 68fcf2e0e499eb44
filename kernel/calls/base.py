"""What the groups of calls share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from abi.errors import EPIPE, ESRCH, OK
from abi.layout import GIANT_BLOCKS
from kernel.calls.operations import Operation, Operations, Steps
from kernel.objects import ALIVE, ENDPOINT, NEW, Kernel

if TYPE_CHECKING:
    from kernel import handles, message, page_allocator
else:
    from kernel.journaled import handles, message, page_allocator

Step = Callable[..., int]
Delivered = Callable[[int, int, int, int, int], None]
"""Who sends and who gets the words of a message, by which badge; what came with them, as ``item`` and ``object``."""


def _nobody(sender: int, receiver: int, badge: int, item: int, object: int) -> None:
    """Is told of messages where nobody wants to know."""


class Calls:
    """What all groups of calls share: the kernel, and ways to do something to it.

    ``step(transition, *arguments)`` runs one transition.  ``started(thread, entry, stack, argument)`` is told of each
    thread that a program created, for the registers it begins with.
    """

    def __init__(self, k: Kernel, step: Step, started: Callable[[int, int, int, int], None]) -> None:
        self.k = k
        self.step = step
        self.started = started
        self.delivered: Delivered = _nobody
        """Is told of each message that finds its receiver."""
        self.operations = Operations(self.alive)
        self.busy = self.operations.holders
        """By process: the operation that is changing its address space.  What changes an address space and is no
        operation itself (a single page, say) has to look here first, and becomes one if it is (``Operations.hold``)."""

    def alive(self, s: int) -> bool:
        """Process s has not begun to end."""
        return self.k.process[s].state in (NEW, ALIVE)

    @staticmethod
    def complete(begun: int | Operation) -> int:
        """The result of what a call returned, for the host, which wants it now."""
        return begun if isinstance(begun, int) else begun.complete()

    def more_pages(self, c: int) -> bool:
        """Splits a block of the container's quota, and a giant for it if need be.  False if it has neither."""
        if self.step(page_allocator.quota_split, c) == OK: return True
        return self.more_blocks(c) and self.step(page_allocator.quota_split, c) == OK

    def more_blocks(self, c: int) -> bool:
        """Splits a giant of the container's quota.  False if it has none."""
        return self.step(page_allocator.giant_split, c) == OK

    def funded(self, c: int, pages: int, transition: Step, *arguments: int) -> int:
        """Runs a transition that takes so many pages of container c's quota.  A block of it is split for them if need
        be, and is whole again where the transition fails."""
        C = self.k.container[c]
        if C.pages >= pages: return self.step(transition, *arguments)
        blocks, giants = C.blocks, C.giants
        self.more_pages(c)
        result = self.step(transition, *arguments)
        if result < 0: self.merge_back(c, blocks, giants)
        return result

    def merge_back(self, c: int, blocks: int, giants: int) -> None:
        """Merges what was split of container c's quota, which had so many blocks and giants, for a call that failed."""
        C = self.k.container[c]
        whole = blocks + GIANT_BLOCKS * giants
        while C.blocks + GIANT_BLOCKS * C.giants < whole and self.step(page_allocator.quota_merge, c) == OK: pass
        while C.giants < giants and self.step(page_allocator.giant_merge, c) == OK: pass

    def hang_up(self, e: int) -> int | Operation:
        """Tells those who wait at endpoint e, if nobody is left at the other end, that there never will be.  0, or what
        goes on with it where many wait."""
        if self.k.page[e].kind != ENDPOINT or self.k.endpoint[e].head == 0: return OK
        operation = Operation(self._hang_up, e)
        operation.begun = True
        return OK if operation.advance() else operation

    def _hang_up(self, this: Operation, e: int) -> Steps:
        yield from self.hanging_up(e)
        return OK

    def hanging_up(self, e: int) -> Generator[None, None, None]:
        """The steps of ``hang_up``, for whatever lies in page e.  Whoever comes to wait there meanwhile is told as it
        comes; where there is another end again, the rest goes on waiting."""
        k = self.k
        while k.page[e].kind == ENDPOINT:
            E = k.endpoint[e]
            if not E.head or (E.senders or E.timer if E.receiving else E.receivers): break
            self.step(message.message_cancel, E.head, -EPIPE)
            yield

    def named(self, t: int, handle: int, kind: int) -> int:
        """The object of this kind that thread t names by a handle, or -ESRCH."""
        k = self.k
        o = handles.object_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        return o if o != 0 and k.page[o].kind == kind else -ESRCH
