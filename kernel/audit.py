"""The audit: every invariant for every object, and the ledgers counted afresh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel import ledgers
from kernel.check import CheckFailed
from kernel.invariants import INVARIANTS
from kernel.objects import CONTAINER, DEVICE, DOMAIN, ENDPOINT, PROCESS, TABLE, THREAD, Kernel

_KINDS = {
    "container": CONTAINER, "process": PROCESS, "thread": THREAD, "endpoint": ENDPOINT, "device": DEVICE,
    "domain": DOMAIN, "table": TABLE,
}  # fmt: skip


_BESIDE = {
    "entry": ("permission",), "map_page": ("map_permission",),
    "handle_object": ("handle_generation", "handle_rights", "handle_badge"),
}  # fmt: skip
"""By row: those that clauses over it read at the same index."""
_COUNTED = {
    "threads": "thread_count", "handle_stack": "handle_listed", "stack": "listed", "free_stack": "free_count",
    "partial_stack": "partial_count", "partial_giant_stack": "partial_giant_count",
    "children": "child_count", "members": "processes", "path": "depth", "devices": "device_count",
    "cores": "core_count", "placed": "placed_count",
}  # fmt: skip
"""By row: the field that counts its items in use."""


def objects(k: Kernel, table: str) -> list[int]:
    """The ids of a table that are not blank: for memory those ever used, for others those that live."""
    if table == "memory": return [0]
    if table == "core": return list(range(k.cores))
    ids = list(getattr(k, table))
    kind = _KINDS.get(table)
    return ids if kind is None else sorted({*ids, *(p for p, P in list(k.page.items()) if P.kind == kind)})


def items(k: Kernel, domain: str) -> Iterator[tuple[int, int]]:
    """The (object, index) pairs of a row that are not empty, and those that its counters say must not be."""
    table, row = domain.split(".")
    for id in objects(k, table):
        holder: Any = k.memory if table == "memory" else getattr(k, table)[id]
        items = getattr(holder, row)
        indices = set(items)
        for beside in _BESIDE.get(row, ()):
            indices |= set(getattr(holder, beside))
        count = _COUNTED.get(row)
        # A count that is too large shows at the first item that was never written.
        if count is not None: indices |= set(range(min(getattr(holder, count), len(items) + 1) + 1))
        for index in indices:
            yield id, index


def instances(k: Kernel, domain: tuple[str, ...]) -> Iterator[tuple[int, ...]]:
    """All ids that a clause over ``domain`` is about."""
    if "." in domain[0]: yield from items(k, domain[0])
    else: yield from ((id,) for id in objects(k, domain[0]))


def audit(k: Kernel) -> tuple[int, list[CheckFailed]]:
    """Evaluates everything.  Returns how many instances, and the failures."""
    counted = ledgers.count(k)
    failures = []
    if k.ledger is not None:
        failures = [CheckFailed("ledger", sentence, (), "the journal missed a write")
                    for sentence in ledgers.differences(k.ledger, counted)]  # fmt: skip
    kept, k.ledger = k.ledger, counted
    evaluated = 0
    try:
        for clause in INVARIANTS.values():
            for ids in list(instances(k, clause.domain)):
                evaluated += 1
                if not clause.holds(k, *ids):
                    failures.append(CheckFailed("invariant", clause.name, ids, clause.meaning))
    finally:
        k.ledger = kept
    return evaluated, failures
