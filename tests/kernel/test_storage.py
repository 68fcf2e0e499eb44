"""Rows and tables of the compiled kernel against those that it runs without: the same for whoever reads them."""

from __future__ import annotations

import random

import pytest

import kernel.storage as here
from kernel.compiled import storage as compiled
from kernel.objects import Thread

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
