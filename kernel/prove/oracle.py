"""Which ways through a transition the invariants leave open: those that they close are not followed.

A transition's checks and its invariants often say the same twice: a thread that runs waits for nothing, so what exits
need not be taken out of a queue.  Evaluated without knowing that, such ways multiply.
"""

from __future__ import annotations

from kernel.prove.counting import at_least_one, items_of, never_negative
from kernel.prove.instances import about, digit_facts, instance, reads_of
from kernel.prove.solver import PROVED, Solver
from kernel.prove.terms import Term, Truth, equal, negate, read


class InvariantOracle:
    """Says of a condition whether it must, or cannot, hold where some others do, in any state with all invariants."""

    def __init__(self, timeout: float = 1.0) -> None:
        self._solver = Solver(timeout)
        self._solver.suppose(equal(read("page.kind", 0), 0))
        self._known: set[object] = set()
        self.asked = 0
        """Questions put to the solver."""

    def decide(self, conditions: tuple[Truth, ...], condition: Term, definitions: list[Truth]) -> Truth:
        """True or False if that is what the condition must be where the others hold, else the condition."""
        solver = self._solver
        for definition in definitions:
            if definition not in self._known:
                self._known.add(definition)
                solver.suppose(definition)
        self._around(reads_of([*conditions, condition]))
        solver.enter()
        for truth in conditions: solver.suppose(truth)
        decided: Truth = condition
        for holds in (True, False):
            solver.enter()
            solver.suppose(negate(condition) if holds else condition)
            self.asked += 1
            closed = solver.consistent() == PROVED
            solver.leave()
            if closed:
                decided = holds
                break
        solver.leave()
        return decided

    def _around(self, reads: list[Term]) -> None:
        for clause, ids in about(reads):
            if (clause, ids) in self._known: continue
            self._known.add((clause, ids))
            self._solver.suppose(instance(clause, *ids))
            if clause.domain == ("process.map_page",):
                for truth in digit_facts(ids[1]): self._solver.suppose(truth)
        for item in items_of(reads):
            if item in self._known: continue
            self._known.add(item)
            for truth in at_least_one(item): self._solver.suppose(truth)
        for truth in never_negative(reads): self._solver.suppose(truth)


__all__ = ["InvariantOracle"]
