"""Processes: creation, sharing, exit, wait.

The processes of a container are a forest: who creates one in its own container is its parent; one that is created in
a container from outside has none.  The children of a process that ends by itself pass to its parent; those of one that
was killed are killed with it.

Ending is a sequence of small steps, so that it can be interleaved with others' work: ``process_exit``, ``process_end``
or ``process_kill`` marks the process as ending; then, in any order, ``thread_end`` for each thread, ``unmap_page`` or
``unmap_block`` for each mapping, ``child_inherit`` or ``child_kill`` for each child, ``handle_drop`` for each handle;
at last ``process_finish``.
"""

from __future__ import annotations

from abi.errors import EBUSY, ECHILD, EINVAL, ENOMEM, ENOSPC, ESRCH, OK
from kernel.endpoint import drop_endpoint, unset_pager
from kernel.handles import close_handle, handle_available, handle_value, object_of, open_handle
from kernel.objects import (
    ACTIVE,
    ALIVE,
    BLOCKED,
    CLOSING,
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDED,
    ENDING,
    ENDPOINT,
    KILLED,
    NEW,
    PROCESS,
    RUNNING,
    TABLE,
    THREAD,
    Kernel,
)  # fmt: skip
from kernel.page_allocator import allocate_page, free_page
from kernel.thread import free_thread, new_thread, wake_waiter


def new_process(k: Kernel, c: int) -> int:
    """Creates a process with an empty address space in container c, which has two pages left.  Returns its id."""
    s = allocate_page(k, c, PROCESS)
    x = allocate_page(k, c, TABLE)
    S = k.process[s]
    S.container = c
    S.state = NEW
    S.root = x
    X = k.table[x]
    X.level = 4
    X.process = s
    C = k.container[c]
    S.place = C.processes
    C.members[C.processes] = s
    C.processes = C.processes + 1
    C.born = C.born + 1
    S.born = C.born
    return s


def link_child(k: Kernel, p: int, s: int) -> None:
    """Makes process s, which has no parent, the last child of process p."""
    S = k.process[s]
    P = k.process[p]
    S.parent = p
    S.position = P.child_count
    P.children[P.child_count] = s
    P.child_count = P.child_count + 1


def unlink_child(k: Kernel, s: int) -> None:
    """Takes process s, which has a parent, from its parent's children; the last of them has its place."""
    S = k.process[s]
    P = k.process[S.parent]
    n = P.child_count - 1
    last = P.children[n]
    P.children[S.position] = last
    L = k.process[last]
    L.position = S.position
    P.children[n] = 0
    P.child_count = n
    S.parent = 0
    S.position = 0


def process_spawn(k: Kernel, c: int) -> int:
    """The host creates a process in container c, whose status it will collect.  Returns its id; -EINVAL: no such
    container, or it is ending; -ENOMEM: no quota for the process's page and its root table."""
    if k.page[c].kind != CONTAINER: return -EINVAL
    if k.container[c].state != ACTIVE: return -EINVAL
    if k.container[c].pages < 2: return -ENOMEM
    s = new_process(k, c)
    S = k.process[s]
    S.hosted = 1
    return s


def new_child(k: Kernel, p: int, c: int, parent: int) -> int:
    """Creates a process in container c, with this parent (0 for none) and a handle of process p to it, if p has room
    and c the quota and neither is ending.  Returns the handle, -EBUSY, -ENOSPC or -ENOMEM."""
    if k.process[p].state != ALIVE: return -EBUSY
    if k.container[c].state != ACTIVE: return -EBUSY
    if not handle_available(k, p): return -ENOSPC
    if k.container[c].pages < 2: return -ENOMEM
    s = new_process(k, c)
    if parent != 0: link_child(k, parent, s)
    slot = open_handle(k, p, s)
    S = k.process[s]
    S.holder = p
    S.holder_slot = slot
    return handle_value(k, p, slot)


def process_create(k: Kernel, t: int) -> int:
    """Creates a child process in the container of thread t, and a handle to it.  Returns the handle; -EBUSY: its
    process or container is ending; -ENOSPC: no free handle; -ENOMEM: no quota for the process's page and its root
    table."""
    p = k.thread[t].process
    return new_child(k, p, k.process[p].container, p)


def process_create_in(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Creates a process without a parent in the container that thread t names, and a handle to it.  As process_create;
    -ESRCH: not a handle of a container."""
    p = k.thread[t].process
    c = object_of(k, p, slot, generation)
    if c == 0: return -ESRCH
    if k.page[c].kind != CONTAINER: return -ESRCH
    return new_child(k, p, c, 0)


def process_start(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Creates the first thread of the process that thread t names.  Returns 0; -ESRCH: not a handle of a process;
    -ECHILD: it has ended; -EBUSY: it has a thread already; -ENOMEM: no quota for the thread's page."""
    s = object_of(k, k.thread[t].process, slot, generation)
    if s == 0: return -ESRCH
    if k.page[s].kind != PROCESS: return -ESRCH
    S = k.process[s]
    if S.state == ALIVE: return -EBUSY
    if S.state != NEW: return -ECHILD
    if k.container[S.container].pages < 1: return -ENOMEM
    S.state = ALIVE
    new_thread(k, s)
    return OK


def process_exit(k: Kernel, t: int, status: int) -> int:
    """Running thread t ends its process.  -EINVAL: t does not run, its process is ending already, or the status is not
    within 32 bits."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    if status < 0 or status >= 1 << 32: return -EINVAL
    S = k.process[T.process]
    if S.state != ALIVE: return -EINVAL
    S.state = ENDING
    S.status = status
    return OK


def process_end(k: Kernel, s: int, status: int) -> int:
    """The host, a fault, or the end of its last thread ends process s.  -EINVAL: no such process, it is ending
    already, or the status is not within 32 bits."""
    if k.page[s].kind != PROCESS: return -EINVAL
    S = k.process[s]
    if S.state != NEW and S.state != ALIVE: return -EINVAL
    if status < 0 or status >= 1 << 32: return -EINVAL
    S.state = ENDING
    S.status = status
    return OK


def process_kill(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Begins to end the process that thread t names, with its descendants; its status is KILLED unless it was ending
    already.  -ESRCH: not a handle of a process; -ECHILD: it has ended, or was killed already."""
    s = object_of(k, k.thread[t].process, slot, generation)
    if s == 0: return -ESRCH
    if k.page[s].kind != PROCESS: return -ESRCH
    S = k.process[s]
    if S.state == ENDED or S.killed != 0: return -ECHILD
    kill(k, s)
    return OK


def kill(k: Kernel, s: int) -> None:
    """Process s, which has not ended, is ending, and its descendants are to end with it."""
    S = k.process[s]
    S.killed = 1
    if S.state != ENDING:
        S.state = ENDING
        S.status = KILLED


def child_kill(k: Kernel, s: int) -> int:
    """A step of killing a process with its descendants: its child s is killed too.  -EINVAL: no process whose parent
    was killed, or killed already."""
    if k.page[s].kind != PROCESS: return -EINVAL
    S = k.process[s]
    p = S.parent
    if p == 0: return -EINVAL
    if k.process[p].killed == 0 or S.killed != 0: return -EINVAL
    kill(k, s)
    return OK


def child_inherit(k: Kernel, s: int) -> int:
    """A step of ending a process by itself: its child s passes to its parent, or has none if it has none.  -EINVAL: no
    process whose parent is ending, or the parent was killed."""
    if k.page[s].kind != PROCESS: return -EINVAL
    p = k.process[s].parent
    if p == 0: return -EINVAL
    P = k.process[p]
    if P.state != ENDING or P.killed != 0: return -EINVAL
    unlink_child(k, s)
    if P.parent != 0: link_child(k, P.parent, s)
    return OK


def free_process(k: Kernel, s: int) -> None:
    """Frees process s, of which only the status is left and which has no holder."""
    S = k.process[s]
    C = k.container[S.container]
    n = C.processes - 1
    last = C.members[n]
    C.members[S.place] = last
    L = k.process[last]
    L.place = S.place
    C.members[n] = 0
    C.processes = n
    S.place = 0
    S.born = 0
    S.container = 0
    S.state = 0
    S.status = 0
    S.hosted = 0
    S.handle_opened = 0
    S.handle_carved = 0
    S.handle_listed = 0
    free_page(k, s)


def handle_drop(k: Kernel, s: int, slot: int) -> int:
    """A step of ending process s: it gives up the handle in ``slot``.  A child that has ended is freed, one that never
    started ends; one that runs goes on with no holder; a container, which nobody could end any more, begins to end.
    -EINVAL: s is not ending; -ESRCH: the slot is empty; -EBUSY: s still has threads, or it is a device or
    domain, which have steps of their own."""
    if k.page[s].kind != PROCESS: return -EINVAL
    S = k.process[s]
    if S.state != ENDING: return -EINVAL
    if S.thread_count != 0: return -EBUSY
    o = S.handle_object[slot]
    if o == 0: return -ESRCH
    kind = k.page[o].kind
    if kind >= DEVICE and kind <= DOMAIN: return -EBUSY
    if kind == ENDPOINT:
        drop_endpoint(k, s, slot)
        return OK
    close_handle(k, s, slot)
    if k.page[o].kind == THREAD:
        free_thread(k, o)
        return OK
    if k.page[o].kind == CONTAINER:
        C = k.container[o]
        C.holder = 0
        C.holder_slot = 0
        C.state = CLOSING
        return OK
    W = k.process[o]
    W.holder = 0
    W.holder_slot = 0
    if W.state == ENDED:
        free_process(k, o)
        return OK
    if W.state == NEW: W.state = ENDING
    return OK


def process_finish(k: Kernel, s: int) -> int:
    """The last step of ending process s, which has no thread, mapping, child or handle left.  Its status goes to who
    waits for it; without a holder nothing of it is left.  -EINVAL: s is not ending; -EBUSY: something is left."""
    if k.page[s].kind != PROCESS: return -EINVAL
    S = k.process[s]
    if S.state != ENDING: return -EINVAL
    if S.thread_count != 0 or S.handle_count != 0 or S.mappings != 0 or S.child_count != 0: return -EBUSY
    x = S.root
    X = k.table[x]
    if X.used != 0: return -EBUSY
    unset_pager(k, s)
    X.level = 0
    X.process = 0
    S.root = 0
    free_page(k, x)
    S.killed = 0
    if S.parent != 0: unlink_child(k, s)
    w = S.waiter
    p = S.holder
    if w != 0:
        close_handle(k, p, S.holder_slot)
        wake_waiter(k, w, S.status)
        S.waiter = 0
        S.holder = 0
        S.holder_slot = 0
        free_process(k, s)
        return OK
    if p == 0 and S.hosted == 0:
        free_process(k, s)
        return OK
    S.state = ENDED
    return OK


def process_forget(k: Kernel, s: int) -> int:
    """A step of ending a container: process s in it, which has ended, is freed, and the handle to it closed: its
    status is nobody's.  -EINVAL: no such process, or its container is not ending; -EBUSY: it has not ended."""
    if k.page[s].kind != PROCESS: return -EINVAL
    S = k.process[s]
    if k.container[S.container].state != CLOSING: return -EINVAL
    if S.state != ENDED: return -EBUSY
    if S.holder != 0:
        close_handle(k, S.holder, S.holder_slot)
        S.holder = 0
        S.holder_slot = 0
    free_process(k, s)
    return OK


def process_collect(k: Kernel, s: int) -> int:
    """The host collects the status of process s, which it spawned and which has ended.  Returns the status;
    -EINVAL: not such a process; -EBUSY: it has not ended."""
    if k.page[s].kind != PROCESS: return -EINVAL
    S = k.process[s]
    if S.hosted != 1: return -EINVAL
    if S.state != ENDED: return -EBUSY
    status = S.status
    free_process(k, s)
    return status


def process_wait(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Running thread t waits for the end of the child process it names.  Returns its status at once if it has ended;
    else 0, and t is blocked.  -EINVAL: t does not run, or the process was never started; -ESRCH: not a handle
    of a process; -EBUSY: another thread waits for it."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    p = T.process
    s = object_of(k, p, slot, generation)
    if s == 0: return -ESRCH
    if k.page[s].kind != PROCESS: return -ESRCH
    S = k.process[s]
    if S.state == NEW: return -EINVAL
    if S.waiter != 0: return -EBUSY
    if S.state == ENDED:
        status = S.status
        S.holder = 0
        S.holder_slot = 0
        close_handle(k, p, slot)
        free_process(k, s)
        return status
    S.waiter = t
    T.waiting_for = s
    R = k.core[T.core]
    R.current = 0
    T.state = BLOCKED
    return OK
