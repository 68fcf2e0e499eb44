"""The run-time check: after each transition its specification, and the invariants that its writes could have broken.

``off`` journals only (the hypervisor needs the writes); ``touched`` checks at every transition (``kernel.touched``);
``full`` does so too and audits the whole state every 1,000 transitions and at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from kernel import ledgers
from kernel.consequences import Consequences, consequences
from kernel.evaluated import evaluate
from kernel.invariants import INVARIANTS, documented
from kernel.journal import Entry
from kernel.objects import Kernel
from kernel.specs import NOTHING, SPECIFICATIONS, Frame
from kernel.view import OldKernel
from kernel.written import Object, Tally, Unbounded

LEVELS: Final = ("off", "touched", "full")
AUDIT_EVERY: Final = 1000
class Change:
    """One field, or item of a row, before and after a transition."""

    __slots__ = ("table", "id", "field", "index", "before", "after")

    def __init__(self, table: str, id: int, field: str, index: int | None, before: int, after: int) -> None:
        self.table = table
        self.id = id
        self.field = field
        self.index = index
        self.before = before
        self.after = after

    def __str__(self) -> str:
        item = "" if self.index is None else f"[{self.index}]"
        return f"{self.table}[{self.id}].{self.field}{item}: {self.before} -> {self.after}"


class CheckFailed(Exception):
    """A specification or an invariant does not hold: a bug of the kernel, or memory damaged from outside.

    ``kind`` is "specification", "invariant" or "ledger"; ``name`` the clause; ``ids`` the objects it is about;
    ``meaning`` what it demands; then the transition with its arguments and result, and all it changed.
    """

    def __init__(
        self, kind: str, name: str, ids: tuple[int, ...], meaning: str,
        transition: str = "", arguments: tuple[int, ...] = (), result: int = 0, changes: tuple[Change, ...] = (),
    ) -> None:  # fmt: skip
        self.kind = kind
        self.name = name
        self.ids = ids
        self.meaning = meaning
        self.transition = transition
        self.arguments = arguments
        self.result = result
        self.changes = changes
        super().__init__(str(self))

    def __str__(self) -> str:
        about = f"({', '.join(map(str, self.ids))})" if self.ids else ""
        text = f"{self.kind} {self.name}{about} does not hold: {self.meaning}"
        if self.transition:
            text += f"\nafter {self.transition}({', '.join(map(str, self.arguments))}) = {self.result}"
        return "\n  ".join([text, *map(str, self.changes)])


def changes_of(journal: Iterable[Entry]) -> Iterator[Change]:
    """All that the journal's writes changed; of several writes to one place, the first tells what was there."""
    seen = set()
    for entry in journal:
        live, field, before = entry[0], entry[1], entry[-1]
        index = entry[2] if len(entry) == 4 else None
        if (live, field, index) in seen: continue
        seen.add((live, field, index))
        after = getattr(live, field)
        if index is not None: after = after[index]
        if after != before: yield Change(live.table_name, live.id, field, index, before, after)


class Checker:
    """Runs transitions on a kernel and checks them at the given level.

    ``carry_out`` is given what a transition means for the machine, if it means anything, after the check.  ``failed``
    is told of what a transition, its check or that has raised, before whoever made the step is.  ``observed``, if it is
    set, is told of each object that a transition wrote, after the check.
    """

    def __init__(self, k: Kernel, level: str = "touched") -> None:
        if level not in LEVELS: raise ValueError(f"check level {level!r} is not one of {', '.join(LEVELS)}")
        self.k = k
        self.level = level
        self.transitions = 0
        """Transitions checked."""
        self._tally = Tally()
        self._old = OldKernel(k)
        self._frame = Frame(k)
        self._until_audit = AUDIT_EVERY
        self.carry_out: Callable[[Consequences], None] | None = None
        self.failed: Callable[[BaseException], None] = lambda error: None
        self.observed: Callable[[Object], None] | None = None
        if level != "off": k.ledger = ledgers.count(k)

    @property
    def clauses(self) -> int:
        """Instances of invariants evaluated."""
        return self._tally.clauses

    def step(self, transition: Callable[..., int], *arguments: int) -> int:
        """Runs one transition; returns its result.  Raises CheckFailed before anything else sees the new state."""
        k = self.k
        try:
            k.journal.clear()
            everything: tuple[Any, ...] = (k,) + arguments  # noqa: RUF005  (which mypyc makes a list of first)
            result = transition(*everything)
            if self.level != "off": self.check(transition.__name__, arguments, result)
            if self.observed is not None:
                for w in k.journal.written: self.observed(w.live)
            if self.carry_out is not None and k.journal:
                found = consequences(k)
                if found is not None: self.carry_out(found)
        except BaseException as error:
            self.failed(error)
            raise
        return result

    def check(self, transition: str, arguments: tuple[int, ...], result: int) -> None:
        """Checks the transition that the journal is of."""
        k = self.k
        journal = k.journal
        self.transitions += 1
        if not journal:
            if not SPECIFICATIONS[transition](k, k, NOTHING, result, *arguments):
                raise self._refused(transition, arguments, result)
        else:
            old, frame = self._old, self._frame
            frame.begin()
            try:
                old.enter(journal)
                everything: tuple[Any, ...] = (old, k, frame, result) + arguments  # noqa: RUF005  (see ``step``)
                if not SPECIFICATIONS[transition](*everything):
                    raise self._refused(transition, arguments, result)
                for w in old.objects:
                    if frame.beyond(w) != 0:
                        self._outside(transition, arguments, result)
                        break
                self._invariants(transition, arguments, result)
            finally:
                old.leave()
        if self.level == "full":
            self._until_audit -= 1
            if self._until_audit <= 0:
                self._until_audit = AUDIT_EVERY
                self.audit()

    def check_writes(self) -> None:
        """Checks the journal's writes against the invariants alone: for what no transition wrote."""
        journal = self.k.journal
        if not journal: return
        try:
            self._old.enter(journal)
            self._invariants("", (), 0)
        finally:
            self._old.leave()

    def changes(self) -> tuple[Change, ...]:
        """What the journal says was changed."""
        return tuple(changes_of(self.k.journal))

    def audit(self) -> int:
        """Evaluates every invariant for every object, and recounts the ledgers.  Returns how many instances it
        evaluated; raises CheckFailed at the first that does not hold."""
        from kernel.audit import audit

        evaluated, failures = audit(self.k)
        self._tally.clauses += evaluated
        for failure in failures:
            raise failure
        return evaluated

    def _invariants(self, transition: str, arguments: tuple[int, ...], result: int) -> None:
        """Brings the ledgers up to date and evaluates the clauses that the writes can have broken."""
        try:
            broken = evaluate(self.k, self._old.objects, self._tally)
        except Unbounded:
            self.audit()
            return
        if broken is not None:
            name, ids = broken
            raise CheckFailed(
                "invariant", name, ids, INVARIANTS[name].meaning, transition, arguments, result, self.changes()
            )

    def _outside(self, transition: str, arguments: tuple[int, ...], result: int) -> None:
        """Raises CheckFailed if the writes outside the specification's frame changed anything."""
        outside = []
        for entry in self.k.journal:
            w = entry[0].written
            assert w is not None
            if self._frame.beyond(w) & w.bits[entry[1]] == 0: continue
            if len(entry) == 4 and entry[2] in w.rows[entry[1]].allowed: continue
            outside.append(entry)
        for change in changes_of(outside):
            raise self._refused(transition, arguments, result, f"{change} is not among what may change")

    def _refused(self, transition: str, arguments: tuple[int, ...], result: int, why: str = "") -> CheckFailed:
        meaning = why or documented(SPECIFICATIONS[transition])
        return CheckFailed(
            "specification", transition, (), meaning, transition, arguments, result, self.changes()
        )


__all__ = ["AUDIT_EVERY", "LEVELS", "Change", "CheckFailed", "Checker", "changes_of"]
