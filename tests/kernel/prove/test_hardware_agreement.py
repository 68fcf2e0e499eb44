"""What holds of translations in any state: it is proved, from the invariants and not without them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import pytest

from kernel.prove.hardware.agreement import (
    OF_AN_ADDRESS,
    OF_AN_ENTRY,
    OF_TWO_ENTRIES,
    RIGHTS,
    in_any_state,
    obligations,
)  # fmt: skip
from kernel.prove.hardware.changes import MAP, TREE
from kernel.prove.hardware.obligation import PROVED, REFUTED, Obligation

SECONDS = 30.0


@pytest.mark.parametrize("obligation", tuple(obligations()), ids=lambda obligation: obligation.name)
def test_is_proved(obligation: Obligation) -> None:
    verdict = obligation.prove(SECONDS, 0)
    assert verdict.status == PROVED, verdict.counterexample


WITHOUT: Final = [
    ("agree", OF_AN_ADDRESS, MAP, "entry_mapped"), ("agree", OF_AN_ADDRESS, MAP, "map_walked"),
    ("agree", OF_AN_ADDRESS, MAP, "entry_target"), ("way_down", OF_AN_ADDRESS, RIGHTS, "map_permission"),
    ("way_down", OF_AN_ADDRESS, RIGHTS, "process_root"), ("tree", OF_TWO_ENTRIES, TREE, "entry_target"),
    ("tree", OF_TWO_ENTRIES, TREE, "table_place"),
]  # fmt: skip


@pytest.fixture(scope="module")
def apart() -> Iterator[Executor]:
    """A process in which nothing was asked before: what z3 finds in time depends on the terms that there are."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor: yield executor


def verdict_without(number: int) -> tuple[str, str]:
    statement, of, using, without = WITHOUT[number]
    verdict = in_any_state(statement, of, using - {without})(SECONDS, 0)
    return verdict.status, verdict.counterexample


@pytest.mark.parametrize("number", range(len(WITHOUT)), ids=lambda number: "-".join(WITHOUT[number][::3]))
def test_does_not_hold_without_an_invariant(apart: Executor, number: int) -> None:
    status, counterexample = apart.submit(verdict_without, number).result()
    assert status == REFUTED
    assert "\n  fails" in counterexample


def test_memory_is_left_without_the_allocators_invariants() -> None:
    assert in_any_state("within_memory", OF_AN_ENTRY, MAP)(SECONDS, 0).status == REFUTED
