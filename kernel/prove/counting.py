"""What is true of ledgers because they count: facts that the prover may use of any state.

A ledger is the sum, over all items there are, of what each contributes to it; what an item contributes is what the
ledger's rule does when the item comes to be (kernel.ledgers).  No contribution is negative.  So a ledger is at least
what one item, or two different ones, contribute, and never below 0.  That is all that is assumed of sums over any
number of objects; the sums themselves are never written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from kernel import ledgers
from kernel.prove import source
from kernel.prove.evaluator import BLANK, Evaluation, LedgerView, ObjectView
from kernel.prove.instances import PLACES, substitute, substitute_integer
from kernel.prove.state import BEFORE, ROWS, Count, State
from kernel.prove.terms import (
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
    quotient,
    read,
    subtract,
)

WITNESSED: Final = {"free_blocks": "giant", "free_pages": "block"}
"""Totals of what is left, and the tables of whose objects they are the sum."""


PART_OF: Final = {"senders": "namings", "receivers": "namings"}
"""Ledgers to which nothing contributes that does not contribute as much to another, for the same key."""


@dataclass(frozen=True)
class Item:
    """What a rule is about: an object, or an index of a row of it."""

    rule: int
    table: str
    ids: tuple[Integer, ...]


@dataclass(frozen=True)
class Rule:
    """A ledger rule: the fields it follows, and what an item contributes, of the placeholders."""

    table: str
    fields: frozenset[str]
    rows: bool
    counts: tuple[tuple[str, Count], ...]

    @property
    def ledgers(self) -> frozenset[str]:
        """The ledgers that it counts in."""
        return frozenset(ledger for ledger, _ in self.counts)


@cache
def rules() -> tuple[Rule, ...]:
    """All ledger rules."""
    found = []
    for table, all_rules in ledgers.RULES.items():
        for fields, rule in all_rules:
            function = source.function("kernel.ledgers", rule.__name__)
            rows = f"{table}.{next(iter(fields))}" in ROWS
            state = State()
            live, old = ObjectView(table, PLACES[0], BEFORE), ObjectView(table, PLACES[0], BLANK)
            Evaluation(state).call(function, LedgerView(BEFORE), live, old, *(PLACES[1:] if rows else ()))
            back = {its: term for term, its in state.names.items()}
            counts = tuple(
                (ledger, Count(BEFORE, *_replaced(count, back)))
                for ledger, counts in state.counts.items() for count in counts
            )  # fmt: skip
            found.append(Rule(table, fields, rows, counts))
    return tuple(found)


def _replaced(count: Count, by: Mapping[Term, Integer]) -> tuple[Truth, Integer | None, Integer]:
    """Condition, key and amount of a count, with names replaced."""
    key = None if count.key is None else substitute_integer(count.key, by)
    return substitute(count.condition, by), key, substitute_integer(count.by, by)


def items_of(reads: Iterable[Term]) -> list[Item]:
    """The items of ledger rules that these reads are of."""
    found: dict[Item, None] = {}
    for term in reads:
        table, _, field = str(term.args[0]).partition(".")  # (none of a later version is one of these fields)
        for number, rule in enumerate(rules()):
            if rule.table != table or field not in rule.fields: continue
            found[Item(number, table, tuple(term.args[1:]))] = None
    return list(found)


@cache
def contributions(item: Item) -> tuple[tuple[str, Truth, Integer | None, Integer], ...]:
    """What an item contributes: ledger, condition, key, how much."""
    rule = rules()[item.rule]
    by = dict(zip(PLACES, item.ids, strict=False))
    return tuple((ledger, *_replaced(count, by)) for ledger, count in rule.counts)


def together(items: Iterable[Item], others: Iterable[Item]) -> Iterator[Truth]:
    """What is true of any two of these items, one of each sort, that count in the same ledger."""
    items = list(items)
    for i, first in enumerate(items):
        for second in dict.fromkeys((*items[:i], *others)):
            if first != second and rules()[first.rule].ledgers & rules()[second.rule].ledgers:
                yield from at_least_two(first, second)


def number(ledger: str, key: Integer | None) -> Integer:
    """A ledger's number before."""
    return read(f"ledger.{ledger}") if key is None else read(f"ledger.{ledger}", key)


def at_least_one(item: Item) -> Iterator[Truth]:
    """A ledger is at least what one item contributes; and so is what one counts that its part does not."""
    for ledger, condition, key, by in contributions(item):
        yield implies(condition, at_most(by, number(ledger, key)))
        for part, whole in PART_OF.items():
            if ledger != whole: continue
            shares = [choice(c, b, 0) for name_, c, k, b in contributions(item) if name_ == part and k is key]
            for share in shares or [0]:
                rest = subtract(number(whole, key), number(part, key))
                yield implies(condition, at_most(subtract(by, share), rest))


def at_least_two(first: Item, second: Item) -> Iterator[Truth]:
    """A ledger is at least what two different items contribute."""
    apart = any_of([differ(a, b) for a, b in zip(first.ids, second.ids, strict=True)]) \
        if first.rule == second.rule else True
    for ledger, condition, key, by in contributions(first):
        for other, other_condition, other_key, other_by in contributions(second):
            if ledger != other: continue
            same = True if key is None or other_key is None else equal(key, other_key)
            both = all_of((apart, same, condition, other_condition))
            if both is not False: yield implies(both, at_most(add(by, other_by), number(ledger, key)))


def some_other(ledger: str, rule: Rule, number_of_rule: int, but: Integer) -> Truth:
    """If a total is more than what one item contributes, there is another that contributes: it is named."""
    item = Item(number_of_rule, rule.table, (but,))
    witness = Item(number_of_rule, rule.table, (name(f"{ledger} witness"),))
    (_, condition, _, by), = [c for c in contributions(item) if c[0] == ledger]
    (_, other_condition, _, other_by), = [c for c in contributions(witness) if c[0] == ledger]
    share = choice(condition, by, 0)
    some = all_of((differ(witness.ids[0], but), other_condition, at_most(1, other_by)))
    return implies(less(share, number(ledger, None)), some)


def _last_giant() -> Integer:
    """The machine's last giant: it may be a part of one, but counts as if it were whole."""
    return quotient(add(read("memory.blocks", 0), 1), 512)


def witnesses() -> list[Term]:
    """Reads of the items that ``some_other`` speaks of."""
    named = [read(f"{table}.kind", name(f"{ledger} witness")) for ledger, table in WITNESSED.items()]
    return [*named, read("block.kind", 0), read("giant.kind", _last_giant())]


def some_others() -> list[Truth]:
    """What is known of the totals of free memory: where some is left, it is somewhere."""
    found = []
    for ledger, table in WITNESSED.items():
        for number_of_rule, rule in enumerate(rules()):
            if rule.table == table and any(name_ == ledger for name_, _ in rule.counts):
                found.append(some_other(ledger, rule, number_of_rule, _last_giant() if table == "giant" else 0))
    return found


def never_negative(reads: Iterable[Term]) -> Iterator[Truth]:
    """No ledger is below 0, nor above one in which all that contributes to it counts as well."""
    for term in reads:
        table, _, ledger = str(term.args[0]).partition(".")
        if table != "ledger" or "#" in ledger: continue
        yield at_most(0, term)
        if ledger in PART_OF: yield at_most(term, read(f"ledger.{PART_OF[ledger]}", *term.args[1:]))


__all__ = ["Item", "at_least_one", "items_of", "never_negative", "rules", "some_others", "together", "witnesses"]
