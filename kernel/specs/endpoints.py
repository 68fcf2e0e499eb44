"""Specifications of endpoints and of the handles that name them."""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL, ENOMEM, ENOSPC, EPERM, ESRCH
from kernel.objects import ACTIVE, ALIVE, ENDPOINT, FREE, GRANT, NEW, PROCESS, RECEIVE, RUNNING, SEND
from kernel.specs import Frame, State, specification
from kernel.specs.handles import allows, handle_closed, handle_opened, handle_room, named
from kernel.specs.quotas import charged, page_becomes

ALL = SEND | RECEIVE | GRANT


def endpoint_named(old: State, s: int, slot: int, generation: int) -> int:
    """The endpoint that process s names by a slot and generation, 0 if none."""
    e = named(old, s, slot, generation)
    return e if e != 0 and old.page[e].kind == ENDPOINT else 0


def counted(old: State, new: State, f: Frame, e: int, rights: int, by: int) -> bool:
    """Endpoint e has ``by`` more references with these rights."""
    f.may("endpoint", e, "references", "senders", "receivers")
    B, A = old.endpoint[e], new.endpoint[e]
    if A.references != B.references + by: return False
    if A.senders != B.senders + (by if rights & SEND else 0): return False
    return bool(A.receivers == B.receivers + (by if rights & RECEIVE else 0))


def endpoint_handle_opened(
    old: State, new: State, f: Frame, s: int, value: int, e: int, rights: int, badge: int
) -> bool:
    """``value`` names endpoint e in process s, with these rights and badge."""
    slot = value % 65536
    f.may_item("process", s, "handle_rights", slot)
    f.may_item("process", s, "handle_badge", slot)
    if new.process[s].handle_rights[slot] != rights or new.process[s].handle_badge[slot] != badge: return False
    return value > 0 and handle_opened(old, new, f, s, value, e)


def endpoint_freed_if_unused(
    old: State, new: State, f: Frame, e: int, left: int, beside: tuple[int, int] = (0, 0)
) -> bool:
    """With ``left`` references and nobody in its queue, nothing is left of endpoint e; else it is an endpoint still.
    ``beside``: a container, and how many pages more it is no longer charged for."""
    if left != 0 or new.endpoint[e].head != 0: return bool(new.page[e].kind == ENDPOINT)
    f.may("endpoint", e, "ticket", "receiving", "signals", "timer")
    c = old.page[e].owner
    pages = 1 + beside[1] if c == beside[0] else 1
    return page_becomes(old, new, f, e, ENDPOINT, FREE) and charged(old, new, f, c, -pages, 0)


def endpoint_dropped(old: State, new: State, f: Frame, s: int, slot: int) -> bool:
    """Process s names the endpoint by this slot no longer."""
    e = old.process[s].handle_object[slot]
    f.may_item("process", s, "handle_rights", slot)
    f.may_item("process", s, "handle_badge", slot)
    if not handle_closed(old, new, f, s, slot): return False
    if not counted(old, new, f, e, old.process[s].handle_rights[slot], -1): return False
    return endpoint_freed_if_unused(old, new, f, e, old.endpoint[e].references - 1)


def endpoint_added(old: State, new: State, f: Frame, c: int, e: int, rights: int) -> bool:
    """Endpoint e is new and charged to container c; one handle names it, with these rights."""
    f.may("endpoint", e, "ticket")
    if not page_becomes(old, new, f, e, FREE, ENDPOINT) or new.page[e].owner != c: return False
    if new.endpoint[e].head != 0 or new.endpoint[e].ticket != 1: return False
    return charged(old, new, f, c, 1, 0) and counted(old, new, f, e, rights, 1)


@specification
def endpoint_create(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """A new endpoint, to which the caller's process has a handle with all rights."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    s = old.thread[t].process
    c = old.process[s].container
    if old.container[c].state != ACTIVE: return result == -EBUSY
    if not handle_room(old, s): return result == -ENOSPC
    if old.container[c].pages < 1: return result == -ENOMEM
    e = new.process[s].handle_object[result % 65536]
    if not endpoint_added(old, new, f, c, e, ALL): return False
    return endpoint_handle_opened(old, new, f, s, result, e, ALL, 0)


@specification
def handle_copy(
    old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, rights: int, badge: int
) -> bool:
    """Another handle to the same endpoint, with some of the rights, and a badge that only a handle without one gets."""
    if old.thread[t].state != RUNNING or badge < 0: return result == -EINVAL
    s = old.thread[t].process
    e = endpoint_named(old, s, slot, generation)
    if e == 0: return result == -ESRCH
    held, own = old.process[s].handle_rights[slot], old.process[s].handle_badge[slot]
    if not 1 <= rights <= ALL or not allows(held, rights) or (badge and own): return result == -EPERM
    if not handle_room(old, s): return result == -ENOSPC
    return counted(old, new, f, e, rights, 1) and endpoint_handle_opened(
        old, new, f, s, result, e, rights, badge or own
    )


@specification
def handle_close(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The handle is closed; the last reference takes the endpoint with it."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    s = old.thread[t].process
    if endpoint_named(old, s, slot, generation) == 0: return result == -ESRCH
    return result == 0 and endpoint_dropped(old, new, f, s, slot)


def pager_unset(old: State, new: State, f: Frame, d: int, beside: int = 0) -> bool:
    """Process d has no pager; the endpoint that was one has a reference less.  ``beside``: how many pages more d's
    container is no longer charged for."""
    e = old.process[d].pager
    if new.process[d].pager != 0: return False
    if e == 0: return True
    f.may("process", d, "pager", "pager_badge")
    return counted(old, new, f, e, SEND, -1) and endpoint_freed_if_unused(
        old, new, f, e, old.endpoint[e].references - 1, (old.process[d].container, beside)
    )


@specification
def pager_set(old: State, new: State, f: Frame, result: int, t: int, d: int, slot: int, generation: int) -> bool:
    """The process has this pager and the endpoint a reference more; or, with generation 0, it has none."""
    s = old.thread[t].process
    if old.thread[t].state != RUNNING or old.page[d].kind != PROCESS: return result == -EINVAL
    if d != s and old.process[d].holder != s: return result == -EINVAL
    if old.process[d].state not in (NEW, ALIVE): return result == -EBUSY
    if generation == 0: return result == 0 and pager_unset(old, new, f, d)
    e = endpoint_named(old, s, slot, generation)
    if e == 0: return result == -ESRCH
    if not old.process[s].handle_rights[slot] & SEND: return result == -EPERM
    if old.process[d].pager != 0: return result == -EBUSY
    f.may("process", d, "pager", "pager_badge")
    if new.process[d].pager != e or new.process[d].pager_badge != old.process[s].handle_badge[slot]: return False
    return result == 0 and counted(old, new, f, e, SEND, 1)


@specification
def timer_bind(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, bound: int) -> bool:
    """The endpoint has a timer, or none."""
    if old.thread[t].state != RUNNING or bound not in (0, 1): return result == -EINVAL
    s = old.thread[t].process
    e = endpoint_named(old, s, slot, generation)
    if e == 0: return result == -ESRCH
    if not old.process[s].handle_rights[slot] & RECEIVE: return result == -EPERM
    f.may("endpoint", e, "timer")
    return bool(result == 0 and new.endpoint[e].timer == bound)
