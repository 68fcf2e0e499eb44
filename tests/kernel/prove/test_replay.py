"""A counterexample is tried in a kernel: one that the invariants rule out is told from one that shows what happens."""

from __future__ import annotations

import ast

import pytest

from kernel import scheduler
from kernel.invariants import INVARIANTS
from kernel.objects import READY, RUNNING
from kernel.prove.counterexample import describe
from kernel.prove.goals import arbitrary
from kernel.prove.instances import reads_of
from kernel.prove.preservation import goals_of
from kernel.prove.replay import Replay, built, replay
from kernel.prove.solver import REFUTED
from kernel.prove.steps import Known, Step, transitions
from kernel.prove.terms import Truth, equal, negate, read
from tests.kernel.prove.planted import plant
from tests.kernel.pure import with_sources


def tried(transition: str, goal: Truth, known: Known) -> Replay:
    known.solver.suppose(negate(goal))
    assert known.solver.consistent() == REFUTED
    return replay(known, goal)


def test_a_call_does_in_the_kernel_what_the_model_says() -> None:
    """That yielding leaves every thread's state as it was is refuted by a thread that yields."""
    step = Step(transitions()["thread_yield"], pruned=True)
    (t,) = step.arguments
    goal = equal(step.state.read("thread.state", t), read("thread.state", t))
    found = tried("thread_yield", goal, Known(step, 20.0))
    assert found.result == 0
    assert "the call returns 0 and breaks " in str(found)


@with_sources
def test_what_a_wrong_call_breaks_is_broken_in_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the counterexample tells what the call wrote: before, and after."""
    plant(monkeypatch, "kernel.scheduler", "thread_yield", "R.current = 0", "R.placed_count = 0")
    function = transitions()["thread_yield"]
    step = Step(function)
    known = Known(step, 20.0)
    goal, = goals_of(step, [INVARIANTS["core_current"]])
    for truth in (goal.before, *goal.supposing): known.solver.suppose(truth)
    known.around(reads_of([goal.before, goal.after]))
    runs = dict(vars(scheduler))
    exec(ast.unparse(function.tree), runs)
    known.solver.suppose(negate(goal.after))
    assert known.solver.consistent() == REFUTED
    core, thread = known.solver.values([*goal.ids, *step.arguments]).values()
    text = describe(known, goal.after, goal.ids)
    assert f"  thread[{thread}].state: {RUNNING} -> {READY}" in text.splitlines()
    found = replay(known, goal.after, runs["thread_yield"])
    assert ("core_current", (core,)) in found.after
    assert "the call returns 0 and breaks " in str(found)
    assert f"core_current({core},)" in str(found).partition("; it may be spurious")[0]


def test_a_state_that_cannot_be_is_spurious() -> None:
    """A solver that was told no invariant finds a running thread that is on no core."""
    step = Step(transitions()["thread_yield"])
    known = Known(step, 20.0, only=frozenset())
    (t,) = step.arguments
    found = tried("thread_yield", negate(equal(read("thread.process", t), 0)), known)
    assert found.spurious
    assert "it may be spurious: before, these do not hold: " in str(found)


def test_a_kernel_holds_what_was_read() -> None:
    step = Step(transitions()["thread_yield"])
    known = Known(step, 20.0)
    assert known.solver.consistent() == REFUTED
    (t,) = step.arguments
    state = read("thread.state", t)
    k = built(known.solver, [state, *reads_of([*arbitrary(("thread",))])])
    value = known.solver.values([t, state])
    assert k.thread[value[t]].state == value[state] == RUNNING != READY
