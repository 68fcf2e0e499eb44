"""Noninterference: what is claimed of some transitions is proved, and what leaks is found out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kernel.prove import source
from kernel.prove.goals import Goal
from kernel.prove.isolation import mediator, obligations
from kernel.prove.isolation.actors import ACTORS
from kernel.prove.isolation.names import HOSTED, NAMED
from kernel.prove.isolation.statements import STATEMENTS
from kernel.prove.isolation.surroundings import BY_FIELD
from kernel.prove.source import Function
from kernel.prove.state import ROWS
from kernel.prove.steps import transitions
from kernel.specs import SPECIFICATIONS
from tests.kernel.prove.isolation import leaks

ALL = {obligation.name: obligation for obligation in obligations.obligations()}


def leak(name: str) -> Function:
    """A transition that leaks."""
    return source.function(leaks.__name__, name)


def refuted(goals: Iterable[Goal], name: str) -> str:
    """The counterexample to the goal of this name, which does not hold."""
    goal = next(goal for goal in goals if goal.name == name and goal.status != "proved")
    assert goal.status == "refuted", goal
    return goal.counterexample


@pytest.mark.parametrize("name", [
    "isolation: memory_isolated", "isolation: endpoint_isolated", "isolation: met_at_endpoint",
    "isolation: met_as_caller", "isolation: held_below", "isolation: endpoint_create", "isolation: message_receive",
    "isolation: share_giant", "local respect: message_send", "local respect: container_kill",
    "local respect: preempt", "same results: endpoint_create", "same results: message_receive",
    "states alike: endpoint_create", "mediator: message_call", "mediator: handle_drop",
])  # fmt: skip
def test_this_is_proved(name: str) -> None:
    goals = list(ALL[name].attempt(20.0, 0))
    assert [(goal.name, goal.counterexample) for goal in goals if goal.status != "proved"] == []
    assert goals


def test_every_transition_has_its_obligations() -> None:
    for name in SPECIFICATIONS:
        assert {f"isolation: {name}", f"local respect: {name}", f"page numbers are names: {name}"} <= ALL.keys()
        claimed = name not in obligations.LEAKS and name not in obligations.UNOBSERVED
        assert (f"states alike: {name}" in ALL) is claimed, name
        assert (f"same results: {name}" in ALL) is (claimed and name not in HOSTED), name
    for name, (_, arguments) in (*ACTORS.items(), *mediator.STEPS.items()):
        assert set(arguments) <= set(transitions()[name].parameters), name


def test_each_statement_is_about_a_field() -> None:
    assert {statement.name for its in BY_FIELD.values() for statement in its} == set(STATEMENTS)
    for statement in STATEMENTS.values():
        assert statement.field in ROWS or statement.field in NAMED | {"process.pager", "page.owner"}


@pytest.mark.parametrize("name", sorted(transitions()))
def test_page_numbers_are_names(name: str) -> None:
    goal, = ALL[f"page numbers are names: {name}"].attempt(1.0, 0)
    assert (goal.status, goal.counterexample) == ("proved", "")


# What leaks is refuted.


def test_a_result_that_is_a_page_number() -> None:
    its = leak("page_told")
    assert "is a page number or another" in refuted(obligations.only_names(its), "names")
    refuted(obligations.same_results(its, 10.0), "result")


def test_reckoning_with_page_numbers() -> None:
    assert "reckons with a page number" in refuted(obligations.only_names(leak("next_page")), "names")


@pytest.mark.parametrize(("name", "why"), [
    ("page_owned", "n is no page number, and page.owner is looked up by it"),
    ("page_marked", "n is no page number, and process.status is looked up by it"),
    ("names_shown", "is a page number or another"),
])
def test_other_numbers_taken_for_page_numbers_and_the_other_way_round(name: str, why: str) -> None:
    assert why in refuted(obligations.only_names(leak(name)), "names")


def test_an_error_that_depends_on_what_others_allocate() -> None:
    assert "memory[0].free_pages" in refuted(obligations.same_results(leak("page_if_free"), 10.0), "result")


@pytest.mark.parametrize("name", sorted(obligations.LEAKS))
def test_the_known_leaks_are_ones(name: str) -> None:
    """Or weak step consistency should be claimed of them."""
    assert "memory[0]" in refuted(obligations.same_results(transitions()[name], 10.0), "result")


def test_a_message_to_an_endpoint_that_the_sender_does_not_name() -> None:
    refuted(obligations.respect(leak("send_anywhere"), 10.0), "B's endpoint.head")


def test_a_kill_that_reaches_a_sibling() -> None:
    refuted(obligations.respect(leak("kill_sibling"), 10.0), "B's container.state")


def test_a_handle_by_number() -> None:
    refuted(obligations.isolation(leak("name_another"), 10.0), "endpoint_named")


def test_memory_reached_by_number() -> None:
    refuted(obligations.isolation(leak("reach_by_number"), 10.0), "page_for_devices")


def test_a_mediator_that_passes_handles_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mediator.STEPS, "hand_on", (mediator.listens, ("t",)))
    refuted(obligations.mediation(leak("hand_on"), 10.0), "endpoint_named")


def test_a_mediator_that_sends_more_than_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counterexample to what is said of a transition is tried in a kernel."""
    monkeypatch.setitem(mediator.STEPS, "message_call", (mediator.listens, ("t",)))
    told = refuted(obligations.mediation(transitions()["message_call"], 10.0), "words alone")
    assert "item=" in told
    assert "in a kernel of these values the call returns 0" in told
