"""Each invariant is violated alone by some state; a sound state violates none."""

from __future__ import annotations

import pytest

from kernel.audit import audit
from kernel.invariants import INVARIANTS, live
from kernel.objects import CONTAINER, DOMAIN, ENDPOINT, FREE, PROCESS, TABLE, THREAD, Row
from kernel.page_allocator import allocate_page
from tests.kernel.scene import Scene
from tests.kernel.state import TABLES, fields, objects
from tests.kernel.violations import BREACHES, VIOLATIONS, Violation, second_container


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


FAR = (-1, 1 << 20, 1 << 36, 1 << 40)


def test_what_there_is_not_violates_nothing() -> None:
    """Objects and items of rows that were never used, near and far, are there to be asked about, and blank."""
    scene = Scene()
    k = scene.k
    for name in TABLES:
        table = getattr(k, name)
        for id in (0, 1, 2, max(table) + 1, max(table) + 2, 1 << 20): assert table[id] is not None
    for obj in list(objects(k)):
        for field in fields(obj):
            row = getattr(obj, field)
            if not isinstance(row, Row): continue
            for index in (*FAR, max(row, default=0) + 1, max(row, default=0) + 2): row[index] = row[index]
    assert violated(scene) == set()


@pytest.mark.parametrize(("clause", "damage"), BREACHES, ids=lambda value: getattr(value, "__name__", value))
def test_damage_violates_this_clause_besides_others(clause: str, damage: Violation) -> None:
    scene = Scene()
    damage(scene)
    assert clause in violated(scene)


@pytest.mark.parametrize(("clause", "damage"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_damage_violates_exactly_this_clause(clause: str, damage: Violation) -> None:
    scene = Scene()
    damage(scene)
    assert violated(scene) == {clause}


def test_every_clause_has_a_violation() -> None:
    assert {clause for clause, _ in VIOLATIONS} == set(INVARIANTS)


def test_every_clause_says_what_it_demands() -> None:
    assert [clause.name for clause in INVARIANTS.values() if not clause.meaning] == []


def test_what_a_page_is_charged_for() -> None:
    scene = Scene()
    k = scene.k
    kinds = {k.root: CONTAINER, scene.s: PROCESS, scene.running: THREAD, scene.free_pages[0]: FREE}
    for p, kind in kinds.items():
        assert [other for other in (FREE, CONTAINER, PROCESS, THREAD) if live(k, p, other)] == [kind]


@pytest.mark.parametrize("kind", [TABLE, CONTAINER, PROCESS, THREAD, ENDPOINT, DOMAIN])
def test_page_of_an_object_that_was_never_made(kind: int) -> None:
    """The audit looks at the object that a page says it is, though nothing of it was ever written."""
    scene = Scene()
    k = scene.k
    p = allocate_page(k, k.root, kind)
    for name in TABLES:
        if name not in ("page", "block"): getattr(k, name).pop(p, None)
    k.ledger = None
    _, failures = audit(k)
    assert (p,) in {failure.ids for failure in failures}


def test_the_audit_looks_at_what_there_is_and_little_more() -> None:
    scene = Scene()
    evaluated, failures = audit(scene.k)
    assert list(failures) == []
    more_of = [name for name, clause in INVARIANTS.items() if clause.domain in (("process",), ("page",))]
    processes = {s for s, P in scene.k.page.items() if P.kind == PROCESS} | set(scene.k.process)
    scene.k.process[max(processes) + 1].state = 0
    more, failures = audit(scene.k)
    assert list(failures) == []
    assert more - evaluated == len(more_of), "one blank process, and the page that it would be"
