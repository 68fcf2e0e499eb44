"""What ``python -m bench calls`` measures with: each kind of call is made, and its time is its own."""

from __future__ import annotations

import pytest

from aerostat import Machine
from bench.alone import Alone
from bench.growth import Size, depth_bytes
from bench.timings import FLOOR, KINDS, UNMAPPED_EACH_TIME, WARM, Distribution, Timings


@pytest.mark.parametrize("level", ["off", "touched"])
def test_each_kind_of_call_is_made_on_the_kernel_alone(level: str) -> None:
    alone = Alone(level)
    before = alone.k.container[alone.k.root].used_pages
    sample = alone.sample()
    assert set(sample) == set(KINDS) - {FLOOR, UNMAPPED_EACH_TIME}
    assert alone.k.container[alone.k.root].used_pages == before, "a call was not undone"
    alone.checker.audit()


@pytest.mark.kvm
def test_each_kind_of_call_is_timed_in_the_machine() -> None:
    with Machine("64M") as machine:
        timings = Timings(machine, calls=30)
        pages = []
        timings.run(2, between=lambda: pages.append(machine.statistics()["pages_used"]))
    assert len(timings.turns) == 2
    for turn in timings.turns:
        assert set(turn) == set(KINDS)
        assert all(len(found.samples) == 30 and min(found.samples) > 0 for found in turn.values())
    assert len(set(pages[1:])) == 1, "a call was not undone"
    assert timings.cycles_per_us > 0
    assert WARM > 0


@pytest.mark.kvm
def test_machine_of_a_size_makes_turns() -> None:
    size = Size(50)
    try:
        assert size.facts["made"] >= 50
        assert set(size.turn()) == set(KINDS)
    finally:
        size.close()


def test_containers_take_more_with_depth() -> None:
    flat, level = depth_bytes()
    assert 0 < level < flat


def test_p99_is_what_99_of_100_take_at_most() -> None:
    found = Distribution(list(range(100, 0, -1)))
    assert (found.mean, found.median, found.p99) == (50.5, 50.5, 99.0)
    assert Distribution([7]).p99 == 7.0
