"""Invariants of threads, cores and run queues.

A queue is FIFO because ranks grow along it, and a thread that joins it takes the next: neighbours are linked both ways
in the order of their ranks (``thread_queue``), and both ends are ends (``core_queue``).  That nobody ranks before the
head, behind the tail, or between a thread and its successor follows (``kernel.prove.lemmas``).

Source: Atmosphere, section 4.1 (thread states, schedulers).
"""

from __future__ import annotations

from kernel.invariants import invariant
from kernel.objects import BLOCKED, DEAD, PROCESS, READY, RUNNING, THREAD, Kernel


@invariant("thread")
def thread_charge(k: Kernel, t: int) -> bool:
    """A thread is in a known state, of a process, charged to that process's container; what is no thread is blank."""
    T = k.thread[t]
    if k.page[t].kind == THREAD:
        if T.state < RUNNING or T.state > DEAD or k.page[T.process].kind != PROCESS: return False
        return k.page[t].owner == k.process[T.process].container
    if T.state != 0 or T.process != 0 or T.position != 0 or T.core != 0 or T.holder_slot != 0: return False
    if T.status != 0 or T.result != 0 or T.joiner != 0 or T.waiting_for != 0: return False
    if T.waits != 0 or T.endpoint != 0 or T.partner != 0 or T.caller != 0 or T.badge != 0 or T.fault != 0: return False
    if T.item != 0 or T.item_first != 0 or T.item_count != 0 or T.item_rights != 0: return False
    if T.window != 0 or T.window_pages != 0 or T.takes != 0: return False
    return T.next == 0 and T.previous == 0 and T.rank == 0


@invariant("thread")
def thread_position(k: Kernel, t: int) -> bool:
    """A thread that has not ended is in its process's list at its position, and placed on a core; one that has, has no
    position and no place."""
    T = k.thread[t]
    if k.page[t].kind != THREAD: return True
    if T.state == DEAD: return T.position == 0 and T.place == -1
    if T.place == -1: return False
    S = k.process[T.process]
    return T.position >= 0 and T.position < S.thread_count and S.threads[T.position] == t


@invariant("thread")
def thread_running(k: Kernel, t: int) -> bool:
    """A running thread is the current one of its core."""
    T = k.thread[t]
    if k.page[t].kind != THREAD or T.state != RUNNING: return True
    return k.core[T.core].current == t


@invariant("thread")
def thread_queue(k: Kernel, t: int) -> bool:
    """A ready thread has a ticket and is linked both ways with its neighbours in its core's queue, behind the one that
    ranks before it; one that is neither ready nor in the queue of an endpoint is in none."""
    T = k.thread[t]
    if k.page[t].kind != THREAD: return True
    if T.state != READY: return T.endpoint != 0 or (T.next == 0 and T.previous == 0 and T.rank == 0)
    R = k.core[T.core]
    if T.rank < 1 or T.rank >= R.ticket: return False
    a = T.previous
    if a == 0:
        if R.head != t: return False
    else:
        A = k.thread[a]
        if k.page[a].kind != THREAD or A.state != READY or A.core != T.core or A.next != t: return False
        if A.rank >= T.rank or R.head == t: return False
    b = T.next
    if b == 0: return R.tail == t
    B = k.thread[b]
    if k.page[b].kind != THREAD or B.state != READY or B.core != T.core or B.previous != t: return False
    return R.tail != t


@invariant("thread")
def thread_waits(k: Kernel, t: int) -> bool:
    """A thread that waits for an end is blocked, and who it waits for knows it."""
    T = k.thread[t]
    o = T.waiting_for
    if o == 0 or k.page[t].kind != THREAD: return True
    if T.state != BLOCKED or o == t: return False
    if k.page[o].kind == THREAD: return k.thread[o].joiner == t
    return k.page[o].kind == PROCESS and k.process[o].waiter == t


@invariant("thread")
def thread_joiner(k: Kernel, t: int) -> bool:
    """Who joins a thread waits for it, in the same process; none joins one that has ended."""
    T = k.thread[t]
    j = T.joiner
    if j == 0 or k.page[t].kind != THREAD: return True
    J = k.thread[j]
    return T.state != DEAD and k.page[j].kind == THREAD and J.waiting_for == t and J.process == T.process


@invariant("thread")
def thread_handle(k: Kernel, t: int) -> bool:
    """A thread's handle leads to it; one that has ended has a handle, or there would be nothing left of it."""
    T = k.thread[t]
    if k.page[t].kind != THREAD: return True
    if T.holder_slot == -1: return T.state != DEAD and T.joiner == 0
    return k.process[T.process].handle_object[T.holder_slot] == t


@invariant("core")
def core_current(k: Kernel, r: int) -> bool:
    """What a core runs is a running thread placed on it."""
    R = k.core[r]
    t = R.current
    if t == 0: return True
    if r < 0 or r >= k.cores: return False
    return k.page[t].kind == THREAD and k.thread[t].state == RUNNING and k.thread[t].core == r


@invariant("core")
def core_queue(k: Kernel, r: int) -> bool:
    """A core has a ticket to give; its queue has both ends or neither; they are ready threads placed on it with nobody
    beyond."""
    R = k.core[r]
    if R.ticket < 1: return False
    h = R.head
    e = R.tail
    if h == 0 or e == 0: return h == 0 and e == 0
    H = k.thread[h]
    E = k.thread[e]
    if k.page[h].kind != THREAD or H.state != READY or H.core != r or H.previous != 0: return False
    return k.page[e].kind == THREAD and E.state == READY and E.core == r and E.next == 0
