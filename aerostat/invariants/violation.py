"""An invariant of the user's that does not hold: the clause, what it saw, and where the program was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from aerostat.invariants.clause import Clause
from aerostat.invariants.values import Read, brief, expression
from hv.observer import StoppedByObserver
from hv.report import Report

SHOWN: Final = 16
"""Values that a report shows at most."""


class Value:
    """One expression that the invariant read: its value when it last held, if it was read then, and now."""

    __slots__ = ("after", "before", "name")

    def __init__(self, name: str, before: str | None, after: str) -> None:
        self.name = name
        self.before = before
        self.after = after

    @property
    def changed(self) -> bool:
        """It was another value."""
        return self.before is not None and self.before != self.after

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}" if self.changed else f"{self.name} = {self.after}"


def values_of(reads: Sequence[Read], before: Sequence[Read]) -> list[Value]:
    """What was read, each expression once, those that changed first, then the last ones read."""
    old = dict(_named(before))
    now = [Value(name, old.get(name), value) for name, value in dict(_named(reads)).items()]
    changed = [value for value in now if value.changed][:SHOWN]
    same = [value for value in now if not value.changed]
    room = SHOWN - len(changed)
    return changed + (same[-room:] if room else [])


def _named(reads: Sequence[Read]) -> Iterator[tuple[str, str]]:
    return ((expression(parent, step), brief(value)) for parent, step, value in reads)


class Violation(StoppedByObserver):
    """An invariant does not hold, or could not be evaluated.

    ``clause`` is the invariant; ``about`` the kernel object, if it is about one; ``error`` what the predicate raised,
    in a sentence; ``values`` what it read, with what was there when it last held; ``report`` the thread's registers and
    code, and the last traps.
    """

    def __init__(self, clause: Clause, about: str, error: str | None, values: Sequence[Value], report: Report) -> None:
        self.clause = clause
        self.about = about
        self.error = error
        self.values = values
        self.report = report
        super().__init__(clause.name)

    def headline(self) -> str:
        """Which invariant, and what it demands."""
        name = f"{self.clause.name}({self.about})" if self.about else self.clause.name
        if self.error is not None: return f"invariant {name} cannot be evaluated: {self.error}"
        return f"invariant {name} does not hold: {self.clause.meaning or 'it has no docstring that says what it means'}"

    def __str__(self) -> str:
        lines = [self.headline(), f"  defined at {self.clause.place}"]
        if self.error is not None and self.clause.meaning: lines.append(f"  it says: {self.clause.meaning}")
        lines += [f"  {value}" for value in self.values]
        return "\n".join([*lines, str(self.report)])

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "invariant": self.clause.name,
            "meaning": self.clause.meaning,
            "defined_at": self.clause.place,
            "about": self.about or None,
            "error": self.error,
            "values": [{"name": v.name, "before": v.before, "after": v.after} for v in self.values],
            "report": self.report.as_dict(),
        }


__all__ = ["Value", "Violation", "values_of"]
