"""Each invariant is violated alone by some state; a sound state violates none."""

from __future__ import annotations

import pytest

from kernel.audit import audit
from kernel.invariants import INVARIANTS
from tests.kernel.scene import Scene
from tests.kernel.violations import VIOLATIONS, Violation, second_container


def violated(scene: Scene) -> set[str]:
    """The clauses that the audit reports."""
    scene.k.ledger = None  # it was kept for the sound state; the audit counts its own
    _, failures = audit(scene.k)
    return {failure.name for failure in failures}


def test_sound_scene_violates_nothing() -> None:
    assert violated(Scene()) == set()


def test_scene_with_a_second_container_violates_nothing() -> None:
    scene = Scene()
    second_container(scene)
    assert violated(scene) == set()


@pytest.mark.parametrize(("clause", "damage"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_damage_violates_exactly_this_clause(clause: str, damage: Violation) -> None:
    scene = Scene()
    damage(scene)
    assert violated(scene) == {clause}


def test_every_clause_has_a_violation() -> None:
    assert {clause for clause, _ in VIOLATIONS} == set(INVARIANTS)


def test_every_clause_says_what_it_demands() -> None:
    assert [clause.name for clause in INVARIANTS.values() if not clause.meaning] == []
