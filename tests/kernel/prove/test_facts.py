"""What proofs take for known: proved; and refuted where it is not so."""

from __future__ import annotations

import pytest

from kernel.prove import counting, facts
from kernel.prove.solver import PROVED, REFUTED
from tests.kernel.prove.planted import plant


@pytest.mark.parametrize("lemma", facts.lemmas_in_order(), ids=lambda lemma: lemma.name)
def test_lemmas_are_proved(lemma: facts.Lemma) -> None:
    assert [goal.status for goal in facts.prove_lemma(lemma, 20.0)] == [PROVED]


@pytest.mark.parametrize("lemma", facts.lemmas_in_order(), ids=lambda lemma: lemma.name)
def test_lemmas_need_what_they_follow_from(lemma: facts.Lemma) -> None:
    without = facts.Lemma(lemma.name, lemma.domain, lemma.holds, frozenset(), lemma.neighbour, lemma.measure)
    assert [goal.status for goal in facts.prove_lemma(without, 20.0)] == [REFUTED]


@pytest.mark.parametrize("number", range(len(facts.rule_names())), ids=facts.rule_names())
def test_ledgers_are_sums_of_what_is_not_negative(number: int) -> None:
    for prove in (facts.prove_never_negative, facts.prove_sum):
        goals = list(prove(number, 20.0))
        assert goals
        assert [goal.name for goal in goals if goal.status != PROVED] == []


def wrong_rule(monkeypatch: pytest.MonkeyPatch, rule: str, right: str, wrong: str) -> int:
    """Plants a mistake in a ledger rule; returns its number."""
    plant(monkeypatch, "kernel.ledgers", rule, right, wrong)
    for cached in (counting.rules, counting.contributions): cached.cache_clear()
    return facts.rule_names().index(rule)


@pytest.fixture(autouse=True)
def rules_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules are those of the source as it is for each test."""
    for cached in (counting.rules, counting.contributions): cached.cache_clear()


def test_a_rule_that_does_not_take_off_what_was_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    number = wrong_rule(monkeypatch, "_handles", "(old.handle_object[index] != 0)", "0")
    assert REFUTED in {goal.status for goal in facts.prove_sum(number, 20.0)}


def test_a_rule_that_reads_what_it_does_not_follow_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    number = wrong_rule(monkeypatch, "_owned", "page.owner", "page.block")
    assert REFUTED in {goal.status for goal in facts.prove_sum(number, 20.0)} | {
        "refuted" for goal in facts.prove_sum(number, 20.0) if "followed" in goal.name and goal.status != PROVED
    }


def test_a_contribution_below_0_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    number = wrong_rule(monkeypatch, "_promised_pages", "container.pages - old.pages", "old.pages - container.pages")
    goals = list(facts.prove_never_negative(number, 20.0))
    assert [goal.status for goal in goals] == [REFUTED]


def test_addresses_are_proved() -> None:
    assert [goal.status for goal in facts.prove_addresses(20.0)] == [PROVED, PROVED]
