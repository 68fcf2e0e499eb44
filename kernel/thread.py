"""Threads: creation, exit, join.  A thread belongs to one process and is placed on one core of its container."""

from __future__ import annotations

from abi.errors import EBUSY, ECHILD, EDEADLK, EINVAL, ENOMEM, ENOSPC, ESRCH, OK
from kernel.handles import close_handle, handle_available, handle_value, object_of, open_handle
from kernel.message import desert, withdraw
from kernel.objects import ALIVE, BLOCKED, DEAD, ENDING, KILLED, NEW, READY, RUNNING, THREAD, Kernel
from kernel.page_allocator import allocate_page, free_page
from kernel.placement import displace, next_core, place
from kernel.scheduler import dequeue, enqueue


def new_thread(k: Kernel, s: int) -> int:
    """Creates a ready thread in process s, whose container has a page left.  Returns its id."""
    S = k.process[s]
    t = allocate_page(k, S.container, THREAD)
    T = k.thread[t]
    T.process = s
    T.position = S.thread_count
    place(k, t, next_core(k, S.container))
    T.holder_slot = -1
    S.threads[S.thread_count] = t
    S.thread_count = S.thread_count + 1
    enqueue(k, t)
    return t


def thread_start(k: Kernel, s: int) -> int:
    """The host, or the personality it granted, adds a thread to process s.  Returns the thread's id; -EINVAL: no such
    process or it has ended; -ENOMEM: no quota for the thread's page."""
    S = k.process[s]
    if S.state != NEW and S.state != ALIVE: return -EINVAL
    if k.container[S.container].pages < 1: return -ENOMEM
    S.state = ALIVE
    return new_thread(k, s)


def thread_create(k: Kernel, t: int) -> int:
    """Creates a ready thread in the process of thread t, and a handle to it.  Returns the handle; -EBUSY: the process
    is ending; -ENOSPC: no free handle; -ENOMEM: no quota for the thread's page."""
    s = k.thread[t].process
    S = k.process[s]
    if S.state != ALIVE: return -EBUSY
    if not handle_available(k, s): return -ENOSPC
    if k.container[S.container].pages < 1: return -ENOMEM
    u = new_thread(k, s)
    slot = open_handle(k, s, u)
    U = k.thread[u]
    U.holder_slot = slot
    return handle_value(k, s, slot)


def unlink_thread(k: Kernel, t: int) -> None:
    """Takes thread t off its core, out of its queue, out of what it waits for, and out of its process; who waits for
    its reply learns that there will be none."""
    T = k.thread[t]
    if T.state == RUNNING:
        R = k.core[T.core]
        R.current = 0
    if T.state == READY: dequeue(k, t)
    if T.waits != 0: withdraw(k, t)
    desert(k, t)
    o = T.waiting_for
    if o != 0:
        if k.page[o].kind == THREAD:
            U = k.thread[o]
            U.joiner = 0
        else:
            W = k.process[o]
            W.waiter = 0
        T.waiting_for = 0
    S = k.process[T.process]
    n = S.thread_count - 1
    last = S.threads[n]
    S.threads[T.position] = last
    L = k.thread[last]
    L.position = T.position
    S.threads[n] = 0
    S.thread_count = n
    T.position = 0
    displace(k, t)


def free_thread(k: Kernel, t: int) -> None:
    """Frees thread t, which is in no queue and no process's list and has no handle."""
    T = k.thread[t]
    T.process = 0
    T.state = 0
    T.status = 0
    T.place = 0
    T.result = 0
    T.joiner = 0
    T.holder_slot = 0
    if T.window_pages != 0 or T.window != 0:
        T.window = 0
        T.window_pages = 0
    if T.takes != 0: T.takes = 0
    free_page(k, t)


def wake_waiter(k: Kernel, t: int, result: int) -> None:
    """Thread t, blocked until an object ended, becomes ready; its call returns ``result``."""
    T = k.thread[t]
    T.waiting_for = 0
    T.result = result
    enqueue(k, t)


def thread_exit(k: Kernel, t: int, status: int) -> int:
    """Running thread t ends, and with the last thread its process, which keeps the status it has if it is ending
    already.  Who joins it gets the status; without a handle to it nothing of it is left.
    -EINVAL: it does not run, or the status is not within 32 bits."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    if status < 0 or status >= 1 << 32: return -EINVAL
    s = T.process
    unlink_thread(k, t)
    S = k.process[s]
    if S.thread_count == 0 and S.state != ENDING:
        S.state = ENDING
        S.status = status
    leave_status(k, t, status)
    return OK


def leave_status(k: Kernel, t: int, status: int) -> None:
    """Thread t, which is in no queue and no process's list any more, has ended with this status: who joins it gets it,
    or it is kept for who has a handle."""
    T = k.thread[t]
    j = T.joiner
    if j != 0:
        close_handle(k, T.process, T.holder_slot)
        free_thread(k, t)
        wake_waiter(k, j, status)
        return
    if T.holder_slot == -1:
        free_thread(k, t)
        return
    T.state = DEAD
    T.status = status


def thread_kill(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Running thread t ends another thread of its process, whatever that does, with status KILLED.  Returns 0; -EINVAL:
    t does not run, or it is t itself; -ESRCH: not a handle of a thread; -ECHILD: it has ended."""
    if k.thread[t].state != RUNNING: return -EINVAL
    u = object_of(k, k.thread[t].process, slot, generation)
    if u == 0: return -ESRCH
    if k.page[u].kind != THREAD: return -ESRCH
    if u == t: return -EINVAL
    if k.thread[u].state == DEAD: return -ECHILD
    unlink_thread(k, u)
    leave_status(k, u, KILLED)
    return OK


def thread_end(k: Kernel, t: int) -> int:
    """A step of ending a process: its thread t, whatever its state, ends.  -EINVAL: no such thread, or it has ended
    already, or its process is not ending."""
    if k.page[t].kind != THREAD: return -EINVAL
    T = k.thread[t]
    if T.state == DEAD: return -EINVAL
    if k.process[T.process].state != ENDING: return -EINVAL
    j = T.joiner
    unlink_thread(k, t)
    if j != 0:
        J = k.thread[j]
        J.waiting_for = 0
        T.joiner = 0
    if T.holder_slot != -1:
        close_handle(k, T.process, T.holder_slot)
    free_thread(k, t)
    return OK


def thread_join(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Running thread t waits for the end of the thread it names.  Returns its status at once if it has ended; else
    0, and t is blocked (the status comes when it is woken).  -EINVAL: t does not run; -ESRCH: not a handle of a thread;
    -EBUSY: another thread waits for it; -EDEADLK: it is t itself."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    s = T.process
    u = object_of(k, s, slot, generation)
    if u == 0: return -ESRCH
    if k.page[u].kind != THREAD: return -ESRCH
    if u == t: return -EDEADLK
    U = k.thread[u]
    if U.joiner != 0: return -EBUSY
    if U.state == DEAD:
        status = U.status
        close_handle(k, s, slot)
        free_thread(k, u)
        return status
    U.joiner = t
    T.waiting_for = u
    R = k.core[T.core]
    R.current = 0
    T.state = BLOCKED
    return OK
