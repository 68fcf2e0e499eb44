"""Scheduling: each core runs the threads placed on it, first come first served, in time slices.

A thread is running (on exactly one core), ready (in exactly one core's queue), blocked, or dead (ended, its status not
yet collected).  Queues are doubly linked through the threads; ranks grow along them, which is what makes FIFO order
and the absence of cycles statements about one or two threads.
"""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL, OK
from kernel.objects import BLOCKED, READY, RUNNING, Kernel


def enqueue(k: Kernel, t: int) -> None:
    """Makes thread t ready, at the tail of its core's queue."""
    T = k.thread[t]
    R = k.core[T.core]
    a = R.tail
    T.state = READY
    T.next = 0
    T.previous = a
    T.rank = R.ticket
    R.ticket = R.ticket + 1
    if a == 0:
        R.head = t
    else:
        A = k.thread[a]
        A.next = t
    R.tail = t


def dequeue(k: Kernel, t: int) -> None:
    """Takes ready thread t out of its core's queue, wherever in it it is.  The caller sets its new state."""
    T = k.thread[t]
    R = k.core[T.core]
    a = T.previous
    b = T.next
    if a == 0:
        R.head = b
    else:
        A = k.thread[a]
        A.next = b
    if b == 0:
        R.tail = a
    else:
        B = k.thread[b]
        B.previous = a
    T.next = 0
    T.previous = 0
    T.rank = 0


def schedule(k: Kernel, r: int) -> int:
    """Core r, which runs nothing, runs the head of its queue.  Returns the thread, or 0 if none is ready.
    -EINVAL: no such core; -EBUSY: it runs a thread."""
    if r < 0 or r >= k.cores: return -EINVAL
    R = k.core[r]
    if R.current != 0: return -EBUSY
    t = R.head
    if t == 0: return 0
    dequeue(k, t)
    T = k.thread[t]
    T.state = RUNNING
    R.current = t
    return t


def preempt(k: Kernel, r: int) -> int:
    """Core r's time slice is over: its thread goes to the tail of the queue.  -EINVAL: no such core, or it is idle."""
    if r < 0 or r >= k.cores: return -EINVAL
    R = k.core[r]
    t = R.current
    if t == 0: return -EINVAL
    R.current = 0
    enqueue(k, t)
    return OK


def thread_yield(k: Kernel, t: int) -> int:
    """Running thread t lets the others of its core run first.  -EINVAL: it does not run."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    R = k.core[T.core]
    R.current = 0
    enqueue(k, t)
    return OK


def thread_block(k: Kernel, t: int) -> int:
    """Running thread t waits until it is woken.  -EINVAL: it does not run."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    R = k.core[T.core]
    R.current = 0
    T.state = BLOCKED
    return OK


def thread_wake(k: Kernel, t: int) -> int:
    """Blocked thread t, which waits for no thread's or process's end and no message, becomes ready.  -EINVAL: it is not
    blocked so."""
    T = k.thread[t]
    if T.state != BLOCKED: return -EINVAL
    if T.waiting_for != 0 or T.waits != 0: return -EINVAL
    enqueue(k, t)
    return OK
