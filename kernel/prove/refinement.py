"""Each transition does what its specification says, and nothing else: for any state in which the invariants hold, and
any arguments.

Three things are asked.  Where the transition writes: does the specification hold of the state before, the state after
and the result; and is every field of every object that is not what it was among those that the specification lets
change?  Where it does not write: does the specification hold with nothing changed, so that the result is the error it
names?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from kernel.prove import source
from kernel.prove.evaluator import NOW, Evaluation, View, truth
from kernel.prove.goals import Goal, arbitrary, try_together
from kernel.prove.solver import PROVED
from kernel.prove.state import BEFORE, ROWS
from kernel.prove.steps import Known, Step, parts
from kernel.prove.terms import Integer, Term, Truth, all_of, any_of, equal, implies, negate, read
from kernel.specs import SPECIFICATIONS
from kernel.specs.frame import Frame


@dataclass
class Allowance:
    """What a specification lets change (kernel.specs.frame.Frame), and under which conditions."""

    EVALUATED: ClassVar = ("may", "may_item", "allocates", "rebuilds_tables")
    evaluation: Evaluation
    fields: dict[str, list[tuple[Truth, Integer]]] = field(default_factory=dict)
    items: dict[str, list[tuple[Truth, Integer, Integer]]] = field(default_factory=dict)
    allocating: Truth = False
    rebuilding: Truth = False
    kinds: list[tuple[Truth, int, int]] = field(default_factory=list)

    def may(self, table: str, id: Integer, *fields: str) -> None:
        """These fields of this object may change."""
        for name in fields:
            self.fields.setdefault(f"{table}.{name}", []).append((self.evaluation.condition, id))

    def may_item(self, table: str, id: Integer, row: str, index: Integer) -> None:
        """This item of this row may change."""
        self.items.setdefault(f"{table}.{row}", []).append((self.evaluation.condition, id, index))

    def allocates(self) -> None:
        """The allocator's own state may change."""
        self.allocating = any_of((self.allocating, self.evaluation.condition))

    def rebuilds_tables(self, free: int, table: int) -> None:
        """Page tables may change, and pages become tables or stop being some."""
        condition = self.evaluation.condition
        self.rebuilding = any_of((self.rebuilding, condition))
        self.kinds += [(condition, free, table), (condition, table, free)]

    def settle(self, known: Known) -> None:
        """Proves of each condition under which something may change that it holds, if it does, or is what the
        specification distinguishes there: then it need not be proved again for each field."""
        conditions = dict.fromkeys([
            *(condition for ways in self.fields.values() for condition, _ in ways),
            *(condition for ways in self.items.values() for condition, _, _ in ways),
            *(condition for condition, _, _ in self.kinds), self.allocating, self.rebuilding,
        ])  # fmt: skip
        demanded = {part for condition in conditions for part in parts(condition)}
        held: dict[Truth, Truth] = {}
        for condition in sorted((c for c in conditions if isinstance(c, Term)), key=lambda c: c.number):
            distinguished = all_of([part for part in parts(condition) if negate(part) in demanded])
            goal = Goal("condition", (), True, implies(distinguished, condition))
            try_together(known, [goal], rounds=2, describing=False)
            if goal.status == PROVED:
                held[condition] = distinguished
                known.solver.suppose(goal.after)
        for ways in self.fields.values(): ways[:] = [(held.get(c, c), id) for c, id in ways]
        for items in self.items.values(): items[:] = [(held.get(c, c), id, index) for c, id, index in items]
        self.kinds[:] = [(held.get(c, c), before, after) for c, before, after in self.kinds]
        self.allocating = held.get(self.allocating, self.allocating)
        self.rebuilding = held.get(self.rebuilding, self.rebuilding)

    def allows(self, key: str, ids: tuple[Integer, ...], kind_before: Integer, kind_after: Integer) -> Truth:
        """Whether a field of an object, or an item of a row, may change."""
        table, _, name = key.partition(".")
        ways: list[Truth] = [all_of((condition, equal(ids[0], id))) for condition, id in self.fields.get(key, ())]
        for condition, id, index in self.items.get(key, ()):
            ways.append(all_of((condition, equal(ids[0], id), equal(ids[1], index))))
        if (table, name) in Frame.ALLOCATOR: ways.append(self.allocating)
        if (table, name) in Frame.TABLES: ways.append(self.rebuilding)
        if key in ("page.kind", "page.owner"):
            for condition, before, after in self.kinds:
                ways.append(all_of((condition, equal(kind_before, before), equal(kind_after, after))))
        return any_of(ways)


def specified(step: Step, before: View, after: View) -> tuple[Truth, Allowance]:
    """What the specification of a step says of it, and what it lets change."""
    specification = SPECIFICATIONS[step.name]
    function = source.function(specification.__module__, step.name)
    evaluation = Evaluation(step.state, counting=False)
    allowance = Allowance(evaluation)
    return truth(evaluation.call(function, before, after, allowance, step.result, *step.arguments)), allowance


def prove(step: Step, known: Known) -> Iterator[Goal]:
    """Tries to prove that a step that writes does what its specification says, and nothing else."""
    said, allowance = specified(step, View(BEFORE), View(NOW))
    specification, = _tried(known, [Goal("specification", (), True, said)])
    yield specification
    if specification.status == PROVED: known.solver.suppose(said)
    allowance.settle(known)
    for table in dict.fromkeys(key.partition(".")[0] for key in step.state.writes):
        goals = [_unchanged(step, allowance, key) for key in step.state.writes if key.partition(".")[0] == table]
        yield from _tried(known, [goal for goal in goals if goal.after is not True])


def prove_refusals(step: Step, known: Known) -> Iterator[Goal]:
    """Tries to prove that a step that does not write returns what its specification says."""
    said, _ = specified(step, View(BEFORE), View(BEFORE))
    yield from _tried(known, [Goal("refusals", (), True, said)])


def _unchanged(step: Step, allowance: Allowance, key: str) -> Goal:
    """A field of an arbitrary object, or an arbitrary item of a row, is what it was, or may have changed."""
    state = step.state
    table = key.partition(".")[0]
    kind_before: Integer = 0
    kind_after: Integer = 0
    if key in ROWS:
        ids = arbitrary((key,))
        same = equal(state.item(key, ids[0], ids[1]), read(key, *ids))
    else:
        ids = arbitrary((table,))
        same = equal(state.read(key, ids[0]), read(key, *ids))
        if table == "page": kind_before, kind_after = read("page.kind", *ids), state.read("page.kind", ids[0])
    return Goal(f"only {key}", ids, True, any_of((same, allowance.allows(key, ids, kind_before, kind_after))))


def _tried(known: Known, goals: list[Goal]) -> list[Goal]:
    if goals: try_together(known, goals)
    return goals


__all__ = ["Allowance", "prove", "prove_refusals"]
