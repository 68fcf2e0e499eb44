"""The run-time check: after each transition its specification, and the invariants that its writes could have broken.

``off`` journals only (the hypervisor needs the writes); ``touched`` checks at every transition; ``full`` does so too
and audits the whole state every 1,000 transitions and at the end.

*Touched* is what the transition wrote, what those objects refer to and referred to, and the row items that lead back
to them.  A clause about an object outside can only break through an object that is inside, where a clause of its own
breaks with it: every relation has a back reference, and what is freed must be clean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from kernel import ledgers
from kernel.invariants import INVARIANTS, Clause
from kernel.objects import TABLES, Kernel, Object
from kernel.specs import SPECIFICATIONS, Frame
from kernel.view import OldKernel, Overlay, overlay_of

LEVELS: Final = ("off", "touched", "full")
AUDIT_EVERY: Final = 1000

REFERENCES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "page": (("owner", "container"), ("block", "block")),
    "block": (("owner", "container"),),
    "container": (("parent", "container"), ("core", "core")),
    "process": (
        ("container", "container"), ("root", "table"), ("holder", "process"), ("waiter", "thread"),
    ),
    "thread": (
        ("process", "process"), ("core", "core"), ("next", "thread"), ("previous", "thread"), ("joiner", "thread"),
        ("waiting_for", "page"),
    ),
    "table": (("process", "process"), ("parent", "table")),
    "core": (
        ("container", "container"), ("current", "thread"), ("head", "thread"), ("tail", "thread"), ("ring", "core"),
    ),
    "memory": (),
}  # fmt: skip
"""Which fields of an object name another, and in which table."""

ROW_REFERENCES: Final[dict[tuple[str, str], str]] = {
    ("table", "entry"): "page", ("process", "map_page"): "page", ("process", "threads"): "thread",
    ("process", "handle_object"): "page", ("block", "stack"): "page", ("memory", "free_stack"): "block",
    ("memory", "partial_stack"): "block",
}  # fmt: skip
"""Which rows hold ids, and of which table."""


class Change(NamedTuple):
    """One field, or item of a row, before and after a transition."""

    table: str
    id: int
    field: str
    index: int | None
    before: int
    after: int

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


def changes_of(overlay: Overlay) -> Iterator[Change]:
    """All that the journal's writes changed."""
    for (table, id), old in overlay.items():
        for field, before in old.fields.items():
            after = getattr(old.live, field)
            if after != before: yield Change(table, id, field, None, before, after)
        for row, items in old.rows.items():
            live = getattr(old.live, row)
            for index, before in items.items():
                after = live[index]
                if after != before: yield Change(table, id, row, index, before, after)


class Touched:
    """The ids that each domain's clauses are evaluated for."""

    __slots__ = ("objects", "items")

    def __init__(self) -> None:
        self.objects: dict[str, set[int]] = {name: set() for name in REFERENCES}
        self.items: dict[str, set[tuple[int, int]]] = {
            name: set()
            for clause in INVARIANTS.values()
            for name in clause.domain
            if "." in name
        }


def touched_by(k: Kernel, overlay: Overlay) -> Touched:
    """What the written objects are, lead to, led to, and are led to by."""
    touched = Touched()
    objects, items = touched.objects, touched.items
    for (table, id), old in overlay.items():
        objects[table].add(id)
        live = old.live
        for field, target in REFERENCES[table]:
            objects[target].add(getattr(live, field))
            if field in old.fields: objects[target].add(old.fields[field])
        if table == "page" and "kind" in old.fields:
            before = TABLES.get(old.fields["kind"])
            if before: objects[before].add(id)
        for row, written in old.rows.items():
            name = f"{table}.{row}"
            target = ROW_REFERENCES.get((table, row), "")
            values = getattr(live, row)
            for index, before_value in written.items():
                if name in items: items[name].add((id, index))
                if target:
                    objects[target].add(values[index])
                    objects[target].add(before_value)
    for p in objects["page"]:
        kind = TABLES.get(k.page[p].kind)
        if kind: objects[kind].add(p)
    _led_to(k, overlay, touched)
    for name, ids in objects.items():
        # Among cores 0 is an id, elsewhere it is nil, which stays blank.
        if name not in ("core", "memory") and (name, 0) not in overlay: ids.discard(0)
    return touched


def _led_to(k: Kernel, overlay: Overlay, touched: Touched) -> None:
    """Adds the row items that lead to a written object, and those that a written item implies."""
    items = touched.items
    for (table, id), old in overlay.items():
        live = old.live
        if table == "table":
            X = k.table[id]
            items["table.entry"].add((X.parent, X.slot))
            for row in ("entry", "permission"):
                for index in old.rows.get(row, ()):
                    items["table.entry"].add((id, index))
        elif table == "process":
            for index in old.rows.get("map_permission", ()):
                items["process.map_page"].add((id, index))
            for row in ("handle_object", "handle_generation", "handle_stack", "handle_position"):
                for index, before in old.rows.get(row, {}).items():
                    slot = before if row == "handle_stack" and before else index
                    items["process.handle_object"].add((id, slot))
                    items["process.handle_stack"].add((id, k.process[id].handle_position[slot]))
            items["process.handle_object"].add((live.holder, live.holder_slot))  # type: ignore[attr-defined]
        elif table == "thread":
            T = k.thread[id]
            items["process.threads"].add((T.process, T.position))
            items["process.handle_object"].add((T.process, T.holder_slot))
        elif table == "page":
            P = k.page[id]
            items["block.stack"].add((P.block, P.rank))
            items["block.stack"].add((old.block, old.rank))
        elif table == "block":
            position = k.block[id].position
            items["memory.free_stack"].add((0, position))
            items["memory.partial_stack"].add((0, position))
        elif table == "memory":
            for stack, count in (("free_stack", "free_count"), ("partial_stack", "partial_count")):
                before, after = getattr(old, count), getattr(live, count)
                for position in range(min(before, after) + 1, max(before, after) + 1):
                    items[f"memory.{stack}"].add((0, position))
                    touched.objects["block"].add(getattr(live, stack)[position])


Plan = tuple[tuple[str, tuple[Clause, ...]], ...]


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
        self._plans: dict[frozenset[tuple[str, str]], Plan] = {}
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
        self.transitions += 1
        overlay = overlay_of(k)
        self._check_specification(transition, arguments, result, overlay)
        if overlay:
            assert k.ledger is not None
            ledgers.update(k.ledger, overlay)
            self._check_invariants(transition, arguments, result, overlay)
        if self.level == "full":
            self._until_audit -= 1
            if self._until_audit <= 0:
                self._until_audit = AUDIT_EVERY
                self.audit()

    def _check_specification(
        self, transition: str, arguments: tuple[int, ...], result: int, overlay: Overlay
    ) -> None:
        specification = SPECIFICATIONS[transition]
        frame = Frame()
        old = OldKernel(self.k, overlay)
        holds = specification(old, self.k, frame, result, *arguments)
        meaning = " ".join((specification.__doc__ or "").split())
        if not holds:
            raise self._failure("specification", transition, (), meaning, transition, arguments, result, overlay)
        for change in changes_of(overlay):
            kinds = (old.page[change.id].kind, self.k.page[change.id].kind) if change.table == "page" else None
            if not frame.permits(
                change.table, change.id, change.field, change.index, change.before, change.after, kinds
            ):
                meaning = f"{change} is not among what may change"
                raise self._failure("specification", transition, (), meaning, transition, arguments, result, overlay)

    def _check_invariants(
        self, transition: str, arguments: tuple[int, ...], result: int, overlay: Overlay
    ) -> None:
        k = self.k
        touched = touched_by(k, overlay)
        for domain, clauses in self._plan(overlay):
            for ids in _instances(domain, touched):
                for clause in clauses:
                    self.clauses += 1
                    if not clause.holds(k, *ids):
                        raise self._failure(
                            "invariant", clause.name, ids, clause.meaning, transition, arguments, result, overlay
                        )

    def _plan(self, overlay: Overlay) -> Plan:
        """The clauses that mention a field that was written, by domain."""
        written = frozenset(
            (table, field) for (table, _), old in overlay.items() for field in (*old.fields, *old.rows)
        )
        plan = self._plans.get(written)
        if plan is None:
            by_domain: dict[str, list[Clause]] = {}
            for clause in INVARIANTS.values():
                if any(clause.reads(table, field) for table, field in written):
                    by_domain.setdefault("+".join(clause.domain), []).append(clause)
            plan = tuple((domain, tuple(clauses)) for domain, clauses in by_domain.items())
            self._plans[written] = plan
        return plan

    @staticmethod
    def _failure(
        kind: str, name: str, ids: tuple[int, ...], meaning: str,
        transition: str, arguments: tuple[int, ...], result: int, overlay: Overlay,
    ) -> CheckFailed:  # fmt: skip
        return CheckFailed(kind, name, ids, meaning, transition, arguments, result, tuple(changes_of(overlay)))

    def audit(self) -> int:
        """Evaluates every invariant for every object, and recounts the ledgers.  Returns how many instances it
        evaluated; raises CheckFailed at the first that does not hold."""
        from kernel.audit import audit

        evaluated, failures = audit(self.k)
        self.clauses += evaluated
        for failure in failures:
            raise failure
        return evaluated


def _instances(domain: str, touched: Touched) -> Iterator[tuple[int, ...]]:
    if "." in domain:
        yield from touched.items[domain]
    elif "+" in domain:
        first, second = domain.split("+")
        for a in touched.objects[first]:
            for b in touched.objects[second]:
                yield a, b
    else:
        for a in touched.objects[domain]:
            yield (a,)


__all__ = ["AUDIT_EVERY", "LEVELS", "Change", "CheckFailed", "Checker", "Object", "changes_of", "touched_by"]
