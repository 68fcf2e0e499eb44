"""Invariants that cannot break unnoticed because others cannot: what is far away of an object is told by the invariants
of those between.

Each is proved supposing of the other state the invariants that it uses, and these must be proved without it: they are
none of those in here, or come before it.  One with a measure is proved by induction: it is supposed of all for which
the measure, in the first state, is less and not below 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kernel.objects import Kernel
from kernel.prove.lemmas import behind, behind_at_endpoint, depth


@dataclass(frozen=True)
class Later:
    """What the proof of a clause uses: invariants and lemmas of either state; invariants of the other state where the
    check evaluates them (``evaluated``)."""

    using: tuple[str, ...]
    evaluated: tuple[str, ...] = ()
    measure: Callable[..., int] | None = None


def above(k: Kernel, x: int) -> int:
    """How many levels of tables are above a table."""
    return 4 - k.table[x].level


def path_depth(k: Kernel, c: int, i: int) -> int:
    """How deep a container is."""
    return depth(k, c)


LATER: Final[dict[str, Later]] = {
    "thread_queue": Later(("core_queue", "thread_charge", "nothing_at_0"), measure=behind),
    "message_queue": Later(
        ("endpoint_queue", "endpoint_charge", "thread_charge", "nothing_at_0"), measure=behind_at_endpoint
    ),
    "container_path": Later(("container_place", "container_root", "nothing_at_0"), measure=path_depth),
    "container_charges": Later(("page_owner", "block_kind", "giant_kind", "container_place", "nothing_at_0")),
    "table_place": Later(("process_root", "process_charge", "table_used", "nothing_at_0"), measure=above),
    "table_charge": Later(("table_place", "process_charge", "page_owner", "nothing_at_0")),
    "domain_mapped": Later(("domain_region", "domain_holder", "domain_mappings", "page_references", "nothing_at_0")),
    "handle_rights": Later(("handle_object", "endpoint_references", "endpoint_charge", "nothing_at_0")),
    "handle_object": Later(
        ("handle_rights", "endpoint_references", "endpoint_charge", "process_charge", "process_handles",
         "device_holder", "domain_holder", "thread_charge", "container_holder", "nothing_at_0")
    ),
    "table_slot": Later(("table_place", "nothing_at_0"), ("entry_target",)),
    "entry_target": Later(
        ("table_place", "table_base", "table_used", "table_chain", "page_references", "nothing_at_0"),
        ("entry_mapped",),
    ),
    "map_walked": Later(
        ("table_place", "table_base", "table_used", "table_chain", "entry_target", "process_root", "process_mappings",
         "nothing_at_0"),
        ("entry_mapped",),
    ),
    "entry_mapped": Later(
        ("table_place", "table_base", "table_used", "table_chain", "entry_target", "map_walked", "nothing_at_0")
    ),
}  # fmt: skip


def supposed(name: str, clause: str) -> bool:
    """Whether an invariant may be supposed of the other state in the proof of another."""
    order = list(LATER)  # (a lemma follows from what it uses, unless it is in here)
    return name not in LATER or (clause in LATER and order.index(name) < order.index(clause))


__all__ = ["LATER", "Later", "supposed"]
