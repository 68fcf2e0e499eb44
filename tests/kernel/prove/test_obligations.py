"""Obligations as tasks: none is missing, what becomes of one that fails, and what is kept of those proved."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel.prove import counting, instances, obligations, results, source
from kernel.prove.evaluator import NotUnderstood
from kernel.prove.goals import Goal
from kernel.prove.lemmas import LEMMAS
from kernel.prove.lines import of_text
from kernel.prove.obligations import Outcome, Report, Task
from kernel.prove.processes import run_all
from kernel.prove.results import Results
from kernel.prove.solver import PROVED, REFUTED, UNKNOWN
from kernel.specs import SPECIFICATIONS


def test_all_transitions_contracts_and_lemmas_have_tasks() -> None:
    tasks = obligations.tasks()
    assert len({task.name for task in tasks}) == len(tasks)
    for what in ("preservation", "specification", "refusals"):
        assert {task.about for task in tasks if task.what == what} == SPECIFICATIONS.keys()
    assert {task.about for task in tasks if task.what == "lemma"} == LEMMAS.keys()
    assert {"boot", "ledgers", "addresses", "allocate_page", "free_giant"} <= {task.about for task in tasks}


def a_goal(status: str) -> Goal:
    return Goal("it", (), True, True, (), status, 0.0, "because")


def task(name: str, *statuses: str) -> Task:
    """A task whose goals have these statuses."""

    def prove(timeout: float, seed: int) -> Iterator[Goal]:
        source.function("kernel.boot", "begin")
        for status in statuses: yield a_goal(status)

    return Task("tests", name, "what", "it is so", prove)


@pytest.mark.parametrize(("statuses", "expected"), [
    ((), PROVED), ((PROVED, PROVED), PROVED), ((PROVED, UNKNOWN), UNKNOWN), ((UNKNOWN, REFUTED, PROVED), REFUTED),
])  # fmt: skip
def test_a_task_is_proved_if_all_its_goals_are(statuses: tuple[str, ...], expected: str) -> None:
    (_, report), = run_all([task("a", *statuses)], 1, 1.0)
    assert report.status == expected
    assert [outcome.status for outcome in report.outcomes] == list(statuses)
    assert ("kernel.boot", "begin") in report.consulted

def test_what_all_tasks_begin_with_is_made_of_what_every_result_depends_on() -> None:
    """It is evaluated once, before them: no task consults it."""
    instances.template.cache_clear()
    counting.rules.cache_clear()
    source.CONSULTED.clear()
    obligations.warm()
    assert ("kernel.ledgers", "BLOCK_PAGES") in source.CONSULTED
    for module, name in source.CONSULTED:
        origin, _ = source.module(module).imported.get(name, (module, name))
        path = source.module(origin).path.relative_to(source.ROOT)
        assert any(path.is_relative_to(its) for its in results.ENGINE), (module, name)


def test_the_transition_itself_is_among_what_its_result_depends_on() -> None:
    chosen = [task for task in obligations.tasks() if task.about == "quota_split"]
    for task, report in run_all(chosen, 1, 20.0):
        assert ("kernel.page_allocator", "quota_split") in report.consulted, task.name


def test_what_cannot_be_evaluated_ends_or_hangs_is_unknown() -> None:
    def refused(timeout: float, seed: int) -> Iterator[Goal]:
        yield a_goal(PROVED)
        raise NotUnderstood("a line")

    def ended(timeout: float, seed: int) -> Iterator[Goal]:
        os._exit(3)
        yield a_goal(PROVED)

    def hanging(timeout: float, seed: int) -> Iterator[Goal]:
        time.sleep(600)
        yield a_goal(PROVED)

    tasks = [Task("tests", prove.__name__, "what", "", prove) for prove in (refused, ended, hanging)]
    found = {of.about: report for of, report in run_all(tasks, 2, 1.0, longest=3.0)}
    assert [report.status for report in found.values()] == [UNKNOWN] * 3
    assert "a line" in found["refused"].outcomes[-1].counterexample
    assert "ended with 3" in found["ended"].outcomes[-1].counterexample
    assert "given up" in found["hanging"].outcomes[-1].counterexample


def test_what_begins_alike_begins_once_and_each_goes_on_by_itself(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    seen: list[str] = []

    def begin() -> None:
        with begun.open("a") as file: file.write("once\n")
        seen.append("the beginning")

    def proving(name: str, first: Callable[[], object] = bool) -> Task:
        def prove(timeout: float, seed: int) -> Iterator[Goal]:
            first()
            seen.append(name)
            yield Goal(", ".join(seen), (), True, True, (), PROVED)

        return Task("tests", name, "what", "", prove, begin=begin)

    def hang() -> None: time.sleep(600)

    def end() -> None: os._exit(3)

    tasks = [proving("one"), proving("ended", end), proving("two"), proving("hanging", hang), proving("three")]
    found = {of.about: report for of, report in run_all([*tasks, task("alone", PROVED)], 1, 1.0, longest=3.0)}
    assert begun.read_text() == "once\n" * 2  # and anew after what hung
    for name in ("one", "two", "three"): assert found[name].outcomes[0].name == f"the beginning, {name}"
    assert "ended with 3" in found["ended"].outcomes[0].counterexample
    assert "given up" in found["hanging"].outcomes[0].counterexample
    assert found["alone"].status == PROVED
    assert found.keys() == {of.about for of in tasks} | {"alone"}


def test_what_the_beginning_consults_a_result_depends_on() -> None:
    chosen = [task for task in obligations.tasks() if task.about == "quota_split" and task.begin is not None]
    assert len(chosen) > 3
    for task, report in run_all(chosen, 1, 20.0):
        assert ("kernel.page_allocator", "quota_split") in report.consulted, task.name
        assert report.status == PROVED, task.name


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    results.of_name.cache_clear()
    return tmp_path


def kept(of: Task, *statuses: str, seed: int = 0) -> Results:
    """Results in which a task's are kept, read from their file."""
    first = Results(seed)
    outcomes = tuple(Outcome("it", status) for status in statuses)
    first.keep(of, Report(of.name, outcomes, 2.0, 1.5, (("kernel.boot", "begin"), ("kernel.boot", "ROOT"))))
    first.save()
    return Results(seed)


def test_what_was_proved_is_kept(cache: Path) -> None:
    found = kept(task("a"), PROVED, PROVED).find(task("a"))
    assert found is not None
    assert found.cached
    assert (found.status, found.cpu) == (PROVED, 1.5)
    assert Results(used=False).find(task("a")) is None
    assert Results(seed=1).find(task("a")) is None
    assert Results().find(task("b")) is None


def test_what_was_not_proved_is_not_kept_but_how_long_it_took(cache: Path) -> None:
    found = kept(task("a"), PROVED, UNKNOWN)
    assert found.find(task("a")) is None
    assert found.seconds(task("a")) == 1.5


def test_a_changed_function_is_proved_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(task("a"), PROVED)
    functions = source.module("kernel.boot").functions
    for text, same in ((ast.unparse(functions["begin"].tree), True), ("def begin(k): k.memory.blocks = 1", False)):
        tree = ast.parse(text).body[0]
        assert isinstance(tree, ast.FunctionDef)
        monkeypatch.setitem(functions, "begin", source.Function("kernel.boot", "begin", tree))
        results.of_name.cache_clear()
        assert (before.find(task("a")) is not None) is same


def test_a_changed_constant_is_a_reason_to_prove_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernel import boot

    before = kept(task("a"), PROVED)
    monkeypatch.setattr(boot, "ROOT", 513)
    results.of_name.cache_clear()
    assert before.find(task("a")) is None


def test_a_damaged_file_of_results_is_none(cache: Path) -> None:
    path = kept(task("a"), PROVED).path
    path.write_text("{")
    assert Results().find(task("a")) is None


def test_lines_that_count() -> None:
    text = '"""What\nit is."""\n\nimport os  # why\n\n# a comment\ndef f(\n    a,\n):\n    """Doc."""\n'
    text += '    return """x\n\ny"""\n'
    assert of_text(text) == 7
