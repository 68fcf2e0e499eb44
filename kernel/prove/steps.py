"""A transition run on arbitrary arguments and an arbitrary state, with what is known of both: what obligations about it
have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import ClassVar, Final

from kernel.invariants import INVARIANTS, Clause
from kernel.journaled import TRANSITIONS
from kernel.prove import source
from kernel.prove.contracts import KEPT
from kernel.prove.counting import at_least_one, items_of, never_negative, some_others, witnesses
from kernel.prove.evaluator import NOW, Evaluation, View
from kernel.prove.instances import OBJECT_CLAUSES, PAIR_CLAUSES, about, digit_facts, evaluate, instance, reads_of
from kernel.prove.oracle import InvariantOracle
from kernel.prove.solver import Solver
from kernel.prove.source import Function
from kernel.prove.state import State
from kernel.prove.terms import (
    ALL,
    NAME,
    RANGES,
    RANGES_OF_DIGITS,
    READ,
    Facts,
    Integer,
    Term,
    Truth,
    all_of,
    any_of,
    at_most,
    equal,
    implies,
    less,
    name,
    negate,
    parts_of,
    read,
    show,
)  # fmt: skip
from kernel.specs import SPECIFICATIONS

INDICES: Final = {
    "i4": 255, "i3": 512, "i2": 512, "i1": 512, "j4": 255, "j3": 512, "j2": 512, "j1": 512,
}  # fmt: skip
"""Parameters that are indices into page tables, and below what they are once they were found valid."""
SPLITS: Final = 4
"""How many times the cases of a step are split at most."""
ENOUGH: Final = 60
"""A step that writes no more than this is looked at as a whole."""
LEAST: Final = 10
"""A condition on which fewer writes depend makes no cases."""
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
        pruned: bool = False, supposing: tuple[Truth, ...] = (),
    ) -> None:
        self.name = function.name
        self.function = function
        self.contracts = contracts
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
        evaluation = Evaluation(self.state, contracts=contracts, oracle=oracle)
        for truth in supposing: evaluation.suppose(truth)
        self.result = evaluation.call(function, View(NOW), *self.arguments)
        self.open = evaluation.open
        """Conditions that it branches on, and how many writes depend on them."""
        self.agreements = evaluation.agreements
        """The calls that were taken at their contracts, in order."""
        for digit in DIGITS: RANGES[name(digit)] = (0, 511)
        self.writing = self._writing()
        """What holds whenever it writes anything."""
        self.refusal = negate(all_of(self.writing)) if self.state.writes else True
        """What holds where it writes nothing."""
        if refusing: self.writing = ()
        for argument in self.arguments:
            below = INDICES.get(show(argument))
            if below is None: continue
            if self.within or self._bounded(argument, below): RANGES[argument] = (0, below - 1)
        self.facts = Facts()
        for truth in self.writing: self.facts.learn(truth)
        self.state.facts = self.facts
        self.reads = [term for term in reads_of(self._formulas()) if "#" not in str(term.args[0])]
        """What it reads of the state before."""

    def cases(self) -> list[tuple[Truth, ...]]:
        """Suppositions of which one holds whenever it writes, under each of which it writes less: for a step that
        branches too much to be looked at as a whole."""
        return _cases(self, (), SPLITS)

    def _writing(self) -> tuple[Term, ...]:
        common: set[Term] | None = None
        for writes in self.state.writes.values():
            for write in writes:
                demanded = set(parts(write.condition))
                common = demanded if common is None else common & demanded
        return tuple(sorted(common or (), key=lambda truth: truth.number))

    def _bounded(self, argument: Term, below: int) -> bool:
        """True if whenever something is written the argument is from 0 on and below this."""
        facts = Facts()
        for truth in self.writing: facts.learn(truth)
        return facts.simplify(at_most(0, argument)) is True and facts.simplify(at_most(argument, below - 1)) is True

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


def _cases(step: Step, supposed: tuple[Truth, ...], splits: int) -> list[tuple[Truth, ...]]:
    if not step.state.writes: return []
    # A name that was made on the way may stand for something else where the step is run again.
    open_now = {condition: writes for condition, writes in step.open.items()
                if writes >= LEAST and not _made_on_the_way(condition)}  # fmt: skip
    if splits == 0 or sum(map(len, step.state.writes.values())) <= ENOUGH or not open_now: return [supposed]
    most = max(open_now, key=lambda condition: open_now[condition])
    found = []
    for holds in (most, negate(most)):
        more = (*supposed, holds)
        found += _cases(Step(step.function, step.contracts, pruned=True, supposing=more), more, splits - 1)
    return found


def _made_on_the_way(condition: Term) -> bool:
    """True if a term has names that running the step made, or what the allocator left."""
    todo: list[Term] = [condition]
    while todo:
        term = todo.pop()
        if term.op in (NAME, READ) and ("'" in str(term.args[0]) or "#" in str(term.args[0])): return True
        todo.extend(parts_of(term))
    return False


class Known:
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
        self.solver = self.SOLVER(timeout, seed)
        self._levels: list[dict[object, None]] = [{}]
        self._named = 0
        suppose = self.solver.suppose
        for truth in step.writing: suppose(truth)
        if step.refusing:
            suppose(step.refusal)
            if not step.within: suppose(step.outside())
        for argument, (least, most) in list(RANGES.items()):
            suppose(at_most(least, argument))
            suppose(at_most(argument, most))
        suppose(equal(read("page.kind", 0), 0))
        if only is None: suppose(instance(INVARIANTS["container_root"], name("root")))
        suppose(supposing)
        self.define()
        self.around(step.reads)
        if only is not None:
            for other in some_others(): suppose(other)
            self.around(witnesses())
        for agreement in step.agreements[:agreed]: suppose(implies(agreement.condition, agreement.known))

    def define(self) -> list[Truth]:
        """Tells the solver what names stand for that were made since."""
        new = list(self.step.state.definitions())[self._named:]
        self._named += len(new)
        for truth in new: self.solver.suppose(truth)
        return new

    def enter(self) -> None:
        """What is learnt from here on is forgotten by ``leave``."""
        self.solver.enter()
        self._levels.append({})
        self._before = self._named

    def leave(self) -> None:
        """Forgets what was learnt since ``enter``."""
        self.solver.leave()
        self._levels.pop()
        self._named = self._before

    def given(self) -> Iterator[tuple[Clause, tuple[Integer, ...]]]:
        """The invariants, of these objects, that the solver has been told."""
        for level in self._levels:
            for key in level:
                if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], tuple): yield key

    def _new(self, key: object) -> bool:
        if any(key in level for level in self._levels): return False
        self._levels[-1][key] = None
        return True

    def around(self, reads: Iterable[Term]) -> list[Truth]:
        """Supposes the invariants of all that these reads are of, and what is true of the ledgers they count in.
        Returns all that it supposes of them."""
        about_these: list[Truth] = []
        reads = list(reads)
        for clause, ids in about(reads):
            if clause.name in self._without or (self._only is not None and clause.name not in self._only): continue
            truth = instance(clause, *ids)
            about_these.append(truth)
            if not self._new((clause, ids)): continue
            self.solver.suppose(truth)
            if clause.domain == ("process.map_page",):
                for known in digit_facts(ids[1]): self.solver.suppose(known)
        for item in items_of(reads):
            truths = list(at_least_one(item))
            about_these += truths
            if not self._new(item): continue
            for truth in truths: self.solver.suppose(truth)
        for truth in never_negative(reads): self.solver.suppose(truth)
        return about_these

    def around_later(self, reads: Iterable[Term]) -> list[Truth]:
        """Supposes the allocator's invariants after a call of it, of what is read there.  Returns them."""
        after = {str(agreement.after): agreement for agreement in self.step.agreements}
        state = self.step.state
        found: list[Truth] = []
        for term in reads:
            field, _, moment = str(term.args[0]).partition("#")
            agreement = after.get(moment)
            if agreement is None or field.startswith("ledger."): continue
            for clause in OBJECT_CLAUSES.get(field.partition(".")[0], ()):
                if clause.name not in KEPT or not self._new((clause, term.args[1], moment)): continue
                facts, state.facts = state.facts, Facts(state.facts)
                state.facts.learn(agreement.condition)
                held = evaluate(clause, state, term.args[1], moment=agreement.after)
                state.facts = facts
                found.append(implies(agreement.condition, held))
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
