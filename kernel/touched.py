"""What a transition touched: the instances of invariants that its writes can have broken.

The clauses about a written object itself are those that mention a field that was written.  A clause about another
object can break only if it reads the written one, and then each leads to the other: every relation has a back
reference.  Where a clause reads across one is said here, once; the rest follows.  What a write could break beyond that
breaks a clause in here with it: what is freed must be blank, and counts are ledgers.

Which fields of how many objects were written, in which order, is the *shape* of a journal.  A path through a
transition has one shape, so what is to be evaluated, for which of the written objects, is worked out for each shape
once, and is then a list of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from kernel.invariants import INVARIANTS, Clause, Predicate
from kernel.objects import READY, TABLES, Kernel, Object
from kernel.view import OldTable

Beyond = tuple[str, str, tuple[str, ...], tuple[str, ...]]

BEYOND: Final[dict[str, tuple[Beyond, ...]]] = {
    "page": (
        ("owner", "container", ("owner",), ("container_charges",)),
        ("block", "block", ("kind", "block"), ("block_used", "block_kind")),
    ),
    "block": (("owner", "container", ("owner",), ("container_charges",)),),
    "process": (
        ("container", "container", ("container",), ("container_processes",)),
        ("root", "table", ("root",), ("table_place",)),
        ("waiter", "thread", ("waiter",), ("thread_waits",)),
    ),
    "thread": (
        ("core", "core", ("state", "core", "next", "previous"), ("core_current", "core_queue")),
        ("next", "thread", ("state", "core", "next", "rank"), ("thread_queue", "queue_ends")),
        ("previous", "thread", ("state", "core", "previous", "rank"), ("thread_queue", "queue_ends")),
        ("joiner", "thread", ("joiner",), ("thread_waits",)),
        ("waiting_for", "thread", ("waiting_for", "process"), ("thread_joiner",)),
        ("waiting_for", "process", ("state", "waiting_for", "process"), ("process_waiter",)),
    ),
    "core": (
        ("current", "thread", ("current",), ("thread_running",)),
        ("head", "thread", ("head",), ("thread_queue", "queue_ends")),
        ("tail", "thread", ("tail", "ticket"), ("thread_queue", "queue_ends")),
    ),
}
"""By table: a field that names another object, that object's table, and the clauses about that object that read these
fields of the one that was written."""

ROWS_BEYOND: Final[dict[tuple[str, str], tuple[tuple[str, tuple[str, ...]], ...]]] = {
    ("table", "entry"): (("table", ("table_place",)),),
    ("process", "map_page"): (("page", ("page_references",)),),
    ("process", "threads"): (("thread", ("thread_position",)),),
    ("process", "handle_object"): (("thread", ("thread_handle",)), ("process", ("process_holder",))),
    ("memory", "free_stack"): (("block", ("block_position",)),),
    ("memory", "partial_stack"): (("block", ("block_position",)),),
}
"""By row: the table of the objects that its items name, and the clauses about those that read the item."""

ITEM_OF: Final[dict[tuple[str, str], str]] = {
    ("table", "permission"): "table.entry",
    ("process", "map_permission"): "process.map_page",
    ("process", "handle_generation"): "process.handle_object",
}
"""Rows whose items clauses over another row of the same object are about, at the same index."""

LED_TO: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "page": (("block.stack", "block", "rank"),),
    "block": (("memory.free_stack", "", "position"), ("memory.partial_stack", "", "position")),
    "table": (("table.entry", "parent", "slot"),),
    "process": (("process.handle_object", "holder", "holder_slot"),),
    "thread": (("process.threads", "process", "position"), ("process.handle_object", "process", "holder_slot")),
}
"""By table: the row whose item leads to an object, and the fields that name the row's holder and the index."""

COUNTS: Final[dict[tuple[str, str], tuple[str, int, tuple[str, ...]]]] = {
    ("memory", "free_count"): ("free_stack", 1, ("block_position",)),
    ("memory", "partial_count"): ("partial_stack", 1, ("block_position",)),
    ("block", "listed"): ("stack", 1, ()),
    ("process", "thread_count"): ("threads", 0, ("thread_position",)),
    ("process", "handle_listed"): ("handle_stack", 1, ()),
}
"""By field that counts the items in use of a row: that row, its first index, and the clauses about what an item names
that read the count."""

UNBOUNDED: Final = frozenset({("core", "container")})
"""Fields that no transition writes, and that clauses about any number of objects read."""

LONGEST: Final = 4096
"""By how much a count can change in one transition."""

OBJECTS: Final[dict[str, dict[str, Clause]]] = {
    table: {clause.name: clause for clause in INVARIANTS.values() if clause.domain == (table,)}
    for table in ("memory", "page", "block", "container", "process", "thread", "table", "core")
}
ITEMS: Final[dict[str, list[Clause]]] = {
    domain: [clause for clause in INVARIANTS.values() if clause.domain == (domain,)]
    for domain in {clause.domain[0] for clause in INVARIANTS.values()} if "." in domain
}  # fmt: skip
PAIRS: Final[list[Clause]] = [clause for clause in INVARIANTS.values() if clause.domain == ("thread", "thread")]
KINDS: Final = {table: kind for kind, table in TABLES.items()}

Journal = Sequence[tuple[Any, ...]]
Broken = tuple[Predicate, tuple[int, ...]]
"""A clause that does not hold, and the ids it does not hold for."""
Step = Callable[[Journal, Sequence[Any]], Broken | None]
"""Evaluates some clauses for a journal and the objects it is of, in the order of their first write."""


class Unbounded(Exception):
    """What the writes can have broken is not within bounds: everything is to be evaluated."""


class Shape:
    """The fields and objects that journals of one shape are about.  ``n`` numbers the written objects, ``j`` the
    entries of the journal."""

    def __init__(self, journal: Journal, objects: Sequence[Object]) -> None:
        number = {live: n for n, live in enumerate(objects)}
        self.tables = [live.table_name for live in objects]
        self.written: list[dict[str, list[int]]] = [{} for _ in objects]
        """By n: each field or row that was written, and the writes' j."""
        self.rows: list[tuple[int, str, list[int]]] = []
        """n, row and all j: the writes of a row's items."""
        for j, entry in enumerate(journal):
            self.written[number[entry[0]]].setdefault(entry[1], []).append(j)
        for n, fields in enumerate(self.written):
            self.rows += [(n, field, entries) for field, entries in fields.items() if len(journal[entries[0]]) == 4]

    def reading(self, n: int, clauses: Iterable[Clause], fields: Iterable[str] | None = None) -> list[Clause]:
        """Those of the clauses that read a written field of object n (of these fields, if given)."""
        table, wrote = self.tables[n], self.written[n]
        names = wrote.keys() if fields is None else wrote.keys() & set(fields)
        return [clause for clause in clauses if any(clause.reads(table, field) for field in names)]


class Steps:
    """Makes the steps for a shape, on one kernel.  ``written`` is by table what a journal's objects were, by id."""

    def __init__(self, k: Kernel, written: dict[str, OldTable], shape: Shape) -> None:
        self.k = k
        self.written = written
        self.shape = shape
        self.steps: list[Step] = []
        self.own: list[dict[str, Clause]] = [
            {} if table == "memory" else {c.name: c for c in shape.reading(n, OBJECTS[table].values())}
            for n, table in enumerate(shape.tables)
        ]
        """By n: the clauses evaluated for the object itself."""
        self._memory()
        for n, fields in enumerate(shape.written):
            if any((shape.tables[n], field) in UNBOUNDED for field in fields): self.steps.append(_raise_unbounded)
            self._beyond(n)
            self._led_to(n)
            self._pairs(n)
            self._counts(n)
        for n, row, entries in shape.rows:
            self._row_beyond(n, row, entries)
        self._items()
        self._own()
        self._kinds()

    @property
    def clauses(self) -> int:
        """Instances evaluated each time, at the least."""
        return sum(map(len, self.own)) + len(self.steps)

    def _memory(self) -> None:
        """The clauses about the allocator's own state."""
        k, shape = self.k, self.shape
        clauses = {
            clause.holds for n in range(len(shape.tables)) for clause in shape.reading(n, OBJECTS["memory"].values())
        }  # fmt: skip

        def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
            for holds in clauses:
                if not holds(k, 0): return holds, (0,)
            return None

        if clauses: self.steps.append(step)

    def _own(self) -> None:
        """The clauses about the written objects."""
        k = self.k
        own = tuple((clause.holds, n) for n, clauses in enumerate(self.own) for clause in clauses.values())

        def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
            for holds, n in own:
                id = objects[n].id
                if not holds(k, id): return holds, (id,)
            return None

        if own: self.steps.append(step)

    def _reach(self, target: str, clauses: list[Clause]) -> tuple[Predicate, ...]:
        """Notes that written objects of table ``target`` may be reached from another: then these clauses count among
        their own, and who reaches one can pass it over."""
        for n, table in enumerate(self.shape.tables):
            if table == target: self.own[n].update((clause.name, clause) for clause in clauses)
        return tuple(clause.holds for clause in clauses)

    def _beyond(self, n: int) -> None:
        """The clauses about objects that object n names, or named."""
        k, shape = self.k, self.shape
        for field, target, fields, names in BEYOND.get(shape.tables[n], ()):
            clauses = shape.reading(n, (OBJECTS[target][name] for name in names), fields)
            if not clauses: continue
            holding = self._reach(target, clauses)
            self.steps.append(_named(k, n, field, target, holding, self.written[target]))
            if field in shape.written[n]:
                self.steps.append(_once_named(k, shape.written[n][field][0], target, holding, self.written[target]))

    def _row_beyond(self, n: int, row: str, entries: list[int]) -> None:
        """The clauses about objects that the written items of a row name, or named."""
        k, table = self.k, self.shape.tables[n]
        for target, names in ROWS_BEYOND.get((table, row), ()):
            holding = self._reach(target, [OBJECTS[target][name] for name in names])
            for j in entries:
                self.steps.append(_item_named(k, n, row, j, target, holding, self.written[target]))

    def _items(self) -> None:
        """The clauses about the written items of rows."""
        k, shape = self.k, self.shape
        by_row: dict[tuple[int, str], tuple[list[int], dict[str, Predicate]]] = {}
        for n, row, entries in shape.rows:
            table = shape.tables[n]
            domain = ITEM_OF.get((table, row), f"{table}.{row}")
            if domain in ITEMS:
                js, clauses = by_row.setdefault((n, domain), ([], {}))
                js += entries
                clauses.update((c.name, c.holds) for c in shape.reading(n, ITEMS[domain], (row,)))
            if (table, row) in (("process", "handle_object"), ("process", "handle_position")):
                self.steps += [_closed_slot(k, n, j, row == "handle_position") for j in entries]
        for (n, _), (js, clauses) in by_row.items():
            self.steps.append(_written_items(k, n, tuple(js), tuple(clauses.values())))

    def _led_to(self, n: int) -> None:
        """The clauses about the items of rows that lead to object n, or led to it."""
        shape = self.shape
        for domain, holder, index in LED_TO.get(shape.tables[n], ()):
            clauses = tuple(clause.holds for clause in shape.reading(n, ITEMS[domain]))
            if not clauses: continue
            moved = holder in shape.written[n] or index in shape.written[n]
            was = self.written[shape.tables[n]] if moved else None
            self.steps.append(_led_to(self.k, n, holder, index, clauses, was))

    def _pairs(self, n: int) -> None:
        """The clauses about a ready thread and its neighbours in the queue, and about these neighbours."""
        shape = self.shape
        if shape.tables[n] != "thread" or not shape.reading(n, PAIRS): return
        both = not shape.written[n].keys().isdisjoint(("state", "rank", "core"))
        clauses = tuple(clause.holds for clause in PAIRS)
        self.steps.append(_neighbours(self.k, n, both, clauses, self.written["thread"]))

    def _counts(self, n: int) -> None:
        """The clauses about what a count took in or left out."""
        k, table = self.k, self.shape.tables[n]
        for field, entries in self.shape.written[n].items():
            count = COUNTS.get((table, field))
            if count is not None:
                row, first, names = count
                target = "block" if table == "memory" else "thread"
                about = tuple(OBJECTS[target][name].holds for name in names)
                items = tuple(clause.holds for clause in ITEMS[f"{table}.{row}"])
                self.steps.append(_counted(k, n, field, entries[0], row, first, items, about))
            if (table, field) == ("memory", "fresh"):
                self.steps.append(_fresh(k, entries[0], tuple(c.holds for c in OBJECTS["block"].values())))
            if (table, field) == ("process", "handle_opened"):
                clauses = tuple(clause.holds for clause in ITEMS["process.handle_object"])
                self.steps.append(_opened(k, n, entries[0], clauses))

    def _kinds(self) -> None:
        """The clauses about the object that a page is charged for, if what that is has changed."""
        for n, table in enumerate(self.shape.tables):
            if table == "page" and "kind" in self.shape.written[n]:
                self.steps.append(_kind(self.k, n, self.shape.written[n]["kind"][0], self._rest()))

    def _rest(self) -> Callable[[str, int], Iterable[Predicate]]:
        """For a table and an id: the clauses about that object that are not evaluated as its own."""
        written, tables, own = self.written, self.shape.tables, self.own
        everything = {table: tuple(clause.holds for clause in clauses.values()) for table, clauses in OBJECTS.items()}
        rest = {
            n: tuple(clause.holds for name, clause in OBJECTS[table].items() if name not in own[n])
            for n, table in enumerate(tables)
        }

        def of(table: str, id: int) -> Iterable[Predicate]:
            was = written[table].get(id)
            return everything[table] if was is None else rest[was.number]

        return of


def _raise_unbounded(journal: Journal, objects: Sequence[Any]) -> Broken | None:
    raise Unbounded


def _named(
    k: Kernel, n: int, field: str, target: str, clauses: tuple[Predicate, ...], written: OldTable
) -> Step:
    """For the object that a field of object n names."""
    kind = KINDS.get(target, -1)

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        id = getattr(objects[n], field)
        if id in written or (kind >= 0 and k.page[id].kind != kind): return None
        for holds in clauses:
            if not holds(k, id): return holds, (id,)
        return None

    return step


def _once_named(k: Kernel, j: int, target: str, clauses: tuple[Predicate, ...], written: OldTable) -> Step:
    """For the object that a field named before it was written."""
    kind = KINDS.get(target, -1)

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        id = journal[j][2]
        if id in written or (kind >= 0 and k.page[id].kind != kind): return None
        for holds in clauses:
            if not holds(k, id): return holds, (id,)
        return None

    return step


def _item_named(
    k: Kernel, n: int, row: str, j: int, target: str, clauses: tuple[Predicate, ...], written: OldTable
) -> Step:
    """For the objects that a row's written item names and named."""
    kind = KINDS.get(target, -1)

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        entry = journal[j]
        for id in (getattr(objects[n], row)[entry[2]], entry[3]):
            if id == 0 or id in written or (kind >= 0 and k.page[id].kind != kind): continue
            for holds in clauses:
                if not holds(k, id): return holds, (id,)
        return None

    return step


def _written_items(k: Kernel, n: int, js: tuple[int, ...], clauses: tuple[Predicate, ...]) -> Step:
    """For the items that were written in rows of object n."""

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        id = objects[n].id
        for index in {journal[j][2] for j in js}:
            for holds in clauses:
                if not holds(k, id, index): return holds, (id, index)
        return None

    return step


def _closed_slot(k: Kernel, n: int, j: int, moved: bool) -> Step:
    """For the place on the stack of closed slots where a written slot is, or was."""
    clauses = tuple(clause.holds for clause in ITEMS["process.handle_stack"])

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        s, entry = objects[n], journal[j]
        for position in (s.handle_position[entry[2]], entry[3] if moved else 0):
            for holds in clauses:
                if not holds(k, s.id, position): return holds, (s.id, position)
        return None

    return step


def _led_to(
    k: Kernel, n: int, holder: str, index: str, clauses: tuple[Predicate, ...], was: OldTable | None
) -> Step:
    """For the item of a row that leads to object n, and with ``was`` the one that led to it."""

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        live = objects[n]
        for end in (live,) if was is None else (live, was[live.id]):
            id = getattr(end, holder) if holder else 0
            if id == 0 and holder: continue
            i = getattr(end, index)
            for holds in clauses:
                if not holds(k, id, i): return holds, (id, i)
        return None

    return step


def _neighbours(k: Kernel, n: int, both: bool, clauses: tuple[Predicate, ...], written: OldTable) -> Step:
    """For the pairs among thread n and those before and behind it, now and then (unless ``both``: behind it alone)."""

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        T = objects[n]
        if T.state != READY: return None
        was = written[T.id]
        near = {T.id, T.next, was.next, T.previous, was.previous} if both else {T.id, T.next, was.next}
        near.discard(0)
        for t in near:
            for u in near:
                if t == u: continue
                for holds in clauses:
                    if not holds(k, t, u): return holds, (t, u)
        return None

    return step


def _counted(
    k: Kernel, n: int, field: str, j: int, row: str, first: int, items: tuple[Predicate, ...],
    about: tuple[Predicate, ...],
) -> Step:  # fmt: skip
    """For the items between what a count was and is, and the objects they name."""

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        live, before = objects[n], journal[j][2]
        after = getattr(live, field)
        if not -LONGEST <= after - before <= LONGEST: raise Unbounded
        for i in range(min(before, after) + first, max(before, after) + first):
            for holds in items:
                if not holds(k, live.id, i): return holds, (live.id, i)
            id = getattr(live, row)[i] if about else 0
            if id == 0: continue
            for holds in about:
                if not holds(k, id): return holds, (id,)
        return None

    return step


def _fresh(k: Kernel, j: int, clauses: tuple[Predicate, ...]) -> Step:
    """For the blocks between what the first block never used was and is."""

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        before, after = journal[j][2], k.memory.fresh
        if not -LONGEST <= after - before <= LONGEST: raise Unbounded
        for b in range(min(before, after), max(before, after)):
            for holds in clauses:
                if not holds(k, b): return holds, (b,)
        return None

    return step


def _opened(k: Kernel, n: int, j: int, clauses: tuple[Predicate, ...]) -> Step:
    """For all handles of a process, if it seems to have opened fewer than before."""

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        S = objects[n]
        if S.handle_opened >= journal[j][2]: return None
        for slot in range(min(S.handle_carved, LONGEST)):
            for holds in clauses:
                if not holds(k, S.id, slot): return holds, (S.id, slot)
        return None

    return step


def _kind(k: Kernel, n: int, j: int, rest: Callable[[str, int], Iterable[Predicate]]) -> Step:
    """For what page n was charged for before and is now."""

    def step(journal: Journal, objects: Sequence[Any]) -> Broken | None:
        P = objects[n]
        for kind in (journal[j][2], P.kind):
            table = TABLES.get(kind)
            if table is None: continue
            for holds in rest(table, P.id):
                if not holds(k, P.id): return holds, (P.id,)
        return None

    return step


__all__ = ["Broken", "Journal", "Shape", "Step", "Steps", "Unbounded"]
