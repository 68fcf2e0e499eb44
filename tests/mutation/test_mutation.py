"""The mutation tool: what it changes, what it leaves alone, and that it notices what tests notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation.equivalents import EQUIVALENT, compares_same_object, equivalents
from tests.mutation.executed import Executed, functions_of, quick, slow
from tests.mutation.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SOURCE = """from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LIMIT = 1 + 2


def double(x: int | None) -> int | None:
    y: int | None = x * 2
    return y
"""


TEST = """import pytest
from kernel.doubling import double

@pytest.fixture
def three():
    return 3

@pytest.mark.parametrize("factor", [3, 4], ids=["three", "four"])
@pytest.mark.parametrize(("one", "two"), [(1, 2)])
def test_factors(one, two, factor):
    assert double(factor) == double(one) * factor
    assert two == 2

def test_double(three, tmp_path):
    assert double(three) == 6
    assert not list(tmp_path.iterdir())

def test_skipped():
    pytest.skip("not here")
"""
NAMES = ["test_doubling.py::test_factors[1-2-three]", "test_doubling.py::test_factors[1-2-four]",
         "test_doubling.py::test_double", "test_doubling.py::test_skipped"]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/kernel").mkdir(parents=True)
    (tmp_path / "root/kernel/__init__.py").touch()
    (tmp_path / "root/kernel/doubling.py").write_text(SOURCE)
    (tmp_path / "root/test_doubling.py").write_text(TEST)
    return tmp_path / "root"


@pytest.fixture
def space(root: Path, tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(root, tmp_path / "copy", ("kernel", "test_doubling.py"), ("test_doubling.py",))
    yield made
    made.close()


LIMITS = dict.fromkeys(NAMES, 5.0)


def test_change_that_a_test_notices_is_caught_and_taken_back(space: Workspace) -> None:
    assert space.tests == NAMES
    assert not space.run(LIMITS).caught
    space.change("kernel/doubling.py", SOURCE.replace("x * 2", "x * 3"))
    assert space.run(LIMITS).by == NAMES[2]
    space.change("kernel/doubling.py", SOURCE.replace("x * 2", "x * 2 if x < 4 else 0"))
    assert space.run(LIMITS).by == NAMES[1]
    space.change("kernel/doubling.py", SOURCE.replace("x * 2", "2 * x"))
    assert not space.run(LIMITS).caught
    space.change("kernel/doubling.py", "raise SystemExit")
    assert space.run(LIMITS).by == "test_doubling.py"
    space.restore()
    assert not space.run(LIMITS).caught
    assert (space.folder / "kernel/doubling.py").read_text() == SOURCE


def test_change_without_end_is_caught(space: Workspace) -> None:
    space.change("kernel/doubling.py", SOURCE.replace("    y: int", "    while x == 4: pass\n    y: int"))
    assert space.run(dict.fromkeys(NAMES, 0.2)).by == f"{NAMES[1]} (no end)"


def test_death_of_the_process_is_caught(space: Workspace) -> None:
    space.change("kernel/doubling.py", "import os\nos._exit(0)")
    assert space.run(LIMITS).by == "died"


def test_tests_of_a_change_are_those_that_execute_it(space: Workspace, tmp_path: Path) -> None:
    more = SOURCE + "\n\ndef unused() -> int:\n    return 1\n"
    (space.folder / "kernel/doubling.py").write_text(more)
    record = tmp_path / "record.json"
    assert not space.run(LIMITS, record).caught
    executed = Executed(space.folder, [record], NAMES)
    line = 1 + more.splitlines().index("    y: int | None = x * 2")
    assert set(executed.tests("kernel/doubling.py", line)) == set(NAMES)
    assert next(iter(executed.tests("kernel/doubling.py", line, NAMES[1]))) == NAMES[1]
    assert set(executed.tests("kernel/doubling.py", 3)) == set(NAMES), "it is executed by the import"
    assert set(executed.tests("kernel/doubling.py", len(more.splitlines()))) == set(NAMES[2:]), "these are always run"
    assert functions_of("class A:\n    @property\n    def b(self): return 1\n\ndef c(): pass\n") == [
        (2, 3, "A.b"), (5, 5, "c"),
    ]  # fmt: skip


def test_what_does_not_execute_is_not_changed(root: Path) -> None:
    pytest.importorskip("cosmic_ray", reason="make mutate installs it")
    from tests.mutation.mutations import mutated, mutations

    found = list(mutations(root, ["kernel/doubling.py"]))
    assert found
    assert {mutation.line for mutation in found} == {10}
    changes = {mutated(root, mutation)[1:] for mutation in found}
    assert ("y: int | None = x * 2", "y: int | None = x + 2") in changes
    assert all(before == "y: int | None = x * 2" != after for before, after in changes)


def test_slow_tests_are_apart() -> None:
    tests = ["tests/kernel/test_touched.py::a", "tests/kernel/test_check.py::b", "tests/kernel/test_fuzz.py::c"]
    assert quick(tests) == [tests[1]]
    assert list(slow(tests, tests[2])) == [tests[2], tests[0]]


def test_sample_does_not_depend_on_other_lines(root: Path) -> None:
    pytest.importorskip("cosmic_ray", reason="make mutate installs it")
    from tests.mutation.__main__ import sample
    from tests.mutation.mutations import mutations

    before = sample(root, list(mutations(root, ["kernel/doubling.py"])), 5, seed=1)
    (root / "kernel/doubling.py").write_text(f"# moves all lines\n\n{SOURCE}")
    after = sample(root, list(mutations(root, ["kernel/doubling.py"])), 5, seed=1)
    assert len(before) == 5
    assert {attempt.mutation.identity for attempt in before} == {attempt.mutation.identity for attempt in after}


def test_equivalent_changes_are_of_lines_that_are_there_and_have_reasons() -> None:
    for (module, before, after), reason in equivalents(EQUIVALENT).items():
        assert before in (ROOT / module).read_text(), f"{module} has no such line any more: {before}"
        assert before != after
        assert len(reason) > 20


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("if P.kind == FREE: return True", "if P.kind is FREE: return True", True),
        ("if P.kind != FREE and a == b: return True", "if P.kind is not FREE and a == b: return True", True),
        ("if P.kind != FREE and a == b: return True", "if P.kind != FREE and a is b: return True", False),
        ("return n == 0", "return n is 0", True),
        ("return n == 257", "return n is 257", False),
        ("return n == BLOCK_PAGES", "return n is BLOCK_PAGES", False),
        ("return n == FREE + x", "return n is FREE + x", False),
        ("return n == FREE", "return n >= FREE", False),
        ("if P.kind != kind: return 0", "if P.kind is not kind: return 0", True),
        ("if P.kind != kind: return 0", "if P.kind is kind: return 0", False),
        ("if P.owner == owner: return 0", "if P.owner is owner: return 0", False),
        ("return result == -EINVAL", "return result is -EINVAL", False),
    ],
)
def test_comparison_with_a_small_constant_may_be_of_objects(before: str, after: str, same: bool) -> None:
    assert compares_same_object(("kernel/invariants/memory.py", before, after)) == same
