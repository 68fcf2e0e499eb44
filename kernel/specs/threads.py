"""Specifications of the life of threads."""

from __future__ import annotations

from abi.errors import EBUSY, ECHILD, EDEADLK, EINVAL, ENOMEM, ENOSPC, ESRCH
from kernel.objects import ALIVE, BLOCKED, DEAD, ENDING, FREE, KILLED, NEW, READY, RUNNING, THREAD
from kernel.specs import Frame, State, specification
from kernel.specs.handles import handle_closed, handle_opened, handle_room, named
from kernel.specs.messages import call_failed, withdrawn
from kernel.specs.placement import displaced, in_turn, placed
from kernel.specs.quotas import charged, page_becomes
from kernel.specs.scheduling import off_core, queued_in_turn, queued_last

THREAD_FIELDS = ("process", "position", "state", "status", "core", "place", "next", "previous", "rank", "holder_slot",
                 "joiner", "waiting_for", "result", "window", "window_pages", "takes")  # fmt: skip


def thread_added(old: State, new: State, f: Frame, s: int, t: int) -> bool:
    """Thread t is new, the last of process s's list, and ready on the container's next core."""
    c = old.process[s].container
    n = old.process[s].thread_count
    i = in_turn(old, c)
    r = old.container[old.container[c].cores_of].cores[i]
    f.may("thread", t, "process", "position", "holder_slot")
    f.may("container", c, "core")
    f.may("process", s, "thread_count")
    f.may_item("process", s, "threads", n)
    if not page_becomes(old, new, f, t, FREE, THREAD) or not charged(old, new, f, c, 1, 0): return False
    if new.thread[t].process != s or not placed(old, new, f, t, r): return False
    if new.process[s].thread_count != n + 1 or new.process[s].threads[n] != t: return False
    return queued_last(old, new, f, t, r) and bool(new.container[c].core == i + 1)


def endpoint_goes_too(old: State, new: State, t: int) -> int:
    """1 if the endpoint that thread t waits at is freed with it, and charged to the same container; else 0."""
    e = old.thread[t].endpoint
    return int(e != 0 and new.page[e].kind == FREE and old.page[e].owner == old.page[t].owner)


def thread_freed(old: State, new: State, f: Frame, t: int) -> bool:
    """Nothing is left of thread t, and its container is no longer charged for it."""
    f.may("thread", t, *THREAD_FIELDS)
    pages = 1 + endpoint_goes_too(old, new, t)
    return page_becomes(old, new, f, t, THREAD, FREE) and charged(old, new, f, old.page[t].owner, -pages, 0)


def thread_unlisted(old: State, new: State, f: Frame, t: int) -> bool:
    """Thread t is out of its process's list, where the last one has its place, and out of its core's."""
    s = old.thread[t].process
    n = old.process[s].thread_count - 1
    last = old.process[s].threads[n]
    f.may("thread", t, "position")
    f.may("thread", last, "position")
    f.may("process", s, "thread_count")
    f.may_item("process", s, "threads", n)
    f.may_item("process", s, "threads", old.thread[t].position)
    return displaced(old, new, f, t) and bool(new.process[s].thread_count == n)


def told(new: State, f: Frame, t: int, result: int) -> bool:
    """Thread t waits for an end no longer; its call returns ``result``."""
    f.may("thread", t, "waiting_for", "result")
    return bool(new.thread[t].waiting_for == 0 and new.thread[t].result == result)


def woken(old: State, new: State, f: Frame, t: int, result: int) -> bool:
    """Thread t, which waited for an end, is ready; its call returns ``result``."""
    return told(new, f, t, result) and queued_last(old, new, f, t, old.thread[t].core)


@specification
def thread_start(old: State, new: State, f: Frame, result: int, s: int) -> bool:
    """The process has one thread more and is alive."""
    S = old.process[s]
    if S.state not in (NEW, ALIVE): return result == -EINVAL
    if old.container[S.container].pages < 1: return result == -ENOMEM
    f.may("process", s, "state")
    return thread_added(old, new, f, s, result) and bool(new.process[s].state == ALIVE)


@specification
def thread_create(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """The caller's process has one thread more and a handle to it."""
    s = old.thread[t].process
    if old.process[s].state != ALIVE: return result == -EBUSY
    if not handle_room(old, s): return result == -ENOSPC
    if old.container[old.process[s].container].pages < 1: return result == -ENOMEM
    u = new.process[s].threads[old.process[s].thread_count]
    return result > 0 and thread_added(old, new, f, s, u) and handle_opened(old, new, f, s, result, u)


@specification
def thread_exit(old: State, new: State, f: Frame, result: int, t: int, status: int) -> bool:
    """The thread has ended: its joiner has the status, or its handle keeps it, or nothing is left; without threads the
    process is ending, with this status if it was not before.  Who waits for its reply learns that there is none."""
    T = old.thread[t]
    if T.state != RUNNING or not 0 <= status < 1 << 32: return result == -EINVAL
    s = T.process
    if result != 0 or not off_core(old, new, f, t) or not thread_unlisted(old, new, f, t): return False
    if old.process[s].thread_count == 1 and old.process[s].state != ENDING:
        f.may("process", s, "state", "status")
        if new.process[s].state != ENDING or new.process[s].status != status: return False
    return status_left(old, new, f, t, status)


def status_left(old: State, new: State, f: Frame, t: int, status: int) -> bool:
    """The joiner of thread t has this status, or its handle keeps it, or nothing is left of it.  Who waits for its
    reply learns that there is none; then who joins is ready."""
    T = old.thread[t]
    if not call_failed(new, f, t, T.caller): return False
    if not queued_in_turn(old, new, f, (T.caller, T.joiner), t): return False
    if T.joiner != 0:
        if not told(new, f, T.joiner, status): return False
        return handle_closed(old, new, f, T.process, T.holder_slot) and thread_freed(old, new, f, t)
    if T.holder_slot == -1: return thread_freed(old, new, f, t)
    f.may("thread", t, "state", "status")
    return bool(new.thread[t].state == DEAD and new.thread[t].status == status)


def thread_unlinked(old: State, new: State, f: Frame, t: int, freed: bool) -> bool:
    """Thread t is not on a core, in a queue, in its process's list, nor waiting.  ``freed``: nothing is left of it."""
    T = old.thread[t]
    if T.waits != 0 and not withdrawn(old, new, f, t, int(freed)): return False
    if T.state == RUNNING and not off_core(old, new, f, t): return False
    if T.state == READY:
        f.may("core", T.core, "head", "tail")
        f.may("thread", t, "next", "previous", "rank")
        f.may("thread", T.next, "previous")
        f.may("thread", T.previous, "next")
    if T.waiting_for != 0:
        f.may("thread", t, "waiting_for")
        f.may("thread", T.waiting_for, "joiner")
        f.may("process", T.waiting_for, "waiter")
    return thread_unlisted(old, new, f, t) and bool(new.thread[t].waiting_for == 0)


@specification
def thread_kill(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The named thread has ended with status KILLED: its joiner has it, or its handle keeps it."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    u = named(old, old.thread[t].process, slot, generation)
    if u == 0 or old.page[u].kind != THREAD: return result == -ESRCH
    if u == t: return result == -EINVAL
    if old.thread[u].state == DEAD: return result == -ECHILD
    U = old.thread[u]
    freed = U.joiner != 0 or U.holder_slot == -1
    return result == 0 and thread_unlinked(old, new, f, u, freed) and status_left(old, new, f, u, KILLED)


@specification
def thread_end(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """Nothing is left of the thread: not on a core, in a queue, waiting, waited for, or in a handle; who waits for its
    reply learns that there is none."""
    T = old.thread[t]
    if old.page[t].kind != THREAD or T.state == DEAD or old.process[T.process].state != ENDING:
        return result == -EINVAL
    if T.joiner != 0:
        f.may("thread", T.joiner, "waiting_for")
        if new.thread[T.joiner].waiting_for != 0: return False
    if T.holder_slot != -1 and not handle_closed(old, new, f, T.process, T.holder_slot): return False
    if result != 0 or not thread_unlinked(old, new, f, t, True): return False
    if not call_failed(new, f, t, T.caller) or not queued_in_turn(old, new, f, (T.caller,), t): return False
    return thread_freed(old, new, f, t)


@specification
def thread_join(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The status of a thread that has ended, of which then nothing is left; or the caller waits for its end."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    s = old.thread[t].process
    u = named(old, s, slot, generation)
    if u == 0 or old.page[u].kind != THREAD: return result == -ESRCH
    if u == t: return result == -EDEADLK
    if old.thread[u].joiner != 0: return result == -EBUSY
    if old.thread[u].state == DEAD:
        if result != old.thread[u].status: return False
        return handle_closed(old, new, f, s, slot) and thread_freed(old, new, f, u)
    f.may("thread", u, "joiner")
    f.may("thread", t, "waiting_for", "state")
    if result != 0 or new.thread[u].joiner != t or new.thread[t].waiting_for != u: return False
    return off_core(old, new, f, t) and bool(new.thread[t].state == BLOCKED)
