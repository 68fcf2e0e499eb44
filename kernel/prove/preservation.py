"""Each transition keeps each invariant: for any state in which all hold, and any arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kernel.invariants import Clause
from kernel.prove.contracts import KEPT
from kernel.prove.evaluator import Agreement
from kernel.prove.goals import Goal, arbitrary, grouped, try_together
from kernel.prove.instances import evaluate, instance
from kernel.prove.solver import PROVED
from kernel.prove.steps import Known, Step
from kernel.prove.terms import Integer, Truth

CONSTANT: Final = frozenset({"memory.blocks", "memory.giants"})
"""How large the machine is: no step writes it."""


def constant(step: Step) -> Goal:
    """That a step leaves alone what is constant."""
    written = sorted(CONSTANT & step.state.writes.keys())
    goal = Goal("constants", (), True, not written)
    if not written: goal.status = PROVED
    else: goal.counterexample = f"{step.name} writes {', '.join(written)}"
    return goal


def goals_of(step: Step, clauses: Iterable[Clause]) -> list[Goal]:
    """Those of the invariants that the step could break; of others it writes nothing they read."""
    goals = []
    for clause in clauses:
        ids = arbitrary(clause.domain)
        before = instance(clause, *ids)
        after = evaluate(clause, step.state, *ids)
        if after is before: continue
        goals.append(Goal(clause.name, ids, before, after, tuple(agreed(step, clause, ids, step.agreements))))
    return goals


def agreed(
    step: Step, clause: Clause, ids: tuple[Integer, ...], agreements: Iterable[Agreement]
) -> Iterator[Truth]:
    """That an invariant of the allocator held after each of these calls of it."""
    if clause.name not in KEPT: return
    for agreement in agreements: yield step.kept(clause, ids, agreement)


def prove(step: Step, known: Known, clauses: Iterable[Clause]) -> Iterator[Goal]:
    """Tries to prove that these invariants hold after a step."""
    for group in grouped(goals_of(step, clauses)):
        try_together(known, group)
        yield from group


def staged(step: Step) -> bool:
    """True if a step writes something, and nothing but through stages."""
    writes = [write for writes in step.state.writes.values() for write in writes]
    return bool(writes) and all(
        any(passage.before < write.moment <= passage.after for passage in step.passages) for write in writes
    )


def prove_passages(step: Step, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """Tries to prove that a step calls stages only where what they require holds."""
    for number, passage in enumerate(step.passages):
        goal = Goal(f"stage {number + 1}, {passage.function}: required", (), True, passage.required)
        if passage.required is True:
            goal.status = PROVED
        else:
            known = Known(step, timeout, seed)
            known.solver.suppose(passage.condition)
            try_together(known, [goal])
        yield goal


__all__ = ["CONSTANT", "agreed", "constant", "goals_of", "prove", "prove_passages", "staged"]
