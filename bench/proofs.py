"""``python -m bench proofs``: that the time of a proof does not depend on how many objects there are.

Proofs are about any number of objects: no number of them occurs in what z3 is asked (kernel/prove/README.md).  To see
it, some are made of machines of which there is more and more: at least so many blocks of memory, cores, and children,
processes and pages of the root container.  Processor seconds of each, the median of some rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Final

from kernel.invariants import INVARIANTS
from kernel.prove import obligations, preservation
from kernel.prove.solver import PROVED
from kernel.prove.steps import INDICES, Known, Step, transitions
from kernel.prove.terms import Truth, all_of, at_most, name, read

SIZES: Final = (1, 1_000, 1_000_000, 1_000_000_000)
"""How many of each there are at least."""
TRANSITIONS: Final = ("thread_yield", "quota_merge", "container_finish", "process_spawn", "unmap_page")
ROUNDS: Final = 3
SECONDS: Final = 20.0
"""What z3 may do for one question."""


def at_least(count: int) -> Truth:
    """There are so many of each, or more."""
    root = name("root")
    numbers = (
        read("memory.blocks", 0), name("cores"), read("container.child_count", root), read("container.processes", root),
        read("ledger.owned", root),
    )  # fmt: skip
    return all_of([at_most(count, number) for number in numbers])


def proved(transition: str, count: int) -> float:
    """Proves that a transition keeps every invariant of a machine of this size.  Returns the processor's seconds.
    Raises RuntimeError if it does not succeed."""
    started = time.process_time()
    function = transitions()[transition]
    step = Step(function, pruned=not INDICES.keys() & set(function.parameters))
    known = Known(step, SECONDS, supposing=at_least(count))
    if known.solver.consistent() == PROVED: raise RuntimeError(f"no machine has {count} of each")
    for goal in preservation.prove(step, known, INVARIANTS.values()):
        if goal.status != PROVED: raise RuntimeError(f"{transition} of {count}: {goal.name} is {goal.status}")
    return time.process_time() - started


def main(argv: Sequence[str]) -> int:
    """Prints the table; returns the exit status."""
    if argv:
        print("python -m bench proofs takes no arguments")
        return 2
    obligations.warm()
    print("processor seconds of the proof that all invariants are kept, where there are at least so many blocks,")
    print("cores, containers, processes and pages\n")
    print(f"{'':18}" + "".join(f"{count:>15,}" for count in SIZES))
    for transition in TRANSITIONS:
        proved(transition, 1)  # what is evaluated once for all
        seconds: dict[int, list[float]] = {count: [] for count in SIZES}
        for _ in range(ROUNDS):
            for count in SIZES: seconds[count].append(proved(transition, count))
        medians = "".join(f"{statistics.median(seconds[count]):15.2f}" for count in SIZES)
        print(f"{transition:18}{medians}", flush=True)
    return 0


__all__ = ["at_least", "main", "proved"]
