"""What it means that containers A and B are isolated: predicates over arbitrary objects, in the style of invariants.

``a`` and ``b`` are the two containers, both at depth ``d`` of the tree; their subtrees are the two *sides*, and all
else is on neither.  ``side`` says of an endpoint, or of a page that processes map, to which side it belongs, 0 for
none.  Nothing in the kernel keeps that: it exists, in any state, if and only if no endpoint and no page is reached from
both sides, or charged to one and reached from the other (give each the side that reaches it).  So one statement about
one handle, or one mapping, says what would otherwise be said of any two.

Each is evaluated from its source on terms, for the proofs, and runs on concrete kernels, in their tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kernel.objects import (
    ENDPOINT,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    PROCESS,
    THREAD,
    Kernel,
)  # fmt: skip

A: Final = 1
B: Final = 2
NEITHER: Final = 0

Side = Callable[[int], int]


@dataclass(frozen=True)
class Statement:
    """One statement: its name, the field whose reading makes it matter, and the predicate over (k, a, b, d, side,
    ids...), where the ids are those of that field's object, and of an item of it if it is a row."""

    name: str
    field: str
    holds: Callable[..., bool]


STATEMENTS: Final[dict[str, Statement]] = {}


def statement(field: str) -> Callable[[Callable[..., bool]], Callable[..., bool]]:
    """Registers a statement about the objects that have this field (table.field), or the items of this row."""

    def register(predicate: Callable[..., bool]) -> Callable[..., bool]:
        name = predicate.__name__
        STATEMENTS[name] = Statement(name, field, predicate)
        return predicate

    return register


def within(k: Kernel, c: int, a: int, d: int) -> bool:
    """Container c is in the subtree of container a, which is at depth d: its ancestor there is a, or it is a."""
    return c == a or k.container[c].path[d] == a


def side_of(k: Kernel, a: int, b: int, d: int, c: int) -> int:
    """On which side container c is."""
    if within(k, c, a, d): return A
    if within(k, c, b, d): return B
    return NEITHER


def process_side(k: Kernel, a: int, b: int, d: int, s: int) -> int:
    """On which side process s is."""
    return side_of(k, a, b, d, k.process[s].container)


def thread_side(k: Kernel, a: int, b: int, d: int, t: int) -> int:
    """On which side thread t is."""
    return side_of(k, a, b, d, k.process[k.thread[t].process].container)


def mapped(k: Kernel, p: int) -> bool:
    """Page p is the first of what processes map."""
    kind = k.page[p].kind
    return kind in (MAPPED, MAPPED_BLOCK, MAPPED_GIANT)


def words_alone(k: Kernel, t: int) -> bool:
    """Thread t gives and takes nothing but words: no pages, no handles, and no page for a fault."""
    T = k.thread[t]
    return T.item == 0 and T.takes == 0 and T.window_pages == 0 and T.fault == 0


# Memory.


@statement("process.map_page")
def page_mapped(k: Kernel, a: int, b: int, d: int, side: Side, s: int, v: int) -> bool:
    """What a process of a side maps belongs to that side."""
    p = k.process[s].map_page[v]
    if p == 0: return True
    z = process_side(k, a, b, d, s)
    return z == NEITHER or side(p) == z


@statement("domain.map_page")
def page_for_devices(k: Kernel, a: int, b: int, d: int, side: Side, m: int, w: int) -> bool:
    """What the devices of a side reach belongs to that side."""
    p = k.domain[m].map_page[w]
    if p == 0: return True
    z = process_side(k, a, b, d, k.domain[m].holder)
    return z == NEITHER or side(p) == z


@statement("page.owner")
def page_charged(k: Kernel, a: int, b: int, d: int, side: Side, p: int) -> bool:
    """A mapped page or an endpoint that is charged to a side belongs to it."""
    if not mapped(k, p) and k.page[p].kind != ENDPOINT: return True
    z = side_of(k, a, b, d, k.page[p].owner)
    return z == NEITHER or side(p) == z


# Endpoints.


@statement("process.handle_object")
def endpoint_named(k: Kernel, a: int, b: int, d: int, side: Side, s: int, i: int) -> bool:
    """An endpoint to which a process of a side has a handle belongs to that side."""
    e = k.process[s].handle_object[i]
    if e == 0 or k.page[e].kind != ENDPOINT: return True
    z = process_side(k, a, b, d, s)
    return z == NEITHER or side(e) == z


@statement("process.pager")
def endpoint_paging(k: Kernel, a: int, b: int, d: int, side: Side, s: int) -> bool:
    """The endpoint to which the page faults of a process of a side go belongs to that side."""
    e = k.process[s].pager
    if e == 0: return True
    z = process_side(k, a, b, d, s)
    return z == NEITHER or side(e) == z


@statement("device.endpoint")
def endpoint_interrupted(k: Kernel, a: int, b: int, d: int, side: Side, o: int) -> bool:
    """The endpoint where interrupts of a side's device are signalled belongs to that side."""
    e = k.device[o].endpoint
    if e == 0: return True
    z = process_side(k, a, b, d, k.device[o].holder)
    return z == NEITHER or side(e) == z


@statement("thread.endpoint")
def endpoint_waited(k: Kernel, a: int, b: int, d: int, side: Side, t: int) -> bool:
    """The endpoint in whose queue a thread of a side waits belongs to that side; a thread of neither side that waits in
    one of a side's gives and takes words alone."""
    e = k.thread[t].endpoint
    if e == 0: return True
    z = thread_side(k, a, b, d, t)
    if z == NEITHER: return side(e) == NEITHER or words_alone(k, t)
    return side(e) == z


@statement("thread.partner")
def call_received(k: Kernel, a: int, b: int, d: int, side: Side, t: int) -> bool:
    """Who received the call of a thread of a side is not of the other; a thread of neither side that waits for the
    reply of one of a side takes words alone."""
    u = k.thread[t].partner
    if u == 0: return True
    z = thread_side(k, a, b, d, t)
    y = thread_side(k, a, b, d, u)
    if z == NEITHER: return y == NEITHER or words_alone(k, t)
    return y in (NEITHER, z)


# What leads from one container to another.


@statement("process.holder")
def process_held(k: Kernel, a: int, b: int, d: int, side: Side, s: int) -> bool:
    """Who holds a process is in its container, or in that one's parent."""
    h = k.process[s].holder
    if h == 0 or k.page[s].kind != PROCESS: return True
    c = k.process[s].container
    return k.process[h].container == c or k.process[h].container == k.container[c].parent


@statement("container.holder")
def container_held(k: Kernel, a: int, b: int, d: int, side: Side, c: int) -> bool:
    """Who holds a container is in its parent."""
    h = k.container[c].holder
    return h == 0 or k.process[h].container == k.container[c].parent


@statement("container.cores_of")
def cores_used(k: Kernel, a: int, b: int, d: int, side: Side, c: int) -> bool:
    """Whose cores are used by containers that are not of its side is of neither side; a container of a side uses those
    of one of it, or those that all of it uses."""
    o = k.container[c].cores_of
    z = side_of(k, a, b, d, o)
    y = side_of(k, a, b, d, c)
    if z != NEITHER: return y == z
    if y == A: return o == k.container[a].cores_of
    return y != B or o == k.container[b].cores_of


# What follows: the isolation of the paper.


def memory_isolated(k: Kernel, a: int, b: int, d: int, s: int, v: int, r: int, w: int) -> bool:
    """No page is mapped by a process of A and by one of B."""
    if process_side(k, a, b, d, s) != A or process_side(k, a, b, d, r) != B: return True
    p = k.process[s].map_page[v]
    return p == 0 or k.process[r].map_page[w] != p


def endpoint_isolated(k: Kernel, a: int, b: int, d: int, s: int, i: int, r: int, j: int) -> bool:
    """No endpoint has a name among the handles of a process of A and of one of B."""
    if process_side(k, a, b, d, s) != A or process_side(k, a, b, d, r) != B: return True
    e = k.process[s].handle_object[i]
    return e == 0 or k.page[e].kind != ENDPOINT or k.process[r].handle_object[j] != e


__all__ = [
    "NEITHER", "STATEMENTS", "THREAD", "A", "B", "Statement", "endpoint_isolated", "mapped", "memory_isolated",
    "process_side", "side_of", "thread_side", "within", "words_alone",
]  # fmt: skip
