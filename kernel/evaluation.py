"""Writes the functions that evaluate what the writes to an object can have broken, one for each table of objects.

Which clauses those are follows from the fields that were written (``kernel.touched``).  That is worked out here once,
as the text of a module, ``kernel.evaluated``, in which each group of clauses is evaluated if one of the fields that
they read was written.  Its calls of clauses are plain calls: what makes it fast where the kernel is compiled.

In the text ``w`` is a written object's record, ``live`` the object, ``old`` what it was, ``id`` its id, ``fields`` the
set of its fields that were written; ``wanted`` is a set of clauses about an object, a bit for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from abi.layout import TABLE_ENTRIES
from kernel import ledgers
from kernel.fields import NUMBERS, field_set
from kernel.invariants import INVARIANTS, Clause
from kernel.invariants.address_spaces import pages_under_entry
from kernel.objects import CLASSES, Object, Row, fields_of
from kernel.touched import (
    BESIDE,
    BEYOND,
    BY_INDEX,
    COARSER,
    COUNTS,
    EMPTIED,
    FINER,
    FROM_ZERO,
    ITEM_OF,
    ITEMS,
    KINDS,
    LED_TO,
    LEFT_BY,
    LEFT_OPEN,
    LONGEST,
    OBJECTS,
    OF_OTHERS,
    RANGES,
    ROWS_BEYOND,
    UNBOUNDED,
    UNMAPPED,
)

HEAD: Final = '''\
"""What kernel.evaluation wrote."""

from __future__ import annotations

from kernel.objects import Kernel, Ledger, {classes}
from kernel.written import Object, Tally, Unbounded, Written
{imports}
Broken = tuple[str, tuple[int, ...]]

'''
FIRST: Final = ("page", "thread", "core", "process", "table", "container", "block", "memory", "endpoint")
"""Tables that are written most often: what they are is asked first."""


def reading(table: str, clause: Clause, fields: Iterable[str]) -> int:
    """The set of those fields of a table's objects that a clause reads."""
    return field_set(table, tuple(field for field in fields if clause.reads(table, field)))


def own_fields(table: str, clause: Clause) -> int:
    """The fields of an object that a clause about it reads."""
    fields = fields_of(_CLASS[table])
    return reading(table, clause, [field for field in fields if (clause.name, field) not in OF_OTHERS])


_CLASS: Final[dict[str, type[Object]]] = {of.table_name: of for of in CLASSES}
ROWS: Final = {
    of.table_name: frozenset(field for field in fields_of(of) if isinstance(getattr(of(0), field), Row))
    for of in CLASSES
}
"""By table: its fields that are rows."""
MAPPED_AT: Final = [clause for clause in ITEMS[".".join(EMPTIED)] if clause.reads(*UNMAPPED)]
"""The clauses about an entry of a table that say what the abstract map has."""
WALKED_BY: Final = [clause for clause in ITEMS[".".join(UNMAPPED)] if clause.reads(*EMPTIED)]
"""The clauses about a virtual page that say what the walk of the tables finds."""
_TABLES: Final = sorted(_CLASS, key=lambda table: FIRST.index(table) if table in FIRST else len(FIRST))


class Text:
    """The text of the module, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._local = 0

    def line(self, depth: int, text: str) -> None:
        """A line, indented."""
        self.lines.append("    " * depth + text)

    def names(self, count: int) -> list[str]:
        """Names of variables that are not used elsewhere."""
        self._local += count
        return [f"x{self._local - i}" for i in range(count)]

    def call(self, depth: int, call: str) -> None:
        """A call that returns what is broken, or nothing."""
        self.line(depth, f"broken = {call}")
        self.line(depth, "if broken is not None: return broken")

    def named(self, table: str, id: str) -> str:
        """The condition that this id is that of an object of the table."""
        return f"{id} >= 0" if table in FROM_ZERO else f"{id} != 0"

    def clauses(self, depth: int, clauses: Sequence[Clause], ids: str) -> None:
        """Evaluates these clauses for these ids."""
        if not clauses: return
        self.line(depth, f"tally.clauses += {len(clauses)}")
        for clause in clauses:
            self.line(depth, f'if not {clause.name}(k, {ids}): return "{clause.name}", ({ids},)')

    def guarded(self, depth: int, clauses: Iterable[tuple[Clause, int]], ids: str, all_fields: int = -1) -> None:
        """Evaluates for these ids each clause that one of these sets of fields was written for.  (``all_fields``: one
        of them was, as is known already.)"""
        groups: dict[int, list[Clause]] = {}
        for clause, fields in clauses: groups.setdefault(fields, []).append(clause)
        for fields, group in groups.items():
            if fields == 0: continue
            if fields == all_fields:
                self.clauses(depth, group, ids)
                continue
            self.line(depth, f"if fields & {fields:#x}:")
            self.clauses(depth + 1, group, ids)

    # The parts of the module.

    def copy(self) -> None:
        """Makes an old object what the live one is."""
        self.line(0, "def copy(table: int, old: Object, live: Object) -> None:")
        for table in _TABLES:
            self.line(1, f"if table == {NUMBERS[table]}:")
            self.narrow(2, table, "old", "live")
            for field in ("id", *fields_of(_CLASS[table])): self.line(2, f"old.{field} = live.{field}")
            self.line(2, "return")
        self.line(0, "")

    def narrow(self, depth: int, table: str, *names: str) -> None:
        """Says of what class these objects are."""
        for name in names: self.line(depth, f"assert isinstance({name}, {CLASS_NAME[table]})")

    def follow(self) -> None:
        """Brings the ledgers up to date; returns which clauses about the allocator's own state are to be evaluated."""
        self.line(0, "def follow(ledger: Ledger, w: Written) -> int:")
        for line in ("fields = w.fields", "table = w.table", "live = w.live", "old = w.old", "wanted = 0"):
            self.line(1, line)
        for table in _TABLES:
            rules = [(tuple(sorted(fields)), rule) for fields, rule in ledgers.RULES.get(table, ())]
            clauses = OBJECTS["memory"].values()
            memory = [(reading(table, clause, fields_of(_CLASS[table])), i) for i, clause in enumerate(clauses)]
            self.line(1, f"if table == {NUMBERS[table]}:")
            if rules: self.narrow(2, table, "live", "old")
            for names, rule in rules: self._rule(table, names, rule.__name__)
            for fields, i in memory:
                if fields: self.line(2, f"if fields & {fields:#x}: wanted |= {1 << i}")
            self.line(2, "return wanted")
        self.line(1, "return wanted")
        self.line(0, "")

    def _rule(self, table: str, names: Sequence[str], rule: str) -> None:
        """Has a ledger follow the fields of an object; where they are rows, each item that was written, once."""
        if names[0] not in ROWS[table]:
            self.line(2, f"if fields & {field_set(table, tuple(names)):#x}: {rule}(ledger, live, old)")
            return
        for n, row in enumerate(names):
            self.line(2, f"if fields & {field_set(table, (row,)):#x}:")
            self.line(3, f"for i in old.{row}:")
            for other in names[:n]:
                self.line(4, f"if fields & {field_set(table, (other,)):#x} and i in old.{other}: continue")
            self.line(4, f"{rule}(ledger, live, old, i)")

    def evaluate(self) -> None:
        """All that the writes can have broken."""
        self.line(0, "def evaluate(k: Kernel, objects: list[Written], tally: Tally) -> Broken | None:")
        for line in ("ledger = k.ledger", "assert ledger is not None", "wanted = 0"): self.line(1, line)
        self.line(1, "for w in objects: wanted |= follow(ledger, w)")
        for i, clause in enumerate(OBJECTS["memory"].values()):
            self.line(1, f"if wanted & {1 << i}:")
            self.clauses(2, [clause], "0")
        self.line(1, "for w in objects:")
        self.line(2, "table = w.table")
        word = "if"
        for table in _TABLES:
            self.line(2, f"{word} table == {NUMBERS[table]}: broken = check_{table}(k, w, tally)")
            word = "elif"
        self.line(2, "else: continue")
        self.line(2, "if broken is not None: return broken")
        self.line(1, "return None")
        self.line(0, "")

    def about(self, table: str) -> None:
        """The wanted clauses about an object that something else leads to; but for those that are evaluated because of
        what was written of itself.  If it is not ``certain`` to be one, nothing for what is no such object."""
        clauses = list(OBJECTS[table].values())
        parameters = "k: Kernel, id: int, wanted: int, certain: bool, tally: Tally"
        self.line(0, f"def about_{table}({parameters}) -> Broken | None:")
        self.line(1, "fields = 0")
        self.line(1, f"live = k.{table}.get(id)")
        self.line(1, "if live is not None and live.written is not None: fields = live.written.fields")
        if table in KINDS: self.line(1, f"elif not certain and k.page[id].kind != {KINDS[table]}: return None")
        else: self.line(1, f"elif not {self.named(table, 'id')}: return None")
        for i, clause in enumerate(clauses):
            self.line(1, f"if wanted & {1 << i} and not fields & {own_fields(table, clause):#x}:")
            self.clauses(2, [clause], "id")
        self.line(1, "return None")
        self.line(0, "")

    def reach(self, depth: int, target: str, names: Iterable[str], id: str, certain: bool = False) -> None:
        """Evaluates clauses about an object that something leads to."""
        known = list(OBJECTS[target])
        wanted = sum(1 << known.index(name) for name in names)
        self.call(depth, f"about_{target}(k, {id}, {wanted}, {certain}, tally)")

    def check(self, table: str) -> None:
        """What the writes to one object can have broken."""
        self.line(0, f"def check_{table}(k: Kernel, w: Written, tally: Tally) -> Broken | None:")
        for line in ("live = w.live", "old = w.old"): self.line(1, line)
        self.narrow(1, table, "live", "old")
        for line in ("fields = w.fields", "id = live.id"): self.line(1, line)
        if table != "memory":
            self.guarded(1, [(clause, own_fields(table, clause)) for clause in OBJECTS[table].values()], "id")
        for (name, field), condition in UNBOUNDED.items():
            if name != table: continue
            self.line(1, f"if fields & {field_set(table, (field,)):#x} and ({condition}): raise Unbounded")
        self._led_to(table)
        self._beyond(table)
        for field in fields_of(_CLASS[table]): self._count(table, field)
        self._rows(table)
        if table == "page": self._kinds()
        self.line(1, "return None")
        self.line(0, "")

    def _led_to(self, table: str) -> None:
        """The clauses about the items of rows that lead to the object, or led to it."""
        for domain, holder, index, names in LED_TO.get(table, ()):
            clauses = [(clause, reading(table, clause, names)) for clause in ITEMS[domain]]
            read = 0
            for _, fields in clauses: read |= fields
            if read == 0: continue
            h, i, was_h, was_i = self.names(4)
            self.line(1, f"if fields & {read:#x}:")
            self.line(2, f"{h} = live.{holder}" if holder else f"{h} = 0")
            self.line(2, f"{i} = live.{index}")
            # An index of 0 is in no stack; a holder of 0 is nobody, but for cores.
            by_index = not holder or domain in BY_INDEX
            some = f"{i} != 0" if by_index else self.named(domain.partition(".")[0], h)
            self.line(2, f"if {some}:")
            self.guarded(3, clauses, f"{h}, {i}", read)
            self.line(2, f"{was_h} = old.{holder}" if holder else f"{was_h} = 0")
            self.line(2, f"{was_i} = old.{index}")
            some = f"{was_i} != 0" if by_index else self.named(domain.partition(".")[0], was_h)
            self.line(2, f"if {some} and ({was_h} != {h} or {was_i} != {i}):")
            self.guarded(3, clauses, f"{was_h}, {was_i}", read)

    def _beyond(self, table: str) -> None:
        """The clauses about objects that the object names, or named."""
        asked_before: dict[tuple[str, tuple[str, ...]], list[tuple[str, str, int]]] = {}
        for field, target, reads, names in BEYOND.get(table, ()):
            by_fields: dict[int, list[str]] = {}
            for name in names:
                by_fields.setdefault(reading(table, OBJECTS[target][name], reads), []).append(name)
            for fields, group in by_fields.items():
                if fields == 0: continue
                asked = asked_before.setdefault((target, tuple(group)), [])
                now, was = self.names(2)
                self.line(1, f"{now} = live.{field}")
                self.line(1, f"{was} = old.{field}")
                new = "".join(
                    f" and (not fields & {others:#x} or {{0}} != {a} and {{0}} != {b})" for a, b, others in asked
                )
                self.line(1, f"if fields & {fields:#x}:")
                self.line(2, f"if {self.named(target, now)}{new.format(now)}:")
                self.reach(3, target, group, now)
                self.line(2, f"if {was} != {now} and {self.named(target, was)}{new.format(was)}:")
                self.reach(3, target, group, was)
                asked.append((now, was, fields))

    def _count(self, table: str, field: str) -> None:
        """The clauses about what a count took in or left out."""
        bit = field_set(table, (field,))
        if (table, field) in COUNTS:
            row, first, names = COUNTS[table, field]
            beyond = ROWS_BEYOND.get((table, row))
            items = ITEMS[f"{table}.{row}"]
            self._between(bit, field, first)
            # An item that was written itself is looked at with the row.
            self.line(3, f"if fields & {field_set(table, (row,)):#x} and i in old.{row}: continue")
            self.clauses(3, items, "id, i")
            if names:
                assert beyond is not None, (table, row)
                about = [OBJECTS[beyond[0][0]][name] for name in names]
                self.line(3, f"n = live.{row}[i]")
                self.line(3, f"if {self.named(beyond[0][0], 'n')}:")
                self.clauses(4, about, "n")
        if (table, field) in RANGES:
            target = RANGES[table, field]
            self._between(bit, field, 0)
            self.clauses(3, list(OBJECTS[target].values()), "i")
        if (table, field) == ("process", "handle_opened"):
            # All handles, if it seems to have opened fewer than before.
            self.line(1, f"if fields & {bit:#x} and live.{field} < old.{field}:")
            self.line(2, f"for i in range(min(live.handle_carved, {LONGEST})):")
            self.clauses(3, ITEMS["process.handle_object"], "id, i")

    def _between(self, bit: int, field: str, first: int) -> None:
        """For each number between what a field was and is."""
        low, high = self.names(2)
        self.line(1, f"if fields & {bit:#x}:")
        self.line(2, f"{low} = live.{field}")
        self.line(2, f"{high} = old.{field}")
        self.line(2, f"if {low} > {high}: {low}, {high} = {high}, {low}")
        self.line(2, f"if {high} - {low} > {LONGEST}: raise Unbounded")
        more = f" + {first}" if first else ""
        self.line(2, f"for i in range({low}{more}, {high}{more}):")

    def _rows(self, table: str) -> None:
        """The clauses about the written items of rows, and about objects that these name, or named."""
        seen: dict[str, list[str]] = {}
        for row in fields_of(_CLASS[table]):
            domain = ITEM_OF.get((table, row), f"{table}.{row}")
            left = LEFT_OPEN.get((table, row), ())
            clauses = [clause for clause in ITEMS.get(domain, ()) if clause.reads(table, row) or clause.name in left]
            beyond = ROWS_BEYOND.get((table, row), ())
            beside = BESIDE.get((table, row))
            stack = (table, row) in (("process", "handle_object"), ("process", "handle_position"))
            if not (clauses or beyond or beside or stack or (table, row) in COARSER): continue
            self.line(1, f"if fields & {field_set(table, (row,)):#x}:")
            self.line(2, f"for i, n in old.{row}.items():")
            # What reads several rows is asked about once for an index at which several were written.
            before = seen.setdefault(domain, [])
            groups: dict[tuple[str, ...], list[Clause]] = {}
            for clause in clauses:
                groups.setdefault(tuple(other for other in before if clause.reads(table, other)), []).append(clause)
            for others, group in groups.items():
                asked = [f"not (fields & {field_set(table, (other,)):#x} and i in old.{other})" for other in others]
                if asked: self.line(3, f"if {' and '.join(asked)}:")
                self.clauses(4 if asked else 3, group, "id, i")
            before.append(row)
            if beyond:
                self.line(3, f"m = live.{row}[i]")
                for target, names in beyond:
                    self.line(3, f"if {self.named(target, 'm')}:")
                    self.reach(4, target, names, "m")
                    self.line(3, f"if n != m and {self.named(target, 'n')}:")
                    self.reach(4, target, names, "n")
            if beside:
                self.line(3, f"m = live.{beside[0]}[i]")
                self.line(3, "if m != 0:")
                self.reach(4, beside[1], beside[2], "m")
            if (table, row) in COARSER:
                counting, times = COARSER[table, row]
                self.clauses(3, ITEMS[counting], f"id, i // {times}")
            if (table, row) in FINER:
                said, times = FINER[table, row]
                self.clauses(3, [clause for clause in ITEMS[said] if clause.reads(table, row)], f"id, i * {times}")
            if (table, row) == UNMAPPED:
                self.line(3, "if n != 0:")
                self.call(4, "walked(k, live.root, i, tally)")
            if (table, row) == EMPTIED:
                self.line(3, "if n != 0:")
                self.line(4, "v = old.base + i * pages_under_entry(old.level)")
                self.clauses(4, WALKED_BY, "old.process, v")
            if stack:
                # And about the place on the stack of closed slots where a written slot is, or was.
                self.clauses(3, ITEMS["process.handle_stack"], "id, live.handle_position[i]")
                if row == "handle_position": self.clauses(3, ITEMS["process.handle_stack"], "id, n")

    def _kinds(self) -> None:
        """The clauses about the object that the page is charged for, if what that is has changed, or to whom."""
        self.line(1, f"if fields & {field_set('page', ('kind', 'owner')):#x}:")
        self.line(2, "kind = old.kind")
        for turn in range(2):
            if turn: self.line(2, "kind = live.kind")
            word = "if"
            for table, kind in KINDS.items():
                self.line(2, f"{word} kind == {kind}:")
                self.reach(3, table, OBJECTS[table], "id", certain=True)
                word = "elif"
        for table, rows in LEFT_BY.items():
            self.line(2, f"if old.kind == {KINDS[table]} and live.kind != {KINDS[table]}:")
            self.line(3, f"left = k.{table}[id]")
            for domain, holder, index in rows: self.clauses(3, ITEMS[domain], f"left.{holder}, left.{index}")

    def walked(self) -> None:
        """The clauses about the entries that the walk from a root table to a virtual page reads."""
        self.line(0, "def walked(k: Kernel, x: int, v: int, tally: Tally) -> Broken | None:")
        self.line(1, "i = v // 134217728")
        self.clauses(1, MAPPED_AT, "x, i")
        for pages in (262144, 512, 1):
            self.line(1, "x = k.table[x].entry[i]")
            self.line(1, "if x == 0: return None")  # no table: to look at one would make it
            self.line(1, f"i = v // {pages} % {TABLE_ENTRIES}")
            self.clauses(1, MAPPED_AT, "x, i")
        self.line(1, "return None")
        self.line(0, "")

    def module(self) -> str:
        """The whole text."""
        self.copy()
        self.follow()
        for table in _TABLES:
            if table != "memory": self.about(table)
        self.walked()
        for table in _TABLES: self.check(table)
        self.evaluate()
        text = "\n".join(self.lines)
        origins: dict[str, list[str]] = {}
        for clause in INVARIANTS.values(): origins.setdefault(clause.holds.__module__, []).append(clause.name)
        for rules in ledgers.RULES.values():
            for _, rule in rules: origins.setdefault(rule.__module__, []).append(rule.__name__)
        origins[pages_under_entry.__module__].append(pages_under_entry.__name__)
        imports = "".join(f"from {module} import {', '.join(names)}\n" for module, names in origins.items())
        return HEAD.format(classes=", ".join(CLASS_NAME.values()), imports=imports) + text + "\n"


CLASS_NAME: Final = {of.table_name: of.__name__ for of in CLASSES}


def source() -> str:
    """The text of ``kernel.evaluated``."""
    return Text().module()


__all__ = ["source"]
