"""A call of a transition whose check is repeated with other results and other writes."""

from __future__ import annotations

import copy

from kernel.check import CheckFailed
from tests.kernel.scenarios import Case
from tests.kernel.state import Place, place_of


class Attempt:
    """A call of a transition whose check can be repeated with other results and other writes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.w, self.arguments = case.build()
        self.k = self.w.k
        self._ledger = copy.deepcopy(self.k.ledger)
        self.k.journal.clear()
        self.result = self.w.transitions[case.transition](self.k, *self.arguments)
        self.journal = list(self.k.journal)
        self.before: dict[Place, int] = {}
        for entry in self.journal:
            self.before.setdefault(place_of(entry), entry[-1])

    def refused(self, result: int | None = None) -> str:
        """What the check says about the state as it is: the name of what fails, or nothing."""
        self.k.ledger = copy.deepcopy(self._ledger)
        try:
            self.w.checker.check(self.case.transition, self.arguments, self.result if result is None else result)
        except CheckFailed as failure:
            return f"{failure.kind} {failure.name}"
        return ""
