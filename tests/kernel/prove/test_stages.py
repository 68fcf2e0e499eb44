"""Stages: what keeps every invariant by itself, called where what it requires holds; mistakes on either side are
refuted."""

from __future__ import annotations

import pytest

from kernel.prove import preservation, source
from kernel.prove.evaluator import requirement
from kernel.prove.goals import Goal
from kernel.prove.obligations import of_stage
from kernel.prove.solver import PROVED, REFUTED
from kernel.prove.stages import STAGES
from kernel.prove.steps import Known, Step, transitions
from tests.kernel.prove.planted import plant

SHARING = "kernel.sharing"
TABLES = "kernel.page_table"


def failing(goals: list[Goal]) -> set[str]:
    """The names of those that are not proved."""
    return {goal.name for goal in goals if goal.status != PROVED}


@pytest.mark.parametrize(("module", "stage"), [(SHARING, "alias_giant"), (SHARING, "charge_giant")])
def test_a_stage_keeps_every_invariant(module: str, stage: str) -> None:
    goals = list(of_stage(module, stage).prove(20.0, 0))
    assert len(goals) > 10
    assert failing(goals) == set()


@pytest.mark.parametrize(("module", "stage"), STAGES)
def test_what_a_stage_requires_can_be(module: str, stage: str) -> None:
    """Nothing is proved because what is required is contradictory."""
    function = source.function(module, stage)
    assert Known(Step(function, requires=requirement(function)), 20.0).solver.consistent() == REFUTED


@pytest.mark.parametrize(("module", "stage", "right", "wrong", "breaks"), [
    (SHARING, "charge_page", "E.used_pages = E.used_pages + 1", "pass", "container_charges"),
    (SHARING, "charge_block", "B.owner = e", "pass", "block_kind"),
    (SHARING, "charge_giant", "C.giants = C.giants + 1", "pass", "memory_counts"),
    ("kernel.prove.stages", "quota_for_page", "k.container[e].pages >= 1", "True", "container_quota"),
])  # fmt: skip
def test_a_stage_that_breaks_an_invariant_is_refuted(
    monkeypatch: pytest.MonkeyPatch, module: str, stage: str, right: str, wrong: str, breaks: str
) -> None:
    plant(monkeypatch, module, stage, right, wrong)
    of = (module, stage) if (module, stage) in STAGES else (SHARING, "charge_page")
    assert breaks in failing(list(of_stage(*of).prove(20.0, 0)))


@pytest.mark.parametrize("name", ["share_giant", "grant_giant", "unmap_page"])
def test_callers_keep_to_what_stages_require(name: str) -> None:
    step = Step(transitions()[name], stages=True)
    goals = list(preservation.prove_passages(step, 20.0))
    assert len(goals) == (3 if name == "grant_giant" else 1)
    assert failing(goals) == set()


@pytest.mark.parametrize(("name", "right", "wrong", "fails"), [
    ("share_giant", "if refusal != OK:\n        return refusal", "pass", "stage 1, alias_giant: required"),
    ("grant_giant", "k.container[e].giants < 1", "k.container[e].giants < 0", "stage 2, charge_giant: required"),
    ("grant_giant", "remove_giant(k, s, y3, j4, j3, p)", "remove_giant(k, s, y3, j4, i3, p)",
     "stage 3, remove_giant: required"),
])  # fmt: skip
def test_a_caller_that_does_not_is_refuted(
    monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str, fails: str
) -> None:
    plant(monkeypatch, SHARING, name, right, wrong)
    assert fails in failing(list(preservation.prove_passages(Step(transitions()[name], stages=True), 20.0)))


def test_a_transition_that_writes_besides_is_looked_at_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preservation.staged(Step(transitions()["grant_giant"], stages=True))
    assert not preservation.staged(Step(transitions()["map_giant"], stages=True))
    plant(monkeypatch, SHARING, "grant_giant", "remove_giant(k, s, y3, j4, j3, p)",
          "remove_giant(k, s, y3, j4, j3, p)\n    P.references = P.references")  # fmt: skip
    assert not preservation.staged(Step(transitions()["grant_giant"], stages=True))
