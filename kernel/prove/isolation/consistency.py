"""Weak step consistency: in two states that look alike to A, a step of A gives the same result, and states that look
alike again.

The second state is the *twin* of the first: every field is another function, and what is known of one state (the
invariants, that A and B are isolated, the step's definitions) is known of the other.  They look alike where A observes
the same objects, with the same fields.  That results are the same is proved whatever pages are allocated in either; of
the states afterwards it is supposed that these have the same numbers: page numbers are names, of which transitions ask
only whether two are the same (``names``), so that the second state may be renamed until they agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final

from kernel.prove.counterexample import describe
from kernel.prove.goals import ROUNDS, Goal, arbitrary
from kernel.prove.instances import PLACES, reads_of, substitute
from kernel.prove.isolation.observation import OBSERVED, WITHIN, in_use, observed
from kernel.prove.isolation.statements import A
from kernel.prove.isolation.surroundings import (
    ADDRESSES,
    DEPTH,
    FIRST,
    NOW,
    SECOND,
    Sides,
    Surroundings,
    allocated,
    said,
)  # fmt: skip
from kernel.prove.solver import PROVED, REFUTED, Solver
from kernel.prove.state import BEFORE, ROWS, State
from kernel.prove.steps import DIGITS, Step
from kernel.prove.terms import (
    ALL,
    ANY,
    AT_MOST_0,
    CHOICE,
    NAME,
    NONZERO,
    QUOTIENT,
    RANGES,
    READ,
    REMAINDER,
    SUM,
    ZERO,
    Facts,
    Integer,
    Term,
    Truth,
    add,
    all_of,
    any_of,
    at_most_zero,
    choice,
    equal,
    implies,
    is_zero,
    name,
    negate,
    quotient,
    read,
    remainder,
)  # fmt: skip

TWIN: Final = "~"
"""Marks the fields, and names, of the second state."""
_SHARED: Final = frozenset({FIRST, SECOND, DEPTH, *PLACES, *map(name, (*DIGITS, "v4", "s", "i", "root", "cores"))})


@dataclass
class Twin:
    """Puts the second state's fields and names in the place of the first's; those in ``shared`` are the same."""

    shared: frozenset[Term] = _SHARED
    _integers: dict[Term, Integer] = field(default_factory=dict)
    _truths: dict[Term, Truth] = field(default_factory=dict)

    def integer(self, a: Integer) -> Integer:
        """An integer, of the second state."""
        if isinstance(a, int): return a
        found = self._integers.get(a)
        if found is None: found = self._integers[a] = self._integer(a)
        return found

    def _integer(self, a: Term) -> Integer:
        args = a.args
        if a.op == READ: return read(str(args[0]) + TWIN, *[self.integer(i) for i in args[1:]])
        if a.op == NAME:
            if a in self.shared or str(args[0]).startswith("any "): return a
            twin = name(str(args[0]) + TWIN)
            if a in RANGES: RANGES[twin] = RANGES[a]
            return twin
        if a.op == SUM:
            total: Integer = args[0]
            for term, factor in args[1:]: total = add(total, self.integer(term), factor)
            return total
        if a.op == CHOICE: return choice(self.truth(args[0]), self.integer(args[1]), self.integer(args[2]))
        if a.op == QUOTIENT: return quotient(self.integer(args[0]), args[1])
        assert a.op == REMAINDER
        return remainder(self.integer(args[0]), args[1])

    def truth(self, a: Truth) -> Truth:
        """A truth, of the second state."""
        if isinstance(a, bool): return a
        found = self._truths.get(a)
        if found is None: found = self._truths[a] = self._truth(a)
        return found

    def _truth(self, a: Term) -> Truth:
        if a.op == ALL: return all_of([self.truth(b) for b in a.args])
        if a.op == ANY: return any_of([self.truth(b) for b in a.args])
        inner = self.integer(a.args[0])
        if a.op == ZERO: return is_zero(inner)
        if a.op == NONZERO: return negate(is_zero(inner))
        assert a.op == AT_MOST_0
        return at_most_zero(inner)


class TwinSolver(Solver):
    """A solver that supposes of the second state whatever it supposes of the first."""

    twin: Twin

    def suppose(self, truth: Truth) -> None:
        super().suppose(truth)
        super().suppose(self.twin.truth(truth))

    def suppose_once(self, truth: Truth) -> None:
        """Supposes something that speaks of both states."""
        super().suppose(truth)


class Alike(Surroundings):
    """A step made in two states that look alike to A.  ``renamed``: the pages that it allocates have the same numbers
    in both; else they may have any."""

    def __init__(
        self, step: Step, timeout: float, supposing: Truth = True, seed: int = 0, renamed: bool = False
    ) -> None:
        # Of the two runs, one may write and the other refuse: what holds where it writes is not known.
        step.writing = ()
        step.facts = step.state.facts = Facts()
        pages = [page for _, page in allocated(step)] if renamed else []
        self.twin = twin = Twin(_SHARED | {a for a in (*step.arguments, *pages) if isinstance(a, Term)})

        class Its(TwinSolver):
            pass

        Its.twin = twin
        self.SOLVER = Its  # type: ignore[misc]
        super().__init__(step, timeout, supposing, seed)

    @staticmethod
    def unused(step: Step) -> frozenset[str]:
        """As of Surroundings: what addresses tables translate is the same in both states, or not observed."""
        return ADDRESSES

    def around(self, reads: Iterable[Term]) -> list[Truth]:
        """As of Surroundings; and that what A observes of these objects is the same in both states."""
        reads = list(reads)
        found = super().around(reads)
        solver = self.solver
        assert isinstance(solver, TwinSolver)
        for read_ in reads:
            field_, ids = str(read_.args[0]), tuple(read_.args[1:])
            if not ids or "#" in field_ or field_.startswith(("ledger.", "isolation.", "block.", "giant.", "memory.")):
                continue
            for view in self._views(field_):
                if not self._new((view, ids[0])): continue
                seen = _seen(view, ids[0])
                found.append(seen)
                solver.suppose_once(_same(seen, substitute(self.twin.truth(_view(view)), {PLACES[0]: ids[0]})))
            its_view = observed(field_)
            if its_view is None or not self._new((field_, ids)): continue
            seen = _seen(its_view, ids[0])
            if field_ in WITHIN:
                used = in_use(field_, ids[0], ids[1], read)
                reads += reads_of([used])  # which are the same as well
                seen = all_of((seen, used))
            solver.suppose_once(implies(seen, equal(read_, read(field_ + TWIN, *ids))))
            found.append(seen)
        return found

    @staticmethod
    def _views(field_: str) -> Iterator[Callable[..., bool]]:
        table = field_.partition(".")[0]
        if table in OBSERVED: yield OBSERVED[table]
        if table == "page":
            for other in ("endpoint", "device", "domain", "process"): yield OBSERVED[other]
        view = observed(field_)
        if view is not None and view is not OBSERVED.get(table): yield view


@cache
def _view(view: Callable[..., bool]) -> Truth:
    """Whether A observes the placeholder."""
    return said(view, State(), BEFORE, Sides(), A, PLACES[0])


def _seen(view: Callable[..., bool], id: Integer) -> Truth:
    return substitute(_view(view), {PLACES[0]: id})


def _same(a: Truth, b: Truth) -> Truth:
    return all_of((implies(a, b), implies(b, a)))


def result_goals(step: Step, known: Alike) -> Iterator[Goal]:
    """That the result is the same in both states."""
    result = step.result
    if isinstance(result, Term): yield Goal("result", (), True, equal(result, known.twin.integer(result)))


def state_goals(step: Step, known: Alike) -> Iterator[Goal]:
    """That each field which the step writes, of what A observes after it, is the same in both states."""
    state = step.state
    for key in state.writes:
        view = observed(key)
        if view is None: continue
        ids = arbitrary((key if key in ROWS else key.partition(".")[0],))
        value = state.item(key, ids[0], ids[1]) if key in ROWS else state.read(key, ids[0])
        if value is read(key, *ids): continue
        seen = said(view, state, NOW, known.after, A, ids[0])
        if key in WITHIN: seen = all_of((seen, in_use(key, ids[0], ids[1], partial(_field, state))))
        same = equal(value, known.twin.integer(value))
        yield Goal(f"A's {key}", ids, True, implies(all_of((seen, known.twin.truth(seen))), same))


def _field(state: State, field: str, id: Integer, index: Integer | None = None) -> Integer:
    """A field, or an item of a row, after the step."""
    return state.read(field, id) if index is None else state.item(field, id, index)


def prove(step: Step, known: Alike, goals: Iterator[Goal]) -> Iterator[Goal]:
    """Tries to prove these goals, one by one."""
    for goal in goals:
        _try(known, goal)
        yield goal


def _try(known: Alike, goal: Goal) -> None:
    started = time.perf_counter()
    solver = known.solver
    assert isinstance(solver, TwinSolver)
    known.enter()
    new = known.define()
    around = known.around(_of_first(reads_of([goal.after, *new])))
    known.around(known.step.reads)
    for turn in range(ROUNDS):
        if turn: around = known.around(_of_first(reads_of(around)))
        solver.enter()
        solver.suppose_once(negate(goal.after))
        goal.status = solver.consistent()
        if turn == ROUNDS - 1 and goal.status == REFUTED: goal.counterexample = describe(known, goal.after, goal.ids)
        solver.leave()
        if goal.status == PROVED: break
    known.leave()
    goal.seconds = time.perf_counter() - started


def _of_first(reads: Iterable[Term]) -> list[Term]:
    return [read_ for read_ in reads if TWIN not in str(read_.args[0])]


__all__ = ["TWIN", "Alike", "Twin", "TwinSolver", "prove", "result_goals", "state_goals"]
