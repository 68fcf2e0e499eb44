"""Invariants of processes, their threads as a set, and their handles."""

from __future__ import annotations

from kernel.invariants import invariant
from kernel.objects import (
    ALIVE,
    BLOCKED,
    CONTAINER,
    DEAD,
    DEVICE,
    DOMAIN,
    ENDED,
    ENDING,
    ENDPOINT,
    HANDLES,
    NEW,
    PROCESS,
    TABLE,
    THREAD,
    Kernel,
)  # fmt: skip


@invariant("process")
def process_charge(k: Kernel, s: int) -> bool:
    """A process is in a known state, in a container, which is charged for it; what is no process is blank."""
    S = k.process[s]
    if k.page[s].kind == PROCESS:
        if S.state < NEW or S.state > ENDED: return False
        return k.page[S.container].kind == CONTAINER and k.page[s].owner == S.container
    if S.state != 0 or S.status != 0 or S.container != 0 or S.hosted != 0 or S.thread_count != 0: return False
    if S.holder != 0 or S.holder_slot != 0 or S.waiter != 0: return False
    if S.parent != 0 or S.position != 0 or S.child_count != 0 or S.killed != 0 or S.born != 0: return False
    if S.mappings != 0 or S.handle_count != 0: return False
    return S.handle_opened == 0 and S.handle_carved == 0 and S.handle_listed == 0


@invariant("process")
def process_parent(k: Kernel, s: int) -> bool:
    """A process that has a parent is its child at its place, in the same container and created later, and has not
    ended."""
    S = k.process[s]
    p = S.parent
    if k.page[s].kind != PROCESS: return True
    if p == 0: return S.position == 0
    P = k.process[p]
    if k.page[p].kind != PROCESS or P.container != S.container or P.born >= S.born or S.state == ENDED: return False
    return S.position >= 0 and S.position < P.child_count and P.children[S.position] == s


@invariant("process.children")
def process_child(k: Kernel, s: int, i: int) -> bool:
    """Each of a process's children is a process that says so and knows its place."""
    S = k.process[s]
    if i < 0 or i >= S.child_count: return True
    c = S.children[i]
    return k.page[c].kind == PROCESS and k.process[c].parent == s and k.process[c].position == i


@invariant("process")
def process_family(k: Kernel, s: int) -> bool:
    """A process has children only while it is alive or ending, is a killed one only while it is ending, and was created
    no later than the last of its container."""
    S = k.process[s]
    if k.page[s].kind != PROCESS: return True
    if S.child_count != 0 and S.state != ALIVE and S.state != ENDING: return False
    if S.killed != 0 and (S.killed != 1 or S.state != ENDING): return False
    return S.child_count >= 0 and S.born >= 1 and S.born <= k.container[S.container].born


@invariant("process")
def process_root(k: Kernel, s: int) -> bool:
    """A process has a root table of its own until it has ended; then it has none, and no thread, handle or mapping."""
    S = k.process[s]
    if k.page[s].kind != PROCESS: return S.root == 0
    if S.state == ENDED: return S.root == 0 and S.thread_count == 0 and S.handle_count == 0 and S.mappings == 0
    X = k.table[S.root]
    return k.page[S.root].kind == TABLE and X.level == 4 and X.process == s


@invariant("process")
def process_threads(k: Kernel, s: int) -> bool:
    """A new process has no thread, one that is alive at least one."""
    S = k.process[s]
    if S.state == NEW: return S.thread_count == 0
    if S.state == ALIVE: return S.thread_count >= 1
    return S.thread_count >= 0


@invariant("process.threads")
def process_thread(k: Kernel, s: int, i: int) -> bool:
    """Each entry of a process's list is a thread of it that has not ended and knows its place."""
    S = k.process[s]
    if i < 0 or i >= S.thread_count: return True
    t = S.threads[i]
    T = k.thread[t]
    return k.page[t].kind == THREAD and T.process == s and T.position == i and T.state != DEAD


@invariant("process")
def process_mappings(k: Kernel, s: int) -> bool:
    """A process counts its mappings."""
    assert k.ledger is not None
    return k.process[s].mappings == k.ledger.mapped[s]


@invariant("process")
def process_handles(k: Kernel, s: int) -> bool:
    """A process counts its handles: the slots it used less those that came back."""
    assert k.ledger is not None
    S = k.process[s]
    if S.handle_count != k.ledger.handles[s]: return False
    if S.handle_listed < 0 or S.handle_carved > HANDLES: return False
    return S.handle_count == S.handle_carved - S.handle_listed and S.handle_opened >= 0


@invariant("process.handle_object")
def handle_object(k: Kernel, s: int, i: int) -> bool:
    """An open handle has a generation and names an endpoint, or a thread, process, container, device or domain that
    knows the slot; a closed slot is clean."""
    S = k.process[s]
    o = S.handle_object[i]
    if o == 0: return S.handle_generation[i] == 0
    if k.page[s].kind != PROCESS or i < 0 or i >= S.handle_carved: return False
    if S.handle_generation[i] < 1 or S.handle_generation[i] > S.handle_opened: return False
    if k.page[o].kind == ENDPOINT: return True
    if k.page[o].kind == DEVICE: return k.device[o].holder == s and k.device[o].holder_slot == i
    if k.page[o].kind == DOMAIN: return k.domain[o].holder == s and k.domain[o].holder_slot == i
    if k.page[o].kind == THREAD: return k.thread[o].process == s and k.thread[o].holder_slot == i
    if k.page[o].kind == CONTAINER: return k.container[o].holder == s and k.container[o].holder_slot == i
    return k.page[o].kind == PROCESS and k.process[o].holder == s and k.process[o].holder_slot == i


@invariant("process.handle_stack")
def handle_stack(k: Kernel, s: int, i: int) -> bool:
    """Each entry of the stack of closed slots is a closed slot that was used and knows its position: the entries are
    distinct, and by the count in ``process_handles`` all such slots."""
    S = k.process[s]
    if i < 1 or i > S.handle_listed: return True
    slot = S.handle_stack[i]
    if slot < 0 or slot >= S.handle_carved: return False
    return S.handle_object[slot] == 0 and S.handle_position[slot] == i


@invariant("process")
def process_holder(k: Kernel, s: int) -> bool:
    """Who holds a process has a handle to it; one that has ended is held, or the host's to collect."""
    S = k.process[s]
    if k.page[s].kind != PROCESS: return True
    if S.holder != 0:
        if S.hosted != 0 or k.page[S.holder].kind != PROCESS: return False
        return k.process[S.holder].handle_object[S.holder_slot] == s
    if S.holder_slot != 0: return False
    return S.hosted == 1 or (S.hosted == 0 and S.state != ENDED)


@invariant("process")
def process_waiter(k: Kernel, s: int) -> bool:
    """Who waits for a process is a blocked thread of its holder that says so; none waits for one that has ended."""
    S = k.process[s]
    w = S.waiter
    if w == 0: return True
    W = k.thread[w]
    if S.state == ENDED or S.state == NEW: return False
    return k.page[w].kind == THREAD and W.state == BLOCKED and W.waiting_for == s and W.process == S.holder
