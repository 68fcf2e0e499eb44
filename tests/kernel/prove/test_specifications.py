"""Specifications, and what they let change, say of real transitions the same on terms as when they run: of what a
transition did, and of what it should not have done."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest

from kernel.check import Checker, CheckFailed
from kernel.objects import CLASSES, fields_of
from kernel.prove import source
from kernel.prove.evaluator import NOW, Evaluation, NotUnderstood, View, truth
from kernel.prove.meaning import Meaning, field_of
from kernel.prove.refinement import Allowance
from kernel.prove.state import BEFORE, State
from kernel.prove.terms import Truth, name
from kernel.specs import SPECIFICATIONS
from tests.kernel.prove.runs import Run, constants
from tests.kernel.pure import with_sources
from tests.kernel.scenarios import CASES, Case
from tests.kernel.state import Place, load, place_of, store
from tests.kernel.test_specifications import unrelated
from tests.kernel.world import World

pytestmark = with_sources

FIELDS = tuple(f"{of.table_name}.{field}" for of in CLASSES for field in fields_of(of))


class _Checker(Checker):
    """Checks specifications alone."""

    def _invariants(self, transition: str, arguments: tuple[int, ...], result: int) -> None:
        """Nothing of these here."""


@cache
def said(transition: str) -> tuple[Truth, Allowance, State]:
    """What a specification says of any two states, the second one of fields ``...#1``, and of any result."""
    specification = SPECIFICATIONS[transition]
    function = source.function(specification.__module__, transition)
    state = State()
    assert state.anything(True, FIELDS, ()) == 1
    evaluation = Evaluation(state, counting=False)
    allowance = Allowance(evaluation)
    result = evaluation.call(function, View(BEFORE), View(NOW), allowance, *map(name, function.parameters[3:]))
    return truth(result), allowance, state


class Outcome:
    """A transition that has run, and may be given another result and other writes."""

    def __init__(self, case: Case) -> None:
        self.name = case.transition
        self.w, self.arguments = case.build("off")
        self.k = self.w.k
        self.k.journal.clear()
        self.result = self.w.transitions[self.name](self.k, *self.arguments)
        self.journal = list(self.k.journal)
        self.before: dict[Place, int] = {}
        for entry in self.journal: self.before.setdefault(place_of(entry), entry[-1])

    def concrete(self, result: int) -> bool:
        """What the specification says of it when it runs."""
        self.k.journal.replace([_entry(self.k, place, was) for place, was in self.before.items()])
        try:
            _Checker(self.k).check(self.name, self.arguments, result)
        except CheckFailed:
            return False
        return True

    def on_terms(self, result: int) -> bool:
        """What it says on terms."""
        holds, allowance, state = said(self.name)

        def field(its: str, index: tuple[int, ...]) -> int:
            its, _, version = its.partition("#")
            table, _, field_ = its.partition(".")
            place = (table, index[0], field_, index[1] if len(index) > 1 else None)
            if not version and place in self.before: return self.before[place]
            return field_of(self.k, its, index)

        parameters = source.function(SPECIFICATIONS[self.name].__module__, self.name).parameters[3:]
        names = dict(zip(map(name, parameters), (result, *self.arguments), strict=True)) | constants(self.k)
        its = Meaning(field, names, {made: term for term, made in state.names.items()})
        if not its.truth(holds): return False
        for (table, id, field_, index), was in self.before.items():
            if load(self.k, (table, id, field_, index)) == was: continue
            kinds = (field("page.kind", (id,)), field("page.kind#1", (id,))) if table == "page" else (0, 0)
            ids = (id,) if index is None else (id, index)
            if not its.truth(allowance.allows(f"{table}.{field_}", ids, *kinds)): return False
        return True

    def alike(self, result: int) -> bool:
        """Both say the same; returns what."""
        on_terms = self.on_terms(result)
        assert on_terms == self.concrete(result), (self.name, self.arguments, result)
        return on_terms


def _entry(k: Any, place: Place, was: int) -> tuple[Any, ...]:
    table, id, field, index = place
    of = k.memory if table == "memory" else getattr(k, table)[id]
    return (of, field, was) if index is None else (of, field, index, was)


def some_cases(seed: int) -> list[Case]:
    """Of each way that each transition ends, one."""
    rnd = random.Random(seed)
    ways: dict[tuple[str, str], list[Case]] = {}
    for case in CASES: ways.setdefault((case.transition, case.outcome), []).append(case)
    return [rnd.choice(cases) for cases in ways.values()]


@pytest.mark.parametrize("case", some_cases(1), ids=lambda case: case.name)
def test_specification_on_terms(case: Case) -> None:
    """Of what it did and returned; of other results; without one of the writes, with another value, with one more."""
    rnd = random.Random(case.name)
    outcome = Outcome(case)
    try:
        said(case.transition)
    except NotUnderstood as error:
        pytest.xfail(str(error))  # what proves it says "unknown" then, which is no proof
    assert outcome.alike(outcome.result)
    for wrong in (outcome.result + 1, outcome.result - 1, 0, 5, -22, -12): outcome.alike(wrong)
    k = outcome.k
    places = rnd.sample(sorted(outcome.before, key=str), min(10, len(outcome.before)))
    for place in places:
        now = load(k, place)
        for other in (outcome.before[place], now + 1, now - 1, 0):
            store(k, place, other)
            outcome.alike(outcome.result)
        store(k, place, now)
    elsewhere = list(unrelated(outcome.w, set(outcome.before), 1))
    for place in rnd.sample(elsewhere, min(12, len(elsewhere))):
        now = outcome.before[place] = load(k, place)
        store(k, place, now + 1)
        outcome.alike(outcome.result)
        store(k, place, now)
        del outcome.before[place]


def test_a_run_that_is_taken_back_leaves_no_trace() -> None:
    w = World()
    s = w.process()
    before = w.root.pages
    run = Run(w.k, "map_page", (s, 1, 2, 3, 4, 7))
    assert w.root.pages < before
    run.undo()
    assert w.root.pages == before
