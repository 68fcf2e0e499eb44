"""Each transition has a specification that admits what the transition does, in every case, and nothing else."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kernel
from abi import errors
from kernel.journaled import TRANSITIONS as MODULES
from kernel.objects import FREE, KIND_NAMES, Row
from kernel.specs import SPECIFICATIONS
from kernel.specs.handles import allows
from tests.kernel.attempt import Attempt
from tests.kernel.scenarios import CASES, Case
from tests.kernel.state import Place, fields, idle, load, log, logged_store, objects, place_of, store
from tests.kernel.world import JOURNALED, PLAIN, World

CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
SUCCESS = pytest.mark.parametrize("case", [c for c in CASES if c.outcome == "OK"], ids=lambda case: case.name)


def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    """The functions of a module by name."""
    tree = ast.parse(path.read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def errors_named(function: ast.FunctionDef, parts: dict[str, ast.FunctionDef]) -> set[str]:
    """The errors that a specification demands: the E... of ``result == -E...``, in it or in parts that it calls."""
    named = set()
    for node in ast.walk(function):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
            named |= {node.operand.id} & set(errors.__all__)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in parts:
            named |= errors_named(parts[node.func.id], parts)
    return named


def test_every_transition_has_a_specification_and_the_other_way_round() -> None:
    """What a transition module defines and no transition calls is a transition; the rest are parts of some."""
    here = Path(kernel.__file__).parent
    defined: dict[str, ast.FunctionDef] = {}
    for module in MODULES:
        defined |= functions_of(here / f"{module}.py")
    called = {
        node.func.id for function in defined.values() for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }  # fmt: skip
    assert defined.keys() - called == SPECIFICATIONS.keys() == JOURNALED.keys() == PLAIN.keys()


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_specification_has_the_arguments_of_its_transition(name: str) -> None:
    transition, specification = inspect.signature(PLAIN[name]), inspect.signature(SPECIFICATIONS[name])
    assert list(specification.parameters) == ["old", "new", "f", "result", *list(transition.parameters)[1:]]


def test_every_case_of_every_specification_is_reached() -> None:
    functions: dict[str, ast.FunctionDef] = {}
    for path in (Path(kernel.__file__).parent / "specs").glob("*.py"):
        functions |= functions_of(path)
    demanded = {(name, error) for name in SPECIFICATIONS for error in {"OK", *errors_named(functions[name], functions)}}
    assert {(case.transition, case.outcome) for case in CASES} == demanded


@CASE
def test_transition_ends_as_its_specification_says(case: Case) -> None:
    w, arguments = case.build("full")
    result = w.call(case.transition, *arguments)
    assert case.ends_so(result), result
    if result < 0: assert not w.k.journal, "an error after the first write"
    w.checker.audit()


@CASE
def test_wrong_result_is_refused(case: Case) -> None:
    attempt = Attempt(case)
    assert attempt.refused() == ""
    failures = {-value for name, value in vars(errors).items() if name.startswith("E") and isinstance(value, int)}
    for wrong in ({attempt.result - 1, attempt.result + 1, 0} | failures) - {attempt.result}:
        assert attempt.refused(wrong) == f"specification {case.transition}", wrong


@SUCCESS
def test_missing_write_is_refused(case: Case) -> None:
    attempt = Attempt(case)
    k = attempt.k
    for place, before in attempt.before.items():
        now = load(k, place)
        if now == before or idle(k, place): continue
        store(k, place, before)
        k.journal.replace([entry for entry in attempt.journal if place_of(entry) != place])
        assert attempt.refused(), f"nothing demands that {place} becomes {now}"
        store(k, place, now)


def unrelated(w: World, written: set[Place], each: int = 6) -> Iterator[Place]:
    """Places that a transition did not write: of each field of each table a few."""
    seen: Counter[tuple[str, str]] = Counter()
    for obj in objects(w.k):
        for field in fields(obj):
            value = getattr(obj, field)
            indices: list[int | None] = [*list(value)[:3], 7] if isinstance(value, Row) else [None]
            for index in indices:
                place = (obj.table_name, obj.id, field, index)
                if place in written or seen[obj.table_name, field] >= each: continue
                seen[obj.table_name, field] += 1
                yield place


@CASE
def test_write_elsewhere_is_refused(case: Case) -> None:
    attempt = Attempt(case)
    k = attempt.k
    for place in list(unrelated(attempt.w, set(attempt.before))):
        if idle(k, place): continue
        for change in (1, -1):
            k.journal.replace(attempt.journal)
            was = load(k, place)
            logged_store(k, place, was + change)
            assert attempt.refused(), f"nothing forbids that {place} becomes {was + change}"
            store(k, place, was)


def _other_value(case: Case, attempt: Attempt, choose: Callable[[int, int], int]) -> Iterator[tuple[Place, int]]:
    for place, before in attempt.before.items():
        now = load(attempt.k, place)
        wrong = choose(before, now)
        if wrong != now and not idle(attempt.k, place): yield place, wrong


@SUCCESS
@pytest.mark.parametrize("by", [1, -1])
def test_write_of_another_value_is_refused(case: Case, by: int) -> None:
    attempt = Attempt(case)
    k = attempt.k
    for place, wrong in _other_value(case, attempt, lambda before, now: now + by):
        now = load(k, place)
        store(k, place, wrong)
        refused = attempt.refused()
        store(k, place, now)
        assert refused, f"nothing demands that {place} becomes {now} rather than {wrong}"


BLANK = {
    "container": ("used_pages", "used_blocks", "used_giants", "processes", "born", "core_count"),
    "process": ("thread_count", "mappings"),
    "endpoint": ("head",),
}
"""What is 0 in a new object by its specification, which nothing writes."""


@pytest.mark.parametrize("value", [1, -1])
@SUCCESS
def test_new_object_that_is_not_blank_is_refused(case: Case, value: int) -> None:
    attempt = Attempt(case)
    k = attempt.k
    created = [place for place, before in attempt.before.items()
               if place[0] == "page" and place[2] == "kind" and before == FREE]  # fmt: skip
    for _, id, _, _ in created:
        table = KIND_NAMES[k.page[id].kind]
        for field in BLANK.get(table, ()):
            place: Place = (table, id, field, None)
            if load(k, place) != 0 or place in attempt.before: continue
            store(k, place, value)
            assert attempt.refused() == f"specification {case.transition}", place
            store(k, place, 0)


def test_a_write_that_changes_nothing_is_no_change() -> None:
    case = next(c for c in CASES if c.transition == "thread_yield" and c.outcome == "OK")
    attempt = Attempt(case)
    log(attempt.k, ("process", attempt.k.thread[attempt.arguments[0]].process, "status", None), 0)
    assert attempt.refused() == ""


def test_what_is_allowed_is_a_subset() -> None:
    for mine in range(8):
        for asked in range(8): assert allows(mine, asked) == (asked & ~mine == 0)
