"""No way that a transition takes on a reachable state is closed by the invariants in the eyes of who prunes ways, and
what invariants say after a transition they say on terms."""

from __future__ import annotations

import random

import pytest

from kernel.audit import instances
from kernel.invariants import INVARIANTS, Clause
from kernel.objects import Kernel
from kernel.prove.goals import Goal
from kernel.prove.preservation import goals_of
from kernel.prove.steps import Step, transitions
from kernel.prove.terms import NAME, Term, name
from tests.kernel.prove.runs import Run, meaning_of
from tests.kernel.prove.test_steps import assert_alike
from tests.kernel.scenarios import CASES

SLOW = ("grant_", "share_", "message_", "container_create")
"""Transitions that take long to evaluate where ways are pruned."""
QUICK = [name for name in transitions() if not name.startswith(SLOW)]



def scenario_runs(transition: str) -> list[Run]:
    """The call of each case of one transition."""
    found = []
    for case in CASES:
        if case.transition != transition: continue
        w, arguments = case.build("off")
        found.append(Run(w.k, transition, arguments))
    return found


@pytest.mark.parametrize("transition", QUICK)
def test_no_way_that_is_taken_is_pruned(transition: str) -> None:
    """And each way to end is one of those that are left: what a proof says of them, it says of something."""
    step = Step(transitions()[transition], pruned=True)
    runs = scenario_runs(transition)
    for run in runs: assert_alike(step, run)
    assert any(run.wrote for run in runs) == bool(step.state.writes)


def ids_of(k: Kernel, goal: Goal, clause: Clause, ids: tuple[int, ...]) -> dict[Term, int]:
    """What the names in a goal's ids stand for where it is about these objects."""
    names: dict[Term, int] = {}
    for term, value in zip(goal.ids, ids, strict=True):
        if not isinstance(term, Term): assert term == value
        elif term.op == NAME: names[term] = value
        else: names |= {name("v4"): value >> 27, name("v3"): value >> 18 & 511, name("v2"): value >> 9 & 511,
                        name("v1"): value & 511}  # fmt: skip
    return names


@pytest.mark.parametrize("transition", QUICK)
def test_invariants_hold_on_terms_before_and_after(transition: str) -> None:
    """Of each clause that a transition could break, for objects that it wrote and others."""
    rnd = random.Random(transition)
    step = Step(transitions()[transition])
    goals = goals_of(step, INVARIANTS.values())
    looked_at = 0
    for run in scenario_runs(transition):
        if not run.wrote: continue
        meaning_of(step, run)
        k = run.k
        k.ledger = run.after
        written = {id for _, index in run.was for id in index}
        for goal in goals:
            clause = INVARIANTS[goal.name]
            every = [(0,)] if clause.domain == ("memory",) else list(instances(k, clause.domain))
            near = [ids for ids in every if written & set(ids)]
            for ids in [*rnd.sample(near, min(3, len(near))), *rnd.sample(every, min(1, len(every)))]:
                its = meaning_of(step, run, ids_of(k, goal, clause, ids))
                for truth in (goal.before, goal.after, *goal.supposing): assert its.truth(truth), (goal.name, ids)
                assert clause.holds(k, *ids)
                looked_at += 1
    assert looked_at or not step.state.writes
