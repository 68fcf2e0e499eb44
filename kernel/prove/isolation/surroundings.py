"""A transition made by A, and what is known of the state that it is made in: the invariants, and that A and B are
isolated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

from kernel.objects import CONTAINER
from kernel.prove import source
from kernel.prove.contracts import KEPT
from kernel.prove.evaluator import NOW, Evaluation, View, truth
from kernel.prove.instances import PLACES, reads_of, substitute
from kernel.prove.isolation.consequences import LEMMAS, nothing
from kernel.prove.isolation.statements import STATEMENTS, A, Statement
from kernel.prove.state import BEFORE, ROWS, State
from kernel.prove.steps import Known, Step
from kernel.prove.terms import (
    Integer,
    Term,
    Truth,
    all_of,
    any_of,
    at_most,
    choice,
    differ,
    equal,
    name,
    read,
)  # fmt: skip

ADDRESSES: Final = frozenset({"map_walked", "map_permission", "table_base", "table_chain"})
"""Clauses about which addresses tables translate: of no use where an address space is changed and none comes to be."""
INSIDE: Final = frozenset(KEPT) - {"container_quota"}
"""Clauses about the allocator's own state, of which nothing here speaks."""
SIZES: Final = ("page", "block", "giant")

SIDE: Final = "isolation.side"
"""The arbitrary function that gives each page its side."""
FIRST, SECOND, DEPTH = name("A"), name("B"), name("depth of A and B")


def apart() -> Truth:
    """A and B are two containers at one depth."""
    return all_of((
        *(equal(read("page.kind", c), CONTAINER) for c in (FIRST, SECOND)),
        *(equal(read("container.depth", c), DEPTH) for c in (FIRST, SECOND)), differ(FIRST, SECOND), at_most(1, DEPTH),
    ))  # fmt: skip


@dataclass(frozen=True)
class Sides:
    """Which side pages belong to: before a step, or after it, when ``new`` pages have come to be on the actor's."""

    new: tuple[tuple[Truth, Integer], ...] = ()
    acting: int = A

    def __call__(self, page: Integer) -> Integer:
        taken = any_of([all_of((condition, equal(page, its))) for condition, its in self.new])
        return choice(taken, self.acting, read(SIDE, page))


def said(
    predicate: Callable[..., bool], state: State, moment: int, side: Sides, *ids: Integer
) -> Truth:
    """What a predicate about A and B says of these objects at a moment."""
    function = source.function(predicate.__module__, predicate.__name__)
    arguments = (FIRST, SECOND, DEPTH, side, *ids) if "side" in function.parameters else (FIRST, SECOND, DEPTH, *ids)
    return truth(Evaluation(state, counting=False).call(function, View(moment), *arguments))


def allocated(step: Step) -> tuple[tuple[Truth, Integer], ...]:
    """The pages that a step allocates, and under which conditions."""
    return tuple(
        (agreement.condition, name(f"page'{number}@{agreement.function}"))
        for number, agreement in enumerate(step.agreements, 1) if agreement.function.startswith("allocate")
    )


class Surroundings(Known):
    """What is known of a step that is made where A and B are isolated: the invariants around what it reads, and the
    statements about A and B."""

    def __init__(self, step: Step, timeout: float, supposing: Truth = True, seed: int = 0, acting: int = A) -> None:
        self.before = Sides()
        self._lemmas = () if step.name == nothing.__name__ else LEMMAS  # which are proved of no step
        self._acting = acting
        self._said: dict[tuple[Statement, tuple[Integer, ...]], Truth] = {}
        super().__init__(
            step, timeout, seed, supposing=all_of((apart(), supposing)),
            without=INSIDE | self.unused(step),
        )
        self.around(reads_of([supposing]))

    @staticmethod
    def unused(step: Step) -> frozenset[str]:
        """Clauses that proofs about this step do without."""
        return ADDRESSES if step.name.partition("_")[2] in SIZES else frozenset()

    @cached_property
    def after(self) -> Sides:
        """The sides of pages after the step."""
        return Sides(allocated(self.step), self._acting)

    def around(self, reads: Iterable[Term]) -> list[Truth]:
        """As of a Known, and what the statements say of the same objects."""
        reads = list(reads)
        found = super().around(reads)
        for read_ in reads:
            field = str(read_.args[0])
            for statement in (*BY_FIELD.get(field, ()), *(its for its in self._lemmas if its.field == field)):
                ids = tuple(read_.args[1:])
                truth_ = self.holding(statement, ids)
                found.append(truth_)
                if self._new((statement, ids)): self.solver.suppose(truth_)
        return found

    def holding(self, statement: Statement, ids: tuple[Integer, ...]) -> Truth:
        """What a statement says of these objects before the step."""
        key = (statement, ids)
        if key not in self._said:
            self._said[key] = substitute(_template(statement), dict(zip(PLACES, ids, strict=False)))
        return self._said[key]


@cache
def _template(statement: Statement) -> Truth:
    """What a statement says of the placeholders, of a state that nothing was written to."""
    return said(statement.holds, State(), BEFORE, Sides(), *PLACES[:2 if statement.field in ROWS else 1])


BY_FIELD: Final[dict[str, list[Statement]]] = {}
for _statement in STATEMENTS.values(): BY_FIELD.setdefault(_statement.field, []).append(_statement)

__all__ = ["DEPTH", "FIRST", "NOW", "SECOND", "Sides", "Surroundings", "allocated", "apart", "said"]
