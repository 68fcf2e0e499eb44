"""What follows where A and B are isolated, of any state: the isolation of the paper, and whom A can meet.

The last three are why ``actors`` may suppose what it does of those with whom a thread of A exchanges something: each is
looked up by a call in just these ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kernel.objects import CONTAINER, PROCESS, THREAD, Kernel
from kernel.prove.isolation.statements import (
    NEITHER,
    A,
    B,
    Side,
    Statement,
    endpoint_isolated,
    memory_isolated,
    process_side,
    side_of,
    thread_side,
)  # fmt: skip


def nothing(k: Kernel) -> int:
    """No step at all: what is asked of it is asked of any state."""
    return 0


def met_at_endpoint(k: Kernel, a: int, b: int, d: int, side: Side, t: int, i: int, u: int) -> bool:
    """Who waits at an endpoint to which a thread of A has a handle is not of B, and gives something other than words
    only if it is of A."""
    e = k.process[k.thread[t].process].handle_object[i]
    if k.page[t].kind != THREAD or thread_side(k, a, b, d, t) != A: return True
    if k.page[u].kind != THREAD or e == 0 or k.thread[u].endpoint != e: return True
    z = thread_side(k, a, b, d, u)
    return z == A or (z != B and k.thread[u].item == 0 and k.thread[u].takes == 0 and k.thread[u].window_pages == 0)


def met_as_caller(k: Kernel, a: int, b: int, d: int, side: Side, t: int) -> bool:
    """Whom a thread of A owes a reply is not of B, and takes something other than words only if it is of A."""
    u = k.thread[t].caller
    if k.page[t].kind != THREAD or u == 0 or thread_side(k, a, b, d, t) != A: return True
    z = thread_side(k, a, b, d, u)
    return z == A or (z != B and k.thread[u].takes == 0 and k.thread[u].window_pages == 0)


def held_below(k: Kernel, a: int, b: int, d: int, side: Side, s: int, i: int) -> bool:
    """A process, container or thread to which a process of a side has a handle is of that side."""
    o = k.process[s].handle_object[i]
    z = process_side(k, a, b, d, s)
    if z == NEITHER or o == 0: return True
    if k.page[o].kind == PROCESS: return process_side(k, a, b, d, o) == z
    if k.page[o].kind == CONTAINER: return side_of(k, a, b, d, o) == z
    return k.page[o].kind != THREAD or thread_side(k, a, b, d, o) == z


LEMMAS: Final = (Statement("held_below", "process.handle_object", held_below),)
"""Those that the proofs about steps use."""


@dataclass(frozen=True)
class Consequence:
    """A statement about these objects."""

    holds: Callable[..., bool]
    ids: tuple[str, ...]


CONSEQUENCES: Final = (
    Consequence(memory_isolated, ("s", "v", "r", "w")), Consequence(endpoint_isolated, ("s", "i", "r", "j")),
    Consequence(met_at_endpoint, ("t", "i", "u")), Consequence(met_as_caller, ("t",)),
    Consequence(held_below, ("s", "i")),
)  # fmt: skip
