"""A counterexample tried in a real kernel: is it a bug, or a state that cannot be?

The solver's model says what was read; a kernel is built that holds that and nothing else, with the ledgers that the
model has.  What the call breaks there is told in any case.  If all invariants hold before it, then as far as that can
be said the state is one in which the step fails.  (It may still be out of reach: counts of the model can be of objects
that it does not have.)  If one does not, that instance was not given to the solver, and the counterexample may be
spurious; or the model lacks, of a state that can be, objects further away.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kernel import ledgers
from kernel.invariants import INVARIANTS, Clause
from kernel.objects import CLASSES, Kernel, Ledger, Row, fields_of
from kernel.prove.instances import instance, reads_of
from kernel.prove.solver import Solver
from kernel.prove.state import ROWS, TOTALS
from kernel.prove.steps import Known
from kernel.prove.terms import Term, Truth, name

FIELDS = frozenset(f"{of.table_name}.{field}" for of in CLASSES for field in fields_of(of))


@dataclass(frozen=True)
class Replay:
    """What came of a counterexample: the call and its result (None if it raised); which invariants, of which objects,
    did not hold before it, and which not after it."""

    arguments: tuple[int, ...]
    result: int | None
    before: tuple[tuple[str, tuple[int, ...]], ...]
    after: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def spurious(self) -> bool:
        """The state before is none that can be, as it stands."""
        return bool(self.before)

    def __str__(self) -> str:
        broken = ", ".join(f"{clause}{ids}" for clause, ids in self.after[:4]) or "no invariant"
        came = f"the call returns {self.result} and breaks {broken}"
        if self.result is None: came = "the call raises an error"
        if not self.before: return f"in a kernel of these values every invariant holds before; {came}"
        missing = ", ".join(f"{clause}{ids}" for clause, ids in self.before[:4])
        return f"in a kernel of these values {came}; it may be spurious: before, these do not hold: {missing}"


def built(solver: Solver, reads: Iterable[Term]) -> Kernel:
    """A kernel that holds what a solver's model says of these reads, ledgers included; all else is blank."""
    reads = list(reads)
    wanted = [part for read in reads for part in (read, *read.args[1:])] + [name("root"), name("cores")]
    values = solver.values(wanted)
    k, ledger = Kernel(), Ledger()
    k.root, k.cores, k.ledger = values[name("root")], values[name("cores")], ledger
    for read in reads:
        field, value = str(read.args[0]), values[read]
        index = tuple(values[i] if isinstance(i, Term) else int(i) for i in read.args[1:])
        table, _, its = field.partition(".")
        if table == "ledger" and "#" not in its: _put(ledger, its, its not in TOTALS, index, value)
        elif field in FIELDS:
            of: Any = k.memory if table == "memory" else getattr(k, table)[index[0]]
            if field in ROWS and len(index) == 1: continue  # a row as a whole: its items are read by themselves
            _put(of, its, field in ROWS, index[1:], value)
    return k


def _put(of: Any, field: str, row: bool, index: tuple[int, ...], value: int) -> None:
    if row: getattr(of, field)[index[0]] = value
    else: setattr(of, field, value)


def broken(k: Kernel) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The invariants that do not hold of a kernel with these ledgers, and of which of the objects that it has."""
    return tuple(
        (clause.name, ids) for clause in INVARIANTS.values() for ids in _ids(k, clause.domain)
        if not _holds(clause, k, ids)
    )  # fmt: skip


def _holds(clause: Clause, k: Kernel, ids: tuple[int, ...]) -> bool:
    try:
        return clause.holds(k, *ids)
    except (LookupError, ArithmeticError, ValueError):
        return False


def _ids(k: Kernel, domain: tuple[str, ...]) -> list[tuple[int, ...]]:
    table, _, row = domain[0].partition(".")
    objects = {0: k.memory} if table == "memory" else dict(getattr(k, table))
    if len(domain) == 2: return [(a, b) for a in objects for b in objects if a != b]
    if not row: return [(id,) for id in objects]
    return [(id, index) for id, of in objects.items() for index in list(getattr(of, row))]


def replay(known: Known, goal: Truth, transition: Callable[..., int] | None = None) -> Replay:
    """Tries what a solver has just found against a goal about a step.  ``transition``: what to run, if not the
    kernel's own function."""
    step = known.step
    given = [instance(clause, *ids) for clause, ids in known.given()]
    k = built(known.solver, reads_of([goal, *given, *step.reads]))
    values = known.solver.values(step.arguments)
    arguments = tuple(values[argument] for argument in step.arguments)
    broken(k)  # which looks at objects that are blank, and from then on are there
    before = broken(k)
    assert k.ledger is not None
    counted = ledgers.count(k)
    function = transition or getattr(importlib.import_module(step.function.module), step.name)
    try:
        result: int | None = int(function(k, *arguments) or 0)
    except (LookupError, ArithmeticError, ValueError):
        result = None
    _follow(k.ledger, counted, ledgers.count(k))
    return Replay(arguments, result, before, tuple(found for found in broken(k) if found not in before))


def _follow(ledger: Ledger, was: Ledger, now: Ledger) -> None:
    """Counts in a ledger what has changed between two that were counted."""
    for field in fields_of(Ledger):
        before, after = getattr(was, field), getattr(now, field)
        if isinstance(before, Row):
            for key in {*before, *after}: getattr(ledger, field)[key] += after[key] - before[key]
        else:
            setattr(ledger, field, getattr(ledger, field) + after - before)


__all__ = ["Replay", "broken", "built", "replay"]
