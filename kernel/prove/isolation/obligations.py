"""The obligations of noninterference, by name, and how each is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from kernel.invariants import documented
from kernel.prove import source
from kernel.prove.goals import Goal
from kernel.prove.isolation import consistency, locality
from kernel.prove.isolation.consequences import CONSEQUENCES, Consequence, nothing
from kernel.prove.isolation.mediator import STEPS, words_still
from kernel.prove.isolation.names import HOSTED, misuses
from kernel.prove.isolation.statements import NEITHER
from kernel.prove.isolation.surroundings import NOW, Sides, Surroundings, said
from kernel.prove.solver import PROVED, REFUTED
from kernel.prove.source import Function
from kernel.prove.state import BEFORE, State
from kernel.prove.steps import Ahead, Step, open_ways, transitions
from kernel.prove.terms import Truth, name

VACUOUS: Final = "nothing that is supposed of this step can be: it proves nothing"
LEAKS: Final = {
    "quota_merge": "whether 512 pages of a quota become a block depends on whether a block is whole in the machine",
    "giant_merge": "whether 512 blocks of a quota become a giant depends on whether a giant is whole in the machine",
}
"""Transitions whose result, and effect, is known to depend on others: weak step consistency is not claimed of them."""
UNOBSERVED: Final = frozenset({"schedule", "preempt"})
"""Steps of a core: which thread it runs next is time, of which nothing is proved but that B's objects stay as they
are."""


@dataclass(frozen=True)
class Obligation:
    """Something to prove: ``about`` this transition, or statement, ``what`` of it; ``attempt`` tries to, with the
    seconds that z3 has for each question and a seed."""

    about: str
    what: str
    says: str
    attempt: Callable[[float, int], Iterator[Goal]]
    begin: Ahead | None = None
    """What it has in common with others."""

    @property
    def name(self) -> str:
        """The obligation's own name."""
        return f"{self.what}: {self.about}"


def obligations() -> Iterator[Obligation]:
    """All obligations of noninterference."""
    for consequence in CONSEQUENCES:
        its_name = consequence.holds.__name__
        yield Obligation(its_name, "isolation", documented(consequence.holds), partial(_consequence, consequence))
    for its_name, function in transitions().items():
        ahead = Ahead(its_name)
        says = f"where A makes {its_name}, A and B stay isolated"
        yield Obligation(its_name, "isolation", says, partial(isolation, function), ahead)
        says = f"where A makes {its_name}, nothing changes that B observes"
        yield Obligation(its_name, "local respect", says, partial(respect, function), ahead)
        says = f"{its_name} uses page numbers as names, and tells programs none"
        yield Obligation(its_name, "page numbers are names", says, partial(only_names, function))
        if its_name in LEAKS or its_name in UNOBSERVED: continue
        if its_name not in HOSTED:
            says = f"in states that look alike to A, {its_name} gives it the same result"
            yield Obligation(its_name, "same results", says, partial(same_results, function), ahead)
        says = f"states that look alike to A do so after {its_name}"
        yield Obligation(its_name, "states alike", says, partial(same_states, function), ahead)
    for its_name in STEPS:
        says = f"where the mediator makes {its_name}, A and B stay isolated, and it gives and takes words alone"
        yield Obligation(its_name, "mediator", says, partial(mediation, transitions()[its_name]), Ahead(its_name))


def isolation(function: Function, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """A step of A keeps A and B isolated."""
    step = open_ways(function)
    known = Surroundings(step, timeout, locality.acting(step), seed)
    yield from _not_vacuous(known)
    yield from locality.prove(step, known, locality.isolation_goals(step, known))


def respect(function: Function, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """A step of A changes nothing that B observes."""
    step = open_ways(function)
    known = Surroundings(step, timeout, locality.acting(step), seed)
    yield from locality.prove(step, known, locality.respect_goals(step, known))


def mediation(function: Function, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """A step that the mediator may take keeps A and B isolated, and the mediator giving and taking words alone."""
    step = open_ways(function)
    predicate, arguments = STEPS[step.name]
    known = Surroundings(step, timeout, locality.supposing(step, predicate, arguments), seed, acting=NEITHER)
    yield from _not_vacuous(known)
    yield from locality.prove(step, known, locality.isolation_goals(step, known))
    if arguments[0] == "t":
        still: Truth = said(words_still, step.state, NOW, known.after, step.arguments[0])
        yield from locality.prove(step, known, iter([Goal("words alone", step.arguments[:1], True, still)]))


def same_results(function: Function, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """A step of A gives the same result in two states that look alike to it."""
    step = open_ways(function)
    known = consistency.Alike(step, timeout, locality.acting(step, alone=True), seed)
    yield from consistency.prove(step, known, consistency.result_goals(step, known))


def same_states(function: Function, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """After a step of A, two states that looked alike to it do so again."""
    step = open_ways(function)
    known = consistency.Alike(step, timeout, locality.acting(step, alone=True), seed, renamed=True)
    yield from consistency.prove(step, known, consistency.state_goals(step, known))


def only_names(function: Function, timeout: float = 0.0, seed: int = 0) -> Iterator[Goal]:
    """A transition uses page numbers as names, and returns none."""
    wrong = list(dict.fromkeys(misuses(Step(function))))
    yield Goal("names", (), True, not wrong, status=REFUTED if wrong else PROVED, counterexample="\n".join(wrong))


def _consequence(consequence: Consequence, timeout: float, seed: int = 0) -> Iterator[Goal]:
    step = Step(source.function(nothing.__module__, nothing.__name__))
    known = Surroundings(step, timeout, True, seed)
    ids = tuple(name(f"{its} of {consequence.holds.__name__}") for its in consequence.ids)
    goal = Goal(consequence.holds.__name__, ids, True, said(consequence.holds, State(), BEFORE, Sides(), *ids))
    yield from locality.prove(step, known, iter([goal]))


def _not_vacuous(known: Surroundings) -> Iterator[Goal]:
    if known.solver.consistent() == PROVED:
        yield Goal("vacuous", (), True, False, status=REFUTED, counterexample=VACUOUS)


__all__ = ["LEAKS", "UNOBSERVED", "Obligation", "isolation", "mediation", "obligations", "only_names",
           "respect", "same_results", "same_states"]  # fmt: skip
