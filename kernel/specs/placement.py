"""Specifications of what gives cores to containers and moves threads between cores."""

from __future__ import annotations

from abi.errors import EBUSY, ECHILD, EINVAL, ENOMEM, ESRCH
from kernel.objects import ACTIVE, BLOCKED, CLOSING, CONTAINER, DEAD, READY, RUNNING, THREAD
from kernel.specs import Frame, State, specification
from kernel.specs.handles import named
from kernel.specs.scheduling import off_core, queued_last


def placed(old: State, new: State, f: Frame, t: int, r: int) -> bool:
    """Thread t is the last of those placed on core r."""
    n = old.core[r].placed_count
    f.may("thread", t, "core", "place")
    f.may("core", r, "placed_count")
    f.may_item("core", r, "placed", n)
    if new.core[r].placed_count != n + 1 or new.core[r].placed[n] != t: return False
    return bool(new.thread[t].core == r)


def displaced(old: State, new: State, f: Frame, t: int) -> bool:
    """Thread t is not placed where it was; the last one there has its place."""
    r = old.thread[t].core
    n = old.core[r].placed_count - 1
    f.may("thread", t, "core", "place")
    f.may("thread", old.core[r].placed[n], "place")
    f.may("core", r, "placed_count")
    f.may_item("core", r, "placed", n)
    f.may_item("core", r, "placed", old.thread[t].place)
    return bool(new.core[r].placed_count == n)


def in_turn(old: State, c: int) -> int:
    """Whose turn it is among the cores that container c uses: an index."""
    i = old.container[c].core
    return int(i) if i < old.container[old.container[c].cores_of].core_count else 0


def cores_of(old: State, t: int) -> int:
    """The container whose cores thread t may be placed on."""
    return int(old.container[old.process[old.thread[t].process].container].cores_of)


def moved(old: State, new: State, f: Frame, t: int, r: int) -> bool:
    """Thread t is placed on core r, where it waits behind the others unless it is blocked; where it was there already,
    nothing has changed."""
    T = old.thread[t]
    if T.core == r: return True
    if not displaced(old, new, f, t) or not placed(old, new, f, t, r): return False
    if T.state == BLOCKED: return True
    if T.state == RUNNING and not off_core(old, new, f, t): return False
    if T.state == READY:
        f.may("core", T.core, "head", "tail")
        f.may("thread", T.next, "previous")
        f.may("thread", T.previous, "next")
    return queued_last(old, new, f, t, r)


@specification
def thread_affinity(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, i: int) -> bool:
    """The named thread, or the caller, is placed on the core with this index."""
    u = t if slot == 0 and generation == 0 else named(old, old.thread[t].process, slot, generation)
    if u == 0 or old.page[u].kind != THREAD: return result == -ESRCH
    if old.thread[u].state == DEAD: return result == -ECHILD
    A = old.container[cores_of(old, u)]
    if not 0 <= i < A.core_count: return result == -EINVAL
    return result == 0 and moved(old, new, f, u, A.cores[i])


@specification
def thread_move(old: State, new: State, f: Frame, result: int, t: int, i: int) -> bool:
    """The thread is placed on the core with this index."""
    if old.page[t].kind != THREAD or old.thread[t].state == DEAD: return result == -EINVAL
    A = old.container[cores_of(old, t)]
    if not 0 <= i < A.core_count: return result == -EINVAL
    return result == 0 and moved(old, new, f, t, A.cores[i])


def handed_over(old: State, new: State, f: Frame, a: int, c: int) -> bool:
    """The last core of container a is the last of container c; nobody is placed on it."""
    n, m = old.container[a].core_count - 1, old.container[c].core_count
    r = old.container[a].cores[n]
    f.may("core", r, "container", "position")
    f.may("container", a, "core_count", "cores_of")
    f.may_item("container", a, "cores", n)
    f.may("container", c, "core_count", "cores_of")
    f.may_item("container", c, "cores", m)
    if new.container[a].core_count != n or new.container[c].core_count != m + 1: return False
    if new.container[c].cores[m] != r or old.core[r].placed_count != 0: return False
    return bool(new.core[r].container == c and new.core[r].position == m)


@specification
def core_give(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """The last core of the container's parent, which keeps one at least, is the container's."""
    C = old.container[c]
    if old.page[c].kind != CONTAINER or c == old.root or C.state != ACTIVE: return result == -EINVAL
    A = old.container[C.parent]
    if A.core_count < 2: return result == -ENOMEM
    if C.core_count == 0 and (C.processes != 0 or C.child_count != 0): return result == -EBUSY
    if old.core[A.cores[A.core_count - 1]].placed_count != 0: return result == -EBUSY
    return result == 0 and handed_over(old, new, f, C.parent, c) and bool(new.container[c].cores_of == c)


@specification
def core_return(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """The last core of an ending container is its parent's; without one it would use those that its parent does."""
    C = old.container[c]
    if old.page[c].kind != CONTAINER or C.state != CLOSING or C.core_count == 0: return result == -EINVAL
    if C.processes != 0 or C.child_count != 0: return result == -EBUSY
    return result == 0 and handed_over(old, new, f, c, C.parent)
