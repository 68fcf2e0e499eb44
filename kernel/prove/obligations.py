"""Everything that is to be proved of the kernel, as tasks that can be run in any order, each in a process of its own.

==============  =====================================================================================================
transitions     each keeps each invariant, and calls the page allocator only where its contracts let it; does what its
                specification says and nothing else; returns the error that the specification names where it refuses
allocator       each function of the page allocator keeps its contract
touched         no invariant breaks of which the check after a transition evaluates no instance (completeness)
facts           the lemmas; what ledgers are because they count; virtual pages as four indices
boot            the state that a machine starts with has every invariant
hardware        what the processor's page walk makes of the tables (kernel.prove.hardware)
isolation       noninterference of two containers, and their mediator (kernel.prove.isolation)
==============  =====================================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from kernel.invariants import INVARIANTS
from kernel.prove import (
    allocator,
    completeness,
    counting,
    facts,
    hardware,
    initial,
    instances,
    preservation,
    refinement,
    source,
)
from kernel.prove.contracts import CONTRACTS
from kernel.prove.evaluator import REFUSED, requirement
from kernel.prove.goals import Goal
from kernel.prove.hardware.obligation import Obligation
from kernel.prove.isolation import obligations as noninterference
from kernel.prove.lemmas import LEMMAS
from kernel.prove.solver import PROVED, REFUTED, UNKNOWN
from kernel.prove.stages import STAGES
from kernel.prove.steps import INDICES, Ahead, Known, Step, open_ways, transitions

Prove = Callable[[float, int], Iterator[Goal]]
"""Tries to prove something: with the seconds that z3 has for each question, and a seed."""


@dataclass(frozen=True)
class Task:
    """Goals that are tried one after another: ``about`` this function of the kernel, or fact, ``what`` of it."""

    group: str
    about: str
    what: str
    says: str
    prove: Prove
    sources: tuple[str, ...] = ()
    """Files and folders, besides what the evaluator consults, on which the result depends."""
    begin: Callable[[], None] | None = None
    """What it has in common with others of an equal one, for whom it is done once (kernel.prove.processes)."""

    @property
    def name(self) -> str:
        """The task's own name."""
        return f"{self.about}: {self.what}"


@dataclass(frozen=True)
class Outcome:
    """What came of one goal."""

    name: str
    status: str
    seconds: float = 0.0
    counterexample: str = ""


@dataclass(frozen=True)
class Report:
    """What came of a task: ``seconds`` as the clock on the wall counts, ``cpu`` as the processor does."""

    task: str
    outcomes: tuple[Outcome, ...]
    seconds: float = 0.0
    cpu: float = 0.0
    consulted: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cached: bool = False

    @property
    def status(self) -> str:
        """PROVED if all goals were, else REFUTED if one was, else UNKNOWN."""
        found = {outcome.status for outcome in self.outcomes}
        return REFUTED if REFUTED in found else UNKNOWN if found - {PROVED} else PROVED


def warm() -> None:
    """Evaluates once what all tasks need: the invariants and ledger rules."""
    for clause in (*INVARIANTS.values(), *LEMMAS.values()):
        instances.template(clause)
        instances.triggers(clause)
    counting.rules()


def run(task: Task, timeout: float, seed: int = 0) -> Report:
    """Tries to prove a task's goals, here and now."""
    started, cpu = time.perf_counter(), time.process_time()
    outcomes = []
    try:
        outcomes += [
            Outcome(goal.name, goal.status, goal.seconds, goal.counterexample) for goal in task.prove(timeout, seed)
        ]
    except REFUSED as error:
        outcomes.append(Outcome("evaluation", UNKNOWN, 0.0, f"{type(error).__name__}: {error}"))
    return Report(task.name, tuple(outcomes), time.perf_counter() - started, time.process_time() - cpu)


# Transitions.


def _step(name: str, stages: bool = False) -> Step:
    """A transition where it writes.  Of those on address spaces no way is closed beforehand: what decides there is in
    the tables, and the oracle only takes from the solver what it can use."""
    function = transitions()[name]
    if stages: return Step(function, pruned=_is_pruned(name), stages=True)
    return open_ways(function) if _is_pruned(name) else Step(function)


def _is_pruned(name: str) -> bool:
    return not INDICES.keys() & set(transitions()[name].parameters)


def _preserved(name: str) -> Prove:
    def prove(timeout: float, seed: int) -> Iterator[Goal]:
        step = _step(name, stages=True)
        if not step.state.writes: return
        yield preservation.constant(step)
        if preservation.staged(step):
            yield from preservation.prove_passages(step, timeout, seed)
            return
        yield from preservation.prove(step, Known(step, timeout, seed), INVARIANTS.values())
        yield from allocator.prove_calls(step, timeout, seed)

    return prove


def of_stage(module: str, name: str) -> Task:
    """What is to be proved of a stage."""
    says = f"{name} keeps every invariant where what it requires holds, and calls the page allocator as it may"

    def prove(timeout: float, seed: int) -> Iterator[Goal]:
        stage = source.function(module, name)
        step = Step(stage, requires=requirement(stage))
        yield preservation.constant(step)
        yield from preservation.prove(step, Known(step, timeout, seed), INVARIANTS.values())
        yield from allocator.prove_calls(step, timeout, seed)

    return Task("transitions", name, "stage", says, prove)


def _specified(name: str) -> Prove:
    def prove(timeout: float, seed: int) -> Iterator[Goal]:
        step = _step(name)
        if step.state.writes: yield from refinement.prove(step, Known(step, timeout, seed))

    return prove


def _refusing(name: str, within: bool) -> Prove:
    def prove(timeout: float, seed: int) -> Iterator[Goal]:
        step = Step(transitions()[name], refusing=True, within=within)
        if step.refusal is False: return
        yield from refinement.prove_refusals(step, Known(step, timeout, seed))

    return prove


def of_transition(name: str) -> Iterator[Task]:
    """What is to be proved of a transition."""
    yield Task(
        "transitions", name, "preservation",
        f"{name} keeps every invariant, and calls the page allocator only where its contracts let it", _preserved(name),
    )  # fmt: skip
    yield Task(
        "transitions", name, "specification",
        f"where {name} writes, it does what its specification says, and nothing else", _specified(name),
        begin=Ahead(name) if _is_pruned(name) else None,
    )  # fmt: skip
    says = f"where {name} writes nothing, it returns what its specification says"
    if _is_pruned(name):
        yield Task("transitions", name, "refusals", says, _refusing(name, False))
        return
    yield Task("transitions", name, "refusals", f"{says} (indices are ones)", _refusing(name, True))
    yield Task("transitions", name, "wrong indices", f"{says} (an index is none)", _refusing(name, False))


# The rest.


def _of_contract(name: str) -> Task:
    says = f"{name} does what its contract says, supposing the allocator's invariants, and keeps these"

    def prove(timeout: float, seed: int) -> Iterator[Goal]:
        return allocator.prove_contract(name, timeout, seed)

    return Task("allocator", name, "contract", says, prove)


def _of_facts() -> Iterator[Task]:
    for lemma in facts.lemmas_in_order():
        yield Task(
            "facts", lemma.name, "lemma", lemma.meaning,
            lambda timeout, seed, lemma=lemma: facts.prove_lemma(lemma, timeout, seed),  # type: ignore[misc]
        )  # fmt: skip

    def all_rules(timeout: float, seed: int) -> Iterator[Goal]:
        for number, rule in enumerate(facts.rule_names()):
            for goal in (*facts.prove_never_negative(number, timeout, seed), *facts.prove_sum(number, timeout, seed)):
                goal.name = f"{rule}, {goal.name}"
                yield goal

    yield Task("facts", "ledgers", "sums", "ledgers are sums of what items contribute, none of it negative", all_rules)
    yield Task(
        "facts", "addresses", "indices", "a virtual page is four indices, and these are its only ones",
        facts.prove_addresses,
    )  # fmt: skip


def _of_touched() -> Iterator[Task]:
    for clause in completeness.clauses():
        yield Task(
            "touched", clause.name, "touched", f"{clause.name} does not break where the check does not evaluate it",
            lambda timeout, seed, clause=clause: completeness.prove([clause], timeout, seed),  # type: ignore[misc]
            ("kernel/evaluation.py", "kernel/fields.py"),
        )  # fmt: skip


def of_hardware(obligations: Iterable[Obligation], sources: tuple[str, ...]) -> Iterator[Task]:
    """Obligations about what is stored for the processor, as tasks."""
    for obligation in obligations:

        def prove(timeout: float, seed: int, obligation: Obligation = obligation) -> Iterator[Goal]:
            started = time.perf_counter()
            verdict = obligation.prove(timeout, seed)
            goal = Goal(obligation.name, (), True, True, (), verdict.status, time.perf_counter() - started)
            goal.counterexample = verdict.counterexample
            yield goal

        yield Task("hardware", obligation.name, obligation.group, obligation.says, prove, sources)


def _of_isolation() -> Iterator[Task]:
    for its in noninterference.obligations():
        yield Task("isolation", its.about, its.what, its.says, its.attempt, begin=its.begin)


def tasks() -> list[Task]:
    """Everything that is to be proved of the kernel; names are unique."""
    found = [task for name in transitions() for task in of_transition(name)]
    found += [of_stage(module, name) for module, name in STAGES]
    found += [_of_contract(name) for name in CONTRACTS]
    found += _of_facts()
    found += _of_touched()
    found.append(Task("boot", "boot", "base case", "a machine starts in a state with every invariant, whatever its "
                      "numbers of blocks and cores", initial.prove))  # fmt: skip
    # What else the hardware's proofs run than the evaluator consults is the engine's.
    of = getattr(hardware, "obligations", None)
    if of is not None: found += of_hardware(of(), ())
    found += _of_isolation()
    return found


__all__ = ["PROVED", "Outcome", "Report", "Task", "of_hardware", "of_stage", "of_transition", "run", "tasks", "warm"]
