"""Faults are drawn as often as asked, and again the same from the same seed."""

from __future__ import annotations

import pytest

from drivers._native import ffi, lib
from drivers.model.faults import Faults


def draws(faults: Faults, count: int) -> list[int]:
    struct = ffi.new("struct faults *")
    faults.fill(struct)
    return [lib.fault_draw(struct) for _ in range(count)]


def test_a_seed_gives_the_same_faults_again() -> None:
    faults = Faults(seed=5, late=0.2, error=0.2)
    assert draws(faults, 200) == draws(faults, 200)
    assert draws(faults, 200) != draws(Faults(seed=6, late=0.2, error=0.2), 200)


def test_each_kind_comes_as_often_as_asked() -> None:
    drawn = draws(Faults(late=0.1, lost=0.2, duplicated=0.3, error=0.05), 20_000)
    for kind, rate in ((lib.FAULT_LATE, 0.1), (lib.FAULT_LOST, 0.2), (lib.FAULT_DUPLICATED, 0.3),
                       (lib.FAULT_ERROR, 0.05), (lib.FAULT_NONE, 0.35)):  # fmt: skip
        assert abs(drawn.count(kind) / 20_000 - rate) < 0.02
    assert set(draws(Faults(), 1000)) == {lib.FAULT_NONE}


def test_a_device_is_removed_after_so_many() -> None:
    struct = ffi.new("struct faults *")
    Faults(removal=3).fill(struct)
    gone = []
    for _ in range(4):
        lib.fault_draw(struct)
        gone.append(lib.fault_removed(struct))
    assert gone == [False, False, True, True]


def test_faults_as_on_a_command_line() -> None:
    assert Faults.parse("seed=3, late=0.5,removal=7") == Faults(seed=3, late=0.5, removal=7)
    for text in ("late", "later=1", "late=x", "late=2", "seed=0.5", "late=0.6,lost=0.6", ""):
        with pytest.raises(ValueError, match=r"\w"): Faults.parse(text)
