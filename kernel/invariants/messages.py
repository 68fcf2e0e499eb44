"""Invariants of threads that wait with an endpoint, and of calls that wait for their reply.

The queue of an endpoint is FIFO for the same reasons as a run queue (``threads``).
"""

from __future__ import annotations

from kernel.invariants import invariant
from kernel.objects import (
    AWAITING,
    BLOCKED,
    CALLING,
    DEAD,
    ENDPOINT,
    HANDLE,
    RECEIVING,
    SENDING,
    THREAD,
    Kernel,
)  # fmt: skip


@invariant("thread")
def message_wait(k: Kernel, t: int) -> bool:
    """A thread waits with an endpoint in one known way, blocked and for nothing else: in a queue, or for the reply of
    who received its call; one that receives owes no reply."""
    T = k.thread[t]
    if k.page[t].kind != THREAD: return True
    if T.waits == 0: return T.endpoint == 0 and T.partner == 0
    if T.state != BLOCKED or T.waiting_for != 0: return False
    if T.waits == AWAITING: return T.endpoint == 0 and T.partner != 0
    if T.waits == RECEIVING and T.caller != 0: return False
    return T.waits >= SENDING and T.waits <= RECEIVING and T.endpoint != 0 and T.partner == 0


@invariant("thread")
def message_item(k: Kernel, t: int) -> bool:
    """Only a thread that waits to send has a badge, or something that its message carries: pages or a handle."""
    T = k.thread[t]
    if k.page[t].kind != THREAD: return True
    if T.badge != 0 and (T.badge < 0 or (T.waits != SENDING and T.waits != CALLING)): return False
    if T.item == 0: return T.item_first == 0 and T.item_count == 0 and T.item_rights == 0
    if T.waits != SENDING and T.waits != CALLING: return False
    if T.item < 0 or T.item > HANDLE or T.item_rights < 0 or T.item_rights > 7: return False
    return T.item_first >= 0 and T.item_count >= 1


@invariant("thread")
def message_window(k: Kernel, t: int) -> bool:
    """A thread takes a number of pages somewhere, and handles or none; a fault is with its pager while it calls."""
    T = k.thread[t]
    if T.window < 0 or T.window_pages < 0 or T.takes < 0 or T.takes > 1: return False
    if k.page[t].kind != THREAD or T.fault == 0: return True
    return T.fault >= 1 and (T.waits == CALLING or T.waits == AWAITING)


@invariant("thread")
def message_queue(k: Kernel, t: int) -> bool:
    """A thread in the queue of an endpoint has a ticket of it, waits to receive if the endpoint says so and else to
    send, and is linked both ways with its neighbours, behind the one that ranks before it."""
    T = k.thread[t]
    e = T.endpoint
    if k.page[t].kind != THREAD or e == 0: return True
    E = k.endpoint[e]
    if k.page[e].kind != ENDPOINT or T.rank < 1 or T.rank >= E.ticket: return False
    if (T.waits == RECEIVING) != (E.receiving == 1): return False
    a = T.previous
    if a == 0:
        if E.head != t: return False
    else:
        A = k.thread[a]
        if k.page[a].kind != THREAD or A.endpoint != e or A.next != t or A.rank >= T.rank: return False
        if E.head == t: return False
    b = T.next
    if b == 0: return E.tail == t
    B = k.thread[b]
    return k.page[b].kind == THREAD and B.endpoint == e and B.previous == t and E.tail != t


@invariant("thread")
def message_partner(k: Kernel, t: int) -> bool:
    """Who received the call of a thread that waits for the reply is another thread, which owes it to that one."""
    T = k.thread[t]
    u = T.partner
    if k.page[t].kind != THREAD or u == 0: return True
    return u != t and k.page[u].kind == THREAD and k.thread[u].state != DEAD and k.thread[u].caller == t


@invariant("thread")
def message_caller(k: Kernel, t: int) -> bool:
    """To whom a thread owes a reply, that one waits for it."""
    T = k.thread[t]
    u = T.caller
    if k.page[t].kind != THREAD or u == 0: return True
    return k.page[u].kind == THREAD and k.thread[u].waits == AWAITING and k.thread[u].partner == t
