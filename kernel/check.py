"""The run-time check: after each transition its specification, and the invariants that its writes could have broken.

``off`` journals only (the hypervisor needs the writes); ``touched`` checks at every transition (``kernel.touched``);
``full`` does so too and audits the whole state every 1,000 transitions and at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

from kernel import ledgers
from kernel.invariants import INVARIANTS
from kernel.objects import Kernel, Object
from kernel.specs import NOTHING, SPECIFICATIONS, Frame
from kernel.touched import Evaluation, Journal, Shape, Unbounded, compiled
from kernel.view import OLD_CLASSES, OldKernel, OldObject, OldRow, OldTable

LEVELS: Final = ("off", "touched", "full")
AUDIT_EVERY: Final = 1000
SETTLED: Final = 32
"""After so many journals of one shape, what is asked about them is taken to be known."""

_object = itemgetter(0)
_field = itemgetter(1)


def _items(*indices: int) -> Callable[[Any], tuple[Any, ...]]:
    """What picks these items of a sequence into a tuple."""
    if len(indices) > 1: return itemgetter(*indices)
    return lambda sequence: (sequence[indices[0]],)


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


def changes_of(journal: Journal) -> Iterator[Change]:
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


class Plan:
    """What journals of one shape have in common: how to see what was, to follow the ledgers, what to evaluate.
    ``n`` numbers the written objects, ``j`` the journal's entries."""

    def __init__(self, k: Kernel, was: dict[str, OldTable], journal: Journal, objects: Sequence[Object]) -> None:
        shape = Shape(journal, objects)
        written = [entry[0] for entry in journal]
        self.first: Callable[[Any], tuple[Any, ...]] = _items(*map(written.index, objects))
        """Picks from what belongs to each entry what belongs to each object: by the entry of its first write."""
        self.alike: Callable[[Any], tuple[Any, ...]] = _items(*map(written.index, written))
        """Puts in each entry's place what belongs to the first entry about the same object."""
        self.types = tuple(map(type, objects))
        self.olds: list[tuple[OldTable, OldObject]] = []
        """By n: a table as it was, and the object in it."""
        self.everything = (1 << len(journal)) - 1
        """The bits of all writes."""
        self.allocator = self.tables = 0
        """The bits of writes to the allocator's own state, and to page tables."""
        for n, live in enumerate(objects):
            table = live.table_name
            old = OLD_CLASSES[type(live)](n, self._ask)
            self.olds.append((was[table], old))
            for field, entries in shape.written[n].items():
                bits = old.bits[field,] = sum(1 << j for j in entries)
                if (table, field) in Frame.ALLOCATOR: self.allocator |= bits
                if (table, field) in Frame.TABLES: self.tables |= bits
                if len(journal[entries[0]]) == 4: old.entries[field] = [(j, 1 << j) for j in entries]
        self.views = tuple(was[table] for table in sorted(set(shape.tables)))
        """The tables that they are in."""
        # What is filled in for each journal anew; what is asked for once is asked for again.
        self.fill: Callable[[Journal, Sequence[Object]], None] = self._fill
        """Fills in what the objects of a journal were."""
        self._uses = 0
        self._journal = journal
        self._written = shape.written
        self.fields: list[tuple[OldObject, str, int]] = []
        """Fields that were written: the old object, the field, j of its first write."""
        self.rows: list[tuple[OldObject, str, OldRow, list[int]]] = []
        """Rows that were written: the old object, the row, what it was, and all j, last first."""
        self.others: list[tuple[OldObject, str]] = []
        """What was not written: the old object, the field or row."""
        evaluation = Evaluation(k, shape)
        self.evaluate = evaluation.function()
        self.was = tuple(old for _, old in self.olds)
        self.clauses = evaluation.clauses

    def _fill(self, journal: Journal, objects: Sequence[Object]) -> None:
        """Fills in what the objects of a journal were."""
        for live, (table, old) in zip(objects, self.olds, strict=True):
            old.live = live
            table[live.id] = old
        for old, field, j in self.fields:
            setattr(old, field, journal[j][2])
        for old, field in self.others:
            setattr(old, field, getattr(old.live, field))
        for old, field, row, entries in self.rows:
            row.live = getattr(old.live, field)
            row.clear()
            for j in entries:
                row[journal[j][2]] = journal[j][3]
        self._uses += 1
        if self._uses == SETTLED: self.fill = self._filler()

    def _filler(self) -> Callable[[Journal, Sequence[Object]], None]:
        """``_fill`` written out, for what was asked for so far."""
        numbers = range(len(self.olds))
        lines = ["def fill(journal, objects):", f"    {''.join(f'o{n}, ' for n in numbers)}= objects"]
        names: dict[str, Any] = {}
        for n, (table, old) in enumerate(self.olds):
            names[f"table{n}"], names[f"was{n}"] = table, old
            lines += [f"    was{n}.live = o{n}", f"    table{n}[o{n}.id] = was{n}"]
        lines += [f"    was{old.number}.{field} = journal[{j}][2]" for old, field, j in self.fields]
        lines += [f"    was{old.number}.{field} = o{old.number}.{field}" for old, field in self.others]
        for i, (old, field, row, entries) in enumerate(self.rows):
            names[f"row{i}"] = row
            lines += [f"    row{i}.live = o{old.number}.{field}", f"    row{i}.clear()"]
            lines += [f"    row{i}[journal[{j}][2]] = journal[{j}][3]" for j in entries]
        exec(compiled("\n".join(lines)), names)
        fill: Callable[[Journal, Sequence[Object]], None] = names["fill"]
        return fill

    def _ask(self, old: OldObject, field: str) -> Any:
        """Fills in a field of an old object that is asked for for the first time."""
        self.fill, self._uses = self._fill, 0
        journal, value = self._journal, getattr(old.live, field)
        entries = self._written[old.number].get(field)
        if entries is None:
            self.others.append((old, field))
        elif len(journal[entries[0]]) == 3:
            value = journal[entries[0]][2]
            self.fields.append((old, field, entries[0]))
        else:
            row = OldRow(value, {journal[j][2]: journal[j][3] for j in reversed(entries)})
            self.rows.append((old, field, row, entries[::-1]))
            value = row
        setattr(old, field, value)
        return value


class Checker:
    """Runs transitions on a kernel and checks them at the given level."""

    def __init__(self, k: Kernel, level: str = "touched") -> None:
        if level not in LEVELS: raise ValueError(f"check level {level!r} is not one of {', '.join(LEVELS)}")
        self.k = k
        self.level = level
        self.transitions = 0
        """Transitions checked."""
        self.clauses = 0
        """Instances of invariants evaluated."""
        self._plans: dict[tuple[str, ...], list[Plan]] = {}
        """By the fields written."""
        self._old = OldKernel(k)
        self._frame = Frame(self._old.written, k.journal)
        self._until_audit = AUDIT_EVERY
        if level != "off": k.ledger = ledgers.count(k)

    def step(self, transition: Callable[..., int], *arguments: int) -> int:
        """Runs one transition; returns its result.  Raises CheckFailed before anything else sees the new state."""
        k = self.k
        k.journal.clear()
        result = transition(k, *arguments)
        if self.level != "off": self.check(transition.__name__, arguments, result)
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
            plan, objects = self._enter(journal)
            try:
                frame = self._frame
                if not SPECIFICATIONS[transition](self._old, k, frame, result, *arguments):
                    raise self._refused(transition, arguments, result)
                if frame.allowed & plan.everything != plan.everything: self._outside(transition, arguments, result)
                self._invariants(plan, objects, transition, arguments, result)
            finally:
                self._leave(plan)
        if self.level == "full":
            self._until_audit -= 1
            if self._until_audit <= 0:
                self._until_audit = AUDIT_EVERY
                self.audit()

    def check_writes(self) -> None:
        """Checks the journal's writes against the invariants alone: for what no transition wrote."""
        journal = self.k.journal
        if not journal: return
        plan, objects = self._enter(journal)
        try:
            self._invariants(plan, objects, "", (), 0)
        finally:
            self._leave(plan)

    def changes(self) -> tuple[Change, ...]:
        """What the journal says was changed."""
        return tuple(changes_of(self.k.journal))

    def audit(self) -> int:
        """Evaluates every invariant for every object, and recounts the ledgers.  Returns how many instances it
        evaluated; raises CheckFailed at the first that does not hold."""
        from kernel.audit import audit

        evaluated, failures = audit(self.k)
        self.clauses += evaluated
        for failure in failures:
            raise failure
        return evaluated

    def _enter(self, journal: Journal) -> tuple[Plan, Sequence[Object]]:
        """Finds the plan for the journal's shape, and fills in what its objects were.  Returns both."""
        written = tuple(map(_object, journal))
        fields = tuple(map(_field, journal))
        for plan in self._plans.get(fields, ()):
            objects = plan.first(written)
            if plan.alike(written) == written and tuple(map(type, objects)) == plan.types:
                if len(set(objects)) == len(objects): break
        else:
            objects = tuple(dict.fromkeys(written))
            plan = Plan(self.k, self._old.written, journal, objects)
            self._plans.setdefault(fields, []).append(plan)
        plan.fill(journal, objects)
        frame = self._frame
        frame.begin(plan.allocator, plan.tables)
        return plan, objects

    def _leave(self, plan: Plan) -> None:
        """From here on nothing is written."""
        for table in plan.views:
            table.clear()

    def _invariants(
        self, plan: Plan, objects: Sequence[Object], transition: str, arguments: tuple[int, ...], result: int
    ) -> None:
        """Brings the ledgers up to date and evaluates the clauses that the writes can have broken."""
        self.clauses += plan.clauses
        try:
            broken = plan.evaluate(self.k.journal, objects, plan.was)
        except Unbounded:
            self.audit()
            return
        if broken is not None:
            holds, ids = broken
            meaning = INVARIANTS[holds.__name__].meaning
            raise CheckFailed(
                "invariant", holds.__name__, ids, meaning, transition, arguments, result, self.changes()
            )

    def _outside(self, transition: str, arguments: tuple[int, ...], result: int) -> None:
        """Raises CheckFailed if the writes outside the specification's frame changed anything."""
        allowed = self._frame.allowed
        outside = [entry for j, entry in enumerate(self.k.journal) if not allowed >> j & 1]
        for change in changes_of(outside):
            if change.table == "page" and change.field in ("kind", "owner"):
                if (self._old.page[change.id].kind, self.k.page[change.id].kind) in self._frame.kinds: continue
            raise self._refused(transition, arguments, result, f"{change} is not among what may change")

    def _refused(self, transition: str, arguments: tuple[int, ...], result: int, why: str = "") -> CheckFailed:
        meaning = why or " ".join((SPECIFICATIONS[transition].__doc__ or "").split())
        return CheckFailed(
            "specification", transition, (), meaning, transition, arguments, result, self.changes()
        )


__all__ = ["AUDIT_EVERY", "LEVELS", "Change", "CheckFailed", "Checker", "changes_of"]
