"""Each transition keeps each invariant: for any state in which all hold, and any arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kernel.invariants import Clause
from kernel.prove.contracts import KEPT
from kernel.prove.evaluator import Agreement
from kernel.prove.goals import Goal, arbitrary, grouped, try_together
from kernel.prove.instances import evaluate, instance
from kernel.prove.steps import Known, Step
from kernel.prove.terms import Facts, Integer, Truth, implies


def goals_of(step: Step, clauses: Iterable[Clause]) -> tuple[list[Goal], int]:
    """Those of the invariants that the step could break, and how many it cannot: it writes nothing they read."""
    goals = []
    untouched = 0
    for clause in clauses:
        ids = arbitrary(clause.domain)
        before = instance(clause, *ids)
        after = evaluate(clause, step.state, *ids)
        if after is before: untouched += 1
        else: goals.append(Goal(clause.name, ids, before, after, tuple(agreed(step, clause, ids, step.agreements))))
    return goals, untouched


def agreed(
    step: Step, clause: Clause, ids: tuple[Integer, ...], agreements: Iterable[Agreement]
) -> Iterator[Truth]:
    """That an invariant of the allocator held after each of these calls of it."""
    if clause.name not in KEPT: return
    state = step.state
    for agreement in agreements:
        facts, state.facts = state.facts, Facts(state.facts)
        state.facts.learn(agreement.condition)
        held = evaluate(clause, state, *ids, moment=agreement.after)
        state.facts = facts
        yield implies(agreement.condition, held)


def prove(step: Step, known: Known, clauses: Iterable[Clause]) -> Iterator[Goal]:
    """Tries to prove that these invariants hold after a step."""
    goals, _ = goals_of(step, clauses)
    for group in grouped(goals):
        try_together(known, group)
        yield from group


__all__ = ["agreed", "goals_of", "prove"]
