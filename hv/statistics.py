"""What a machine counts: for ``--stats`` and ``--json``."""

from __future__ import annotations

from typing import Any

from hv.machine import OTHER, Machine


def statistics(machine: Machine) -> dict[str, Any]:
    """Counts since the start, and what the machine holds now."""
    C = machine.kernel.container[machine.kernel.root]
    holds = machine.lock.holds()
    return {
        "exits": machine.exits(),
        "check": machine.checker.level,
        "transitions_checked": machine.checker.transitions,
        "invariants_evaluated": machine.checker.clauses,
        "programs": machine.programs,
        "vcpus": len(machine.vcpus),
        "pages_used": C.used_pages,
        "blocks_used": C.used_blocks,
        "memory_resident": machine.memory.resident(),
        "lock_holds": holds.times,
        "lock_held_ns": holds.total,
        "lock_longest_hold_ns": holds.longest,
        "unknown_calls": {
            "others" if number == OTHER else f"{number:#x}": count
            for number, count in sorted(machine.unknown_calls.items())
        },
    }


__all__ = ["statistics"]
