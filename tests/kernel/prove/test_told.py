"""What a solver is told of a step is true of the step when it runs: so no proof holds because what it supposes cannot
be, and nothing is supposed that is not so.

Of each way that a transition ends there is a call of it on a real kernel (the scenarios).  All that z3 is told, by each
of the proofs about it, of the state before, the arguments, the pages chosen and the objects that a goal is about, is
evaluated on that kernel.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from kernel.audit import instances as ids_in
from kernel.invariants import INVARIANTS
from kernel.objects import BLOCKED, Kernel
from kernel.prove import refinement
from kernel.prove.goals import Goal, grouped, try_together
from kernel.prove.instances import DIGITS
from kernel.prove.meaning import Meaning, Undefined
from kernel.prove.preservation import goals_of
from kernel.prove.solver import UNKNOWN, Solver
from kernel.prove.steps import INDICES, Known, Step, transitions
from kernel.prove.terms import Integer, Term, Truth, all_of, equal, negate, read
from tests.kernel.prove.runs import Run, meaning_of
from tests.kernel.prove.test_ways import QUICK, ids_of, scenario_runs

WRITING, WITHIN, REFUSING = "where it writes", "where it refuses indices that are ones", "where it refuses"
GROUPS, RUNS = 2, 2
"""Of how many groups of goals, and how many calls of each transition, all that is told is looked at."""


class Recorder(Solver):
    """A solver that keeps what it is told, and answers nothing: then it is told all there is."""

    def __init__(self, timeout: float = 1.0, seed: int = 0) -> None:
        super().__init__(timeout, seed)
        self.told: list[list[Truth]] = [[]]

    def suppose(self, truth: Truth) -> None:
        self.told[-1].append(truth)

    def enter(self) -> None:
        self.told.append([])

    def leave(self) -> None:
        left = self.told.pop()
        # What is told two levels down is that a goal does not hold.
        if len(self.told) == 1: Kept.last = left

    def consistent(self) -> str:
        return UNKNOWN


class Kept:
    """What was told of the goals that were tried last."""

    last: ClassVar[list[Truth]] = []


class Told(Known):
    """What is known of a step, as it is told to a solver."""

    SOLVER = Recorder


@dataclass
class Proof:
    """What a proof supposes of any goal, and of each group of goals."""

    step: Step
    always: list[Truth]
    groups: list[tuple[list[Goal], list[Truth]]] = field(default_factory=list)


def preservation_of(step: Step, rnd: random.Random) -> Proof:
    """As kernel.prove.preservation tries it, of some invariants."""
    known = Told(step, 1.0)
    proof = Proof(step, list(known.solver.told[0]))  # type: ignore[attr-defined]
    groups = list(grouped(goals_of(step, INVARIANTS.values())))
    for group in rnd.sample(groups, min(GROUPS, len(groups))):
        try_together(known, group, rounds=2, describing=False)
        proof.groups.append((group, list(Kept.last)))
    return proof


def specification_of(step: Step, rnd: random.Random) -> Proof:
    """As kernel.prove.refinement does; ``settle`` supposes what it has proved, and here it has proved nothing."""
    known = Told(step, 1.0)
    proof = Proof(step, list(known.solver.told[0]))  # type: ignore[attr-defined]
    list(refinement.prove_refusals(step, known) if step.refusing else refinement.prove(step, known))
    proof.groups.append(([], list(Kept.last)))
    return proof


def untrue(proof: Proof, run: Run, rnd: random.Random) -> Iterator[tuple[str, Truth]]:
    """What is supposed, and not true of this run."""
    for truth in proof.always:
        if not holds(proof, run, {}, truth): yield "always", truth
    for group, told in proof.groups:
        for names in some_objects(run.k, group, rnd):
            for truth in told:
                if not holds(proof, run, names, truth): yield ", ".join(goal.name for goal in group), truth


def some_objects(k: Kernel, group: list[Goal], rnd: random.Random) -> Iterator[dict[Term, int]]:
    """Objects that the goals of a group can be about."""
    if not group:
        yield {}
        return
    goal = group[0]
    clause = INVARIANTS[goal.name]
    every = [(0,)] if clause.domain == ("memory",) else list(ids_in(k, clause.domain))
    for ids in rnd.sample(every, min(2, len(every))): yield ids_of(k, goal, clause, ids)


class Others(dict[Term, int]):
    """What names are; those that neither a run nor a goal is about are 0."""

    meant: Mapping[Term, Integer]

    def __contains__(self, its: object) -> bool:
        return super().__contains__(its) or its not in self.meant

    def __missing__(self, its: Term) -> int:
        return 0


_meanings: dict[tuple[int, int, tuple[tuple[Term, int], ...]], Meaning] = {}


def holds(proof: Proof, run: Run, names: dict[Term, int], truth: Truth) -> bool:
    """Whether it is true of this run, of these objects."""
    key = id(proof), id(run), tuple(names.items())
    its = _meanings.get(key)
    if its is None:
        _meanings.clear()
        its = _meanings[key] = meaning_of(proof.step, run, names)
        its.names = Others(its.names)
        its.names.meant = its._meant
        name_digits(its)
    return truth in set(proof.step.state.definitions()) or its.truth(truth)  # (what names stand for, they are)


def name_digits(its: Meaning) -> None:
    """The indices that virtual pages were named by (kernel.prove.instances.digits): what they are."""
    for total, (said, *_) in DIGITS.items():
        assert isinstance(said, Term)
        digits = dict(total.args[1:])
        inner = said.args[0]
        its.names.update(dict.fromkeys(digits, 0))
        sign = next(-1 if factor > 0 else 1 for term, factor in inner.args[1:] if term in digits)
        now = Meaning(its._fields, {}, its._meant)
        now.names = its.names
        try: v = sign * now.integer(inner)
        except Undefined: continue  # it was named in another step
        its.names.update(
            (term, v >> 27 if factor == 1 << 27 else v // factor % 512) for term, factor in digits.items()
        )


def indices_are_ones(step: Step, run: Run) -> bool:
    """True if there are indices into page tables among the arguments, and all are below what they have to be."""
    given = dict(zip(step.function.parameters[1:], run.arguments, strict=True))
    indices = [(value, INDICES[its]) for its, value in given.items() if its in INDICES]
    return bool(indices) and all(0 <= value < below for value, below in indices)


def where(step: Step, run: Run) -> str:
    """Which proofs are about a run: those of where the transition writes, or of its refusals."""
    if step.state.writes and meaning_of(step, run).truth(all_of(step.writing)): return WRITING
    assert not run.wrote
    return WITHIN if indices_are_ones(step, run) else REFUSING


@pytest.mark.parametrize("transition", QUICK)
def test_what_is_supposed_is_true(transition: str) -> None:
    rnd = random.Random(transition)
    indices = INDICES.keys() & set(transitions()[transition].parameters)
    step = Step(transitions()[transition], pruned=not indices)
    runs: dict[str, list[Run]] = {WRITING: [], WITHIN: [], REFUSING: []}
    for run in scenario_runs(transition): runs[where(step, run)].append(run)
    assert bool(step.state.writes) == bool(runs[WRITING])
    for its, of in runs.items():
        if not of: continue
        if its == WRITING: proofs = [prove(step, rnd) for prove in (preservation_of, specification_of)]
        else: proofs = [specification_of(Step(transitions()[transition], refusing=True, within=its == WITHIN), rnd)]
        for run in rnd.sample(of, min(RUNS, len(of))):
            for proof in proofs: assert list(untrue(proof, run, rnd)) == []


def test_what_is_not_so_is_found() -> None:
    step = Step(transitions()["thread_yield"])
    proof = preservation_of(step, random.Random(1))
    run = next(run for run in scenario_runs("thread_yield") if run.wrote)
    assert list(untrue(proof, run, random.Random(1))) == []
    wrong = equal(read("thread.state", step.arguments[0]), BLOCKED)
    proof.always.append(negate(wrong))
    assert list(untrue(proof, run, random.Random(1))) == []
    proof.always.append(wrong)
    assert list(untrue(proof, run, random.Random(1))) == [("always", wrong)]
    proof.groups[0][1].append(wrong)
    assert len(list(untrue(proof, run, random.Random(1)))) > 1
