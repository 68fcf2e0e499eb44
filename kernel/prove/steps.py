"""A transition run on arbitrary arguments and an arbitrary state, with what is known of both: what obligations about it
have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

from kernel.invariants import INVARIANTS, Clause
from kernel.journaled import TRANSITIONS
from kernel.prove import source
from kernel.prove.contracts import KEPT
from kernel.prove.counting import some_others, witnesses
from kernel.prove.evaluator import NOW, Agreement, Evaluation, View
from kernel.prove.instances import OBJECT_CLAUSES, PAIR_CLAUSES, evaluate, instance, reads_of
from kernel.prove.oracle import InvariantOracle
from kernel.prove.solver import Solver
from kernel.prove.source import Function
from kernel.prove.state import State
from kernel.prove.surroundings import Surroundings
from kernel.prove.terms import (
    ALL,
    RANGES,
    RANGES_OF_DIGITS,
    Facts,
    Integer,
    Term,
    Truth,
    all_of,
    any_of,
    at_most,
    implies,
    less,
    name,
    negate,
    read,
    show,
)  # fmt: skip
from kernel.specs import SPECIFICATIONS

INDICES: Final = {
    "i4": 255, "i3": 512, "i2": 512, "i1": 512, "j4": 255, "j3": 512, "j2": 512, "j1": 512,
}  # fmt: skip
"""Parameters that are indices into page tables, and below what they are once they were found valid."""
DIGITS: Final = ("v1", "v2", "v3")
"""Names of the lower three indices into page tables of an arbitrary virtual page."""
RANKED: Final = frozenset({"thread.rank", "thread.next", "thread.previous"})
"""Fields that clauses about pairs of threads are about."""


@cache
def transitions() -> dict[str, Function]:
    """The transitions of the kernel by name, in the order of its modules."""
    found = {}
    for module in TRANSITIONS:
        for name_, function in source.module(f"kernel.{module}").functions.items():
            if name_ in SPECIFICATIONS: found[name_] = function
    return found


def parts(condition: Truth) -> tuple[Term, ...]:
    """What a condition demands, one by one."""
    if isinstance(condition, bool): return ()
    return condition.args if condition.op == ALL else (condition,)


class Step:
    """One function of the kernel, run on names for its arguments."""

    def __init__(
        self, function: Function, contracts: bool = True, refusing: bool = False, within: bool = False,
        pruned: bool = False, requires: Function | None = None, stages: bool = False,
    ) -> None:
        """``requires``: what says of the state before and the arguments where it is called, if not anywhere;
        ``stages``: whether its calls of stages are noted, with what these require."""
        self.name = function.name
        self.function = function
        self.refusing = refusing
        """True if it is looked at where it writes nothing."""
        self.within = within
        """If it is: whether the indices among its arguments are ones."""
        RANGES.clear()
        RANGES.update(RANGES_OF_DIGITS)
        # Their names are this step's own: what is known of them is not to be taken for known of another's.
        own = f"@{function.name} refusing{' within' * within}" if refusing else f"@{function.name}"
        self.arguments = tuple(name(parameter + own) for parameter in function.parameters[1:])
        self.state = State()
        oracle = InvariantOracle() if pruned else None
        evaluation = Evaluation(self.state, contracts=contracts, oracle=oracle, stages=stages)
        if requires is not None:
            required = evaluation.call(requires, View(NOW), *self.arguments)
            assert isinstance(required, (bool, Term))
            evaluation.suppose(required)
        self.result = evaluation.call(function, View(NOW), *self.arguments)
        self.agreements = evaluation.agreements
        """The calls that were taken at their contracts, in order."""
        self.passages = evaluation.passages
        """The calls of stages, in order, if they are noted."""
        for digit in DIGITS: RANGES[name(digit)] = (0, 511)
        self.writing = self._writing()
        """What holds whenever it writes anything."""
        self.refusal = negate(all_of(self.writing)) if self.state.writes else True
        """What holds where it writes nothing."""
        if refusing: self.writing = ()
        self.facts = Facts()
        for truth in self.writing: self.facts.learn(truth)
        for argument in self.arguments:
            below = INDICES.get(show(argument))
            if below is None: continue
            if self.within or self._bounded(argument, below): RANGES[argument] = (0, below - 1)
        self.state.facts = self.facts
        self.reads = [term for term in reads_of(self._formulas()) if "#" not in str(term.args[0])]
        """What it reads of the state before."""

    def _writing(self) -> tuple[Term, ...]:
        common: set[Term] | None = None
        for writes in self.state.writes.values():
            for write in writes:
                demanded = set(parts(write.condition))
                common = demanded if common is None else common & demanded
        return tuple(sorted(common or (), key=lambda truth: truth.number))

    def _bounded(self, argument: Term, below: int) -> bool:
        """True if whenever something is written the argument is from 0 on and below this."""
        within = at_most(0, argument), at_most(argument, below - 1)
        return all(self.facts.simplify(truth) is True for truth in within)

    def kept(self, clause: Clause, ids: tuple[Integer, ...], agreement: Agreement) -> Truth:
        """That an invariant of the allocator held after a call of it, if it came to that."""
        where = agreement.condition
        return implies(where, evaluate(clause, self.state, *ids, moment=agreement.after, where=where))

    def outside(self) -> Truth:
        """One of the indices among its arguments is none."""
        wrong = [
            any_of((less(argument, 0), at_most(INDICES[show(argument)], argument)))
            for argument in self.arguments if show(argument) in INDICES
        ]
        return any_of(wrong) if wrong else True

    def _formulas(self) -> Iterator[Truth | Integer]:
        for field, writes in self.state.writes.items():
            for write in writes:
                yield write.condition
                if write.id is None: continue
                yield read(field, write.id) if write.index is None else read(field, write.id, write.index)
                if not callable(write.value): yield write.value
        yield from self.state.definitions()


_AHEAD: Final[dict[str, Step]] = {}


@dataclass(frozen=True)
class Ahead:
    """Evaluates a transition for the proofs about it to begin with, each in a process forked after that."""

    name: str

    def __call__(self) -> None:
        _AHEAD[self.name] = Step(transitions()[self.name], pruned=True)


def open_ways(function: Function) -> Step:
    """A transition on those ways that the invariants leave open: if it was evaluated ahead that one, which is used up,
    because what is proved changes it."""
    return _AHEAD.pop(function.name, None) or Step(function, pruned=True)


class Known(Surroundings):
    """A solver that knows a step, and instances of the invariants around what it reads."""

    SOLVER: ClassVar[type[Solver]] = Solver

    def __init__(
        self, step: Step, timeout: float, seed: int = 0, only: frozenset[str] | None = None, supposing: Truth = True,
        agreed: int | None = None, without: frozenset[str] = frozenset(),
    ) -> None:
        """``only``: the invariants that hold, if not all; ``agreed``: how many of the calls that were taken at their
        contracts kept these, if not all; ``without``: the invariants that are not made use of."""
        self.step = step
        self._only = only
        self._without = without
        super().__init__(self.SOLVER(timeout, seed))
        self._named = 0
        suppose = self.solver.suppose
        for truth in step.writing: suppose(truth)
        if step.refusing:
            suppose(step.refusal)
            if not step.within: suppose(step.outside())
        for argument, (least, most) in list(RANGES.items()):
            suppose(at_most(least, argument))
            suppose(at_most(argument, most))
        if only is None: suppose(instance(INVARIANTS["container_root"], name("root")))
        suppose(supposing)
        self.define()
        self.around(step.reads)
        if only is not None:
            for other in some_others(): suppose(other)
            self.around(witnesses())
        self._agreements = step.agreements[:agreed]
        for agreement in self._agreements: suppose(implies(agreement.condition, agreement.known))

    def define(self) -> list[Truth]:
        """Tells the solver what names stand for that were made since."""
        new = list(self.step.state.definitions())[self._named:]
        self._named += len(new)
        for truth in new: self.solver.suppose(truth)
        return new

    def enter(self) -> None:
        """What is learnt from here on is forgotten by ``leave``."""
        super().enter()
        self._before = self._named

    def leave(self) -> None:
        """Forgets what was learnt since ``enter``."""
        super().leave()
        self._named = self._before

    def given(self) -> Iterator[tuple[Clause, tuple[Integer, ...]]]:
        """The invariants, of these objects, that the solver has been told."""
        for level in self._levels:
            for key in level:
                if not isinstance(key, tuple) or not isinstance(key[0], Clause): continue
                if isinstance(key[1], tuple): yield key[0], key[1]

    def _wanted(self, clause: Clause) -> bool:
        return clause.name not in self._without and (self._only is None or clause.name in self._only)

    def around_later(self, reads: Iterable[Term]) -> list[Truth]:
        """Supposes the allocator's invariants after a call of it, of what is read there.  Returns them."""
        after = {str(agreement.after): agreement for agreement in self._agreements}
        found: list[Truth] = []
        for term in reads:
            field, _, moment = str(term.args[0]).partition("#")
            agreement = after.get(moment)
            if agreement is None or field.startswith("ledger."): continue
            for clause in OBJECT_CLAUSES.get(field.partition(".")[0], ()):
                if clause.name not in KEPT or not self._new((clause, term.args[1], moment)): continue
                found.append(self.step.kept(clause, (term.args[1],), agreement))
                self.solver.suppose(found[-1])
        return found

    def around_pairs(self, reads: Iterable[Term]) -> None:
        """Supposes the clauses about pairs of all threads whose place in a queue is read here or in the step."""
        threads = list(dict.fromkeys(
            term.args[1] for term in (*self.step.reads, *reads) if str(term.args[0]) in RANKED
        ))
        for clause in PAIR_CLAUSES:
            for first in threads:
                for second in threads:
                    if first is second or not self._new((clause, first, second)): continue
                    self.solver.suppose(instance(clause, first, second))
