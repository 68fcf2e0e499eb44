"""What a transition touched: the instances of invariants that its writes can have broken.

The clauses about a written object itself are those that mention a field that was written.  A clause about another
object can break only if it reads the written one, and then each leads to the other: every relation has a back
reference.  Where a clause reads across one is said here, once; the rest follows.  What a write could break beyond that
breaks a clause in here with it: what is freed must be blank, and counts are ledgers.

Which fields of how many objects were written, in which order, is the *shape* of a journal.  A path through a
transition has one shape, so what is to be evaluated, for which of the written objects, is worked out for each shape
once, as the text of a function (``Evaluation.source``) that names each clause and each id in turn.  A list of steps
that do the same takes 12 us after map_page, the function 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import permutations
from types import CodeType
from typing import Any, Final

from kernel import ledgers
from kernel.invariants import INVARIANTS, Clause, Predicate
from kernel.objects import READY, TABLES, Kernel, Object

Beyond = tuple[str, str, tuple[str, ...], tuple[str, ...]]

BEYOND: Final[dict[str, tuple[Beyond, ...]]] = {
    "page": (
        ("owner", "container", ("owner",), ("container_charges",)),
        ("block", "block", ("kind", "owner", "block"), ("block_used", "block_kind")),
    ),
    "block": (
        ("owner", "container", ("owner",), ("container_charges",)),
        ("giant", "giant", ("kind", "owner", "giant"), ("giant_used", "giant_kind")),
    ),
    "giant": (("owner", "container", ("owner",), ("container_charges",)),),
    "process": (
        ("root", "table", ("root",), ("table_place",)),
        ("waiter", "thread", ("waiter",), ("thread_waits",)),
        ("pager", "endpoint", ("pager",), ("endpoint_references",)),
    ),
    "thread": (
        ("core", "core", ("state", "core", "next", "previous"), ("core_current", "core_queue")),
        ("next", "thread", ("state", "core", "next", "rank"), ("thread_queue", "queue_ends")),
        ("previous", "thread", ("state", "core", "previous", "rank"), ("thread_queue", "queue_ends")),
        ("endpoint", "endpoint", ("endpoint", "next", "previous", "waits"), ("endpoint_queue",)),
        ("next", "thread", ("endpoint", "next", "rank", "waits"), ("message_queue", "message_ends")),
        ("previous", "thread", ("endpoint", "previous", "rank", "waits"), ("message_queue", "message_ends")),
        ("partner", "thread", ("partner", "waits"), ("message_caller",)),
        ("caller", "thread", ("caller", "state"), ("message_partner",)),
        ("joiner", "thread", ("joiner",), ("thread_waits",)),
        ("waiting_for", "thread", ("waiting_for", "process"), ("thread_joiner",)),
        ("waiting_for", "process", ("state", "waiting_for", "process"), ("process_waiter",)),
    ),
    "endpoint": (
        ("head", "thread", ("head",), ("message_queue", "message_ends")),
        ("tail", "thread", ("tail", "ticket"), ("message_queue", "message_ends")),
    ),
    "device": (
        ("endpoint", "endpoint", ("endpoint",), ("endpoint_references",)),
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
    ("process", "children"): (("process", ("process_parent",)),),
    ("process", "handle_object"): (
        ("thread", ("thread_handle",)), ("process", ("process_holder",)), ("container", ("container_holder",)),
        ("endpoint", ("endpoint_references",)), ("device", ("device_holder",)), ("domain", ("domain_holder",)),
    ),
    ("domain", "devices"): (("device", ("device_domain",)),),
    ("domain", "map_page"): (("page", ("page_references",)),),
    ("container", "children"): (("container", ("container_place",)),),
    ("container", "members"): (("process", ("process_place",)),),
    ("memory", "free_stack"): (("giant", ("giant_position",)),),
    ("memory", "partial_giant_stack"): (("giant", ("giant_position",)),),
    ("memory", "partial_stack"): (("block", ("block_position",)),),
}
"""By row: the table of the objects that its items name, and the clauses about those that read the item."""

ITEM_OF: Final[dict[tuple[str, str], str]] = {
    ("table", "permission"): "table.entry",
    ("process", "map_permission"): "process.map_page",
    ("process", "handle_generation"): "process.handle_object",
    ("process", "handle_rights"): "process.handle_object",
    ("process", "handle_badge"): "process.handle_object",
    ("domain", "map_permission"): "domain.map_page",
}
"""Rows whose items clauses over another row of the same object are about, at the same index."""

LED_TO: Final[dict[str, tuple[tuple[str, str, str, tuple[str, ...]], ...]]] = {
    "page": (("block.stack", "block", "rank", ("kind", "block", "rank")),),
    "giant": (
        ("memory.free_stack", "", "position", ("kind", "position")),
        ("memory.partial_giant_stack", "", "position", ("kind", "position", "carved", "listed")),
    ),
    "block": (
        ("giant.stack", "giant", "position", ("kind", "giant", "position")),
        ("memory.partial_stack", "", "position", ("kind", "position", "carved", "listed")),
    ),
    "table": (("table.entry", "parent", "slot", ("parent", "slot")),),
    "process": (
        ("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),
        ("container.members", "container", "place", ("container", "place")),
        ("process.children", "parent", "position", ("parent", "position")),
    ),
    "device": (
        ("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),
        ("domain.devices", "domain", "place", ("domain", "place")),
    ),
    "domain": (("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),),
    "container": (
        ("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),
        ("container.children", "parent", "position", ("parent", "position")),
    ),
    "thread": (
        ("process.threads", "process", "position", ("process", "position", "state")),
        ("process.handle_object", "process", "holder_slot", ("process", "holder_slot")),
    ),
}
"""By table: the row whose item leads to an object, the fields that name the row's holder and the index, and all fields
of the object that the clauses about such an item read."""

COUNTS: Final[dict[tuple[str, str], tuple[str, int, tuple[str, ...]]]] = {
    ("memory", "free_count"): ("free_stack", 1, ("giant_position",)),
    ("memory", "partial_giant_count"): ("partial_giant_stack", 1, ("giant_position",)),
    ("memory", "partial_count"): ("partial_stack", 1, ("block_position",)),
    ("block", "listed"): ("stack", 1, ()),
    ("giant", "listed"): ("stack", 1, ()),
    ("process", "thread_count"): ("threads", 0, ("thread_position",)),
    ("process", "handle_listed"): ("handle_stack", 1, ()),
    ("process", "child_count"): ("children", 0, ("process_parent",)),
    ("domain", "device_count"): ("devices", 0, ("device_domain",)),
    ("container", "depth"): ("path", 0, ()),
    ("container", "child_count"): ("children", 0, ("container_place",)),
    ("container", "processes"): ("members", 0, ("process_place",)),
}
"""By field that counts the items in use of a row: that row, its first index, and the clauses about what an item names
that read the count."""

OF_OTHERS: Final = frozenset({("table_place", "entry"), ("process_parent", "children")})
"""Clauses about an object of a table that read this field of others of that table alone."""

UNBOUNDED: Final[dict[tuple[str, str], str]] = {
    ("core", "container"): "True",
    ("memory", "blocks"): "True",
    ("memory", "giants"): "True",
    ("process", "born"): "{o}.child_count",
    ("container", "born"): "{o}.processes and {o}.born < {before}",
}
"""Fields that clauses about any number of objects read: under what condition on the object {o} that was written (and on
what the field was before) such a clause can have broken.  No transition writes them under it."""

FROM_ZERO: Final = frozenset({"core", "giant"})
"""Tables whose object 0 is one like others."""

LONGEST: Final = 4096
"""By how much a count can change in one transition."""

OBJECTS: Final[dict[str, dict[str, Clause]]] = {
    table: {clause.name: clause for clause in INVARIANTS.values() if clause.domain == (table,)}
    for table in ("memory", "page", "block", "giant", "container", "process", "thread", "table", "endpoint", "device",
                  "domain", "core")
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
Evaluate = Callable[[Journal, Sequence[Any], Sequence[Any]], Broken | None]
"""Given a journal, the objects it is of in the order of their first writes, and what these were: brings the ledgers up
to date and evaluates the clauses.  Returns the first that does not hold."""


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


@cache
def compiled(source: str) -> CodeType:
    """The code of a text.  (It is the same on all kernels, and compiling it takes 0.3 to 0.7 ms.)"""
    return compile(source, "<touched>", "exec")


class Evaluation:
    """Writes the function that evaluates what journals of one shape can have broken, on one kernel.

    In its text ``o0``, ``o1`` ... are the written objects, ``id0`` ... their ids, ``was0`` ... what they were.
    """

    def __init__(self, k: Kernel, shape: Shape) -> None:
        self.k = k
        self.shape = shape
        self.names: dict[str, Any] = {"k": k, "pages": k.page, "TABLES": TABLES}
        """What the text names."""
        numbers = range(len(shape.tables))
        self.lines = [
            "def evaluate(journal, objects, was):",
            f"    {''.join(f'o{n}, ' for n in numbers)}= objects",
            f"    {''.join(f'was{n}, ' for n in numbers)}= was",
            *(f"    id{n} = o{n}.id" for n in numbers),
        ]
        self.clauses = 0
        """Clauses in the text."""
        self.own: list[dict[str, Clause]] = [
            {
                clause.name: clause for clause in OBJECTS[table].values()
                if any(clause.reads(table, field) and (clause.name, field) not in OF_OTHERS for field in fields)
            }
            for table, fields in zip(shape.tables, shape.written, strict=True)
        ]
        """By n: the clauses evaluated for the object itself."""
        self._reached: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
        """By table and names of clauses: the objects that are reached from written ones, and those clauses read."""
        self._ledgers()
        self._memory()
        for n, table in enumerate(shape.tables):
            if table != "memory": self._evaluate(self.own[n].values(), f"id{n}")
            self._unbounded(n)
            self._led_to(n)
            self._beyond(n)
            if table == "thread" and shape.reading(n, PAIRS, ("state", "rank", "core", "endpoint")):
                self._call(_neighbours, f"o{n}, was{n}")
            self._counts(n)
        for n, row, entries in shape.rows:
            self._row(n, row, entries)
        self._items()
        self._reach()
        self._kinds()
        self._line("return None")
        self.source = "\n".join(self.lines)

    def function(self) -> Evaluate:
        """The function, compiled."""
        made: dict[str, Any] = {**self.names, "Unbounded": Unbounded}
        exec(compiled(self.source), made)
        evaluate: Evaluate = made["evaluate"]
        return evaluate

    def _line(self, text: str, depth: int = 1) -> None:
        self.lines.append("    " * depth + text)

    def _name(self, function: Callable[..., Any]) -> str:
        self.names[function.__name__] = function
        return function.__name__

    def _evaluate(self, clauses: Iterable[Clause], ids: str, depth: int = 1) -> None:
        """Evaluates clauses for these ids."""
        for clause in clauses:
            name = self._name(clause.holds)
            self._line(f"if not {name}(k, {ids}): return {name}, ({ids},)", depth)
            self.clauses += 1

    def _call(self, function: Callable[..., Broken | None], arguments: str, depth: int = 1) -> None:
        """Has a function evaluate clauses."""
        self._line(f"broken = {self._name(function)}(k, {arguments})", depth)
        self._line("if broken is not None: return broken", depth)

    def _before(self, n: int, field: str) -> str:
        """What a field was."""
        return f"journal[{self.shape.written[n][field][0]}][2]" if field in self.shape.written[n] else f"o{n}.{field}"

    def _ledgers(self) -> None:
        """Brings the ledgers up to date."""
        self._line("ledger = k.ledger")
        for n, table in enumerate(self.shape.tables):
            for fields, rule in ledgers.RULES.get(table, ()):
                if not fields.isdisjoint(self.shape.written[n]):
                    self._line(f"{self._name(rule)}(ledger, o{n}, was{n})")

    def _memory(self) -> None:
        """The clauses about the allocator's own state."""
        shape, clauses = self.shape, OBJECTS["memory"].values()
        self._evaluate({c.name: c for n in range(len(shape.tables)) for c in shape.reading(n, clauses)}.values(), "0")

    def _reach(self) -> None:
        """The clauses about objects that are reached from written ones; for one that was written itself, those that are
        not among its own."""
        for (target, names), ids in self._reached.items():
            clauses = [OBJECTS[target][name] for name in names]
            self._line(f"for i in {{{', '.join(ids)}}}:")
            word = "if"
            for n, table in enumerate(self.shape.tables):
                if table != target: continue
                self._line(f"{word} i == id{n}:", 2)
                lacking = [clause for clause in clauses if clause.name not in self.own[n]]
                self._evaluate(lacking, "i", 3)
                if not lacking: self._line("pass", 3)
                word = "elif"
            if target in KINDS: self._line(f"{word} pages[i].kind == {KINDS[target]}:", 2)
            else: self._line(f"{word} i != 0:" if target not in FROM_ZERO else f"{word} i >= 0:", 2)
            self._evaluate(clauses, "i", 3)

    def _reaches(self, target: str, clauses: Iterable[Clause], *ids: str) -> None:
        """These clauses read a written object, and are about the objects of table ``target`` with these ids."""
        key = target, tuple(clause.name for clause in clauses)
        self._reached.setdefault(key, {}).update(dict.fromkeys(ids))

    def _beyond(self, n: int) -> None:
        """The clauses about objects that object n names, or named."""
        shape = self.shape
        for field, target, fields, names in BEYOND.get(shape.tables[n], ()):
            clauses = shape.reading(n, (OBJECTS[target][name] for name in names), fields)
            if not clauses: continue
            self._reaches(target, clauses, f"o{n}.{field}", self._before(n, field))

    def _row(self, n: int, row: str, entries: list[int]) -> None:
        """The clauses about objects that the written items of a row name, or named; and about the place on the stack of
        closed slots where a written slot is, or was."""
        table = self.shape.tables[n]
        for j in entries:
            for target, names in ROWS_BEYOND.get((table, row), ()):
                clauses = [OBJECTS[target][name] for name in names]
                self._reaches(target, clauses, f"o{n}.{row}[journal[{j}][2]]", f"journal[{j}][3]")
            if (table, row) == ("domain", "map_page"):
                self._evaluate(ITEMS["domain.regions"], f"id{n}, journal[{j}][2] // 512")
            if (table, row) == ("process", "handle_rights"):  # what the slot names, the row beside says
                clauses = [OBJECTS["endpoint"]["endpoint_references"]]
                self._reaches("endpoint", clauses, f"o{n}.handle_object[journal[{j}][2]]")
            if (table, row) in (("process", "handle_object"), ("process", "handle_position")):
                self._evaluate(ITEMS["process.handle_stack"], f"id{n}, o{n}.handle_position[journal[{j}][2]]")
            if (table, row) == ("process", "handle_position"):
                self._evaluate(ITEMS["process.handle_stack"], f"id{n}, journal[{j}][3]")

    def _items(self) -> None:
        """The clauses about the written items of rows."""
        shape = self.shape
        by_row: dict[tuple[int, str], tuple[list[int], dict[str, Clause]]] = {}
        for n, row, entries in shape.rows:
            domain = ITEM_OF.get((shape.tables[n], row), f"{shape.tables[n]}.{row}")
            if domain not in ITEMS: continue
            js, clauses = by_row.setdefault((n, domain), ([], {}))
            js += entries
            clauses.update((clause.name, clause) for clause in shape.reading(n, ITEMS[domain], (row,)))
        for (n, _), (js, clauses) in by_row.items():
            self._line(f"for i in {{{', '.join(f'journal[{j}][2]' for j in js)}}}:")
            self._evaluate(clauses.values(), f"id{n}, i", 2)

    def _unbounded(self, n: int) -> None:
        """Whether clauses about any number of objects can have broken."""
        for field in self.shape.written[n]:
            condition = UNBOUNDED.get((self.shape.tables[n], field))
            if condition is not None:
                self._line(f"if {condition.format(o=f'o{n}', before=self._before(n, field))}: raise Unbounded")

    def _led_to(self, n: int) -> None:
        """The clauses about the items of rows that lead to object n, or led to it."""
        shape = self.shape
        for domain, holder, index, fields in LED_TO.get(shape.tables[n], ()):
            clauses = shape.reading(n, ITEMS[domain], fields)
            if not clauses: continue
            places = [(f"o{n}.{holder}", f"o{n}.{index}"), (self._before(n, holder), self._before(n, index))]
            for h, i in dict.fromkeys(places):
                # An index of 0 is in no stack; a holder of 0 is nobody.
                if holder: self._line(f"h, i = {h}, {i}")
                else: self._line(f"h, i = 0, {i}")
                self._line("if h != 0:" if holder and domain not in ("block.stack", "giant.stack") else "if i != 0:")
                self._evaluate(clauses, "h, i", 2)

    def _counts(self, n: int) -> None:
        """The clauses about what a count took in or left out."""
        table = self.shape.tables[n]
        for field in self.shape.written[n]:
            if (table, field) in COUNTS: self._call(_counted, f"o{n}, {field!r}, {self._before(n, field)}")
            if (table, field) == ("memory", "fresh"): self._call(_fresh, self._before(n, field))
            if (table, field) == ("process", "handle_opened"): self._call(_opened, f"o{n}, {self._before(n, field)}")

    def _kinds(self) -> None:
        """The clauses about the object that a page is charged for, if what that is has changed."""
        for n, table in enumerate(self.shape.tables):
            if table != "page" or "kind" not in self.shape.written[n]: continue
            for kind in (self._before(n, "kind"), f"o{n}.kind"):
                self._line(f"if {kind} in TABLES:")
                self._call(_charged_for, f"TABLES[{kind}], id{n}", 2)


def _neighbours(k: Kernel, T: Any, was: Any) -> Broken | None:
    """The clauses about pairs of threads, for those among queued thread T and its neighbours in the queue, now and
    before.  (Where only the link between two threads has changed, ``thread_queue`` ties it to what else has.)"""
    if T.state != READY and T.endpoint == 0: return None
    near = {T.id, T.next, was.next, T.previous, was.previous}
    near.discard(0)
    for t, u in permutations(near, 2):
        for clause in PAIRS:
            if not clause.holds(k, t, u): return clause.holds, (t, u)
    return None


def _counted(k: Kernel, live: Any, field: str, before: int) -> Broken | None:
    """The clauses about items of a row between what their count was and is, and about the objects they name."""
    row, first, names = COUNTS[live.table_name, field]
    after = getattr(live, field)
    if not -LONGEST <= after - before <= LONGEST: raise Unbounded
    beyond = ROWS_BEYOND.get((live.table_name, row))
    about = OBJECTS[beyond[0][0]] if beyond else {}
    for i in range(min(before, after) + first, max(before, after) + first):
        for clause in ITEMS[f"{live.table_name}.{row}"]:
            if not clause.holds(k, live.id, i): return clause.holds, (live.id, i)
        id = getattr(live, row)[i]
        for name in names:
            if (id != 0 or (beyond and beyond[0][0] in FROM_ZERO)) and not about[name].holds(k, id):
                return about[name].holds, (id,)
    return None


def _fresh(k: Kernel, before: int) -> Broken | None:
    """The clauses about giants between what the first giant never used was and is."""
    after = k.memory.fresh
    if not -LONGEST <= after - before <= LONGEST: raise Unbounded
    for g in range(min(before, after), max(before, after)):
        for clause in OBJECTS["giant"].values():
            if not clause.holds(k, g): return clause.holds, (g,)
    return None


def _opened(k: Kernel, S: Any, before: int) -> Broken | None:
    """The clauses about all handles of process S, if it seems to have opened fewer than before."""
    if S.handle_opened >= before: return None
    for slot in range(min(S.handle_carved, LONGEST)):
        for clause in ITEMS["process.handle_object"]:
            if not clause.holds(k, S.id, slot): return clause.holds, (S.id, slot)
    return None


def _charged_for(k: Kernel, table: str, id: int) -> Broken | None:
    """All clauses about an object."""
    for clause in OBJECTS[table].values():
        if not clause.holds(k, id): return clause.holds, (id,)
    return None


__all__ = ["Broken", "Evaluate", "Evaluation", "Journal", "Shape", "Unbounded", "compiled"]
