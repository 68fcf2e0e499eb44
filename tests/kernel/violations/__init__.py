"""For every invariant, states that violate it and no other: a sound scene with one kind of damage.

``@violates("clause")`` marks a function that damages a scene.  The damage is as thorough as it must be for the other
clauses to hold: where a page leaks, the books of its container agree that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.kernel.scene import Scene

Violation = Callable[[Scene], None]
VIOLATIONS: list[tuple[str, Violation]] = []


def violates(clause: str) -> Callable[[Violation], Violation]:
    """Registers a function that makes a sound scene violate this clause and no other."""

    def register(function: Violation) -> Violation:
        VIOLATIONS.append((clause, function))
        return function

    return register


BREACHES: list[tuple[str, Violation]] = []


def breaks(clause: str) -> Callable[[Violation], Violation]:
    """Registers a function that makes a sound scene violate this clause, and others with it: what the clause says has
    to be seen even so, since proofs take each clause for itself."""

    def register(function: Violation) -> Violation:
        BREACHES.append((clause, function))
        return function

    return register


def quota(scene: Scene, pages: int = 0, blocks: int = 0, giants: int = 0) -> None:
    """The root container may allocate this much more (less), and the promise says so."""
    m, C = scene.k.memory, scene.root_container
    C.pages += pages
    m.promised_pages += pages
    C.blocks += blocks
    m.promised_blocks += blocks
    C.giants += giants
    m.promised_giants += giants


def second_container(scene: Scene) -> int:
    """A container below the root, sound, with core 3 as its own and three pages of quota."""
    c = scene.w.container(scene.running, 3)[0]
    scene.w.do("core_give", c)
    return c


def charge_to_another(scene: Scene, p: int) -> None:
    """Page p is charged to a second container."""
    c = second_container(scene)
    scene.k.page[p].owner = c
    scene.root_container.used_pages -= 1
    scene.k.container[c].used_pages += 1


from tests.kernel.violations import (  # noqa: E402  (they register themselves)
    address_spaces,
    containers,
    devices,
    endpoints,
    memory,
    messages,
    placement,
    processes,
    threads,
)

__all__ = [
    "BREACHES", "VIOLATIONS", "Violation", "address_spaces", "breaks", "charge_to_another", "containers", "devices",
    "endpoints", "memory", "messages", "placement", "processes", "quota", "second_container", "threads", "violates",
]  # fmt: skip
