"""Invariants of the tree of containers and of what is in them.

Source: Atmosphere, section 4.1 (the seven clauses of the container tree; here by parent, place and path).
"""

from __future__ import annotations

from kernel.invariants import invariant
from kernel.objects import ACTIVE, CLOSING, CONTAINER, DEPTH_LIMIT, PROCESS, Kernel


@invariant("container")
def container_place(k: Kernel, c: int) -> bool:
    """A container other than the root is its parent's child at its place, one level deeper, and charged to it; the root
    is its own, at depth 0, and never ends; neither has fewer children or processes, ever, than none; what is no
    container is blank."""
    C = k.container[c]
    if k.page[c].kind != CONTAINER:
        if C.state != 0 or C.parent != 0 or C.depth != 0 or C.position != 0: return False
        if C.used_pages != 0 or C.used_blocks != 0 or C.used_giants != 0: return False
        return C.child_count == 0 and C.processes == 0 and C.born == 0 and C.hosted == 0
    if C.depth < 0 or C.depth > DEPTH_LIMIT or (C.state != ACTIVE and C.state != CLOSING): return False
    if C.child_count < 0 or C.processes < 0 or C.born < 0: return False
    if c == k.root: return C.depth == 0 and C.parent == 0 and k.page[c].owner == c and C.state == ACTIVE
    A = k.container[C.parent]
    if k.page[C.parent].kind != CONTAINER or k.page[c].owner != C.parent or C.depth != A.depth + 1: return False
    return C.position >= 0 and C.position < A.child_count and A.children[C.position] == c


@invariant("container.children")
def container_child(k: Kernel, c: int, i: int) -> bool:
    """Each of a container's children is a container that says so and knows its place."""
    C = k.container[c]
    if i < 0 or i >= C.child_count: return True
    n = C.children[i]
    N = k.container[n]
    return n != k.root and k.page[n].kind == CONTAINER and N.parent == c and N.position == i


@invariant("container.path")
def container_path(k: Kernel, c: int, i: int) -> bool:
    """A container's ancestor at depth i is a container at that depth: its parent if i is its own depth less one, else
    the one that its parent has there too."""
    C = k.container[c]
    if k.page[c].kind != CONTAINER or i < 0 or i >= C.depth: return C.path[i] == 0
    a = C.path[i]
    if k.page[a].kind != CONTAINER or k.container[a].depth != i: return False
    if i == C.depth - 1: return a == C.parent
    return k.container[C.parent].path[i] == a


@invariant("container")
def container_holder(k: Kernel, c: int) -> bool:
    """Who holds a container has a handle to it, and it is not the host's; a container that nobody holds, unless it is
    the root, is ending."""
    C = k.container[c]
    if C.hosted < 0 or C.hosted > 1: return False
    if C.holder == 0: return C.holder_slot == 0 and (C.state != ACTIVE or C.hosted == 1 or c == k.root)
    if C.hosted != 0 or c == k.root or k.page[c].kind != CONTAINER or k.page[C.holder].kind != PROCESS: return False
    return k.process[C.holder].handle_object[C.holder_slot] == c


@invariant("container.members")
def container_member(k: Kernel, c: int, i: int) -> bool:
    """Each of a container's processes is a process that says so and knows its place."""
    C = k.container[c]
    if i < 0 or i >= C.processes: return True
    s = C.members[i]
    return k.page[s].kind == PROCESS and k.process[s].container == c and k.process[s].place == i


@invariant("process")
def process_place(k: Kernel, s: int) -> bool:
    """A process is in its container's list at its place."""
    S = k.process[s]
    if k.page[s].kind != PROCESS: return S.place == 0
    C = k.container[S.container]
    return S.place >= 0 and S.place < C.processes and C.members[S.place] == s
