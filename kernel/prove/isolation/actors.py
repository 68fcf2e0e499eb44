"""Who takes a step: for each transition, what its arguments are when a program of A has it made.

Most are made by a thread, their first argument, of A.  The others are steps that calls consist of, or that follow from
what A did: on a process, container, device or endpoint of A.  That ``kernel/calls`` makes them with no other arguments
is by its reading, and assumed; with whom a thread of A can meet, so that pages pass between the two, is proved
(``consequences``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kernel.objects import CONTAINER, DEVICE, DOMAIN, ENDPOINT, PROCESS, THREAD, Kernel
from kernel.prove.isolation.statements import A, B, Side, process_side, side_of, thread_side

Actor = Callable[..., bool]


def by_thread(k: Kernel, a: int, b: int, d: int, side: Side, t: int) -> bool:
    """Thread t is of A."""
    return k.page[t].kind == THREAD and thread_side(k, a, b, d, t) == A


def on_process(k: Kernel, a: int, b: int, d: int, side: Side, s: int) -> bool:
    """Process s is of A."""
    return k.page[s].kind == PROCESS and process_side(k, a, b, d, s) == A


def on_container(k: Kernel, a: int, b: int, d: int, side: Side, c: int) -> bool:
    """Container c is of A."""
    return k.page[c].kind == CONTAINER and side_of(k, a, b, d, c) == A


def below(k: Kernel, a: int, b: int, d: int, side: Side, c: int) -> bool:
    """Container c is below A: what is done to A itself, its parent or the host does."""
    return c != a and on_container(k, a, b, d, side, c)


def ending(k: Kernel, a: int, b: int, d: int, side: Side, c: int) -> bool:
    """Container c is of A; if it is A itself, whoever ended it takes the step."""
    return on_container(k, a, b, d, side, c)


def for_container(k: Kernel, a: int, b: int, d: int, side: Side, c: int) -> bool:
    """Container c is of A, or one that a thread of A met: not of B."""
    return k.page[c].kind == CONTAINER and side_of(k, a, b, d, c) != B


def on_page(k: Kernel, a: int, b: int, d: int, side: Side, p: int) -> bool:
    """Page p is charged to A."""
    return side_of(k, a, b, d, k.page[p].owner) == A


def on_device(k: Kernel, a: int, b: int, d: int, side: Side, o: int) -> bool:
    """Device o is charged to A."""
    return k.page[o].kind == DEVICE and side_of(k, a, b, d, k.page[o].owner) == A


def on_domain(k: Kernel, a: int, b: int, d: int, side: Side, m: int) -> bool:
    """Domain m is held by A."""
    return k.page[m].kind == DOMAIN and process_side(k, a, b, d, k.domain[m].holder) == A


def on_endpoint(k: Kernel, a: int, b: int, d: int, side: Side, e: int) -> bool:
    """Endpoint e belongs to A."""
    return k.page[e].kind == ENDPOINT and side(e) == A


def on_met(k: Kernel, a: int, b: int, d: int, side: Side, t: int) -> bool:
    """Thread t is of A, or waits at an endpoint that belongs to A."""
    if k.page[t].kind != THREAD: return False
    return thread_side(k, a, b, d, t) == A or (k.thread[t].endpoint != 0 and side(k.thread[t].endpoint) == A)


def next_of_core(k: Kernel, a: int, b: int, d: int, side: Side, r: int) -> bool:
    """The thread that is next on core r is of A."""
    return by_thread(k, a, b, d, side, k.core[r].head)


def current_of_core(k: Kernel, a: int, b: int, d: int, side: Side, r: int) -> bool:
    """The thread that core r runs is of A."""
    return by_thread(k, a, b, d, side, k.core[r].current)


def two_processes(k: Kernel, a: int, b: int, d: int, side: Side, s: int, r: int) -> bool:
    """Process s is of A; process r is too, or met it: it is not of B."""
    return on_process(k, a, b, d, side, s) and k.page[r].kind == PROCESS and process_side(k, a, b, d, r) != B


def both_processes(k: Kernel, a: int, b: int, d: int, side: Side, s: int, r: int) -> bool:
    """Processes s and r are of A."""
    return on_process(k, a, b, d, side, s) and on_process(k, a, b, d, side, r)


def device_and_process(k: Kernel, a: int, b: int, d: int, side: Side, o: int, s: int) -> bool:
    """Device o and process s are of A."""
    return on_device(k, a, b, d, side, o) and on_process(k, a, b, d, side, s)


def process_and_container(k: Kernel, a: int, b: int, d: int, side: Side, s: int, c: int) -> bool:
    """Process s and container c are of A."""
    return on_process(k, a, b, d, side, s) and on_container(k, a, b, d, side, c)


def process_and_endpoint(k: Kernel, a: int, b: int, d: int, side: Side, s: int, e: int) -> bool:
    """Process s is of A, and endpoint e belongs to it."""
    return on_process(k, a, b, d, side, s) and on_endpoint(k, a, b, d, side, e)


PROCESS_STEPS: Final = (
    "map_page", "map_block", "map_giant", "unmap_page", "unmap_block", "unmap_giant", "protect_page", "protect_block",
    "protect_giant", "thread_start", "process_end", "child_kill", "child_inherit", "handle_drop", "process_finish",
    "process_forget", "process_collect",
)  # fmt: skip

QUOTA_STEPS: Final = ("quota_split", "quota_merge", "giant_split", "giant_merge")
CONTAINER_STEPS: Final = (
    "container_close", "container_spawn", "process_spawn", "device_add",
)  # fmt: skip
SHARING_STEPS: Final = ("share_page", "share_block", "share_giant", "grant_page", "grant_block", "grant_giant")

ACTORS: Final[dict[str, tuple[Actor, tuple[str, ...]]]] = {
    **dict.fromkeys(PROCESS_STEPS, (on_process, ("s",))),
    **dict.fromkeys(SHARING_STEPS, (two_processes, ("s", "d"))),
    **dict.fromkeys(QUOTA_STEPS, (for_container, ("c",))),
    **dict.fromkeys(CONTAINER_STEPS, (on_container, ("c",))),
    **dict.fromkeys(("container_end", "container_finish"), (ending, ("c",))),
    **dict.fromkeys(("core_give", "core_return"), (below, ("c",))),
    **dict.fromkeys(("device_remove", "device_release"), (on_device, ("o",))),
    **dict.fromkeys(("domain_unmap", "domain_release"), (on_domain, ("m",))),
    **dict.fromkeys(("endpoint_signal", "timer_assign"), (on_endpoint, ("e",))),
    "schedule": (next_of_core, ("r",)),
    "preempt": (current_of_core, ("r",)),
    "message_cancel": (on_met, ("t",)),
    "page_inherit": (on_page, ("p",)),
    "device_open": (device_and_process, ("o", "s")),
    "endpoint_spawn": (process_and_container, ("d", "c")),
    "handle_assign": (process_and_endpoint, ("d", "e")),
    "pager_assign": (process_and_endpoint, ("d", "e")),
}
"""By transition: what is supposed of its arguments of these names.  Of one that is not here the first is a thread of
A."""


WITHIN: Final[dict[Actor, Actor]] = {for_container: on_container, two_processes: both_processes, ending: below}
"""What is supposed instead, where the step is to be one of A alone, which meets nobody and is not ended itself."""


def actor_of(transition: str, alone: bool = False) -> tuple[Actor, tuple[str, ...]]:
    """What is supposed of which arguments of a transition; ``alone``: where it is one of A, which meets nobody."""
    actor, arguments = ACTORS.get(transition, (by_thread, ("t",)))
    return WITHIN.get(actor, actor) if alone else actor, arguments
