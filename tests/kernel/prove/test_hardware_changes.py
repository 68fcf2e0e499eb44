"""What transitions do to translations: every obligation is proved, transitions that do something else are refuted."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from kernel.prove import source
from kernel.prove.hardware.changes import (
    ADDRESS,
    MAP,
    SPACE,
    Change,
    change_of,
    decided,
    entries,
    fields,
    obligations,
    others,
    refusals,
    there,
)
from kernel.prove.hardware.obligation import PROVED, REFUTED, Obligation, Prove
from kernel.prove.source import Function
from kernel.prove.steps import Step, transitions

SECONDS = 30.0
ALL = tuple(obligations())


@pytest.mark.parametrize("obligation", ALL, ids=lambda obligation: obligation.name)
def test_is_proved(obligation: Obligation) -> None:
    verdict = obligation.prove(SECONDS, 0)
    assert verdict.status == PROVED, verdict.counterexample


def test_names_are_unique_and_every_kind_of_change_is_there() -> None:
    names = [obligation.name for obligation in ALL]
    assert len(set(names)) == len(names)
    for how in ("map", "unmap", "protect", "share", "grant"):
        for size in ("page", "block", "giant"):
            assert {f"changes.{how}_{size}.{kind}" for kind in ("others", "there", "entries", "refusals")} <= {*names}


def test_what_translations_depend_on() -> None:
    assert fields() == {
        "process.root", "table.entry", "table.permission", "page.kind", "process.map_page", "process.map_permission",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in transitions() if change_of(Step(transitions()[name])) is not None])
def test_what_is_supposed_can_be(name: str) -> None:
    """Nothing is proved because what is known of a step is contradictory."""
    assert decided(Step(transitions()[name]), MAP, [], False, SECONDS, 0).status == REFUTED


def written(module: str, name: str, *replaced: tuple[str, str]) -> Function:
    """A function of the kernel with some of its text replaced."""
    text = ast.unparse(source.function(module, name).tree)
    for old, new in replaced:
        assert old in text, (old, text)
        text = text.replace(old, new)
    tree = ast.parse(text).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return Function(module, name, tree)


def refuted(prove: Callable[[Function], Prove], function: Function) -> str:
    verdict = prove(function)(SECONDS, 0)
    assert verdict.status == REFUTED, verdict
    assert function.name in verdict.counterexample
    return verdict.counterexample


TABLES = "kernel.page_table"
SHARING = "kernel.sharing"


@pytest.mark.parametrize(
    ("prove", "name", "old", "new"),
    [
        pytest.param(
            others, "map_page", "return OK", "Y = k.table[x1]\n    Y.entry[i1 + 1] = p\n    return OK", id="neighbour"
        ),
        pytest.param(
            others, "map_page", "return OK", "Y = k.table[x1]\n    Y.permission[i1 + 1] = 7\n    return OK",
            id="permission of a neighbour",
        ),
        pytest.param(others, "map_page", "level_1_table(k, s, i4, i3, i2)", "level_1_table(k, s, i4, i2, i3)",
                     id="wrong table"),
        pytest.param(there, "map_page", "p, permission)", "p, 7)", id="permission"),
        pytest.param(there, "map_block", "set_leaf(k, s, x2, i2,", "set_leaf(k, s, x2, i3,", id="block"),
        pytest.param(there, "map_giant", "page_number(i4, i3, 0, 0)", "page_number(i4, 0, i3, 0)", id="giant"),
        pytest.param(there, "protect_page", "X.permission[i1] = permission", "X.permission[i1] = 1", id="tables only"),
        pytest.param(
            there, "protect_block", "S.map_permission[page_number(i4, i3, i2, 0)] = permission", "pass", id="map only"
        ),
        pytest.param(others, "protect_giant", "X.permission[i3] = permission",
                     "X.permission[i3] = permission\n    X.permission[i3 - 1] = permission", id="protects two"),
        pytest.param(refusals, "unmap_page", "if p == 0:",
                     "k.table[x1].permission[i1] = 0\n    if p == 0:", id="writes, then refuses"),
    ],
)  # fmt: skip
def test_a_wrong_transition_is_refuted(prove: Callable[[Function], Prove], name: str, old: str, new: str) -> None:
    refuted(prove, written(TABLES, name, (old, new)))


@pytest.mark.parametrize(
    ("prove", "name", "old", "new"),
    [
        pytest.param(there, "share_page", "alias_page(k, d,", "alias_page(k, s,", id="the wrong process"),
        pytest.param(there, "grant_page", "remove_page(k, s, y1, j4, j3, j2, j1, p)",
                     "remove_page(k, s, y1, j4, j3, j2, j2, p)", id="stays mapped"),
        pytest.param(there, "grant_giant", "remove_giant(k, s, y3, j4, j3, p)", "pass", id="stays"),
        pytest.param(others, "grant_block", "remove_block(k, s, y2, j4, j3, j2, p)",
                     "remove_block(k, s, y2, j4, j3, j3, p)", id="another goes"),
    ],
)  # fmt: skip
def test_wrong_sharing_is_refuted(prove: Callable[[Function], Prove], name: str, old: str, new: str) -> None:
    refuted(prove, written(SHARING, name, (old, new)))


@pytest.mark.parametrize(
    ("prove", "name", "helper", "old", "new"),
    [
        pytest.param(others, "unmap_page", "free_table_if_empty", "X.used != 0", "X.used > 1", id="frees too early"),
        pytest.param(others, "map_page", "new_table", "Q.entry[slot] = x", "Q.entry[0] = x", id="hangs it elsewhere"),
        pytest.param(there, "map_page", "new_table", "Q.entry[slot] = x", "pass", id="hangs it nowhere"),
        pytest.param(there, "map_block", "room_for_block", "-EEXIST if k.table[x2].entry[i2] != 0 else OK", "OK",
                     id="maps over a table"),
        pytest.param(entries, "map_giant", "room_for_giant", "-EEXIST if k.table[x3].entry[i3] != 0 else OK", "OK",
                     id="leads an entry elsewhere"),
        pytest.param(others, "unmap_page", "remove_page", "clear_leaf(k, s, x1, i1,", "clear_leaf(k, s, x1, i2,",
                     id="wrong slot"),
        pytest.param(there, "unmap_page", "remove_page", "clear_leaf(k, s, x1, i1,", "clear_leaf(k, s, x1, i2,",
                     id="right slot left"),
        pytest.param(others, "unmap_page", "remove_page", "page_number(i4, i3, i2, i1)", "page_number(i4, i3, i2, 0)",
                     id="wrong page of map"),
        pytest.param(entries, "unmap_giant", "remove_giant", "P.references == 0", "P.references <= 1",
                     id="frees what is shared"),
        pytest.param(there, "share_page", "alias_page", "set_leaf(k, d, x1, i1", "set_leaf(k, d, x1, i2",
                     id="shared at another slot"),
        pytest.param(others, "share_page", "alias_page", "set_leaf(k, d, x1, i1", "set_leaf(k, d, x1, i2",
                     id="another slot shares"),
    ],
)  # fmt: skip
def test_a_wrong_helper_is_refuted(
    prove: Callable[[Function], Prove], name: str, helper: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = TABLES if helper in source.module(TABLES).functions else SHARING
    monkeypatch.setitem(source.module(module).functions, helper, written(module, helper, (old, new)))
    refuted(prove, transitions()[name])


def test_a_change_concerns_the_whole_of_what_it_maps() -> None:
    step = Step(transitions()["map_block"])
    change = change_of(step)
    assert isinstance(change, Change)
    assert change.concerns(change.process, (*change.indices, 0)) is True
    assert change.concerns(change.process, (*change.indices, 511)) is True
    assert change.concerns(SPACE, ADDRESS) not in (True, False)
