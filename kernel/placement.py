"""Which cores a container has, and which of them a thread is placed on.

A container owns cores that its parent gave it, or else uses those of the nearest ancestor that owns some
(``Container.cores_of``).  A core is given only while no thread is placed on it; who gives keeps one at least, and what
a container was given goes back when it ends.  Threads are placed on the cores that their container uses in turn, and
can be moved: what a program names is an index among these cores.
"""

from __future__ import annotations

from abi.errors import EBUSY, ECHILD, EINVAL, ENOMEM, ESRCH, OK
from kernel.handles import object_of
from kernel.objects import ACTIVE, BLOCKED, CLOSING, CONTAINER, DEAD, READY, RUNNING, THREAD, Kernel
from kernel.scheduler import dequeue, enqueue


def next_core(k: Kernel, c: int) -> int:
    """The core that the next thread of container c is placed on: those it uses have their turns."""
    C = k.container[c]
    A = k.container[C.cores_of]
    i = C.core
    if i >= A.core_count: i = 0
    C.core = i + 1
    return A.cores[i]


def place(k: Kernel, t: int, r: int) -> None:
    """Places thread t, which is placed nowhere, on core r."""
    T = k.thread[t]
    R = k.core[r]
    T.core = r
    T.place = R.placed_count
    R.placed[R.placed_count] = t
    R.placed_count = R.placed_count + 1


def displace(k: Kernel, t: int) -> None:
    """Thread t, which does not run and is in no queue, is placed nowhere any more; the last one on its core has its
    place."""
    T = k.thread[t]
    R = k.core[T.core]
    n = R.placed_count - 1
    last = R.placed[n]
    R.placed[T.place] = last
    L = k.thread[last]
    L.place = T.place
    R.placed[n] = 0
    R.placed_count = n
    T.place = -1
    T.core = 0


def move(k: Kernel, t: int, r: int) -> None:
    """Moves thread t, which has not ended, to core r: if it ran or was ready, to the tail of the queue there."""
    T = k.thread[t]
    if T.core == r: return
    if T.state == RUNNING:
        R = k.core[T.core]
        R.current = 0
    if T.state == READY: dequeue(k, t)
    displace(k, t)
    place(k, t, r)
    if T.state != BLOCKED: enqueue(k, t)


def thread_affinity(k: Kernel, t: int, slot: int, generation: int, i: int) -> int:
    """Thread t moves one of its process, or itself (slot and generation 0), to the core with index i among those that
    its container uses.  -ESRCH: not a handle of a thread; -ECHILD: it has ended; -EINVAL: no such core."""
    u = t
    if slot != 0 or generation != 0:
        u = object_of(k, k.thread[t].process, slot, generation)
    if k.page[u].kind != THREAD: return -ESRCH
    if k.thread[u].state == DEAD: return -ECHILD
    A = k.container[k.container[k.process[k.thread[u].process].container].cores_of]
    if i < 0 or i >= A.core_count: return -EINVAL
    move(k, u, A.cores[i])
    return OK


def thread_move(k: Kernel, t: int, i: int) -> int:
    """The host moves thread t to the core with index i among those that its container uses.  -EINVAL: no thread, it
    has ended, or no such core."""
    if k.page[t].kind != THREAD: return -EINVAL
    T = k.thread[t]
    if T.state == DEAD: return -EINVAL
    A = k.container[k.container[k.process[T.process].container].cores_of]
    if i < 0 or i >= A.core_count: return -EINVAL
    move(k, t, A.cores[i])
    return OK


def core_give(k: Kernel, c: int) -> int:
    """A step of creating a container with cores: the last core of its parent is container c's.  -EINVAL: no container
    with a parent, or it is ending; -ENOMEM: the parent owns no two cores; -EBUSY: a thread is placed on the core, or c
    has none yet and somebody in it uses those of an ancestor."""
    if k.page[c].kind != CONTAINER or c == k.root: return -EINVAL
    C = k.container[c]
    if C.state != ACTIVE: return -EINVAL
    A = k.container[C.parent]
    n = A.core_count - 1
    if n < 1: return -ENOMEM
    if C.core_count == 0 and (C.processes != 0 or C.child_count != 0): return -EBUSY
    r = A.cores[n]
    R = k.core[r]
    if R.placed_count != 0: return -EBUSY
    A.cores[n] = 0
    A.core_count = n
    R.container = c
    R.position = C.core_count
    C.cores[C.core_count] = r
    C.core_count = C.core_count + 1
    C.cores_of = c
    return OK


def core_return(k: Kernel, c: int) -> int:
    """A step of ending container c, in which no process or container is left: its last core is its parent's.  -EINVAL:
    it is not ending, or owns no core; -EBUSY: something in it may use the core."""
    if k.page[c].kind != CONTAINER: return -EINVAL
    C = k.container[c]
    if C.state != CLOSING or C.core_count == 0: return -EINVAL
    if C.processes != 0 or C.child_count != 0: return -EBUSY
    A = k.container[C.parent]
    n = C.core_count - 1
    r = C.cores[n]
    R = k.core[r]
    C.cores[n] = 0
    C.core_count = n
    if n == 0: C.cores_of = A.cores_of
    R.container = C.parent
    R.position = A.core_count
    A.cores[A.core_count] = r
    A.core_count = A.core_count + 1
    return OK
