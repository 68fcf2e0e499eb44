"""Two states, and which of what differs between them has which invariants evaluated: the rules of kernel.touched, as
kernel.evaluation writes them down, on terms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from abi.layout import TABLE_ENTRIES
from kernel.evaluation import MAPPED_AT, WALKED_BY, own_fields, reading
from kernel.fields import field_set
from kernel.invariants import Clause
from kernel.invariants.address_spaces import pages_under_entry
from kernel.prove.evaluator import Evaluation, ObjectView, truth
from kernel.prove.instances import (
    PLACES,
    digits,
    evaluate,
    reads_of,
    substitute,
    substitute_integer,
)
from kernel.prove.source import Function
from kernel.prove.state import BEFORE, FIELDS, LEDGERS, TOTALS, State
from kernel.prove.terms import (
    Integer,
    Term,
    Truth,
    add,
    all_of,
    any_of,
    at_most,
    differ,
    equal,
    less,
    multiply,
    quotient,
    read,
    remainder,
)  # fmt: skip
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
    KINDS,
    LED_TO,
    LEFT_BY,
    LEFT_OPEN,
    RANGES,
    ROWS_BEYOND,
    UNBOUNDED,
    UNMAPPED,
)  # fmt: skip

Place = tuple[str, tuple[Integer, ...]]
"""A field of an object, or an item of a row: table.field and ids."""


@dataclass
class Other:
    """The second state: every field of it, and every ledger, may be another than in the first."""

    state: State = field(default_factory=State)
    moment: int = BEFORE
    _templates: dict[Clause, Truth] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.moment = self.state.anything(True, sorted(FIELDS), (*sorted(LEDGERS), *TOTALS))

    def read(self, field: str, *ids: Integer) -> Integer:
        """A field there."""
        return read(f"{field}#{self.moment}", *ids)

    def both(self, field: str, *ids: Integer) -> tuple[Integer, Integer]:
        """A field in the first state, and there."""
        return read(field, *ids), self.read(field, *ids)

    def changed(self, place: Place) -> Truth:
        """The field was written, and is another."""
        return differ(*self.both(place[0], *place[1]))

    def holds(self, clause: Clause, *ids: Integer) -> Truth:
        """What a clause says there."""
        said = evaluate(clause, self.state, *ids, moment=self.moment)
        defined = all_of((said, *self.state.definitions()))
        names = {its: term for term, its in self.state.names.items()}
        while names and any(term in names for term in _names(defined)): defined = substitute(defined, names)
        self.state.names.clear()
        return defined

    def instance(self, clause: Clause, *ids: Integer) -> Truth:
        """The same, made from what it says of the placeholders."""
        if clause not in self._templates:
            places = PLACES if "." in clause.domain[0] else PLACES[:len(clause.domain)]
            self._templates[clause] = self.holds(clause, *places)
        return substitute(self._templates[clause], dict(zip(PLACES, ids, strict=False)))

    def there(self, truth: Truth) -> Truth:
        """The same said of the other state."""
        moved: dict[Term, Integer] = {}

        def move(term: Term) -> None:
            if term in moved: return
            for inner in reads_of(term.args[1:]): move(inner)
            moved[term] = self.read(str(term.args[0]), *(substitute_integer(i, moved) for i in term.args[1:]))

        for term in reads_of([truth]): move(term)
        return substitute(truth, moved)

    def unbounded(self, table: str, field: str, id: Integer) -> Truth:
        """The check gives up on what is touched, and evaluates everything."""
        condition = UNBOUNDED.get((table, field))
        if condition is None: return False
        tree = ast.parse(f"def unbounded(live, old): return {condition}").body[0]
        assert isinstance(tree, ast.FunctionDef)
        live, old = ObjectView(table, id, self.moment), ObjectView(table, id, BEFORE)
        called = Evaluation(self.state, counting=False)
        return truth(called.call(Function("kernel.touched", "unbounded", tree), live, old))


def _names(truth: Truth) -> Iterator[Term]:
    todo: list[object] = [truth]
    seen: set[Term] = set()
    while todo:
        term = todo.pop()
        if isinstance(term, tuple): term = term[0]
        if not isinstance(term, Term) or term in seen: continue
        seen.add(term)
        todo.extend(term.args)
        yield term


@dataclass
class Touching:
    """Which writes have a clause evaluated of these ids, as kernel.evaluation writes it down."""

    other: Other
    clause: Clause
    ids: tuple[Integer, ...]
    seen: dict[Place, None]
    """Fields among which are the items of rows that lead to the objects the clause is about."""

    def by(self, place: Place) -> Truth:
        """Whether a write to this field does."""
        table, _, field = place[0].partition(".")
        ways = [self.other.unbounded(table, field, place[1][0])]
        ways += self._item(table, field, place[1]) if "." in self.clause.domain[0] \
            else self._object(table, field, place[1])
        return any_of(ways)

    def _there(self, table: str, id: Integer) -> Truth:
        """An object that something leads to is one of its table: no other is asked about."""
        if table in KINDS: return equal(self.other.read("page.kind", id), KINDS[table])
        return at_most(0, id) if table in FROM_ZERO else differ(id, 0)

    def _object(self, table: str, field: str, args: tuple[Integer, ...]) -> Iterator[Truth]:
        clause, other, (x, *_), o = self.clause, self.other, self.ids, args[0]
        of = clause.domain[0]
        if of == "memory":
            yield reading(table, clause, [field]) != 0
            return
        if table == of and own_fields(table, clause) & field_set(table, (field,)): yield equal(o, x)
        for name_, target, reads, names in BEYOND.get(table, ()):
            if target != of or clause.name not in names or field not in reads: continue
            if not clause.reads(table, field): continue
            for named in other.both(f"{table}.{name_}", o): yield all_of((equal(named, x), self._there(of, x)))
        for target, names in ROWS_BEYOND.get((table, field), ()):
            if target != of or clause.name not in names: continue
            for named in other.both(f"{table}.{field}", *args): yield all_of((equal(named, x), self._there(of, x)))
        row, target, names = BESIDE.get((table, field), ("", "", ()))
        if target == of and clause.name in names:
            yield all_of((equal(other.read(f"{table}.{row}", *args), x), self._there(of, x)))
        row, first, names = COUNTS.get((table, field), ("", 0, ()))
        for place, ids in self.seen:
            if clause.name not in names or place != f"{table}.{row}": continue
            before, after = other.both(place, *ids)
            yield all_of((equal(ids[0], o), self._between(ids[1], table, field, o, first), equal(before, after),
                          equal(after, x), at_most(0, x) if of in FROM_ZERO else differ(x, 0)))  # fmt: skip
        if RANGES.get((table, field)) == of: yield self._between(x, table, field, o, 0)
        if table == "page" and field in ("kind", "owner") and of in KINDS:
            for kind in other.both("page.kind", o): yield all_of((equal(o, x), equal(kind, KINDS[of])))

    def _between(self, i: Integer, table: str, field: str, o: Integer, first: int) -> Truth:
        """A number from what a field was, or is, on and below what it is, or was."""
        before, after = self.other.both(f"{table}.{field}", o)
        i = add(i, -first)
        return any_of(all_of((at_most(low, i), less(i, high))) for low, high in ((before, after), (after, before)))

    def _item(self, table: str, field: str, args: tuple[Integer, ...]) -> Iterator[Truth]:
        clause, other, (x, i), o = self.clause, self.other, self.ids, args[0]
        domain = clause.domain[0]
        here = equal(o, x)
        if len(args) == 2 and ITEM_OF.get((table, field), f"{table}.{field}") == domain:
            if clause.reads(table, field) or clause.name in LEFT_OPEN.get((table, field), ()):
                yield all_of((here, equal(args[1], i)))
        row, first, _ = COUNTS.get((table, field), ("", 0, ()))
        if f"{table}.{row}" == domain: yield all_of((here, self._between(i, table, field, o, first)))
        counting, times = COARSER.get((table, field), ("", 1))
        if counting == domain: yield all_of((here, equal(quotient(args[1], times), i)))
        if domain == "process.handle_object" and (table, field) == ("process", "handle_opened"):
            before, after = other.both("process.handle_opened", o)
            carved = other.read("process.handle_carved", o)
            yield all_of((here, less(after, before), at_most(0, i), less(i, carved)))
        if domain == "process.handle_stack" and table == "process" and field in ("handle_object", "handle_position"):
            was, now = other.both("process.handle_position", *args)
            yield all_of((here, equal(now, i)))
            if field == "handle_position": yield all_of((here, equal(was, i)))
        said, times = FINER.get((table, field), ("", 1))
        if said == domain and clause.reads(table, field): yield all_of((here, equal(multiply(args[1], times), i)))
        if (table, field) == UNMAPPED and clause in MAPPED_AT: yield self._unmapped(o, args[1])
        if (table, field) == EMPTIED and clause in WALKED_BY: yield self._emptied(o, args[1])
        for left, rows in LEFT_BY.items():
            if (table, field) != ("page", "kind"): continue
            was, now = other.both("page.kind", o)
            freed = all_of((equal(was, KINDS[left]), differ(now, KINDS[left])))
            for led, holder, index in rows:
                if led != domain: continue
                its = equal(other.read(f"{left}.{holder}", o), x), equal(other.read(f"{left}.{index}", o), i)
                yield all_of((freed, *its))
        for led, holder, index, names in LED_TO.get(table, ()):
            if led != domain or field not in names or not clause.reads(table, field): continue
            by_index = not holder or domain in BY_INDEX
            for version in (read, other.read):
                h: Integer = version(f"{table}.{holder}", o) if holder else 0
                n = version(f"{table}.{index}", o)
                some = differ(n, 0) if by_index else at_most(0, h) if domain.partition(".")[0] in FROM_ZERO \
                    else differ(h, 0)
                yield all_of((some, equal(h, x), equal(n, i)))

    def _unmapped(self, s: Integer, v: Integer) -> Truth:
        """The entry is read by the walk to a virtual page, which mapped something before."""
        other, (x, i), v = self.other, self.ids, digits(v)
        at = other.read("process.root", s)
        ways: list[Truth] = []
        mapped = differ(read(".".join(UNMAPPED), s, v), 0)
        for level in (4, 3, 2, 1):
            index = quotient(v, pages_under_entry(level))
            if level < 4: index = remainder(index, TABLE_ENTRIES)
            ways.append(all_of((mapped, equal(at, x), equal(index, i))))
            at = other.read("table.entry", at, index)
            mapped = all_of((mapped, differ(at, 0)))  # the walk ends where no table is
        return any_of(ways)

    def _emptied(self, x: Integer, i: Integer) -> Truth:
        """The virtual page is the first that an entry translated, which led to something before."""
        s, v = self.ids
        level, base = read("table.level", x), read("table.base", x)
        here = any_of(
            all_of((equal(level, its), equal(v, add(base, multiply(i, pages_under_entry(its))))))
            for its in (1, 2, 3, 4)
        )
        return all_of((differ(read(".".join(EMPTIED), x, i), 0), equal(read("table.process", x), s), here))


__all__ = ["Other", "Place", "Touching"]
