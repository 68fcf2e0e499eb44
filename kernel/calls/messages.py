"""Calls on endpoints and messages.

What a message carries is said by one argument, ``item``: its kind in bits 0 to 3 (SHARE, MOVE, HANDLE, or 0 for none),
permissions or rights in bits 4 to 6, and for pages the length in bytes in bits 12 and up; ``object`` is the address, or
the handle.  The words of a message are in registers that the kernel never sees: ``delivered`` is told who gets whose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from abi.errors import EBUSY, EEXIST, EINVAL, EMSGSIZE, ENOMEM, EPERM, ESRCH, OK
from abi.layout import BLOCK_PAGES, GIANT_PAGES, PAGE_SHIFT, PAGE_SIZE
from kernel.calls import sizes
from kernel.calls.endings import Endings
from kernel.calls.operations import Again, Operation, SpaceBusy
from kernel.calls.ranges import effective, indices, range_valid
from kernel.calls.sizes import place
from kernel.objects import HANDLE, MOVE, PROCESS, SHARE, Kernel, Thread

if TYPE_CHECKING:
    from kernel import endpoint, message, passing, sharing
else:
    from kernel.journaled import endpoint, message, passing, sharing

FOREVER: Final = (1 << 64) - 1
"""A timeout that never comes; 0 is one that is over at once."""
MOST_PIECES: Final = 64
"""Pages, blocks and giants that one message can carry: a message is delivered at once, and this is what bounds it."""
MOST_REFUSED: Final = 16
"""Senders that one receiving thread refuses at once."""
LARGEST_BADGE: Final = (1 << 63) - 1


@final
class Item:
    """What a message carries, as the transitions take it."""

    __slots__ = ("kind", "first", "number", "rights")

    def __init__(self, kind: int, first: int, number: int, rights: int) -> None:
        self.kind = kind
        self.first = first
        """The first virtual page, or the handle's slot."""
        self.number = number
        """Pages, or the handle's generation."""
        self.rights = rights


NOTHING: Final = Item(0, 0, 0, 0)


def item_named(item: int, object: int) -> Item | int:
    """What a program names by ``item`` and ``object``, or -EINVAL, or -ESRCH for a number that is never a handle."""
    if item == 0: return NOTHING
    kind, rights, length = item & 15, item >> 4 & 7, item & -PAGE_SIZE
    if item & 0xF80: return -EINVAL
    if kind == HANDLE:
        if length != 0: return -EINVAL
        return Item(kind, object % 65536, object >> 16, rights) if object >> 16 else -ESRCH
    if kind not in (SHARE, MOVE) or not range_valid(object, length): return -EINVAL
    return Item(kind, object >> PAGE_SHIFT, length >> PAGE_SHIFT, effective(rights))


def item_received(item: Item, where: int) -> tuple[int, int]:
    """``item`` and ``object`` as the receiver is told them; ``where`` is the virtual page, or the handle, it finds it
    by."""
    if item.kind == 0: return 0, 0
    if item.kind == HANDLE: return item.kind | item.rights << 4, where
    return item.kind | item.rights << 4 | item.number << PAGE_SHIFT, where << PAGE_SHIFT


def carried(T: Thread) -> Item:
    """What the queued message of a thread carries."""
    return Item(T.item, T.item_first, T.item_count, T.item_rights)


class MessageCalls(Endings):
    """endpoint_create, handle_copy, handle_close, handle_give; message_send, _call, _receive, _reply, _reply_receive
    and _accept; pager_set, timer_set."""

    # Endpoints.

    def endpoint_create(self, t: int) -> int:
        k = self.k
        return self.funded(k.process[k.thread[t].process].container, 1, endpoint.endpoint_create, t)

    def handle_copy(self, t: int, handle: int, rights: int, badge: int) -> int:
        if badge > LARGEST_BADGE: return -EINVAL
        return self.step(endpoint.handle_copy, t, handle % 65536, handle >> 16, min(rights, 8), badge)

    def handle_close(self, t: int, handle: int) -> int | Operation:
        k = self.k
        e = endpoint.endpoint_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        result = self.step(endpoint.handle_close, t, handle % 65536, handle >> 16)
        return self.hang_up(e) if result == OK else result

    def handle_give(self, t: int, process: int, handle: int, rights: int) -> int:
        return self.step(
            passing.handle_give, t, process % 65536, process >> 16, handle % 65536, handle >> 16, min(rights, 8)
        )

    def pager_set(self, t: int, process: int, handle: int) -> int | Operation:
        k = self.k
        d = k.thread[t].process if process == 0 else self.named(t, process, PROCESS)
        if d < 0: return d
        if handle != 0 and handle >> 16 == 0: return -ESRCH  # to the transition it would be no pager
        e = k.process[d].pager
        result = self.step(endpoint.pager_set, t, d, handle % 65536, handle >> 16)
        return self.hang_up(e) if result == OK and handle == 0 else result

    def timer_set(self, t: int, handle: int, first: int, period: int) -> int | Operation:
        """Binds or unbinds; the time itself is the host's."""
        k = self.k
        e = endpoint.endpoint_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        result = self.step(endpoint.timer_bind, t, handle % 65536, handle >> 16, int(first != 0))
        return self.hang_up(e) if result == OK and first == 0 else result

    # Messages.

    def message_accept(self, t: int, address: int, length: int, takes: int) -> int:
        if length != 0 and not range_valid(address, length): return -EINVAL
        window = address >> PAGE_SHIFT if length != 0 else 0
        return self.step(message.message_accept, t, window, length >> PAGE_SHIFT, min(takes, 2))

    def endpoint_of(self, t: int, handle: int) -> int:
        """The endpoint that thread t names by a handle, or 0."""
        k = self.k
        return endpoint.endpoint_of(k, k.thread[t].process, handle % 65536, handle >> 16)

    def message_send(self, t: int, handle: int, timeout: int, item: int, object: int) -> int:
        return self._send(message.message_send, t, handle, timeout, item, object)

    def message_call(self, t: int, handle: int, timeout: int, item: int, object: int) -> int:
        return self._send(message.message_call, t, handle, timeout, item, object)

    def _send(
        self, transition: Callable[..., int], t: int, handle: int, timeout: int, item: int, object: int
    ) -> int:
        k = self.k
        slot, generation = handle % 65536, handle >> 16
        named = item_named(item, object) if item else NOTHING
        if isinstance(named, int): return named
        s = k.thread[t].process
        e = endpoint.endpoint_of(k, s, slot, generation)
        E = k.endpoint[e] if e else None
        u = E.head if E is not None and E.receiving == 1 else 0
        moved = where = 0
        if u and item:
            if not endpoint.may_send(k.process[s].handle_rights[slot]): return -EPERM
            where = self._hand_over(s, named, u)
            if where < 0: return where
            moved = named.number
        badge = k.process[s].handle_badge[slot] if e else 0
        result = self.step(
            transition, t, slot, generation, int(timeout != 0), named.kind, named.first, named.number, named.rights,
            moved,
        )  # fmt: skip
        if u and result == OK: self._deliver(t, u, badge, named, where)
        return result

    def page_fault(self, t: int, v: int) -> int:
        """Thread t faulted on virtual page v: its pager is called.  0, or -ESRCH or -EPIPE where there is none."""
        k = self.k
        S = k.process[k.thread[t].process]
        E = k.endpoint[S.pager] if S.pager else None
        u = E.head if E is not None and E.receiving == 1 else 0
        result = self.step(message.message_fault, t, v)
        if u and result == OK: self.delivered(t, u, S.pager_badge, 0, 0)
        return result

    def message_receive(self, t: int, handle: int, timeout: int) -> int:
        k = self.k
        slot, generation = handle % 65536, handle >> 16
        s = k.thread[t].process
        e = endpoint.endpoint_of(k, s, slot, generation)
        moved = where = u = badge = 0
        named = NOTHING
        if e and endpoint.may_receive(k.process[s].handle_rights[slot]) and k.thread[t].caller == 0:
            E = k.endpoint[e]
            # A sender whose message cannot be taken learns so, and does not keep the others waiting.
            refused = 0
            while E.head and E.receiving == 0 and E.signals == 0:
                if refused == MOST_REFUSED: raise Again("message_receive")
                u = E.head
                named = carried(k.thread[u])
                where = self._hand_over(k.thread[u].process, named, t) if named.kind else 0
                if where >= 0: break
                self.step(message.message_cancel, u, where)
                refused += 1
                u = where = 0
                named = NOTHING
            if u: moved, badge = named.number, k.thread[u].badge or self._pager_badge(u)
        result = self.step(message.message_receive, t, slot, generation, int(timeout != 0), moved)
        if u and result == OK: self._deliver(u, t, badge, named, where)
        return result

    def _pager_badge(self, u: int) -> int:
        U = self.k.thread[u]
        return self.k.process[U.process].pager_badge if U.fault else 0

    def message_reply(self, t: int, item: int, object: int) -> int:
        k = self.k
        named = item_named(item, object) if item else NOTHING
        if isinstance(named, int): return named
        u = k.thread[t].caller
        where = self._hand_over(k.thread[t].process, named, u) if u and item else 0
        if where < 0: return where
        result = self.step(
            message.message_reply, t, named.kind, named.first, named.number, named.rights, named.number
        )
        if result == OK: self._deliver(t, u, 0, named, where)
        return result

    def message_reply_receive(self, t: int, handle: int, timeout: int, item: int, object: int) -> int:
        k = self.k
        slot, generation = handle % 65536, handle >> 16
        s = k.thread[t].process
        u, e = k.thread[t].caller, endpoint.endpoint_of(k, s, slot, generation)
        if u and e and timeout != 0:
            E = k.endpoint[e]
            if E.signals == 0 and (E.head == 0 or E.receiving == 1) and (E.senders or E.timer):
                named = item_named(item, object) if item else NOTHING
                if isinstance(named, int): return named
                if item and not endpoint.may_receive(k.process[s].handle_rights[slot]): return -EPERM
                where = self._hand_over(s, named, u) if item else 0
                if where < 0: return where
                result = self.step(
                    message.message_reply_receive, t, slot, generation, named.kind, named.first, named.number,
                    named.rights, named.number,
                )  # fmt: skip
                if result == OK: self._deliver(t, u, 0, named, where)
                return result
        result = self.message_reply(t, item, object)
        if result < 0: return result
        try:
            return self.message_receive(t, handle, timeout)
        except SpaceBusy as busy:
            raise SpaceBusy(busy.holder, "message_receive") from None  # the reply has been given

    def signal(self, e: int) -> int:
        """An interrupt or a timer's expiry at endpoint e.  The thread that goes on with it, or 0; -EINVAL: no such
        endpoint."""
        E = self.k.endpoint[e]
        u = E.head if E.receiving == 1 else 0
        result = self.step(message.endpoint_signal, e)
        return result if result < 0 else u

    def cancel(self, t: int, error: int) -> int:
        """Thread t waits for a message no longer; its call returns this error.  -EINVAL if it does not."""
        return self.step(message.message_cancel, t, error)

    # What messages carry.

    def _deliver(self, sender: int, receiver: int, badge: int, item: Item, where: int) -> None:
        named, object = item_received(item, where)
        self.delivered(sender, receiver, badge, named, object)

    def _hand_over(self, s: int, item: Item, u: int) -> int:
        """Maps the pages that a message of process s carries where thread u takes them.  The virtual page there, for a
        handle the value it will have; or the error for who sent it, with nothing changed."""
        k = self.k
        U = k.thread[u]
        refusal = message.item_refusal(k, s, item.kind, item.first, item.number, item.rights, item.number, u)
        if refusal != OK: return refusal
        if item.kind == HANDLE: return _next_handle(k, U.process)
        window = U.fault or U.window
        refusal = self._move_pages(s, item, U.process, window)
        return window if refusal == OK else refusal

    def _move_pages(self, s: int, item: Item, d: int, window: int) -> int:
        """Shares, or moves, what process s maps in the item's range with d at ``window``.  0, or an error with nothing
        changed: -EFAULT or -EINVAL for the sender's range, -EPERM: more permissions than it has, -EMSGSIZE: too many
        pages, -EEXIST, -ENOMEM: of the receiver, -EBUSY: pages that others map, or are not charged here, cannot move.
        Raises SpaceBusy."""
        k, step = self.k, self.step
        if self.busy:
            holder = self.busy.get(s) or self.busy.get(d)
            if holder is not None: raise SpaceBusy(holder)
        if item.number == 1 and item.kind == SHARE: return self._share_page(s, item, d, window)
        pieces = self.mapped_pieces(s, item.first << PAGE_SHIFT, item.number << PAGE_SHIFT, MOST_PIECES)
        if isinstance(pieces, int): return pieces
        if len(pieces) > MOST_PIECES: return -EMSGSIZE
        if not range_valid(window << PAGE_SHIFT, item.number << PAGE_SHIFT): return -EINVAL
        S, shift, moves = k.process[s], window - item.first, item.kind == MOVE
        c, there = S.container, k.process[d].container
        for v, count in pieces:
            if item.rights & ~S.map_permission[v]: return -EPERM
            if shift % count: return -EINVAL
            if not self.vacant(d, v + shift, count): return -EEXIST
            P = k.page[S.map_page[v]]
            if moves and (P.references != 1 or P.owner != c): return -EBUSY
        counts = [count for _, count in pieces]
        blocks, giants = counts.count(BLOCK_PAGES), counts.count(GIANT_PAGES)
        pages = self.tables_missing(d, [(v + shift, count) for v, count in pieces], blocks)
        if moves and there != c: pages += counts.count(1)
        else: blocks = giants = 0
        C = k.container[there]
        while C.blocks < blocks or C.pages < pages:
            if C.blocks > blocks: self.more_pages(there)
            elif C.giants <= giants or not self.more_blocks(there): return -ENOMEM
        if C.giants < giants: return -ENOMEM
        transitions = sizes.GRANT if moves else sizes.SHARE
        for v, count in pieces:
            result = step(transitions[count], s, *place(v, count), d, *place(v + shift, count), item.rights)
            assert result == OK, result
        return OK


    def _share_page(self, s: int, item: Item, d: int, window: int) -> int:
        """``_move_pages`` for a single page that is shared, the most frequent case: what else can be wrong, the
        transition says."""
        S, v = self.k.process[s], item.first
        count = self._piece_at(s, v, v + 1)
        if count < 0: return count
        if not range_valid(window << PAGE_SHIFT, PAGE_SIZE): return -EINVAL
        if item.rights & ~S.map_permission[v]: return -EPERM
        source, target = indices(v), indices(window)
        result = self.step(sharing.share_page, s, *source, d, *target, item.rights)
        while result == -ENOMEM and self.more_pages(self.k.process[d].container):
            result = self.step(sharing.share_page, s, *source, d, *target, item.rights)
        return result


def _next_handle(k: Kernel, d: int) -> int:
    """The handle that process d gets next."""
    D = k.process[d]
    slot = D.handle_stack[D.handle_listed] if D.handle_listed else D.handle_carved
    return (D.handle_opened + 1) << 16 | slot


__all__ = ["FOREVER", "MOST_PIECES", "Item", "MessageCalls"]
