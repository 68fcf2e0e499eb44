"""Invariants and lemmas say of real kernels the same on terms as when they run; and what the proofs take for granted
besides, of counts and sums, is true of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations

import pytest

from kernel import ledgers
from kernel.audit import instances
from kernel.invariants import INVARIANTS, Clause
from kernel.objects import Kernel, Row, fields_of
from kernel.prove.counting import (
    WITNESSED,
    Item,
    at_least_one,
    at_least_two,
    contributions,
    never_negative,
    number,
    rules,
    some_others,
)  # fmt: skip
from kernel.prove.instances import PLACES, template
from kernel.prove.lemmas import LEMMAS
from kernel.prove.meaning import Meaning, field_of, ledger_of
from kernel.prove.terms import Term, name, read
from tests.kernel.driver import Driver
from tests.kernel.prove.runs import constants
from tests.kernel.scene import Scene
from tests.kernel.state import find, load, store
from tests.kernel.test_touched import all_places, other_value
from tests.kernel.violations import VIOLATIONS, Violation

CLAUSES = {**INVARIANTS, **LEMMAS}


def meaning(k: Kernel, names: dict[Term, int]) -> Meaning:
    """What terms about a state that nothing was written to are in this kernel, whose ledgers are up to date."""
    assert k.ledger is not None
    ledger = k.ledger

    def field(its: str, index: tuple[int, ...]) -> int:
        return ledger_of(ledger, its[7:], index) if its.startswith("ledger.") else field_of(k, its, index)

    return Meaning(field, constants(k) | names)


def says(k: Kernel, clause: Clause, ids: tuple[int, ...]) -> bool:
    """What the clause says on terms of these objects."""
    return meaning(k, dict(zip(PLACES, ids, strict=False))).truth(template(clause))


def driven(seed: int, calls: int = 400) -> Kernel:
    driver = Driver(seed, "off", blocks=seed % 3 + 1, pages=(511, 40)[seed % 2], giants=seed % 4 == 3)
    driver.run(calls)
    driver.k.ledger = ledgers.count(driver.k)
    return driver.k


def chosen(k: Kernel, clause: Clause, rnd: random.Random, most: int) -> list[tuple[int, ...]]:
    """Some ids that a clause is about, and some that are of nothing."""
    if len(clause.domain) == 2:
        threads = [*k.thread]
        return [(rnd.choice(threads), rnd.choice(threads)) for _ in range(most)] if threads else []
    ids = list(instances(k, clause.domain))
    if clause.domain == ("memory",): return [(0,)]
    two = len(clause.domain) == 2 or "." in clause.domain[0]
    nothing = (rnd.randrange(-1, 600), rnd.randrange(-1, 600))[: 1 + two]
    if clause.domain[0].startswith("memory."): nothing = (0, nothing[1])
    return [*rnd.sample(ids, min(most, len(ids))), nothing]


@pytest.mark.parametrize("seed", range(4))
def test_clauses_and_lemmas_hold_of_sound_states_on_terms_too(seed: int) -> None:
    k, rnd = driven(seed), random.Random(seed)
    for clause in CLAUSES.values():
        for ids in chosen(k, clause, rnd, 12):
            assert clause.holds(k, *ids), (clause.name, ids)
            assert says(k, clause, ids), (clause.name, ids)


@pytest.mark.parametrize("seed", range(4))
def test_clauses_say_the_same_of_damaged_states_on_terms(seed: int) -> None:
    k, rnd = driven(seed), random.Random(seed)
    places = all_places(k)
    false = 0
    for _ in range(60):
        damage = []
        for place in rnd.sample(places, 8):
            damage.append((place, load(k, place)))
            store(k, place, other_value(rnd, k, places, place))
        k.ledger = ledgers.count(k)
        of = {place[1] for place, _ in damage}
        for clause in CLAUSES.values():
            for ids in chosen(k, clause, rnd, 1) + [ids for ids in chosen(k, clause, rnd, 200) if of & set(ids)][:3]:
                held = bool(clause.holds(k, *ids))
                false += not held
                assert says(k, clause, ids) == held, (clause.name, ids)
        for place, was in reversed(damage): store(k, place, was)
    assert false > 100


@pytest.mark.parametrize(("clause", "damage"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_what_violates_a_clause_violates_it_on_terms(clause: str, damage: Violation) -> None:
    """No clause is true of everything: each is false, on terms as well, of some object of some state."""
    scene = Scene()
    damage(scene)
    scene.k.ledger = ledgers.count(scene.k)
    its = INVARIANTS[clause]
    broken = [ids for ids in instances(scene.k, its.domain) if not its.holds(scene.k, *ids)]
    assert broken
    assert not any(says(scene.k, its, ids) for ids in broken)


def items(k: Kernel) -> Iterator[tuple[Item, tuple[int, ...]]]:
    """Every item that a ledger rule could count: the rule's, and its ids."""
    for its, rule in enumerate(rules()):
        ids = [0] if rule.table == "memory" else list(getattr(k, rule.table))
        for id in ids:
            if not rule.rows:
                yield Item(its, rule.table, (id,)), (id,)
                continue
            rows = [getattr(find(k, rule.table, id), field) for field in rule.fields]
            indices = {index for row in rows for index in row if isinstance(row, Row)}
            yield from ((Item(its, rule.table, (id, index)), (id, index)) for index in indices)


def named(item: Item, letters: str) -> Item:
    return Item(item.rule, item.table, tuple(name(letter) for letter in letters[: len(item.ids)]))


@pytest.mark.parametrize("seed", range(4))
def test_what_counts_are_supposed_to_be_is_true(seed: int) -> None:
    """Each ledger is at least what one item, or two, contribute; and what is a part of another is not more."""
    k, rnd = driven(seed), random.Random(seed)
    everything = [item for item, _ in items(k)]
    by_key: dict[tuple[str, object], list[Item]] = {}
    for item in everything:
        its = meaning(k, dict(zip((name("a"), name("b")), item.ids, strict=False)))  # type: ignore[arg-type]
        for truth in at_least_one(named(item, "ab")): assert its.truth(truth), item
        for ledger, condition, key, _ in contributions(named(item, "ab")):
            if not its.truth(condition): continue
            by_key.setdefault((ledger, None if key is None else its.integer(key)), []).append(item)
    assert len(by_key) > 20
    for of_one_key in by_key.values():
        few = rnd.sample(of_one_key, min(8, len(of_one_key)))
        for first, second in [*combinations(few, 2), *zip(few, rnd.sample(everything, len(few)), strict=True)]:
            names = dict(zip((name("a"), name("b")), first.ids, strict=False)) | dict(
                zip((name("c"), name("d")), second.ids, strict=False))
            its = meaning(k, names)  # type: ignore[arg-type]
            for truth in at_least_two(named(first, "ab"), named(second, "cd")): assert its.truth(truth), (first, second)


@pytest.mark.parametrize("seed", range(4))
def test_no_ledger_is_negative_and_what_is_left_is_somewhere(seed: int) -> None:
    k = driven(seed)
    assert k.ledger is not None
    for ledger in fields_of(type(k.ledger)):
        value = getattr(k.ledger, ledger)
        key = name("key")
        for index in value if isinstance(value, Row) else [None]:
            its = meaning(k, {} if index is None else {key: index})
            for truth in never_negative([number(ledger, None if index is None else key)]): assert its.truth(truth)
    for fact, (ledger, table) in zip(some_others(), WITNESSED.items(), strict=True):
        witness = name(f"{ledger} witness")
        assert any(meaning(k, {witness: id}).truth(fact) for id in getattr(k, table)), ledger


def test_a_sum_is_more_than_none_of_its_parts_only_if_it_counts_all() -> None:
    """The comparison is not blind: with a ledger that has missed an item, a fact about it fails."""
    k = driven(1)
    assert k.ledger is not None
    page = next(p for p, P in k.page.items() if P.owner)
    k.ledger.owned[k.page[page].owner] = 0
    assert not all(meaning(k, {name("a"): page}).truth(truth) for truth in at_least_one(named(
        next(item for item, ids in items(k) if item.table == "page" and ids == (page,)), "a")))


def test_nothing_is_read_of_an_object_by_asking() -> None:
    k = driven(1)
    before = len(k.thread)
    assert meaning(k, {name("t"): 1 << 40}).integer(read("thread.core", name("t"))) == 0
    assert len(k.thread) == before
