"""Endpoints: where threads meet to pass messages (kernel.message), and the handles that name them.

Any number of handles name an endpoint, each with rights of its own and a badge, by which a receiver tells senders
apart.  An endpoint counts them.  It lives until the last handle is closed and nobody is left in its queue; where the
last handle that can receive is closed, those who wait to send learn it (``message_cancel``), and the other way round.

Source: Atmosphere, section 3.2 (endpoints, endpoint descriptors); rights and badges as in capability kernels.
"""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL, ENOMEM, ENOSPC, EPERM, ESRCH, OK
from kernel.handles import close_handle, handle_available, handle_value, object_of, open_handle
from kernel.objects import ACTIVE, ALIVE, ENDPOINT, GRANT, NEW, PROCESS, RECEIVE, RUNNING, SEND, Kernel
from kernel.page_allocator import allocate_page, free_page


def may_send(rights: int) -> bool:
    """True if SEND is among the rights."""
    return rights == 1 or rights == 3 or rights == 5 or rights == 7


def may_receive(rights: int) -> bool:
    """True if RECEIVE is among the rights."""
    return rights == 2 or rights == 3 or rights == 6 or rights == 7


def may_grant(rights: int) -> bool:
    """True if GRANT is among the rights."""
    return rights >= GRANT


def rights_within(rights: int, held: int) -> bool:
    """True if ``rights`` are some, and no others than ``held``."""
    if rights < 1 or rights > held: return False
    if may_send(rights) and not may_send(held): return False
    if may_receive(rights) and not may_receive(held): return False
    return may_grant(held) or not may_grant(rights)


def endpoint_of(k: Kernel, s: int, slot: int, generation: int) -> int:
    """The endpoint that process s names by this slot and generation, or 0."""
    e = object_of(k, s, slot, generation)
    if e == 0: return 0
    if k.page[e].kind != ENDPOINT: return 0
    return e


def name_endpoint(k: Kernel, s: int, e: int, rights: int, badge: int) -> int:
    """Gives process s, which has room, a handle to endpoint e.  Returns the slot."""
    slot = open_handle(k, s, e)
    S = k.process[s]
    S.handle_rights[slot] = rights
    if badge != 0: S.handle_badge[slot] = badge
    E = k.endpoint[e]
    E.references = E.references + 1
    if may_send(rights): E.senders = E.senders + 1
    if may_receive(rights): E.receivers = E.receivers + 1
    return slot


def free_if_unused(k: Kernel, e: int) -> None:
    """Frees endpoint e if nothing names it and nobody is in its queue."""
    E = k.endpoint[e]
    if E.references != 0 or E.head != 0: return
    E.ticket = 0
    E.receiving = 0
    E.signals = 0
    E.timer = 0
    free_page(k, e)


def drop_endpoint(k: Kernel, s: int, slot: int) -> None:
    """Closes the handle of process s to an endpoint in ``slot``; the last reference frees the endpoint."""
    S = k.process[s]
    e = S.handle_object[slot]
    rights = S.handle_rights[slot]
    close_handle(k, s, slot)
    S.handle_rights[slot] = 0
    if S.handle_badge[slot] != 0: S.handle_badge[slot] = 0
    E = k.endpoint[e]
    E.references = E.references - 1
    if may_send(rights): E.senders = E.senders - 1
    if may_receive(rights): E.receivers = E.receivers - 1
    free_if_unused(k, e)


def join_queue(k: Kernel, e: int, t: int, receiving: int) -> None:
    """Puts blocked thread t at the tail of endpoint e's queue, which is empty or of those who do the same."""
    E = k.endpoint[e]
    T = k.thread[t]
    a = E.tail
    T.endpoint = e
    T.rank = E.ticket
    E.ticket = E.ticket + 1
    if a == 0:
        E.head = t
        if E.receiving != receiving: E.receiving = receiving
    else:
        A = k.thread[a]
        A.next = t
        T.previous = a
    E.tail = t


def leave_queue(k: Kernel, t: int) -> None:
    """Takes thread t out of the queue of its endpoint, wherever in it it is."""
    T = k.thread[t]
    E = k.endpoint[T.endpoint]
    a = T.previous
    b = T.next
    if a == 0:
        E.head = b
    else:
        A = k.thread[a]
        A.next = b
        T.previous = 0
    if b == 0:
        E.tail = a
    else:
        B = k.thread[b]
        B.previous = a
        T.next = 0
    T.rank = 0
    T.endpoint = 0


def endpoint_create(k: Kernel, t: int) -> int:
    """Running thread t creates an endpoint.  Returns a handle with all rights; -EINVAL: t does not run; -EBUSY: its
    container is ending; -ENOSPC: no free handle; -ENOMEM: no quota for the endpoint's page."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    s = T.process
    c = k.process[s].container
    if k.container[c].state != ACTIVE: return -EBUSY
    if not handle_available(k, s): return -ENOSPC
    if k.container[c].pages < 1: return -ENOMEM
    e = allocate_page(k, c, ENDPOINT)
    E = k.endpoint[e]
    E.ticket = 1
    return handle_value(k, s, name_endpoint(k, s, e, SEND + RECEIVE + GRANT, 0))


def handle_copy(k: Kernel, t: int, slot: int, generation: int, rights: int, badge: int) -> int:
    """Running thread t makes another handle to the endpoint it names, with some of its rights and, unless 0, a badge.
    Returns the handle; -EINVAL: t does not run, or a negative badge; -ESRCH: not a handle of an endpoint; -EPERM: no
    rights, more rights, or the handle has a badge already; -ENOSPC: no free handle."""
    T = k.thread[t]
    if T.state != RUNNING or badge < 0: return -EINVAL
    s = T.process
    e = endpoint_of(k, s, slot, generation)
    if e == 0: return -ESRCH
    S = k.process[s]
    if not rights_within(rights, S.handle_rights[slot]): return -EPERM
    held = S.handle_badge[slot]
    if badge != 0 and held != 0: return -EPERM
    if not handle_available(k, s): return -ENOSPC
    return handle_value(k, s, name_endpoint(k, s, e, rights, held + badge))


def handle_close(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Running thread t closes a handle of its process to an endpoint.  -EINVAL: t does not run; -ESRCH: not a handle of
    an endpoint."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    if endpoint_of(k, T.process, slot, generation) == 0: return -ESRCH
    drop_endpoint(k, T.process, slot)
    return OK


def set_pager(k: Kernel, d: int, e: int, badge: int) -> None:
    """Page faults of process d, which has no pager, become messages to endpoint e."""
    D = k.process[d]
    D.pager = e
    if badge != 0: D.pager_badge = badge
    E = k.endpoint[e]
    E.references = E.references + 1
    E.senders = E.senders + 1


def unset_pager(k: Kernel, d: int) -> None:
    """Process d has no pager any more."""
    D = k.process[d]
    e = D.pager
    if e == 0: return
    D.pager = 0
    if D.pager_badge != 0: D.pager_badge = 0
    E = k.endpoint[e]
    E.references = E.references - 1
    E.senders = E.senders - 1
    free_if_unused(k, e)


def pager_set(k: Kernel, t: int, d: int, slot: int, generation: int) -> int:
    """Page faults of process d, which is thread t's own or a child it has a handle to, become messages to the endpoint
    that t names (generation 0: none any more).  -EINVAL: t does not run, or d is neither; -ESRCH:
    not a handle of an endpoint; -EPERM: it cannot send; -EBUSY: d has one already, or is ending."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    s = T.process
    if k.page[d].kind != PROCESS: return -EINVAL
    D = k.process[d]
    if d != s and D.holder != s: return -EINVAL
    if D.state != NEW and D.state != ALIVE: return -EBUSY
    if generation == 0:
        unset_pager(k, d)
        return OK
    e = endpoint_of(k, s, slot, generation)
    if e == 0: return -ESRCH
    if not may_send(k.process[s].handle_rights[slot]): return -EPERM
    if D.pager != 0: return -EBUSY
    set_pager(k, d, e, k.process[s].handle_badge[slot])
    return OK


def timer_bind(k: Kernel, t: int, slot: int, generation: int, bound: int) -> int:
    """A timer is bound to the endpoint that running thread t names (``bound`` 1), or no longer (0).  -EINVAL: t does
    not run; -ESRCH: not a handle of an endpoint; -EPERM: it cannot receive."""
    T = k.thread[t]
    if T.state != RUNNING or bound < 0 or bound > 1: return -EINVAL
    e = endpoint_of(k, T.process, slot, generation)
    if e == 0: return -ESRCH
    if not may_receive(k.process[T.process].handle_rights[slot]): return -EPERM
    E = k.endpoint[e]
    if E.timer != bound: E.timer = bound
    return OK


assert SEND + RECEIVE + GRANT == 7
