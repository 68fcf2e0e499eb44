"""An arbitrary kernel and what has been written to it: what the transitions, specifications and invariants see of the
state when they are evaluated on terms.

Before the first write a field of an object is an uninterpreted function of the object's id (and of the index, for a
row): any state at all.  Each write is kept with the condition under which it is made.  Reading goes through the writes,
the latest first; so the same state serves as the one before, the one after, and any in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from kernel import evaluation
from kernel.objects import CLASSES, Ledger, fields_of
from kernel.prove.terms import (
    Facts,
    Integer,
    Term,
    Truth,
    add,
    all_of,
    choice,
    equal,
    name,
    read,
)  # fmt: skip

FIELDS: Final = frozenset(f"{of.table_name}.{field}" for of in CLASSES for field in fields_of(of))
"""All fields of objects, as table.field."""
ROWS: Final = frozenset(f"{table}.{row}" for table, rows in evaluation.ROWS.items() for row in rows)
"""The fields that are rows, as table.field."""
TABLES: Final = frozenset(of.table_name for of in CLASSES if of.table_name != "memory")
BEFORE: Final = 0
"""The moment before the first write."""
NOW: Final = 1 << 60
"""The moment after all writes so far."""
BLANK: Final = -1
"""No moment: everything is 0."""
TOTALS: Final = ("free_pages", "free_blocks", "promised_pages", "promised_blocks", "promised_giants")
"""Ledgers that are one number."""
LEDGERS: Final = frozenset(fields_of(Ledger)) - set(TOTALS)
"""Ledgers that have a number for each key."""
NUMBERS: Final = ("cores", "root")
"""Numbers of a kernel as a whole: no step changes them."""


@dataclass(frozen=True, slots=True)
class Write:
    """A field was given a value, if a condition held.  ``index`` is None for a field, and for a whole row; ``id`` is
    None for the field of all objects.  Of these, ``value`` is a function of id and index."""

    moment: int
    condition: Truth
    id: Integer | None
    index: Integer | None
    value: Integer | Callable[[Integer, Integer], Integer]


@dataclass(frozen=True, slots=True)
class Count:
    """A ledger's number for a key was raised, if a condition held."""

    moment: int
    condition: Truth
    key: Integer | None
    by: Integer
    version: int = 0
    """If not 0, the number was replaced by what the ledger of this version has: it may be anything."""


class State:
    """An arbitrary kernel, and the writes to it."""

    def __init__(self) -> None:
        self.writes: dict[str, list[Write]] = {}
        self.counts: dict[str, list[Count]] = {}
        self.moment = BEFORE
        self.facts = Facts()
        """What is known where something is being read."""
        self.names: dict[Term, Term] = {}
        """What names stand for: terms that decide which object is meant, by those terms."""

    def named(self, a: Integer, hint: str = "x") -> Integer:
        """A name for an integer in which there are choices, or itself."""
        a = self.facts.choose(a)
        if not isinstance(a, Term) or not a.choosing: return a
        found = self.names.get(a)
        if found is None: found = self.names[a] = name(f"{hint}'{len(self.names) + 1}")
        return found

    def definitions(self) -> Iterator[Truth]:
        """What the names stand for."""
        for term, its_name in self.names.items(): yield equal(its_name, term)

    def read(self, field: str, id: Integer, moment: int = NOW) -> Integer:
        """A field of an object, as it was at a moment."""
        if moment == BLANK: return 0
        return self._through(field, id, None, moment)

    def item(self, row: str, id: Integer, index: Integer, moment: int = NOW) -> Integer:
        """An item of a row of an object, as it was at a moment."""
        if moment == BLANK: return 0
        return self._through(row, id, index, moment)

    def _through(self, field: str, id: Integer, index: Integer | None, moment: int) -> Integer:
        chosen: list[tuple[Truth, Integer]] = []
        facts = self.facts
        last: Integer = read(field, id) if index is None else read(field, id, index)
        for write in reversed(self.writes.get(field, ())):
            if write.moment > moment: continue
            here = True if write.id is None else equal(id, write.id)
            if here is False: continue
            if index is not None and write.index is not None:
                here = all_of((here, equal(index, write.index)))
            condition = facts.simplify(all_of((here, write.condition)))
            if condition is False: continue
            if callable(write.value):
                value = write.value(id, 0 if index is None else index)
            else:
                value = write.value
            if condition is True:
                last = value
                break
            chosen.append((condition, value))
        result = facts.choose(last)
        for condition, value in reversed(chosen): result = choice(condition, facts.choose(value), result)
        return result

    def write(self, condition: Truth, field: str, id: Integer, index: Integer | None,
              value: Integer | Callable[[Integer, Integer], Integer]) -> Write:  # fmt: skip
        """Gives a field, or an item of a row, a value, where a condition holds."""
        self.moment += 1
        made = Write(self.moment, condition, id, index, value)
        self.writes.setdefault(field, []).append(made)
        return made

    def count(self, condition: Truth, ledger: str, key: Integer | None, by: Integer) -> None:
        """Raises a ledger's number for a key, where a condition holds."""
        if condition is False or (isinstance(by, int) and by == 0): return
        self.counts.setdefault(ledger, []).append(Count(self.moment, condition, key, by))

    def anything(self, condition: Truth, fields: Iterable[str], ledgers: Iterable[str]) -> int:
        """Makes these fields of all objects, and these ledgers, anything at all, where a condition holds.  Returns the
        moment after that."""
        self.moment += 1
        moment = self.moment
        for field in fields:

            def value(id: Integer, index: Integer, field: str = field) -> Integer:
                return read(f"{field}#{moment}", id, index) if field in ROWS else read(f"{field}#{moment}", id)

            self.writes.setdefault(field, []).append(Write(moment, condition, None, None, value))
        for ledger in ledgers:
            self.counts.setdefault(ledger, []).append(Count(moment, condition, None, 0, moment))
        return moment

    def ledger(self, ledger: str, key: Integer | None, moment: int = NOW) -> Integer:
        """A ledger's number for a key, as it was at a moment."""
        total: Integer = read(f"ledger.{ledger}") if key is None else read(f"ledger.{ledger}", key)
        for count in self.counts.get(ledger, ()):
            if count.moment > moment: continue
            if count.version:
                replaced = f"ledger.{ledger}#{count.version}"
                other = read(replaced) if key is None else read(replaced, key)
                total = choice(self.facts.simplify(count.condition), other, total)
                continue
            here = True if key is None or count.key is None else equal(key, count.key)
            condition = self.facts.simplify(all_of((here, count.condition)))
            total = add(total, choice(condition, self.facts.choose(count.by), 0))
        return total


__all__ = [
    "BEFORE", "BLANK", "FIELDS", "LEDGERS", "NOW", "NUMBERS", "ROWS", "TABLES", "TOTALS", "Count", "State", "Write",
]  # fmt: skip
