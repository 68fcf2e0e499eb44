"""Random calls of every transition keep every invariant and specification, and give everything back at the end."""

from __future__ import annotations

from collections import Counter

import pytest

from kernel.objects import Kernel, Row
from kernel.specs import SPECIFICATIONS
from tests.kernel.driver import Driver
from tests.kernel.scenarios import CASES, Case
from tests.kernel.state import fields, objects, snapshot

SEEDS = range(30)


def assert_whole_numbers(k: Kernel) -> None:
    """The state consists of integers: 1.0 and True would compare like them, and be another thing in a proof."""
    for obj in objects(k):
        for field in fields(obj):
            value = getattr(obj, field)
            for item in value.values() if isinstance(value, Row) else [value]:
                assert type(item) is int, f"{obj.table_name}[{obj.id}].{field} is {item!r}"


@pytest.mark.parametrize("seed", SEEDS)
def test_random_calls_keep_the_invariants_and_everything_comes_back(seed: int) -> None:
    driver = Driver(seed, "full", blocks=seed % 5 + 1, cores=seed % 4 + 1, pages=(511, 40, 12)[seed % 3])
    driver.run(1500)
    driver.w.checker.audit()
    assert_whole_numbers(driver.k)
    driver.finish()


@pytest.mark.parametrize("seed", range(6))
def test_random_calls_keep_the_invariants_where_there_are_giants(seed: int) -> None:
    driver = Driver(seed, "full", blocks=seed % 3, pages=(511, 40)[seed % 2], giants=True)
    driver.run(1500)
    driver.w.checker.audit()
    assert_whole_numbers(driver.k)
    driver.finish()


def test_random_calls_reach_success_and_errors_of_every_transition() -> None:
    """As many sequences as it takes, up to 40: what is rare among so many transitions comes late."""
    outcomes: Counter[tuple[str, int]] = Counter()
    for seed in range(40):
        driver = Driver(seed, "off", blocks=(4, 1)[seed % 2], pages=(511, 20)[seed % 2], giants=seed % 6 >= 4)
        driver.run(6000)
        outcomes += driver.outcomes
        succeeded = {name for name, result in outcomes if result == 0}
        failed = {name for name, result in outcomes if result < 0}
        if succeeded == failed == set(SPECIFICATIONS): return
    pytest.fail(f"never succeeded: {set(SPECIFICATIONS) - succeeded}; never failed: {set(SPECIFICATIONS) - failed}")


@pytest.mark.parametrize("case", [c for c in CASES if c.outcome == "OK"], ids=lambda case: case.name)
def test_without_quota_for_all_it_needs_a_call_changes_nothing(case: Case) -> None:
    """For each amount of quota below what the call uses up: -ENOMEM, and not one write."""
    w, arguments = case.build("off")
    before = w.root.pages, w.root.blocks, w.root.giants
    w.call(case.transition, *arguments)
    pages, blocks, giants = before[0] - w.root.pages, before[1] - w.root.blocks, before[2] - w.root.giants
    if case.transition in ("quota_split", "quota_merge", "giant_split", "giant_merge"): return
    for left in range(pages):
        _assert_refused(case, left, before[1], before[2])
    if blocks > 0: _assert_refused(case, before[0], 0, before[2])
    if giants > 0: _assert_refused(case, before[0], before[1], 0)


@pytest.mark.parametrize("case", [c for c in CASES if c.outcome == "OK"], ids=lambda case: case.name)
def test_quota_for_exactly_what_it_needs_is_enough(case: Case) -> None:
    w, arguments = case.build("off")
    before = w.root.pages, w.root.blocks, w.root.giants
    w.call(case.transition, *arguments)
    used = before[0] - w.root.pages, before[1] - w.root.blocks, before[2] - w.root.giants
    if min(used) < 0 or max(used) == 0: return
    w, arguments = case.build("touched")
    w.limit(*used)
    result = w.call(case.transition, *arguments)
    assert case.ends_so(result), result
    assert (w.root.pages, w.root.blocks, w.root.giants) == (0, 0, 0)


def _assert_refused(case: Case, pages: int, blocks: int, giants: int) -> None:
    w, arguments = case.build("off")
    w.limit(pages, blocks, giants)
    before = snapshot(w.k)
    assert w.call(case.transition, *arguments) == -12
    assert not w.k.journal
    assert snapshot(w.k) == before
