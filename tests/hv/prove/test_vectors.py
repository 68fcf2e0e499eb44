"""Running functions on vectors: every way is found, with its conditions, and what Words cannot show is noticed."""

from __future__ import annotations

import random

import pytest
import z3

from hv.page_tables import encode_entry
from hv.prove.vectors import Memory, Word, pick, vector, ways

A = z3.BitVec("a", 64)
B = z3.BitVec("b", 64)


def holds(condition: z3.BoolRef, *values: tuple[z3.BitVecRef, z3.BitVecRef]) -> bool:
    return bool(z3.is_true(z3.simplify(z3.substitute(condition, *values))))


def test_every_way_is_found_with_its_conditions() -> None:
    def run() -> int:
        a = Word(A)
        if a == 5: return 1
        if a < 10 and a & 1: return 2
        return 3

    found = list(ways(run))
    assert sorted(way.result for way in found) == [1, 2, 3, 3]
    for value in range(12):
        taken = [way.result for way in found if holds(way.condition, (A, vector(value)))]
        assert taken == [1 if value == 5 else 2 if value < 10 and value % 2 else 3]


def test_ways_that_cannot_be_are_not_taken() -> None:
    assert [way.result for way in ways(lambda: bool(Word(A) == 3), [A == 3])] == [True]
    assert [way.conditions for way in ways(lambda: bool(Word(A) == 3), [A == 3])] == [()]


@pytest.mark.parametrize("permissions", range(8))
@pytest.mark.parametrize(("table", "large"), [(True, False), (False, False), (False, True)])
def test_what_is_run_on_words_is_what_runs_on_ints(permissions: int, table: bool, large: bool) -> None:
    draw = random.Random(permissions)
    merged = list(ways(lambda: encode_entry(Word(A), Word(B), table=table, large=large)))  # type: ignore[arg-type]
    for _ in range(20):
        target = draw.randrange(1 << 37) << 12
        values = ((A, vector(target)), (B, vector(permissions)))
        taken = [way for way in merged if holds(way.condition, *values)]
        assert len(taken) == 1
        word = z3.simplify(z3.substitute(vector(taken[0].result), *values))
        assert word.as_long() == encode_entry(target, permissions, table=table, large=large)


@pytest.mark.parametrize(
    ("compute", "fits"),
    [
        (lambda: Word(A) + Word(B), False), (lambda: Word(A) + 1, False), (lambda: Word(A, 99) + Word(B, 99), True),
        (lambda: Word(A) * 3, False), (lambda: Word(A, 99) * 3, True), (lambda: Word(A) << 1, False),
        (lambda: Word(A, 99) << 57, True), (lambda: Word(A, 99) << 58, False), (lambda: Word(A) * 2, False),
        (lambda: (Word(A) | 1) + 1, False), (lambda: (Word(A) & 7) + 1, True), (lambda: (Word(A) >> 1) * 2, True),
    ],
)  # fmt: skip
def test_what_an_int_would_not_wrap_at_is_recorded(compute: object, fits: bool) -> None:
    (way,) = ways(compute)  # type: ignore[arg-type]
    assert (not way.exact) == fits
    solver = z3.Solver()
    solver.add(z3.Not(z3.And(*way.exact)))
    assert (solver.check() == z3.unsat) == fits


def test_a_word_serves_as_no_int_and_no_way_is_taken_outside_a_run() -> None:
    with pytest.raises(TypeError):
        [1, 2, 3][Word(A)]
    with pytest.raises(RuntimeError):
        bool(Word(A))
    with pytest.raises(ValueError, match="64 bits"):
        vector(1 << 64)


def test_pick_tries_each_value_and_refuses_others() -> None:
    assert sorted(way.result for way in ways(lambda: pick(Word(A), (1, 2, 3)), [z3.ULT(A, 3), A != 0])) == [1, 2]
    with pytest.raises(ValueError, match="not among"):
        list(ways(lambda: pick(Word(A), (1, 2)), [z3.ULT(A, 4), A != 0]))


def test_memory_gives_back_what_was_stored_last_at_an_equal_place() -> None:
    memory = Memory(lambda at: z3.BitVecVal(7, 64))
    memory[Word(A)] = 1
    memory[Word(B)] = 2
    read = memory[Word(A)].vector
    for a, b, expected in ((3, 3, 2), (3, 4, 1)):
        assert z3.simplify(z3.substitute(read, (A, vector(a)), (B, vector(b)))).as_long() == expected
    assert len(memory.stores) == 2
