"""What the proofs of steps take for known of any state, proved once: the lemmas, what is said of ledgers because they
count, and what is said of virtual pages as four indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kernel import ledgers
from kernel.prove import source
from kernel.prove.addresses import number as page_of
from kernel.prove.addresses import unique
from kernel.prove.contracts import KEPT
from kernel.prove.counting import PART_OF, Item, Rule, contributions, rules
from kernel.prove.evaluator import BLANK, NOW, Evaluation, LedgerView, ObjectView, View
from kernel.prove.goals import Goal
from kernel.prove.instances import PLACES, about, instance, reads_of
from kernel.prove.lemmas import LEMMAS, Lemma
from kernel.prove.solver import PROVED, Solver
from kernel.prove.state import BEFORE, State
from kernel.prove.terms import (
    Integer,
    Term,
    Truth,
    add,
    all_of,
    at_most,
    choice,
    equal,
    implies,
    less,
    name,
    negate,
    quotient,
    read,
    remainder,
)  # fmt: skip

ROUNDS = 5
"""How many times the invariants around what was read last are added before a lemma is given up."""
Contribution = tuple[str, Truth, Integer | None, Integer]
"""To a ledger: its name, a condition, the key, how much."""


def _asked(name: str, known: list[Truth], claim: Truth, timeout: float, seed: int) -> Goal:
    goal = Goal(name, (), True, claim)
    solver = Solver(timeout, seed)
    for truth in (*known, negate(claim)): solver.suppose(truth)
    goal.status = solver.consistent()
    if goal.status != PROVED: goal.counterexample = f"{name}: {claim!r}"
    return goal


def prove_lemma(lemma: Lemma, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """Tries to prove a lemma of an arbitrary object of any state with all invariants; where it has a measure, supposing
    it of the object's neighbour if its measure is less there, and not below 0."""
    solver = Solver(timeout, seed)
    ids = _arbitrary(lemma)
    claim = instance(lemma, *ids)
    solver.suppose(negate(claim))
    for used in lemma.using & LEMMAS.keys():
        if LEMMAS[used].domain == ("memory",): solver.suppose(instance(LEMMAS[used], 0))
    latest = [claim]
    for others in _supposed_of(lemma, ids):
        assert lemma.measure is not None
        here, there = _evaluated(lemma.measure, *ids), _evaluated(lemma.measure, *others)
        solver.suppose(implies(all_of((less(there, here), at_most(0, there))), instance(lemma, *others)))
        latest.append(instance(lemma, *others))
    known: set[object] = set()
    goal = Goal(lemma.name, ids, True, claim)
    for _ in range(ROUNDS):
        goal.status = solver.consistent()
        if goal.status == PROVED: break
        following = []
        for clause, about_ids in about(reads_of(latest)):
            if clause.name not in lemma.using or (clause, about_ids) in known: continue
            known.add((clause, about_ids))
            following.append(instance(clause, *about_ids))
            solver.suppose(following[-1])
        latest = following
    if goal.status != PROVED: goal.counterexample = f"{lemma.name}: {claim!r}"
    yield goal


def _arbitrary(lemma: Lemma) -> tuple[Integer, ...]:
    first = lemma.domain[0]
    if first == "memory": return (0,)
    if len(lemma.domain) == 2: return name("x"), name("y")
    return (name("x"), name("i")) if "." in first else (name("x"),)


def _supposed_of(lemma: Lemma, ids: tuple[Integer, ...]) -> list[tuple[Integer, ...]]:
    """The ids that a lemma is supposed of, where its measure is less."""
    if lemma.hypotheses is not None: return list(_evaluated(lemma.hypotheses, *ids))
    if not lemma.neighbour: return []
    return [(read(f"{lemma.domain[0].partition('.')[0]}.{lemma.neighbour}", ids[0]), *ids[1:])]


def _evaluated(function: Callable[..., Any], *ids: Integer) -> Any:
    """A function of lemmas on terms: of the objects alone, if it does not ask for the index of an item."""
    its = source.function(function.__module__, function.__name__)
    return Evaluation(State()).call(its, View(NOW), *ids[:len(its.parameters) - 1])


def lemmas_in_order() -> list[Lemma]:
    """The lemmas; raises ValueError if one follows from one that does not come before it."""
    before: set[str] = set()
    for lemma in LEMMAS.values():
        if (lemma.using & LEMMAS.keys()) - before: raise ValueError(f"{lemma.name} follows from a later lemma")
        before.add(lemma.name)
    return list(LEMMAS.values())


def _sum_at(key: Integer, counted: list[Contribution], ledger: str) -> Integer:
    """What these contribute to a ledger, for one key."""
    total: Integer = 0
    for its, condition, its_key, by in counted:
        if its != ledger: continue
        here = True if its_key is None else equal(its_key, key)
        total = add(total, choice(all_of((condition, here)), by, 0))
    return total


def _known_of(item: Item) -> list[Truth]:
    """What the allocator's invariants say of it: contracts are proved with no others."""
    counted = contributions(item)
    return [instance(clause, *ids) for clause, ids in about(_read_by(counted)) if clause.name in KEPT]


def _read_by(counted: Iterable[Contribution]) -> list[Term]:
    """What contributions depend on."""
    parts: list[Truth | Integer] = []
    for _, condition, key, by in counted:
        parts += [condition, by]
        if key is not None: parts.append(key)
    return reads_of(parts)


def prove_never_negative(number: int, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """That what an item contributes by a ledger rule is not below 0, for any key; and that it contributes to a whole at
    least what it contributes to a part of it (PART_OF), each at one key."""
    rule = rules()[number]
    item = _item(number, rule)
    counted, known, key = list(contributions(item)), _known_of(item), name("counted")
    for ledger in sorted(rule.ledgers):
        part = _sum_at(key, counted, ledger)
        yield _asked(f"{ledger}: no contribution is negative", known, at_most(0, part), timeout, seed)
        if ledger not in PART_OF: continue
        whole = _sum_at(key, counted, PART_OF[ledger])
        yield _asked(f"{ledger} is a part of {PART_OF[ledger]}", known, at_most(part, whole), timeout, seed)
        once = all(
            sum(1 for its, _, _, _ in counted if its == of) == 1 for of in (ledger, PART_OF[ledger])
        )
        yield _settled(f"{ledger}: an item counts once in it and once in {PART_OF[ledger]}", once)


def prove_sum(number: int, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """That a ledger is the sum of what all items contribute, after a rule has followed a write if it was before: the
    rule adds what the item contributes now and takes off what it did; and what that is depends on nothing but the
    fields that the rule follows."""
    rule = rules()[number]
    item = _item(number, rule)
    before = list(contributions(item))
    state = State()
    for field in sorted(rule.fields):
        index = PLACES[1] if rule.rows else None
        state.write(True, f"{rule.table}.{field}", PLACES[0], index, name(f"new {field}"))
    moment = state.moment
    live = ObjectView(rule.table, PLACES[0], moment)
    function = _function(rule)
    more = PLACES[1:] if rule.rows else ()
    gained = _counted(state, function, live, ObjectView(rule.table, PLACES[0], BEFORE), more)
    after = _counted(state, function, live, ObjectView(rule.table, PLACES[0], BLANK), more)
    known, key = list(state.definitions()), name("counted")
    for ledger in sorted({its for its, _, _, _ in (*gained, *after, *before)}):
        claim = equal(_sum_at(key, gained, ledger), add(_sum_at(key, after, ledger), _sum_at(key, before, ledger), -1))
        yield _asked(f"{ledger}: what changes is what the item contributes", known, claim, timeout, seed)
    followed = {f"{rule.table}.{field}" for field in rule.fields}
    own = all(term.args[0] in followed and term.args[1:] == item.ids for term in _read_by(before))
    yield _settled("a contribution depends on the item's followed fields alone", own)


def _settled(claim: str, holds: bool) -> Goal:
    goal = Goal(claim, (), True, holds)
    if holds: goal.status = PROVED
    else: goal.counterexample = f"{claim}: it does not"
    return goal


def _item(number: int, rule: Rule) -> Item:
    return Item(number, rule.table, PLACES if rule.rows else PLACES[:1])


def _function(rule: Rule) -> source.Function:
    for fields, function in ledgers.RULES[rule.table]:
        if fields == rule.fields and rule_of(function.__name__) is rule:
            return source.function("kernel.ledgers", function.__name__)
    raise KeyError(rule)


def rule_of(function: str) -> Rule:
    """The ledger rule that a function of kernel.ledgers is."""
    return rules()[rule_names().index(function)]


def rule_names() -> list[str]:
    """The functions of kernel.ledgers that are rules, in the order of ``rules``."""
    return [function.__name__ for of_table in ledgers.RULES.values() for _, function in of_table]


def _counted(
    state: State, function: source.Function, live: ObjectView, old: ObjectView, more: tuple[Term, ...]
) -> list[Contribution]:
    """What a rule counts, as it follows an object from ``old`` to ``live``."""
    state.counts = {}
    Evaluation(state, counting=False).call(function, LedgerView(BEFORE), live, old, *more)
    return [
        (ledger, count.condition, count.key, count.by) for ledger, counts in state.counts.items() for count in counts
    ]


def prove_addresses(timeout: float, seed: int = 0) -> Iterator[Goal]:
    """That virtual pages as four indices, the lower three below 512, are the same only if the indices are; and that
    each is one."""
    a4, a3, a2, a1, b4, b3, b2, b1 = (name(f"{side}{level}") for side in "ab" for level in (4, 3, 2, 1))
    yield _asked("the same page has the same indices", [], unique((a4, a3, a2, a1), (b4, b3, b2, b1)), timeout, seed)
    v = name("v")
    parts = (quotient(v, 1 << 27), remainder(quotient(v, 1 << 18), 512), remainder(quotient(v, 512), 512),
             remainder(v, 512))  # fmt: skip
    within = [truth for part in parts[1:] for truth in (at_most(0, part), at_most(part, 511))]
    yield _asked("each page has indices", [], all_of((equal(v, page_of(parts)), *within)), timeout, seed)


__all__ = [
    "lemmas_in_order", "prove_addresses", "prove_lemma", "prove_never_negative", "prove_sum", "rule_names",
    "rule_of",
]  # fmt: skip
