"""The mutation tool: what it changes, what it leaves alone, and that it notices what tests notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.equivalents import EQUIVALENT, equivalents
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/kernel").mkdir(parents=True)
    (tmp_path / "root/kernel/__init__.py").touch()
    (tmp_path / "root/kernel/doubling.py").write_text(SOURCE)
    test = "from kernel.doubling import double\n\ndef test_double():\n    assert double(3) == 6\n"
    (tmp_path / "root/test_doubling.py").write_text(test)
    return tmp_path / "root"


def workspace(root: Path, tmp_path: Path) -> Workspace:
    return Workspace(root, tmp_path / "copy", 60, ("kernel", "test_doubling.py"), ("test_doubling.py",))


def test_change_that_a_test_notices_is_caught_and_taken_back(root: Path, tmp_path: Path) -> None:
    space = workspace(root, tmp_path)
    assert not space.test().caught
    caught = space.run("kernel/doubling.py", SOURCE.replace("x * 2", "x * 3"))
    assert caught.caught
    assert caught.by == "test_doubling.py::test_double"
    assert not space.run("kernel/doubling.py", SOURCE.replace("x * 2", "2 * x")).caught
    assert not space.test().caught
    assert (space.folder / "kernel/doubling.py").read_text() == SOURCE


def test_change_without_end_is_caught(root: Path, tmp_path: Path) -> None:
    space = workspace(root, tmp_path)
    space.limit = 2
    assert space.run("kernel/doubling.py", SOURCE + "\nwhile True: pass\n").by == "no end"


def test_what_does_not_execute_is_not_changed(root: Path) -> None:
    pytest.importorskip("cosmic_ray", reason="make mutate installs it")
    from tests.mutation.mutations import mutated, mutations

    found = list(mutations(root, ["kernel/doubling.py"]))
    assert found
    assert {mutation.line for mutation in found} == {10}
    changes = {mutated(root, mutation)[1:] for mutation in found}
    assert ("y: int | None = x * 2", "y: int | None = x + 2") in changes
    assert all(before == "y: int | None = x * 2" != after for before, after in changes)


def test_equivalent_changes_are_of_lines_that_are_there_and_have_reasons() -> None:
    for (module, before, after), reason in equivalents(EQUIVALENT).items():
        assert before in (ROOT / module).read_text(), f"{module} has no such line any more: {before}"
        assert before != after
        assert len(reason) > 20
