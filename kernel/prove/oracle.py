"""Which ways through a transition the invariants leave open: those that they close are not followed.

A transition's checks and its invariants often say the same twice: a thread that runs waits for nothing, so what exits
need not be taken out of a queue.  Evaluated without knowing that, such ways multiply.
"""

from __future__ import annotations

from kernel.prove.instances import reads_of
from kernel.prove.solver import PROVED, Solver
from kernel.prove.surroundings import Surroundings
from kernel.prove.terms import Term, Truth, negate


class InvariantOracle(Surroundings):
    """Says of a condition whether it must, or cannot, hold where some others do, in any state with all invariants."""

    def __init__(self, timeout: float = 1.0) -> None:
        super().__init__(Solver(timeout))

    def decide(self, conditions: tuple[Truth, ...], condition: Term, definitions: list[Truth]) -> Truth:
        """True or False if that is what the condition must be where the others hold, else the condition."""
        solver = self.solver
        for definition in definitions:
            if self._new(definition): solver.suppose(definition)
        self.around(reads_of([*conditions, condition]))
        solver.enter()
        for truth in conditions: solver.suppose(truth)
        decided: Truth = condition
        for holds in (True, False):
            solver.enter()
            solver.suppose(negate(condition) if holds else condition)
            closed = solver.consistent() == PROVED
            solver.leave()
            if closed:
                decided = holds
                break
        solver.leave()
        return decided


__all__ = ["InvariantOracle"]
