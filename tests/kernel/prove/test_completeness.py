"""That no invariant breaks where the check does not look: each rule by which it picks what to evaluate is needed, and
the proofs say so when one is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kernel import touched
from kernel.invariants import INVARIANTS
from kernel.prove import chains, completeness, touching
from kernel.prove.lemmas import LEMMAS
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


@pytest.mark.parametrize(("rule", "key", "clause"), [
    (touched.UNBOUNDED, ("container", "parent"), "container_path"),
    (touched.UNBOUNDED, ("process", "handle_carved"), "handle_object"),
    (touched.LEFT_BY, "thread", "core_placed"), (touched.LEFT_OPEN, ("process", "handle_rights"), "handle_object"),
    (touched.FINER, ("domain", "regions"), "domain_mapped"),
])  # fmt: skip
def test_what_is_left_behind_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, rule: dict[Any, Any], key: Any, clause: str
) -> None:
    assert status(clause) == PROVED
    monkeypatch.delitem(rule, key)
    assert status(clause) != PROVED


@pytest.mark.parametrize(("rule", "clause"), [("UNMAPPED", "entry_mapped"), ("EMPTIED", "map_walked")])
def test_tables_and_the_abstract_map_lead_to_each_other(
    monkeypatch: pytest.MonkeyPatch, rule: str, clause: str
) -> None:
    monkeypatch.setattr(touching, rule, ("", ""))
    assert status(clause) != PROVED


@pytest.mark.parametrize(("table", "clause"), [("core", "thread_queue"), ("endpoint", "message_queue")])
def test_a_queue_holds_together_up_to_an_end_that_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, table: str, clause: str
) -> None:
    assert status(clause) == PROVED
    monkeypatch.setitem(touched.BEYOND, table, without_of(table, clause))
    assert status(clause) != PROVED


@pytest.mark.parametrize("clause", ["thread_queue", "message_queue", "table_place", "container_path"])
def test_what_goes_from_one_to_the_next_needs_induction(monkeypatch: pytest.MonkeyPatch, clause: str) -> None:
    monkeypatch.setitem(chains.LATER, clause, replace(chains.LATER[clause], measure=None))
    assert status(clause) != PROVED


def test_nothing_is_supposed_of_the_other_state_that_follows_from_what_it_is_supposed_for() -> None:
    assert set(chains.LATER) <= INVARIANTS.keys() | LEMMAS.keys()
    for clause, later in chains.LATER.items():
        assert set(later.using) <= INVARIANTS.keys() | LEMMAS.keys()
        assert not chains.supposed(clause, clause)
        assert not any(chains.supposed(clause, other) and chains.supposed(other, clause) for other in chains.LATER)


def test_a_counterexample_tells_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(touched.UNBOUNDED, ("memory", "blocks"))
    goal, = completeness.prove([INVARIANTS["giant_split"]], 2.0)
    assert "giant_split breaks, and is not evaluated" in goal.counterexample
    assert "memory.blocks[0]: " in goal.counterexample
    assert " -> " in goal.counterexample
