"""The base case: proved for all machines; a boot that does something wrong is refuted."""

from __future__ import annotations

import pytest

from kernel.invariants import INVARIANTS
from kernel.prove import initial
from kernel.prove.lemmas import LEMMAS
from kernel.prove.solver import PROVED, REFUTED
from tests.kernel.prove.planted import plant


def test_the_boot_state_has_every_invariant() -> None:
    goals = list(initial.prove(20.0))
    assert {goal.name for goal in goals} == INVARIANTS.keys() | LEMMAS.keys()
    assert [goal.name for goal in goals if goal.status != PROVED] == []


@pytest.mark.parametrize(("function", "right", "wrong", "breaks"), [
    ("begin", "C.used_pages = 1", "C.used_pages = 2", "container_charges"),
    ("begin", "B.position = 1", "B.position = 0", "block_position"),
    ("begin", "(0, 2)", "(0, 1)", "block_giant"),
    ("begin", "if carved == end:", "if carved > end:", "giant_position"),
    ("add_core", "C.cores[r] = r", "C.cores[r] = 0", "core_place"),
])  # fmt: skip
def test_a_wrong_boot_is_refuted(
    monkeypatch: pytest.MonkeyPatch, function: str, right: str, wrong: str, breaks: str
) -> None:
    plant(monkeypatch, "kernel.boot", function, right, wrong)
    refuted = {goal.name: goal for goal in initial.prove(20.0) if goal.status == REFUTED}
    assert breaks in refuted
    assert refuted[breaks].counterexample.startswith("boot(blocks=")


@pytest.mark.parametrize(("right", "wrong"), [
    ("R.position = r", "R.position = k.core[0].position"),
    ("R.position = r", "C.core_count = r"),
])  # fmt: skip
def test_a_loop_over_cores_whose_turns_meet_is_not_taken_at_once(
    monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    if "C." in wrong: wrong = f"k.container[ROOT].core_count = r\n    {right}"
    plant(monkeypatch, "kernel.boot", "add_core", right, wrong)
    with pytest.raises(ValueError, match="not one of its core's own"): initial.booted()
