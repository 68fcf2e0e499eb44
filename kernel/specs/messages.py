"""Specifications of messages: who meets whom, who waits, who runs; and what a message may carry."""

from __future__ import annotations

from abi.errors import EAGAIN, EBUSY, EINVAL, EMSGSIZE, EPERM, EPIPE, EPROTO, ESRCH
from kernel.objects import (
    AWAITING,
    BLOCKED,
    CALLING,
    ENDPOINT,
    HANDLE,
    HANDLES,
    MOVE,
    RECEIVE,
    RECEIVING,
    RUNNING,
    SEND,
    SENDING,
    SHARE,
    THREAD,
)  # fmt: skip
from kernel.specs import Frame, State, specification
from kernel.specs.devices import passed, passing_refused
from kernel.specs.endpoints import endpoint_freed_if_unused, endpoint_named
from kernel.specs.scheduling import off_core, queued_last

ITEM = ("item", "item_first", "item_count", "item_rights", "badge")
Item = tuple[int, int, int, int]
"""What a message carries: kind, first page or slot, pages or generation, permissions or rights."""
NOTHING: Item = (0, 0, 0, 0)


def well_formed(item: Item) -> bool:
    """A message may carry this."""
    kind, first, count, rights = item
    if kind == 0: return (first, count, rights) == (0, 0, 0)
    return kind in (SHARE, MOVE, HANDLE) and first >= 0 and count >= 1 and 0 <= rights <= 7


def refused(old: State, s: int, item: Item, moved: int, u: int) -> int:
    """Why thread u cannot take what a message of process s carries; 0 if it can."""
    kind, first, count, rights = item
    U = old.thread[u]
    if kind == 0: return 0
    if kind != HANDLE:
        pages = 1 if U.fault else U.window_pages
        if pages == 0: return -EPROTO
        if count > pages: return -EMSGSIZE
        return 0 if moved == count else -EPROTO
    if U.takes != 1 or old.process[U.process].handle_count >= HANDLES: return -EPROTO
    return passing_refused(old, s, first, count, rights, U.process)


def taken(old: State, new: State, f: Frame, s: int, item: Item, u: int) -> bool:
    """Thread u has what the message carried: its process the handle; of pages, its window is used up."""
    kind, first, _, rights = item
    if kind == 0: return True
    if kind != HANDLE:
        if old.thread[u].fault: return True
        f.may("thread", u, "window", "window_pages")
        return bool(new.thread[u].window == 0 and new.thread[u].window_pages == 0)
    d = old.thread[u].process
    D = old.process[d]
    slot = D.handle_stack[D.handle_listed] if D.handle_listed else D.handle_carved
    return passed(old, new, f, s, first, rights, d, (D.handle_opened + 1) * 65536 + slot)


def item_of(old: State, u: int) -> Item:
    """What the queued message of thread u carries."""
    U = old.thread[u]
    return U.item, U.item_first, U.item_count, U.item_rights


def item_cleared(new: State, f: Frame, u: int) -> bool:
    """Thread u no longer has a message that carries anything, nor a badge."""
    f.may("thread", u, *ITEM)
    return bool(new.thread[u].item == 0 and new.thread[u].badge == 0)


def left_queue(old: State, new: State, f: Frame, u: int, waits: int) -> bool:
    """Thread u is in no endpoint's queue and waits so; its neighbours there are each other's."""
    U = old.thread[u]
    e = U.endpoint
    f.may("thread", u, "endpoint", "waits", "next", "previous", "rank")
    f.may("thread", U.next, "previous")
    f.may("thread", U.previous, "next")
    f.may("endpoint", e, "head", "tail")
    if U.previous == 0 and new.endpoint[e].head != U.next: return False
    if U.previous != 0 and new.thread[U.previous].next != U.next: return False
    return bool(new.thread[u].endpoint == 0 and new.thread[u].waits == waits)


def blocked(old: State, new: State, f: Frame, t: int, waits: int) -> bool:
    """Running thread t has left its core and waits so."""
    f.may("thread", t, "state", "waits")
    f.may("core", old.thread[t].core, "current")
    return bool(new.thread[t].state == BLOCKED and new.thread[t].waits == waits)


def queued(old: State, new: State, f: Frame, t: int, e: int, waits: int) -> bool:
    """Thread t, blocked, is the last in endpoint e's queue, behind those who were in it."""
    last, ticket = old.endpoint[e].tail, old.endpoint[e].ticket
    f.may("thread", t, "endpoint", "previous", "rank")
    f.may("thread", last, "next")
    f.may("endpoint", e, "head", "tail", "ticket", "receiving")
    if not blocked(old, new, f, t, waits) or new.thread[t].endpoint != e: return False
    if new.endpoint[e].receiving != (waits == RECEIVING): return False
    if new.endpoint[e].head != (old.endpoint[e].head or t): return False
    if new.thread[t].rank != ticket or new.endpoint[e].ticket != ticket + 1: return False
    return bool(new.endpoint[e].tail == t and new.thread[t].previous == last)


def goes_on(old: State, new: State, f: Frame, u: int, t: int) -> bool:
    """Thread u, which waited, has the core that t has left, if it is its own; else it is ready there."""
    r = old.thread[t].core
    if old.thread[u].core == r:
        f.may("thread", u, "state")
        f.may("core", r, "current")
        return bool(new.core[r].current == u and new.thread[u].state == RUNNING)
    return new.core[r].current == 0 and queued_last(old, new, f, u, old.thread[u].core)


def call_ended(new: State, f: Frame, t: int, u: int) -> bool:
    """Thread t owes u no reply, for which u no longer waits, nor for a page."""
    f.may("thread", t, "caller")
    f.may("thread", u, "partner", "waits", "fault")
    T, U = new.thread[t], new.thread[u]
    return bool(T.caller == 0 and U.partner == 0 and U.waits == 0 and U.fault == 0)


@specification
def message_accept(
    old: State, new: State, f: Frame, result: int, t: int, window: int, pages: int, takes: int
) -> bool:
    """The thread takes this."""
    if old.thread[t].state != RUNNING or window < 0 or pages < 0 or takes not in (0, 1): return result == -EINVAL
    f.may("thread", t, "window", "window_pages", "takes")
    T = new.thread[t]
    return result == 0 and (T.window, T.window_pages, T.takes) == (window, pages, takes)


def received(old: State, new: State, f: Frame, t: int, u: int, item: Item, call: bool) -> bool:
    """Thread u, the first who waited to receive, has t's message and goes on; with a call it owes the reply."""
    if not left_queue(old, new, f, u, 0) or not taken(old, new, f, old.thread[t].process, item, u): return False
    if not call: return queued_last(old, new, f, u, old.thread[u].core)
    f.may("thread", u, "caller")
    f.may("thread", t, "partner")
    if new.thread[u].caller != t or new.thread[t].partner != u: return False
    return blocked(old, new, f, t, AWAITING) and goes_on(old, new, f, u, t)


def waits_to_send(
    old: State, new: State, f: Frame, t: int, e: int, badge: int, item: Item, call: bool
) -> bool:
    """The sender waits in the queue, with its message."""
    f.may("thread", t, *ITEM)
    if item_of(new, t) != item or new.thread[t].badge != badge or not off_core(old, new, f, t): return False
    return queued(old, new, f, t, e, CALLING if call else SENDING)


def sent(
    old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, wait: int, item: Item,
    moved: int, call: bool,
) -> bool:  # fmt: skip
    """The first who waits to receive has the message; or the sender waits with it."""
    if old.thread[t].state != RUNNING or not well_formed(item): return result == -EINVAL
    S = old.process[old.thread[t].process]
    e = endpoint_named(old, old.thread[t].process, slot, generation)
    if e == 0: return result == -ESRCH
    if not S.handle_rights[slot] & SEND: return result == -EPERM
    E = old.endpoint[e]
    if E.head and E.receiving:
        why = refused(old, old.thread[t].process, item, moved, E.head)
        return result == why and (why != 0 or received(old, new, f, t, E.head, item, call))
    if E.receivers == 0: return result == -EPIPE
    if wait == 0: return result == -EAGAIN
    return result == 0 and waits_to_send(old, new, f, t, e, S.handle_badge[slot], item, call)


@specification
def message_send(
    old: State, new: State, f: Frame, result: int,
    t: int, slot: int, generation: int, wait: int, item: int, first: int, count: int, rights: int, moved: int,
) -> bool:  # fmt: skip
    """The first who waits for a message has it and is ready; or the sender waits with it."""
    return sent(
        old, new, f, result, t, slot, generation, wait, (item, first, count, rights), moved, False
    )


@specification
def message_call(
    old: State, new: State, f: Frame, result: int,
    t: int, slot: int, generation: int, wait: int, item: int, first: int, count: int, rights: int, moved: int,
) -> bool:  # fmt: skip
    """The first who waits for a message has it, goes on, and owes the caller a reply; or the caller waits with it."""
    return sent(old, new, f, result, t, slot, generation, wait, (item, first, count, rights), moved, True)


@specification
def message_fault(old: State, new: State, f: Frame, result: int, t: int, v: int) -> bool:
    """The thread calls its process's pager for a page."""
    if old.thread[t].state != RUNNING or v < 1: return result == -EINVAL
    S = old.process[old.thread[t].process]
    E = old.endpoint[S.pager]
    if S.pager == 0: return result == -ESRCH
    if E.receivers == 0: return result == -EPIPE
    f.may("thread", t, "fault")
    if result != 0 or new.thread[t].fault != v: return False
    if E.head and E.receiving: return received(old, new, f, t, E.head, NOTHING, True)
    return waits_to_send(old, new, f, t, S.pager, S.pager_badge, NOTHING, True)


@specification
def message_receive(
    old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, wait: int, moved: int
) -> bool:
    """The signals are taken; or the first message is, whose sender is ready, or owed a reply; or the thread waits."""
    T = old.thread[t]
    if T.state != RUNNING: return result == -EINVAL
    if T.caller != 0: return result == -EBUSY
    e = endpoint_named(old, T.process, slot, generation)
    if e == 0: return result == -ESRCH
    if not old.process[T.process].handle_rights[slot] & RECEIVE: return result == -EPERM
    E = old.endpoint[e]
    if E.signals:
        f.may("endpoint", e, "signals")
        return bool(result == E.signals and new.endpoint[e].signals == 0)
    u = E.head
    if u != 0 and not E.receiving:
        item = item_of(old, u)
        why = refused(old, old.thread[u].process, item, moved, t)
        if why: return result == why
        if result != 0 or not taken(old, new, f, old.thread[u].process, item, t): return False
        if not item_cleared(new, f, u): return False
        if old.thread[u].waits == SENDING:
            return left_queue(old, new, f, u, 0) and queued_last(old, new, f, u, old.thread[u].core)
        f.may("thread", u, "partner")
        f.may("thread", t, "caller")
        if new.thread[u].partner != t or new.thread[t].caller != u: return False
        return left_queue(old, new, f, u, AWAITING)
    if E.senders == 0 and E.timer == 0: return result == -EPIPE
    if wait == 0: return result == -EAGAIN
    return result == 0 and off_core(old, new, f, t) and queued(old, new, f, t, e, RECEIVING)


@specification
def message_reply(
    old: State, new: State, f: Frame, result: int, t: int, item: int, first: int, count: int, rights: int, moved: int
) -> bool:
    """The caller has the reply and is ready."""
    carried = (item, first, count, rights)
    if old.thread[t].state != RUNNING or not well_formed(carried): return result == -EINVAL
    u = old.thread[t].caller
    if u == 0: return result == -ESRCH
    why = refused(old, old.thread[t].process, carried, moved, u)
    if why: return result == why
    if not taken(old, new, f, old.thread[t].process, carried, u) or not call_ended(new, f, t, u): return False
    return result == 0 and queued_last(old, new, f, u, old.thread[u].core)


@specification
def message_reply_receive(
    old: State, new: State, f: Frame, result: int,
    t: int, slot: int, generation: int, item: int, first: int, count: int, rights: int, moved: int,
) -> bool:  # fmt: skip
    """The caller has the reply and goes on; the thread waits for the next message."""
    carried = (item, first, count, rights)
    T = old.thread[t]
    if T.state != RUNNING or not well_formed(carried): return result == -EINVAL
    u = T.caller
    e = endpoint_named(old, T.process, slot, generation)
    if u == 0 or e == 0: return result == -ESRCH
    if not old.process[T.process].handle_rights[slot] & RECEIVE: return result == -EPERM
    why = refused(old, T.process, carried, moved, u)
    if why: return result == why
    E = old.endpoint[e]
    if E.signals or (E.head and not E.receiving): return result == -EBUSY
    if E.senders == 0 and E.timer == 0: return result == -EPIPE
    if not taken(old, new, f, T.process, carried, u) or not call_ended(new, f, t, u): return False
    return result == 0 and queued(old, new, f, t, e, RECEIVING) and goes_on(old, new, f, u, t)


def withdrawn(old: State, new: State, f: Frame, t: int, beside: int) -> bool:
    """Thread t, which waited with an endpoint, does not; who received its call owes no reply, and an endpoint that
    nothing names and nobody waits at is gone.  ``beside``: how many pages more the container of t is no longer charged
    for."""
    T = old.thread[t]
    if T.waits == AWAITING: return call_ended(new, f, T.partner, t)
    f.may("thread", t, "fault")
    if not left_queue(old, new, f, t, 0) or not item_cleared(new, f, t) or new.thread[t].fault != 0: return False
    left = old.endpoint[T.endpoint].references
    return endpoint_freed_if_unused(old, new, f, T.endpoint, left, (old.page[t].owner, beside))


DESERTED = -EPIPE
"""What a call returns whose receiver ended without a reply."""


def call_failed(new: State, f: Frame, t: int, u: int) -> bool:
    """Thread u (0: none), which waits for the reply of t, learns that there will be none."""
    if u == 0: return True
    f.may("thread", u, "result")
    return call_ended(new, f, t, u) and bool(new.thread[u].result == DESERTED)


@specification
def message_cancel(old: State, new: State, f: Frame, result: int, t: int, error: int) -> bool:
    """The thread waits no longer and is ready; its call returns the error."""
    T = old.thread[t]
    if not -4095 <= error <= -1 or old.page[t].kind != THREAD or T.waits == 0: return result == -EINVAL
    f.may("thread", t, "result")
    if result != 0 or new.thread[t].result != error or not withdrawn(old, new, f, t, 0): return False
    return queued_last(old, new, f, t, T.core)


@specification
def endpoint_signal(old: State, new: State, f: Frame, result: int, e: int) -> bool:
    """The first who waits to receive is ready, and an endpoint that nothing names and nobody waits at is gone; or there
    is a signal more."""
    if old.page[e].kind != ENDPOINT: return result == -EINVAL
    E = old.endpoint[e]
    if E.head and E.receiving:
        if result != 0 or not left_queue(old, new, f, E.head, 0): return False
        if not endpoint_freed_if_unused(old, new, f, e, E.references): return False
        return queued_last(old, new, f, E.head, old.thread[E.head].core)
    f.may("endpoint", e, "signals")
    return bool(result == 0 and new.endpoint[e].signals == E.signals + 1)
