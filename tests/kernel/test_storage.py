"""Rows and tables of the compiled kernel against those that it runs without: the same for whoever reads them."""

from __future__ import annotations

import ast
import random
from typing import Any

import pytest

import kernel.storage as here
from kernel.compiled import storage as compiled
from kernel.objects import Thread
from tests.kernel.pure import with_sources

# What is looked up by small numbers is kept in another way than the rest, and so is what comes in order.
INDICES = (0, 1, 2, 3, 5, 9, 17, 30, 400, 511, 512, 4095, -1, 1 << 35, (1 << 35) + 1)


@pytest.mark.parametrize("seed", range(8))
def test_rows_read_the_same(seed: int) -> None:
    dice = random.Random(seed)
    row, expected = compiled.Row(), dict[int, int]()
    for _ in range(400):
        index = dice.choice(INDICES) if seed % 2 else dice.randrange(40)
        match dice.randrange(8):
            case 0:
                assert row.pop(index) == expected.pop(index, None)
            case 1:
                row[index] = expected[index] = 0
            case 2 if dice.random() < 0.05:
                row.clear()
                expected.clear()
            case _:
                row[index] = expected[index] = dice.randrange(1, 1 << 40)
        assert all(row[i] == expected.get(i, 0) for i in (*INDICES, *range(41)))
        assert row.get(index) == expected.get(index)
        assert (index in row) == (index in expected)
        assert dict(row.items()) == expected
        assert (sorted(row), sorted(row.values())) == (sorted(expected), sorted(expected.values()))
        assert (len(row), bool(row)) == (len(expected), bool(expected))


def test_a_row_takes_over_what_another_has() -> None:
    row, other = compiled.Row(), compiled.Row()
    for index in (0, 2, 600):
        other[index] = index + 1
    row[2] = 9
    row.update(other)
    assert dict(row.items()) == {0: 1, 2: 3, 600: 601}


def test_a_row_that_begins_far_out_makes_no_room_for_what_is_before() -> None:
    row = compiled.Row()
    row[511] = 7
    assert row._dense is None
    row[0] = 8
    assert dict(row.items()) == {511: 7, 0: 8}


@pytest.mark.parametrize("rows", [here, compiled], ids=["here", "compiled"])
@pytest.mark.parametrize("index", [0, 3, 600])
def test_an_old_row_has_the_old_items_and_else_the_live_ones(rows: object, index: int) -> None:
    row, kind = getattr(rows, "Row")(), getattr(rows, "OldRow")  # noqa: B009  (modules of the same names)
    row[1], row[index] = 10, 11
    old = kind(row)
    old[index] = 0
    row[1] = 12
    assert (old[index], old[1], old[2]) == (0, 12, 0)
    assert index in old
    assert 1 not in old
    assert list(old.items()) == [(index, 0)]
    old.clear()
    assert (old[index], list(old.items())) == (11, [])


@pytest.mark.parametrize("tables", [here, compiled], ids=["here", "compiled"])
def test_tables_hold_a_blank_object_where_there_was_none(tables: object) -> None:
    table = getattr(tables, "Table")(Thread)  # noqa: B009
    for id in (0, 5, 511, 512, 1 << 31, -1):
        assert table.get(id) is None
        found = table[id]
        assert (found.id, found.state) == (id, 0)
        assert table[id] is found
        assert table.get(id) is found
        assert table.pop(id) is found
        assert table[id] is not found
    assert sorted(table) == [-1, 0, 5, 511, 512, 1 << 31]


@pytest.mark.parametrize("rows", [here, compiled], ids=["here", "compiled"])
def test_an_old_row_lists_what_was_written(rows: Any) -> None:
    row = rows.Row()
    row[1], row[700] = 10, 11
    old = rows.OldRow(row)
    assert (len(old), list(old), list(old.values()), bool(old)) == (0, [], [], False)
    assert old.allowed == set()
    old[700], old[3] = 5, 6
    assert (len(old), sorted(old), sorted(old.values()), bool(old)) == (2, [3, 700], [5, 6], True)
    assert sorted(old.items()) == [(3, 6), (700, 5)]
    assert dict(row.items()) == {1: 10, 700: 11}
    another = rows.Row()
    another[1] = 20
    old.live = another
    assert (old[1], old[3], old[700]) == (20, 6, 5)


def test_a_row_shows_its_items_wherever_they_are_kept() -> None:
    row = compiled.Row()
    for index in (0, 1, 2, 1 << 35, -1): row[index] = index + 5
    assert len(row) == 5
    assert ast.literal_eval(repr(row)) == {0: 5, 1: 6, 2: 7, 1 << 35: (1 << 35) + 5, -1: 4}
    for index in (1, -1): row.pop(index)
    assert (len(row), sorted(row)) == (3, [0, 2, 1 << 35])


@with_sources
@pytest.mark.parametrize("tables", [here, compiled], ids=["here", "compiled"])
def test_an_old_table_has_the_old_objects_and_else_the_live_ones(tables: Any) -> None:
    live = tables.Table(Thread)
    thread, before = live[5], Thread(5)
    old = tables.old_table(live)
    assert isinstance(old, tables.OldTable)
    assert (old.blank, old[5] is thread, old[9] is live[9]) == (Thread, True, True)
    thread.written = Record(before)
    old.note(5, before)
    assert (old[5] is before, old[9] is live[9], live[5] is thread) == (True, True, True)
    thread.written = None
    old.forget(5)
    assert old[5] is thread
    old.forget(5)
    assert old[5] is thread


class Record:
    """What an object that was written knows."""

    def __init__(self, old: Thread) -> None:
        self.old = old
