"""Specifications of what moves threads between cores and queues."""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL
from kernel.objects import BLOCKED, READY, RUNNING
from kernel.specs import Frame, State, specification


def queued_last(old: State, new: State, f: Frame, t: int, r: int) -> bool:
    """Thread t is ready and the tail of core r's queue, behind the one that was, with the next ticket."""
    last = old.core[r].tail
    ticket = old.core[r].ticket
    f.may("thread", t, "state", "next", "previous", "rank")
    f.may("thread", last, "next")
    f.may("core", r, "head", "tail", "ticket")
    if last == 0 and new.core[r].head != t: return False
    if last != 0 and new.core[r].head != old.core[r].head: return False
    if new.thread[t].rank != ticket or new.core[r].ticket != ticket + 1: return False
    return bool(new.thread[t].state == READY and new.core[r].tail == t and new.thread[t].previous == last)


def queued_in_turn(old: State, new: State, f: Frame, threads: tuple[int, ...], without: int) -> bool:
    """These threads (0: none) are ready, each at the tail of its core's queue when its turn came; thread ``without``
    left its own queue before, if it was in one."""
    for r in {old.thread[t].core for t in threads if t != 0}:
        first, last, ticket = old.core[r].head, old.core[r].tail, old.core[r].ticket
        if first == without: first = old.thread[without].next
        if last == without: last = old.thread[without].previous
        f.may("core", r, "head", "tail", "ticket")
        for t in threads:
            if t == 0 or old.thread[t].core != r: continue
            f.may("thread", t, "state", "next", "previous", "rank")
            f.may("thread", last, "next")
            if new.thread[t].state != READY or new.thread[t].rank != ticket: return False
            if new.thread[t].previous != last: return False
            first, last, ticket = first or t, t, ticket + 1
        if new.core[r].head != first or new.core[r].tail != last or new.core[r].ticket != ticket: return False
    return True


def off_core(old: State, new: State, f: Frame, t: int) -> bool:
    """The core that ran thread t runs none."""
    r = old.thread[t].core
    f.may("core", r, "current")
    return bool(old.core[r].current == t and new.core[r].current == 0)


@specification
def schedule(old: State, new: State, f: Frame, result: int, r: int) -> bool:
    """The head of an idle core's queue runs there; its successor is the head."""
    if r < 0 or r >= old.cores: return result == -EINVAL
    if old.core[r].current != 0: return result == -EBUSY
    t = old.core[r].head
    if t == 0: return result == 0
    n = old.thread[t].next
    f.may("core", r, "current", "head", "tail")
    f.may("thread", t, "state", "next", "previous", "rank")
    f.may("thread", n, "previous")
    if new.core[r].current != t or new.thread[t].state != RUNNING: return False
    if n != 0 and new.core[r].tail != old.core[r].tail: return False
    return bool(result == t and new.core[r].head == n)


@specification
def preempt(old: State, new: State, f: Frame, result: int, r: int) -> bool:
    """The thread of a busy core goes behind those that wait."""
    if r < 0 or r >= old.cores or old.core[r].current == 0: return result == -EINVAL
    t = old.core[r].current
    return result == 0 and off_core(old, new, f, t) and queued_last(old, new, f, t, r)


@specification
def thread_yield(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """The running thread goes behind those that wait for its core."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    return result == 0 and off_core(old, new, f, t) and queued_last(old, new, f, t, old.thread[t].core)


@specification
def thread_block(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """The running thread waits."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    f.may("thread", t, "state")
    return result == 0 and off_core(old, new, f, t) and new.thread[t].state == BLOCKED


@specification
def thread_wake(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """The thread, which waits for no end and no message, is ready, behind those that are."""
    if old.thread[t].state != BLOCKED or old.thread[t].waiting_for != 0: return result == -EINVAL
    if old.thread[t].waits != 0: return result == -EINVAL
    return result == 0 and queued_last(old, new, f, t, old.thread[t].core)
