"""A solver that is told what the invariants, and the counting of ledgers, say around what is read: each thing once."""

from __future__ import annotations

from collections.abc import Iterable

from kernel.invariants import Clause
from kernel.prove.counting import at_least_one, items_of, never_negative
from kernel.prove.instances import about, digit_facts, instance
from kernel.prove.lemmas import Lemma
from kernel.prove.solver import Solver
from kernel.prove.terms import Term, Truth, equal, read


class Surroundings:
    """A solver, and what it was told of any state in which the invariants hold."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._levels: list[dict[object, None]] = [{}]
        """What it was told, and what since each ``enter``."""
        solver.suppose(equal(read("page.kind", 0), 0))

    def enter(self) -> None:
        """What is learnt from here on is forgotten by ``leave``."""
        self.solver.enter()
        self._levels.append({})

    def leave(self) -> None:
        """Forgets what was learnt since ``enter``."""
        self.solver.leave()
        self._levels.pop()

    def around(self, reads: Iterable[Term]) -> list[Truth]:
        """Supposes the invariants of all that these reads are of, and what is true of the ledgers they count in.
        Returns all that it supposes of them."""
        about_these: list[Truth] = []
        reads = list(reads)
        for clause, ids in about(reads):
            if not self._wanted(clause) or (isinstance(clause, Lemma) and clause.aside): continue
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

    def _wanted(self, clause: Clause) -> bool:
        """Whether use is made of a clause."""
        return True

    def _new(self, key: object) -> bool:
        """Whether it has not been told of this yet; from here on it has."""
        if any(key in level for level in self._levels): return False
        self._levels[-1][key] = None
        return True


__all__ = ["Surroundings"]
