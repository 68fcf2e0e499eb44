"""That no invariant can break of which the check after a transition does not evaluate an instance: the touched set
(kernel.touched) is complete, whatever a transition writes.

Two states are looked at: one in which all invariants hold, and another, any at all.  What differs between them was
written.  Of an invariant, of arbitrary objects, it is supposed that no rule by which writes have clauses evaluated
(kernel.evaluation) has it evaluated of these: so each field that it reads, in either state, either is the same in both
or is one whose writes lead elsewhere.  To be proved: it holds in the other state as well.

Of what was written itself, the clauses about it that the check did evaluate held: what is freed is blank.  A ledger is
another only if some item contributes something else to it.  Where what stands in the way is further away, other
invariants, proved without this one, are supposed of the other state too, or this one of what is nearer to an end
(kernel.prove.chains).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from kernel.invariants import INVARIANTS, Clause
from kernel.prove import source
from kernel.prove.addresses import entry_addresses, indices_of, unique
from kernel.prove.chains import LATER, supposed
from kernel.prove.counterexample import failing
from kernel.prove.counting import Item, at_least_one, contributions, items_of, rules, together
from kernel.prove.evaluator import Evaluation, View
from kernel.prove.goals import Goal, arbitrary
from kernel.prove.instances import (
    ITEM_CLAUSES,
    OBJECT_CLAUSES,
    PLACES,
    about,
    digit_facts,
    digits,
    instance,
    reads_of,
    substitute,
    substitute_integer,
    template,
)
from kernel.prove.lemmas import LEMMAS, Lemma
from kernel.prove.solver import PROVED, REFUTED, Solver
from kernel.prove.state import BEFORE, State
from kernel.prove.steps import DIGITS
from kernel.prove.terms import (
    RANGES,
    RANGES_OF_DIGITS,
    Integer,
    Term,
    Truth,
    add,
    all_of,
    any_of,
    at_most,
    choice,
    differ,
    equal,
    implies,
    less,
    name,
    negate,
    read,
    show,
)  # fmt: skip
from kernel.prove.touching import Other, Place, Touching
from kernel.touched import ITEM_OF, KINDS

ROUNDS: Final = 3
"""How many times what is known around what was read last is added."""
MOST: Final = 100
"""Fields seen beyond which no more is looked around."""


OTHERS: Final = (name("?2"), name("?3"))
"""Placeholders of a second item."""


def places(truths: Iterable[Truth | Integer]) -> list[Place]:
    """The fields that are read, in either state."""
    found: dict[Place, None] = {}
    for term in reads_of(truths):
        of = str(term.args[0]).partition("#")[0]
        found[of, tuple(term.args[1:])] = None
    return list(found)


class _Known:
    """What is known of the two states, around what is read."""

    def __init__(self, clause: Clause, ids: tuple[Integer, ...], timeout: float, seed: int) -> None:
        self.other = Other()
        self.solver = Solver(timeout, seed)
        self.seen: dict[Place, None] = {}
        """All fields that were read so far."""
        self._clause = clause
        self._ids = ids
        self._touching = Touching(self.other, clause, ids, self.seen)
        self._told: set[object] = set()
        self._objects: set[Integer] = set()
        self._passing: dict[tuple[Clause, tuple[Integer, ...]], Truth] = {}
        self.solver.suppose(equal(read("page.kind", 0), 0))
        self.solver.suppose(instance(INVARIANTS["container_root"], name("root")))

    def see(self, places_: Iterable[Place]) -> None:
        """Supposes that writes to these fields do not have the clause evaluated; and of ledgers, that they are the
        same, or some item contributes something else."""
        for place in list(places_):
            if place in self._told: continue
            self._told.add(place)
            self.seen[place] = None
            if place[0] == "process.map_page":
                for known in digit_facts(place[1][1]): self.solver.suppose(known)
                if self._clause.domain == ("table.entry",): self.unique(self._ids, place[1][1])
            if not place[0].startswith("ledger."): continue
            same, fields = ledger_changed(self.other, place)
            self.solver.suppose(same)
            self.see(fields)

    def unique(self, entry: tuple[Integer, ...], v: Integer) -> None:
        """Supposes that a virtual page which is the first that an entry translates has the entry's indices."""
        page = indices_of(digits(v))
        if page is None: return
        for its in entry_addresses(*entry): self.solver.suppose(self.other.there(unique(its, page)))

    def watch(self) -> None:
        """Supposes of all fields seen that their writes do not have the clause evaluated.  (A lemma never is.)"""
        if self._clause.name not in INVARIANTS: return
        for place in self.seen:
            if place[0].startswith("ledger."): continue
            touched = all_of((self.other.changed(place), self._touching.by(place)))
            self.solver.suppose(negate(touched))

    def counted(self) -> None:
        """Supposes that ledgers are at least what the items seen contribute, in both states."""
        for of, ids in self.near():
            for item in items_of([read(of, *ids)]):
                if (item, ids) in self._told: continue
                self._told.add((item, ids))
                its = dict(zip(PLACES, ids, strict=False))
                for truth_ in at_least_one(Item(item.rule, item.table, PLACES[:len(ids)])):
                    self.solver.suppose(substitute(truth_, its))
                    self.solver.suppose(substitute(self.other.there(truth_), its))

    def around(self) -> None:
        """Supposes the invariants in the first state of all that was seen."""
        reads = [read(of, *ids) for of, ids in self.near()]
        for clause, ids in about(reads):
            if (clause, ids) in self._told: continue
            self._told.add((clause, ids))
            self.solver.suppose(instance(clause, *ids))

    def widen(self) -> None:
        """Looks from here on at all objects of which something was seen."""
        self._objects |= {ids[0] for of, ids in self.seen if not of.startswith("ledger.")}

    def look(self) -> None:
        """Sees what the clauses about what was seen of the objects that are looked at read there."""
        tables: dict[Integer, set[str]] = {}
        for of, ids in self.near(): tables.setdefault(ids[0], set()).add(of.partition(".")[0])
        for of, ids in self.near():
            table, _, field_ = of.partition(".")
            clauses = [] if table == "memory" else list(OBJECT_CLAUSES.get(table, ()))
            if of == "page.kind":
                for held in sorted(KINDS.keys() & tables[ids[0]] or KINDS): clauses += OBJECT_CLAUSES.get(held, ())
            found = [(clause, ids[:1]) for clause in clauses]
            if len(ids) == 2:
                found += [(clause, ids) for clause in ITEM_CLAUSES.get(ITEM_OF.get((table, field_), of), ())]
            for key in found:
                if key in self._passing or key[0].name not in INVARIANTS or not key[0].reads(table, field_): continue
                self._passing[key] = self.other.holds(key[0], *key[1])
        self.see(places(self._passing.values()))

    def near(self) -> list[Place]:
        """What was seen of the objects that are looked at."""
        return [place for place in self.seen if not place[0].startswith("ledger.") and place[1][0] in self._objects]

    def begin(self, truths: list[Truth]) -> None:
        """What the clause says of both states."""
        self.see(places(truths))

    def follow(self, turn: int) -> None:
        """Supposes what is known around what was read, from the second time on."""
        if not turn: return
        self.widen()
        self.look()
        self.look()  # what these clauses read of the same objects has clauses of its own
        self.passed()
        self.counted()
        self.around()

    def passed(self, whatever: bool = False) -> None:
        """Supposes that what the check evaluates because of writes to the fields seen, ``whatever`` a clause reads of
        them, holds in the other state."""
        near = self.near()
        for (clause, ids), held in self._passing.items():
            touching = Touching(self.other, clause, ids, self.seen)
            ways = [
                all_of((self.other.changed(place), touching.by(place))) for place in near
                if whatever or place[0] in ("page.kind", "page.owner") or clause.reads(*place[0].split("."))
            ]
            self.solver.suppose(implies(any_of(ways), held))


class _Chained(_Known):
    """The same, for an invariant that cannot break because others cannot: those that it uses are supposed of both
    states, of all that they read of each other."""

    def __init__(self, clause: Clause, ids: tuple[Integer, ...], timeout: float, seed: int) -> None:
        super().__init__(clause, ids, timeout, seed)
        self._later = LATER[clause.name]
        self._latest: list[Truth | Integer] = []
        self._items: list[Item] = []
        self._ledgers: set[str] = set()
        self._first: list[tuple[Clause, tuple[Integer, ...]]] = []
        """The clauses about the objects that the clause reads."""
        self._freed: list[tuple[Clause, tuple[Integer, ...]]] = []
        """Those about what it asks the kind of, which may have been freed."""
        self._own = clause.domain[0].partition(".")[0] if "." in clause.domain[0] else ""
        others = [name_ for name_ in self._later.using if name_ in INVARIANTS and supposed(name_, clause.name)]
        lemmas = [LEMMAS[name_] for name_ in self._later.using if name_ in LEMMAS]
        self._there = {*others, *(lemma.name for lemma in lemmas if self._follows(lemma))}
        """What holds in the other state."""
        self.solver.suppose(equal(self.other.read("page.kind", 0), 0))

    def _follows(self, lemma: Lemma) -> bool:
        return (lemma.name in LATER and supposed(lemma.name, self._clause.name)) or all(
            self._follows(LEMMAS[its]) if its in LEMMAS else supposed(its, self._clause.name) for its in lemma.using
        )

    def begin(self, truths: list[Truth]) -> None:
        super().begin(truths)
        self._latest = [*truths, *(term for of, ids in self.near() for term in self.other.both(of, *ids))]
        walked = [ids for of, ids in self.near() if of == "table.entry" and not _of_other(ids)]
        if self._clause.domain == ("process.map_page",):
            for ids in walked: self.unique(ids, self._ids[1])
        for of, ids in self.near():
            tables = KINDS if of == "page.kind" else (of.partition(".")[0],)
            first = self._freed if of == "page.kind" else self._first
            first += [(clause, ids[:1]) for table in tables for clause in OBJECT_CLAUSES.get(table, ())]

    def follow(self, turn: int) -> None:
        """Supposes the invariants that are used, of what was read last."""
        found = [*self._here(), *self._in_other()]
        self._first.clear()
        self._freed.clear()
        for truth_ in found: self.solver.suppose(truth_)
        self._latest = list(found)
        self.see(place for place in places(found) if not place[0].startswith("ledger."))
        self._count()

    def watch(self) -> None:
        """And that what the check evaluates for them holds."""
        super().watch()
        self.passed(whatever=True)

    def near(self) -> list[Place]:
        """What was seen."""
        return [place for place in self.seen if not place[0].startswith("ledger.")]

    def _here(self) -> Iterator[Truth]:
        reads = [term for term in reads_of(self._latest) if "#" not in str(term.args[0])]
        for clause, ids in dict.fromkeys((*about(reads), *self._first)):
            if clause.name not in (self._clause.name, *self._later.using, *self._later.evaluated): continue
            if (clause, ids) in self._told: continue
            self._told.add((clause, ids))
            yield instance(clause, *ids)
            if clause.domain == ("process.map_page",): yield from digit_facts(ids[1])

    def _in_other(self) -> Iterator[Truth]:
        after = f"#{self.other.moment}"
        reads = [
            read(str(term.args[0]).removesuffix(after), *term.args[1:]) for term in reads_of(self._latest)
            if str(term.args[0]).endswith(after)
        ]  # fmt: skip
        for clause, ids in dict.fromkeys((*about(reads), *self._first, *self._freed)):
            if ("other", clause, ids) in self._told or (ids == self._ids and clause is self._clause): continue
            if clause.domain == ("process.map_page",): ids = (ids[0], digits(ids[1]))
            known = self._of_other(clause, ids)
            if known is True: continue
            self._told.add(("other", clause, ids))
            yield known
            if clause.domain == ("process.map_page",): yield from digit_facts(ids[1])

    def _of_other(self, clause: Clause, ids: tuple[Integer, ...]) -> Truth:
        """What is known of a clause in the other state."""
        if clause.name in self._there: return self.other.instance(clause, *ids)
        measure = self._later.measure
        if clause is self._clause and measure is not None:
            here, there = _evaluated(measure, *self._ids), _evaluated(measure, *ids)
            return implies(all_of((at_most(0, there), less(there, here))), self.other.instance(clause, *ids))
        if clause.name in self._later.evaluated: self._passing[clause, ids] = self.other.instance(clause, *ids)
        return True

    def _count(self) -> None:
        """Supposes that the ledgers that are read are at least what an item seen contributes, or two items of a row, in
        both states."""
        read_ = {of.partition("#")[0] for of, _ in places(self._latest) if of.startswith("ledger.")}
        self._ledgers |= {of.removeprefix("ledger.") for of in read_}
        for item in items_of(read(of, *ids) for of, ids in self.near()):
            rule = rules()[item.rule]
            if item in self._told or not rule.ledgers & self._ledgers: continue
            self._told.add(item)
            others = [other for other in self._items if other.rule == item.rule] if rule.table in self._own else []
            self._items.append(item)
            for truth_ in (*at_least_one(item), *together([item], others)): self.solver.suppose(truth_)
            first, second = (Item(item.rule, item.table, ids[:len(item.ids)]) for ids in (PLACES, OTHERS))
            for truth_ in at_least_one(first): self.solver.suppose(self._put(truth_, item.ids))
            for other in others:
                for truth_ in together([first], [second]): self.solver.suppose(self._put(truth_, item.ids, other.ids))

    def _put(self, truth_: Truth, ids: tuple[Integer, ...], others: tuple[Integer, ...] = ()) -> Truth:
        """What is true of the placeholders, in the other state, of these ids."""
        by = dict(zip((*PLACES[:len(ids)], *OTHERS[:len(others)]), (*ids, *others), strict=True))
        return substitute(self.other.there(truth_), by)


def _of_other(ids: Iterable[Integer]) -> bool:
    """Whether the other state has a part in these ids."""
    return any("#" in str(term.args[0]) for term in reads_of(ids))


def _evaluated(measure: Callable[..., int], *ids: Integer) -> Integer:
    """A measure of the first state, on terms."""
    function = source.function(measure.__module__, measure.__name__)
    made: Integer = Evaluation(State()).call(function, View(BEFORE), *ids)
    return made


def ledger_changed(other: Other, place: Place) -> tuple[Truth, list[Place]]:
    """Of a ledger's number: it is the same in both states, or some item contributes something else to it; and the
    fields of that item."""
    of, ids = place
    ledger = of.partition(".")[2]
    ways: list[Truth] = [equal(*other.both(of, *ids))]
    fields: list[Place] = []
    for number, rule in enumerate(rules()):
        if ledger not in rule.ledgers: continue
        parts = ("id", "i")[:1 + rule.rows]
        witness = tuple(name(f"{part} of a {rule.table}, {number} in {read(of, *ids)!r}") for part in parts)
        share = _share(ledger, ids, contributions(Item(number, rule.table, PLACES[:len(parts)])))
        its = dict(zip(PLACES, witness, strict=False))
        ways.append(differ(substitute_integer(share, its), substitute_integer(_there(other, share), its)))
        fields += [(f"{rule.table}.{name_}", witness) for name_ in sorted(rule.fields)]
    return any_of(ways), fields


def _there(other: Other, share: Integer) -> Integer:
    """The same number, of the other state."""
    own = [term for term in reads_of([share]) if term.args[1:2] == PLACES[:1]]
    return substitute_integer(share, {term: other.read(str(term.args[0]), *term.args[1:]) for term in own})


def _share(
    ledger: str, ids: tuple[Integer, ...], counted: Iterable[tuple[str, Truth, Integer | None, Integer]]
) -> Integer:
    """What is contributed to a ledger, at this key."""
    total: Integer = 0
    for its, condition, key, by in counted:
        if its != ledger: continue
        here = True if key is None else equal(key, ids[0])
        total = add(total, choice(all_of((condition, here)), by, 0))
    return total


def clauses() -> list[Clause]:
    """Those that are to be proved: the invariants, and the lemmas that others of them follow from."""
    return [*INVARIANTS.values(), *(LEMMAS[name_] for name_ in LATER if name_ in LEMMAS)]


def prove(clauses: Iterable[Clause], timeout: float, seed: int = 0) -> Iterator[Goal]:
    """Tries to prove of these invariants that they cannot break unnoticed."""
    for clause in clauses: yield _proved(clause, timeout, seed)


def _proved(clause: Clause, timeout: float, seed: int) -> Goal:
    started = time.perf_counter()
    RANGES.clear()
    RANGES.update(RANGES_OF_DIGITS)
    for digit in DIGITS: RANGES[name(digit)] = (0, 511)
    ids = arbitrary(clause.domain)
    known = (_Chained if clause.name in LATER else _Known)(clause, ids, timeout, seed)
    before, after = substitute(template(clause), dict(zip(PLACES, ids, strict=False))), known.other.holds(clause, *ids)
    goal = Goal(clause.name, ids, before, after)
    for digit in DIGITS: known.solver.suppose(all_of((at_most(0, name(digit)), at_most(name(digit), 511))))
    known.solver.suppose(before)
    known.solver.suppose(negate(after))
    known.begin([before, after])
    for turn in range(ROUNDS):
        if turn and len(known.seen) > MOST: break
        known.follow(turn)
        known.watch()
        goal.status = known.solver.consistent()
        if goal.status == PROVED: break
    if goal.status != PROVED: goal.counterexample = _told(known, goal, places([before, after]))
    goal.seconds = time.perf_counter() - started
    return goal


def _told(known: _Known, goal: Goal, own: list[Place]) -> str:
    """What both states have of what the clause reads, and what else was written, where it breaks unnoticed."""
    lines = [f"{goal.name} breaks, and is not evaluated"]
    if goal.status != REFUTED: return lines[0]
    for of, ids in [*own, *(place for place in known.near() if place not in own)]:
        before, after = known.other.both(of, *ids)
        values = known.solver.values([before, after, *ids])
        at = "".join(f"[{values[i] if isinstance(i, Term) else i}]" for i in ids)
        was, now = (values[term] for term in (before, after) if isinstance(term, Term))
        if was == now and (of, ids) not in own: continue
        line = f"  {of}{at}: {was}{f' -> {now}' if was != now else ''}"
        if line not in lines: lines.append(line)
    failed = dict.fromkeys(failing(known.solver, goal.after))
    return "\n".join([*lines, *(f"  fails: {show(part, 5)}" for part in failed)])


__all__ = ["clauses", "places", "prove"]
