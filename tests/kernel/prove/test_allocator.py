"""The allocator's contracts: kept by its functions, called where they allow; mistakes on either side are refuted."""

from __future__ import annotations

import pytest

from kernel.prove import allocator, source
from kernel.prove.contracts import CONTRACTS
from kernel.prove.goals import Goal
from kernel.prove.solver import PROVED
from kernel.prove.steps import Step, transitions
from tests.kernel.prove.planted import plant


def failing(goals: list[Goal]) -> set[str]:
    """The names of those that are not proved."""
    return {goal.name for goal in goals if goal.status != PROVED}


@pytest.mark.parametrize("function", CONTRACTS)
def test_contracts_are_kept(function: str) -> None:
    goals = list(allocator.prove_contract(function, 20.0))
    assert len(goals) > 10
    assert failing(goals) == set()


@pytest.mark.parametrize(("module", "function", "right", "wrong", "of", "breaks"), [
    ("kernel.page_allocator", "free_block", "B.owner = 0", "pass", "free_block", "effect on ledger owned_blocks"),
    ("kernel.page_allocator", "free_giant", "return_giant(k, g)", "pass", "free_giant", "giant_used"),
    ("kernel.page_allocator", "free_page", "C.used_pages = C.used_pages - 1", "pass", "free_page",
     "effect on container.used_pages"),
    ("kernel.page_allocator", "free_page", "P.rank = n", "P.references = n", "free_page", "effect on page.references"),
    ("kernel.page_allocator", "allocate_giant", "g = take_giant(k)", "g = take_giant(k) + 1", "allocate_giant",
     "the page was free"),
    ("kernel.prove.contracts", "giant_given_back", "C.giants = C.giants + 1", "pass", "free_giant",
     "effect on container.giants"),
])  # fmt: skip
def test_a_function_that_does_not_keep_its_contract_is_refuted(
    monkeypatch: pytest.MonkeyPatch, module: str, function: str, right: str, wrong: str, of: str, breaks: str
) -> None:
    plant(monkeypatch, module, function, right, wrong)
    assert breaks in failing(list(allocator.prove_contract(of, 20.0)))


@pytest.mark.parametrize("name", ["map_giant", "endpoint_create"])
def test_callers_keep_to_contracts(name: str) -> None:
    goals = list(allocator.prove_calls(Step(transitions()[name], pruned=True), 20.0))
    assert goals
    assert failing(goals) == set()


def test_a_caller_without_quota_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "kernel.endpoint", "endpoint_create", "k.container[c].pages < 1", "k.container[c].pages < 0")
    step = Step(source.module("kernel.endpoint").functions["endpoint_create"])
    assert "call 1, allocate_page: required" in failing(list(allocator.prove_calls(step, 20.0)))
