"""Invariants of cores: whose they are, and who is placed on them."""

from __future__ import annotations

from kernel.invariants import invariant
from kernel.objects import CONTAINER, THREAD, Kernel


@invariant("core")
def core_place(k: Kernel, r: int) -> bool:
    """A core is among its container's at its position; no fewer threads than none are placed on it."""
    R = k.core[r]
    if r < 0 or r >= k.cores: return True
    C = k.container[R.container]
    if k.page[R.container].kind != CONTAINER or R.placed_count < 0: return False
    return R.position >= 0 and R.position < C.core_count and C.cores[R.position] == r


@invariant("container.cores")
def container_owns(k: Kernel, c: int, i: int) -> bool:
    """Each of a container's cores is a core that says so and knows its position."""
    C = k.container[c]
    if i < 0 or i >= C.core_count: return True
    r = C.cores[i]
    return r >= 0 and r < k.cores and k.core[r].container == c and k.core[r].position == i


@invariant("container")
def container_core(k: Kernel, c: int) -> bool:
    """A container that owns cores uses these, and its parent owns some; another uses those that its parent uses, of
    which there are some."""
    C = k.container[c]
    if k.page[c].kind != CONTAINER: return C.core == 0 and C.core_count == 0 and C.cores_of == 0
    if C.core < 0 or C.core_count < 0: return False
    if C.core_count > 0: return C.cores_of == c and (c == k.root or k.container[C.parent].core_count > 0)
    return c != k.root and C.cores_of == k.container[C.parent].cores_of and k.container[C.cores_of].core_count > 0


@invariant("thread")
def thread_core(k: Kernel, t: int) -> bool:
    """A thread is placed on a core that its container uses, at its place there; one that is placed nowhere names
    none."""
    T = k.thread[t]
    if k.page[t].kind != THREAD: return T.place == 0
    if T.place == -1: return T.core == 0
    if T.core < 0 or T.core >= k.cores: return False
    R = k.core[T.core]
    if R.container != k.container[k.process[T.process].container].cores_of: return False
    return T.place >= 0 and T.place < R.placed_count and R.placed[T.place] == t


@invariant("core.placed")
def core_placed(k: Kernel, r: int, i: int) -> bool:
    """Each of the threads that are placed on a core is a thread that says so and knows its place."""
    R = k.core[r]
    if i < 0 or i >= R.placed_count: return True
    t = R.placed[i]
    return k.page[t].kind == THREAD and k.thread[t].core == r and k.thread[t].place == i
