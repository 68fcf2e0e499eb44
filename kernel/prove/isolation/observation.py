"""What a side observes: the objects of its subtree, and the endpoints and pages that belong to its side.

Of these, all fields, but for what programs are never told and calls do not depend on: places in lists that others share
with it (UNTOLD), and the links of the run queue of a core that both use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kernel.objects import CONTAINER, DEVICE, DOMAIN, ENDPOINT, FREE, PROCESS, READY, TABLE, THREAD, Kernel
from kernel.prove.isolation.statements import A, Side, mapped, process_side, side_of, thread_side
from kernel.prove.terms import Integer, Truth, add, all_of, at_most, equal, less

UNTOLD: Final = frozenset({"page.rank", "page.block", "container.position", "thread.place"})
"""Where the allocator keeps a page, which child of its parent a container is, which thread of its core a thread is."""
QUEUED: Final = frozenset({"thread.next", "thread.previous", "thread.rank"})
"""Links of queues: observed of those who wait at an endpoint, or for a core of the side's own."""
MET: Final = frozenset(f"thread.{field}" for field in ("endpoint", "waits", "item", "takes", "window_pages", "fault"))
"""What a thread learns of who waits at an endpoint that it names."""
WITHIN: Final[dict[str, tuple[str, int]]] = {
    "container.children": ("container.child_count", 0), "process.children": ("process.child_count", 0),
    "process.handle_stack": ("process.handle_listed", 1), "process.handle_position": ("process.handle_carved", 0),
}  # fmt: skip
"""Rows of which only so many items, from that index on, are in use: behind them is whatever whoever had the page before
left there, which no step reads."""
CORES: Final = frozenset({"container.core_count", "container.cores"})
"""What a thread learns of the container whose cores it uses."""


def container_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, c: int) -> bool:
    """Container c is of side z."""
    return k.page[c].kind == CONTAINER and side_of(k, a, b, d, c) == z


def process_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, s: int) -> bool:
    """Process s is of side z."""
    return k.page[s].kind == PROCESS and process_side(k, a, b, d, s) == z


def thread_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, t: int) -> bool:
    """Thread t is of side z."""
    return k.page[t].kind == THREAD and thread_side(k, a, b, d, t) == z


def endpoint_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, e: int) -> bool:
    """Endpoint e belongs to side z: a process of it names it, or it is charged to it."""
    return k.page[e].kind == ENDPOINT and side(e) == z


def device_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, o: int) -> bool:
    """Device o is charged to side z."""
    return k.page[o].kind == DEVICE and side_of(k, a, b, d, k.page[o].owner) == z


def domain_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, m: int) -> bool:
    """Domain m is held by side z."""
    return k.page[m].kind == DOMAIN and process_side(k, a, b, d, k.domain[m].holder) == z


def table_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, x: int) -> bool:
    """Page table x is one of side z's processes."""
    return k.page[x].kind == TABLE and process_side(k, a, b, d, k.table[x].process) == z


def page_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, p: int) -> bool:
    """Page p is charged to side z, or mapped by a process of it."""
    if k.page[p].kind == FREE: return False
    return side_of(k, a, b, d, k.page[p].owner) == z or (mapped(k, p) and side(p) == z)


def core_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, r: int) -> bool:
    """Core r is owned by side z."""
    return side_of(k, a, b, d, k.core[r].container) == z


def waiting_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, t: int) -> bool:
    """Thread t waits at an endpoint that belongs to side z."""
    e = k.thread[t].endpoint
    return k.page[t].kind == THREAD and e != 0 and side(e) == z


def queued_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, t: int) -> bool:
    """Thread t waits at an endpoint that belongs to side z, or is ready on a core that it owns."""
    if waiting_observed(k, a, b, d, side, z, t): return True
    T = k.thread[t]
    return T.state == READY and thread_observed(k, a, b, d, side, z, t) and core_observed(k, a, b, d, side, z, T.core)


def met_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, t: int) -> bool:
    """Thread t is of side z, or waits at an endpoint that belongs to it."""
    return thread_observed(k, a, b, d, side, z, t) or waiting_observed(k, a, b, d, side, z, t)


def cores_observed(k: Kernel, a: int, b: int, d: int, side: Side, z: int, c: int) -> bool:
    """Container c is of side z, or the one whose cores it uses."""
    return container_observed(k, a, b, d, side, z, c) or c == k.container[a if z == A else b].cores_of


OBSERVED: Final[dict[str, Callable[..., bool]]] = {
    "container": container_observed, "process": process_observed, "thread": thread_observed,
    "endpoint": endpoint_observed, "device": device_observed, "domain": domain_observed, "table": table_observed,
    "page": page_observed, "core": core_observed,
}  # fmt: skip
"""By table: which of its objects a side observes."""


def observed(field: str) -> Callable[..., bool] | None:
    """Of which objects a side observes this field (table.field)."""
    if field in UNTOLD: return None
    if field in QUEUED: return queued_observed
    if field in MET: return met_observed
    if field in CORES: return cores_observed
    return OBSERVED.get(field.partition(".")[0])


def in_use(field: str, id: Integer, index: Integer, get: Callable[..., Integer]) -> Truth:
    """Whether an item of a row is observed, if its object is; ``get`` tells fields of a state, and items.  Where a slot
    is on the stack of closed ones, only of those that are closed."""
    if field not in WITHIN: return True
    count, first = WITHIN[field]
    used = all_of((at_most(first, index), less(index, add(get(count, id), first))))
    if field != "process.handle_position": return used
    return all_of((used, equal(get("process.handle_object", id, index), 0)))
