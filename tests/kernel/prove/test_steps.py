"""What a transition does on a real kernel is what the terms say that were made of its source: the result, each field of
each object afterwards, and each ledger."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from functools import cache

import pytest

from kernel.objects import Row, fields_of
from kernel.objects.ledger import Ledger
from kernel.prove import source
from kernel.prove.evaluator import NotUnderstood
from kernel.prove.meaning import Meaning, ledger_of
from kernel.prove.preservation import constant
from kernel.prove.solver import PROVED
from kernel.prove.source import Function
from kernel.prove.steps import Step, transitions
from kernel.prove.terms import Facts
from tests.kernel.mutants import mutant
from tests.kernel.prove.runs import Run, Sampler, marked, meaning_of, scenario_runs

PLAIN = {"contracts": False, "pruned": False}
CONTRACTED = {"contracts": True, "pruned": False}


@cache
def step_of(name: str, contracts: bool, pruned: bool) -> Step:
    return Step(transitions()[name], contracts=contracts, pruned=pruned)


def assert_alike(step: Step, run: Run) -> Meaning:
    """The run did what the step says."""
    where = f"{run.name}{run.arguments}"
    meaning = meaning_of(step, run)
    assert meaning.integer(step.result) == run.result, where
    changed = run.changed()
    for place in {**changed, **meaning.written(step.state)}:
        field, index = place
        now = run.field(field, index, 1 << 60)
        assert meaning.after(step.state, field, *index) == now, (where, place)
        kept, step.state.facts = step.state.facts, step.facts if run.wrote else Facts()
        read = step.state.read(field, *index) if len(index) == 1 else step.state.item(field, *index)
        step.state.facts = kept
        assert meaning.integer(read) == now, (where, place)
    assert_counted(step, run, meaning)
    if run.wrote: assert all(meaning.truth(truth) for truth in step.writing), where
    assert not (run.wrote and meaning.truth(step.refusal)), where
    return meaning


def assert_counted(step: Step, run: Run, meaning: Meaning) -> None:
    """Each ledger is for each key what the terms say."""
    counted = meaning.counted(step.state)
    for name in fields_of(Ledger):
        before, after = getattr(run.before, name), getattr(run.after, name)
        keys = {(key,) for key in {*before, *after}} if isinstance(before, Row) else {()}
        for key in keys | {its for ledger, its in counted if ledger == name}:
            assert meaning.ledger(step.state, name, key) == ledger_of(run.after, name, key), (run.name, run.arguments,
                                                                                             name, key)


def compared(runs: Iterable[Run], *ways_to_evaluate: dict[str, bool]) -> Counter[tuple[str, int]]:
    """Compares all of these runs; returns how many there were of each way that a transition ends."""
    ways: Counter[tuple[str, int]] = Counter()
    for run in runs:
        for how in ways_to_evaluate: assert_alike(step_of(run.name, **how), run)
        ways[run.name, min(run.result, 0)] += 1
    return ways


def test_every_case_of_the_scenarios() -> None:
    runs = (run for _, run in scenario_runs())
    assert {name for name, _ in compared(runs, PLAIN, CONTRACTED)} == set(transitions())


@pytest.mark.parametrize("seed", range(2))
def test_random_calls_on_sound_states(seed: int) -> None:
    ways = compared(Sampler(seed).runs(3, 1500), PLAIN, CONTRACTED)
    assert len(ways) > 60
    assert sum(ways.values()) > 150


@pytest.mark.parametrize("seed", range(2))
def test_random_calls_on_damaged_states(seed: int) -> None:
    """What a function does it does on any state: the evaluation on terms takes nothing for granted."""
    ways = compared(Sampler(seed, damaging=True).runs(3, 1500), PLAIN)
    assert len(ways) > 60
    assert sum(ways.values()) > 150


PLANTED = [
    ("thread", "    S.thread_count = S.thread_count + 1\n", ""),
    ("page_allocator", "    C.used_pages = C.used_pages + 1\n", ""),
    ("page_table", "    X.permission[i] = permission\n", "    X.permission[i] = permission - 1\n"),
    ("scheduler", "    T.rank = R.ticket\n", "    T.rank = R.ticket + 1\n"),
    ("handles", "    g = S.handle_opened + 1\n", "    g = S.handle_opened + 2\n"),
    ("endpoint", "    E.references = E.references + 1\n", "    E.references = E.references + 2\n"),
]


@pytest.mark.parametrize(("module", "text", "replacement"), PLANTED)
def test_what_does_something_else_is_told_apart(module: str, text: str, replacement: str) -> None:
    """The comparison is not blind: with a bug planted in what runs, it fails."""
    planted = marked(mutant(module, text, replacement))
    with pytest.raises(AssertionError):
        compared(Sampler(1, planted=planted).runs(3, 1500), PLAIN)


@pytest.mark.parametrize(("right", "wrong", "refused"), [
    ("R.current", "R.currant", "is no field of a core"),
    ("k.thread", "k.threads", "is not part of a kernel"),
])
def test_what_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, refused: str
) -> None:
    """Not taken for something arbitrary."""
    function = source.module("kernel.scheduler").functions["schedule"]
    text = ast.unparse(function.tree)
    assert right in text
    tree = ast.parse(text.replace(right, wrong)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    with pytest.raises(NotUnderstood, match=refused): Step(Function("kernel.scheduler", "schedule", tree))


def test_a_step_that_writes_the_size_of_memory_is_told() -> None:
    step = Step(transitions()["schedule"])
    assert constant(step).status == PROVED
    step.state.write(True, "memory.blocks", 0, None, 1)
    goal = constant(step)
    assert goal.status != PROVED
    assert "memory.blocks" in goal.counterexample
