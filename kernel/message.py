"""Messages: send, receive, call, reply.  The kernel decides who meets whom; the words are in the threads' registers.

A message that nobody waits for blocks its sender in the queue of the endpoint, first come first served.  ``call`` goes
on waiting for the reply of the one thread that received it; where that thread waits on the same core, the core switches
to it directly, and back with its reply.  Pages that a message carries have been mapped by steps of their own
(``share_page``, ``grant_page`` and their like) before the step that delivers it, which is told so (``moved``).

Source: Atmosphere, section 3.2; call and reply as in L4 kernels.
"""

from __future__ import annotations

from abi.errors import (
    EAGAIN,
    EBUSY,
    EINVAL,
    EMSGSIZE,
    EPERM,
    EPIPE,
    EPROTO,
    ESRCH,
    OK,
)  # fmt: skip
from kernel.endpoint import (
    endpoint_of,
    free_if_unused,
    join_queue,
    leave_queue,
    may_receive,
    may_send,
)  # fmt: skip
from kernel.handles import handle_available
from kernel.objects import (
    AWAITING,
    BLOCKED,
    CALLING,
    ENDPOINT,
    HANDLE,
    RECEIVING,
    RUNNING,
    SENDING,
    SHARE,
    THREAD,
    Kernel,
)  # fmt: skip
from kernel.passing import pass_handle, passing_refusal
from kernel.scheduler import enqueue


def message_accept(k: Kernel, t: int, window: int, pages: int, takes: int) -> int:
    """Running thread t says what it takes besides words with the messages to come: up to ``pages`` pages, once, at
    virtual page ``window`` (none if 0), and, if ``takes`` is 1, handles.  -EINVAL: it does not run, or not within
    range."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    if window < 0 or pages < 0 or takes < 0 or takes > 1: return -EINVAL
    T.window = window
    T.window_pages = pages
    T.takes = takes
    return OK


def item_refusal(k: Kernel, s: int, item: int, first: int, count: int, rights: int, moved: int, u: int) -> int:
    """OK if thread u can take what a message of process s carries (pages: all ``moved`` already); else -EPROTO,
    -EMSGSIZE, or what ``passing_refusal`` says."""
    if item == 0: return OK
    U = k.thread[u]
    if item == HANDLE:
        if U.takes != 1 or not handle_available(k, U.process): return -EPROTO
        return passing_refusal(k, s, first, count, rights, U.process)
    if U.fault != 0:
        if count != 1: return -EMSGSIZE
    else:
        if U.window_pages == 0: return -EPROTO
        if count > U.window_pages: return -EMSGSIZE
    return OK if moved == count else -EPROTO


def take_item(k: Kernel, s: int, item: int, first: int, rights: int, u: int) -> None:
    """Thread u gets what a message of process s carries."""
    if item == 0: return
    U = k.thread[u]
    if item == HANDLE:
        pass_handle(k, s, first, rights, U.process)
        return
    if U.fault != 0: return
    U.window = 0
    U.window_pages = 0


def set_item(k: Kernel, t: int, item: int, first: int, count: int, rights: int, badge: int) -> None:
    """Thread t, about to wait in a queue, keeps what its message carries."""
    T = k.thread[t]
    if badge != 0: T.badge = badge
    if item == 0: return
    T.item = item
    T.item_first = first
    T.item_count = count
    T.item_rights = rights


def clear_item(k: Kernel, t: int) -> None:
    """Thread t no longer has a message that carries anything."""
    T = k.thread[t]
    if T.badge != 0: T.badge = 0
    if T.item == 0: return
    T.item = 0
    T.item_first = 0
    T.item_count = 0
    T.item_rights = 0


def item_valid(item: int, first: int, count: int, rights: int) -> bool:
    """True if a message may carry this: nothing, pages, or a handle."""
    if item == 0: return first == 0 and count == 0 and rights == 0
    if first < 0 or count < 1 or rights < 0 or rights > 7: return False
    return item >= SHARE and item <= HANDLE


def leave_core(k: Kernel, t: int, waits: int) -> None:
    """Running thread t blocks, to wait so; its core runs nobody."""
    T = k.thread[t]
    R = k.core[T.core]
    R.current = 0
    T.state = BLOCKED
    T.waits = waits


def switch(k: Kernel, t: int, u: int) -> None:
    """Blocked thread u goes on in place of t, which has just left its core; or, on another core, is ready there."""
    T = k.thread[t]
    U = k.thread[u]
    if U.core == T.core:
        R = k.core[T.core]
        R.current = u
        U.state = RUNNING
    else:
        enqueue(k, u)


def message_send(
    k: Kernel, t: int, slot: int, generation: int, wait: int, item: int, first: int, count: int, rights: int, moved: int
) -> int:
    """Running thread t sends a message.  0, delivered if t still runs; else it waits in the queue.  -EINVAL: t does not
    run, or a message cannot carry that; -ESRCH: not a handle of an endpoint; -EPERM: it cannot send; what
    ``item_refusal`` says for who receives; -EPIPE: nobody can receive; -EAGAIN: nobody does, and ``wait`` is 0."""
    T = k.thread[t]
    if T.state != RUNNING or not item_valid(item, first, count, rights): return -EINVAL
    s = T.process
    e = endpoint_of(k, s, slot, generation)
    if e == 0: return -ESRCH
    if not may_send(k.process[s].handle_rights[slot]): return -EPERM
    E = k.endpoint[e]
    u = E.head
    if u != 0 and E.receiving == 1:
        refusal = item_refusal(k, s, item, first, count, rights, moved, u)
        if refusal != OK: return refusal
        leave_queue(k, u)
        take_item(k, s, item, first, rights, u)
        U = k.thread[u]
        U.waits = 0
        enqueue(k, u)
        return OK
    if E.receivers == 0: return -EPIPE
    if wait == 0: return -EAGAIN
    leave_core(k, t, SENDING)
    set_item(k, t, item, first, count, rights, k.process[s].handle_badge[slot])
    join_queue(k, e, t, 0)
    return OK


def call_through(
    k: Kernel, t: int, e: int, badge: int, item: int, first: int, count: int, rights: int, moved: int, wait: int
) -> int:
    """Running thread t sends a message to endpoint e and waits for the reply, or first for somebody to receive it."""
    s = k.thread[t].process
    E = k.endpoint[e]
    u = E.head
    if u != 0 and E.receiving == 1:
        refusal = item_refusal(k, s, item, first, count, rights, moved, u)
        if refusal != OK: return refusal
        leave_queue(k, u)
        take_item(k, s, item, first, rights, u)
        U = k.thread[u]
        U.waits = 0
        U.caller = t
        leave_core(k, t, AWAITING)
        T = k.thread[t]
        T.partner = u
        switch(k, t, u)
        return OK
    if E.receivers == 0: return -EPIPE
    if wait == 0: return -EAGAIN
    leave_core(k, t, CALLING)
    set_item(k, t, item, first, count, rights, badge)
    join_queue(k, e, t, 0)
    return OK


def message_call(
    k: Kernel, t: int, slot: int, generation: int, wait: int, item: int, first: int, count: int, rights: int, moved: int
) -> int:
    """Running thread t sends a message and waits for the reply.  Errors as message_send; -EPIPE also later, if who
    received it ends without a reply."""
    T = k.thread[t]
    if T.state != RUNNING or not item_valid(item, first, count, rights): return -EINVAL
    s = T.process
    e = endpoint_of(k, s, slot, generation)
    if e == 0: return -ESRCH
    S = k.process[s]
    if not may_send(S.handle_rights[slot]): return -EPERM
    return call_through(k, t, e, S.handle_badge[slot], item, first, count, rights, moved, wait)


def message_fault(k: Kernel, t: int, v: int) -> int:
    """Running thread t faulted on virtual page v: its process's pager is called, and may map the page with its reply.
    -EINVAL: t does not run, or no such page; -ESRCH: it has no pager; -EPIPE: nobody can receive."""
    T = k.thread[t]
    if T.state != RUNNING or v < 1: return -EINVAL
    S = k.process[T.process]
    e = S.pager
    if e == 0: return -ESRCH
    if k.endpoint[e].receivers == 0: return -EPIPE
    T.fault = v
    return call_through(k, t, e, S.pager_badge, 0, 0, 0, 0, 0, 1)


def message_receive(k: Kernel, t: int, slot: int, generation: int, wait: int, moved: int) -> int:
    """Running thread t receives a message: signals of the endpoint first (their number is the result), else the first
    that is queued (0), else it waits for one (0, and it no longer runs).  -EINVAL: t does not run; -EBUSY: it owes a
    reply; -ESRCH: not a handle of an endpoint; -EPERM: it cannot receive; what ``item_refusal`` says of the first that
    is queued, which stays; -EPIPE: nobody can send; -EAGAIN: nobody does, and ``wait`` is 0."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    if T.caller != 0: return -EBUSY
    s = T.process
    e = endpoint_of(k, s, slot, generation)
    if e == 0: return -ESRCH
    if not may_receive(k.process[s].handle_rights[slot]): return -EPERM
    E = k.endpoint[e]
    n = E.signals
    if n != 0:
        E.signals = 0
        return n
    u = E.head
    if u != 0 and E.receiving == 0:
        U = k.thread[u]
        refusal = item_refusal(k, U.process, U.item, U.item_first, U.item_count, U.item_rights, moved, t)
        if refusal != OK: return refusal
        leave_queue(k, u)
        take_item(k, U.process, U.item, U.item_first, U.item_rights, t)
        clear_item(k, u)
        if U.waits == CALLING:
            U.waits = AWAITING
            U.partner = t
            T.caller = u
        else:
            U.waits = 0
            enqueue(k, u)
        return OK
    if E.senders == 0 and E.timer == 0: return -EPIPE
    if wait == 0: return -EAGAIN
    leave_core(k, t, RECEIVING)
    join_queue(k, e, t, 1)
    return OK


def end_call(k: Kernel, t: int, u: int) -> None:
    """Thread u no longer waits for the reply of t, nor for its pager."""
    T = k.thread[t]
    U = k.thread[u]
    T.caller = 0
    U.partner = 0
    U.waits = 0
    if U.fault != 0: U.fault = 0


def message_reply(k: Kernel, t: int, item: int, first: int, count: int, rights: int, moved: int) -> int:
    """Running thread t replies to the call it received.  -EINVAL: t does not run, or a message cannot carry that;
    -ESRCH: nobody waits for a reply of it; what ``item_refusal`` says for the caller, who goes on waiting."""
    T = k.thread[t]
    if T.state != RUNNING or not item_valid(item, first, count, rights): return -EINVAL
    u = T.caller
    if u == 0: return -ESRCH
    refusal = item_refusal(k, T.process, item, first, count, rights, moved, u)
    if refusal != OK: return refusal
    take_item(k, T.process, item, first, rights, u)
    end_call(k, t, u)
    enqueue(k, u)
    return OK


def message_reply_receive(
    k: Kernel, t: int, slot: int, generation: int, item: int, first: int, count: int, rights: int, moved: int
) -> int:
    """Running thread t replies to the call it received and waits for the next message, of which there is none yet.
    Errors as message_reply and message_receive; -EBUSY: there is a message or a signal."""
    T = k.thread[t]
    if T.state != RUNNING or not item_valid(item, first, count, rights): return -EINVAL
    u = T.caller
    if u == 0: return -ESRCH
    s = T.process
    e = endpoint_of(k, s, slot, generation)
    if e == 0: return -ESRCH
    if not may_receive(k.process[s].handle_rights[slot]): return -EPERM
    refusal = item_refusal(k, s, item, first, count, rights, moved, u)
    if refusal != OK: return refusal
    E = k.endpoint[e]
    if E.signals != 0: return -EBUSY
    if E.head != 0 and E.receiving == 0: return -EBUSY
    if E.senders == 0 and E.timer == 0: return -EPIPE
    take_item(k, s, item, first, rights, u)
    end_call(k, t, u)
    leave_core(k, t, RECEIVING)
    join_queue(k, e, t, 1)
    switch(k, t, u)
    return OK


def withdraw(k: Kernel, t: int) -> None:
    """Thread t, which waits with an endpoint, no longer does; who received its call owes no reply."""
    T = k.thread[t]
    e = T.endpoint
    if e == 0:
        end_call(k, T.partner, t)
        return
    leave_queue(k, t)
    clear_item(k, t)
    T.waits = 0
    if T.fault != 0: T.fault = 0
    free_if_unused(k, e)


def desert(k: Kernel, t: int) -> None:
    """Thread t will not reply: who waits for it learns so."""
    T = k.thread[t]
    u = T.caller
    if u == 0: return
    end_call(k, t, u)
    U = k.thread[u]
    U.result = -EPIPE
    enqueue(k, u)


def message_cancel(k: Kernel, t: int, error: int) -> int:
    """Thread t waits for a message no longer; its call returns ``error``: its time is over, nobody is left at the other
    end, or the other side does not take what its message carries.  -EINVAL: it does not wait so, or no error."""
    if error < -4095 or error > -1: return -EINVAL
    if k.page[t].kind != THREAD: return -EINVAL
    T = k.thread[t]
    if T.waits == 0: return -EINVAL
    withdraw(k, t)
    T.result = error
    enqueue(k, t)
    return OK


def endpoint_signal(k: Kernel, e: int) -> int:
    """An interrupt or a timer's expiry: the first thread that waits to receive goes on, or the next to receive will.
    -EINVAL: no such endpoint."""
    if k.page[e].kind != ENDPOINT: return -EINVAL
    E = k.endpoint[e]
    u = E.head
    if u != 0 and E.receiving == 1:
        leave_queue(k, u)
        U = k.thread[u]
        U.waits = 0
        enqueue(k, u)
        free_if_unused(k, e)
        return OK
    E.signals = E.signals + 1
    return OK
