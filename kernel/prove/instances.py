"""Invariants of particular objects: each clause is evaluated once, on placeholders, and its instances are made from
that by putting ids in their places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Final

from kernel.invariants import INVARIANTS, Clause
from kernel.prove import addresses, source
from kernel.prove.evaluator import NOW, Evaluation, View
from kernel.prove.lemmas import LEMMAS
from kernel.prove.state import State
from kernel.prove.terms import (
    ALL,
    ANY,
    AT_MOST_0,
    CHOICE,
    NAME,
    NONZERO,
    QUOTIENT,
    RANGES,
    RANGES_OF_DIGITS,
    READ,
    REMAINDER,
    SUM,
    ZERO,
    Facts,
    Integer,
    Term,
    Truth,
    add,
    all_of,
    any_of,
    at_most,
    at_most_zero,
    choice,
    equal,
    is_zero,
    name,
    negate,
    quotient,
    read,
    remainder,
    terms_in,
)  # fmt: skip
from kernel.touched import ITEM_OF

PLACES: Final = (name("?0"), name("?1"))


def evaluate(clause: Clause, state: State, *ids: Integer, moment: int = NOW, where: Truth = True) -> Truth:
    """What a clause says of these objects at a moment, where a condition holds."""
    function = source.function(clause.holds.__module__, clause.name)
    facts = state.facts
    if where is not True:
        state.facts = Facts(facts)
        state.facts.learn(where)
    made = Evaluation(state, counting=False).call(function, View(moment), *ids)
    state.facts = facts
    assert isinstance(made, (bool, Term))
    return made


@cache
def template(clause: Clause) -> Truth:
    """What a clause says of the placeholders, of a state that nothing was written to."""
    state = State()
    places = PLACES[:len(clause.domain)] if "." not in clause.domain[0] else PLACES
    said = evaluate(clause, state, *places)
    return substitute(all_of((said, *state.definitions())), {its: term for term, its in state.names.items()})


DIGITS: Final[dict[Term, tuple[Truth, ...]]] = {}
"""What is known of integers that stand for virtual pages: of which indices they are made."""


@cache
def digits(v: Integer) -> Integer:
    """A virtual page number as the sum of four indices, the lower three below 512.

    Division is slow for a solver, sums of known ranges are not: what an arbitrary number is divided into is named, and
    DIGITS says what the names are."""
    if not isinstance(v, Term): return v
    divided = (quotient(v, 512), remainder(v, 512), quotient(v, 1 << 27), remainder(quotient(v, 1 << 18), 512))
    if not any(term.op in (QUOTIENT, REMAINDER) for term in terms_in(divided)): return v
    named = tuple(name(f"index {level} of {v.number}") for level in (4, 3, 2, 1))
    known: list[Truth] = []
    for digit in named[1:]:
        RANGES_OF_DIGITS[digit] = RANGES[digit] = (0, 511)
        known += [at_most(0, digit), at_most(digit, 511)]
    total = addresses.number(named)
    assert isinstance(total, Term)
    DIGITS[total] = (equal(v, total), *known)
    return total


def digit_facts(v: Integer) -> tuple[Truth, ...]:
    """What is known of the indices that ``digits`` named."""
    total = digits(v)
    return DIGITS.get(total, ()) if isinstance(total, Term) else ()


@cache
def instance(clause: Clause, *ids: Integer) -> Truth:
    """What a clause says of these objects, of a state that nothing was written to."""
    if clause.domain == ("process.map_page",): ids = (ids[0], digits(ids[1]))
    return substitute(template(clause), dict(zip(PLACES, ids, strict=False)))


def substitute(a: Truth, by: Mapping[Term, Integer]) -> Truth:
    """A truth with names replaced."""
    return _substitution(by)[0](a)


def substitute_integer(a: Integer, by: Mapping[Term, Integer]) -> Integer:
    """An integer with names replaced."""
    return _substitution(by)[1](a)


def _substitution(by: Mapping[Term, Integer]) -> tuple[Callable[[Truth], Truth], Callable[[Integer], Integer]]:
    made: dict[Term, Integer] = dict(by)
    made_truths: dict[Term, Truth] = {}

    def integer(t: Integer) -> Integer:
        if isinstance(t, int): return t
        found = made.get(t)
        if found is None: found = made[t] = new_integer(t)
        return found

    def new_integer(t: Term) -> Integer:
        args = t.args
        if t.op == READ: return read(args[0], *[integer(i) for i in args[1:]])
        if t.op == NAME: return t
        if t.op == SUM:
            total: Integer = args[0]
            for term, factor in args[1:]: total = add(total, integer(term), factor)
            return total
        if t.op == CHOICE: return choice(truth(args[0]), integer(args[1]), integer(args[2]))
        if t.op == QUOTIENT: return quotient(integer(args[0]), args[1])
        assert t.op == REMAINDER
        return remainder(integer(args[0]), args[1])

    def truth(t: Truth) -> Truth:
        if isinstance(t, bool): return t
        found = made_truths.get(t)
        if found is None: found = made_truths[t] = new_truth(t)
        return found

    def new_truth(t: Term) -> Truth:
        if t.op == ALL: return all_of([truth(b) for b in t.args])
        if t.op == ANY: return any_of([truth(b) for b in t.args])
        inner = integer(t.args[0])
        if t.op == ZERO: return is_zero(inner)
        if t.op == NONZERO: return negate(is_zero(inner))
        assert t.op == AT_MOST_0
        return at_most_zero(inner)

    return truth, integer


def reads_of(truths: Iterable[Truth | Integer]) -> list[Term]:
    """The reads of fields of the state before that these are made of."""
    return [term for term in terms_in(truths) if term.op == READ]


OBJECT_CLAUSES: Final[dict[str, list[Clause]]] = {}
ITEM_CLAUSES: Final[dict[str, list[Clause]]] = {}
PAIR_CLAUSES: Final[list[Clause]] = []
for _clause in (*INVARIANTS.values(), *LEMMAS.values()):
    if len(_clause.domain) == 2: PAIR_CLAUSES.append(_clause)
    elif "." in _clause.domain[0]: ITEM_CLAUSES.setdefault(_clause.domain[0], []).append(_clause)
    else: OBJECT_CLAUSES.setdefault(_clause.domain[0], []).append(_clause)


@cache
def triggers(clause: Clause) -> frozenset[str]:
    """The fields of the object, or item, that a clause is about which it reads."""
    # The allocator's state is one object, 0; an item of its rows is told by the index alone.
    of = PLACES[0] if not clause.domain[0].startswith("memory") else 0
    found = {str(term.args[0]) for term in reads_of([template(clause)]) if term.args[1:2] == (of,)}
    return frozenset(found)


def about(reads: Iterable[Term]) -> list[tuple[Clause, tuple[Integer, ...]]]:
    """The clauses about the objects and items of rows that these reads are of, if they read the same field."""
    found: dict[tuple[Clause, tuple[Integer, ...]], None] = {}
    for read_ in reads:
        field, index = str(read_.args[0]), read_.args[1:]
        if field.startswith("ledger.") or "#" in field: continue
        table, _, row = field.partition(".")
        for clause in OBJECT_CLAUSES.get(table, ()):
            if field in triggers(clause): found[clause, (index[0],)] = None
        if len(index) == 2:
            domain = ITEM_OF.get((table, row), field)
            for clause in ITEM_CLAUSES.get(domain, ()):
                if field in triggers(clause): found[clause, tuple(index)] = None
    return list(found)
