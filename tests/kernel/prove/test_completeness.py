"""That no invariant breaks where the check does not look: each rule by which it picks what to evaluate is needed, and
the proofs say so when one is missing."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import touched
from kernel.invariants import INVARIANTS
from kernel.prove import completeness
from kernel.prove.solver import PROVED


def status(clause: str) -> str:
    goal, = completeness.prove([INVARIANTS[clause]], 2.0)
    assert (goal.status == PROVED) == (goal.counterexample == "")
    return goal.status


def without_of(table: str, clause: str) -> Any:
    """The rules for objects that a table's name, without those for this clause."""
    return tuple(
        (field, target, fields, tuple(name for name in names if name != clause))
        for field, target, fields, names in touched.BEYOND[table]
    )


@pytest.mark.parametrize(("table", "clause"), [
    ("thread", "thread_joiner"), ("core", "thread_running"), ("thread", "core_current"), ("table", "process_root"),
    ("device", "endpoint_references"),
])  # fmt: skip
def test_what_another_object_names_is_looked_at(monkeypatch: pytest.MonkeyPatch, table: str, clause: str) -> None:
    assert status(clause) == PROVED
    monkeypatch.setitem(touched.BEYOND, table, without_of(table, clause))
    assert status(clause) != PROVED


@pytest.mark.parametrize(("row", "clause"), [
    (("process", "threads"), "thread_position"), (("process", "handle_object"), "thread_handle"),
    (("process", "map_page"), "page_references"),
])  # fmt: skip
def test_what_an_item_of_a_row_names_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, row: tuple[str, str], clause: str
) -> None:
    assert status(clause) == PROVED
    monkeypatch.delitem(touched.ROWS_BEYOND, row)
    assert status(clause) != PROVED


@pytest.mark.parametrize(("field", "clause"), [
    (("block", "kind"), "page_block"), (("memory", "blocks"), "giant_split"),
])  # fmt: skip
def test_fields_that_any_number_of_clauses_read_end_in_looking_at_everything(
    monkeypatch: pytest.MonkeyPatch, field: tuple[str, str], clause: str
) -> None:
    assert status(clause) == PROVED
    monkeypatch.delitem(touched.UNBOUNDED, field)
    assert status(clause) != PROVED


def test_a_counterexample_tells_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(touched.UNBOUNDED, ("memory", "blocks"))
    goal, = completeness.prove([INVARIANTS["giant_split"]], 2.0)
    assert "giant_split breaks, and is not evaluated" in goal.counterexample
    assert "memory.blocks[0]: " in goal.counterexample
    assert " -> " in goal.counterexample
