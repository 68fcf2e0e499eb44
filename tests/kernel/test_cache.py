"""Code made from sources is kept until one of them changes, and made anew where what was kept is no good."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

import kernel
from kernel import cache, evaluated
from tests.kernel.pure import with_sources


class Maker:
    """Makes code that says how often it was made."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> CodeType:
        self.times += 1
        return compile(f"x = {self.times}", "<made>", "exec")


def value(code: CodeType) -> object:
    """What the code says."""
    names: dict[str, object] = {}
    exec(code, names)
    return names["x"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is kept; Python may write bytecode."""
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    monkeypatch.setattr(cache, "write_always", False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "a.py").write_text("a")
    (tmp_path / "b.py").write_text("b")
    return tmp_path


def cached(folder: Path, make: Callable[[], CodeType], name: str = "made") -> object:
    """The value of what is kept for both sources."""
    return value(cache.cached_code(name, (str(folder / source) for source in ("a.py", "b.py")), make))


def test_it_is_made_once_until_a_source_changes(folder: Path) -> None:
    make = Maker()
    assert [cached(folder, make), cached(folder, make)] == [1, 1]
    for times, name in enumerate(("a.py", "b.py"), 2):
        (folder / name).write_text("longer")
        assert [cached(folder, make), cached(folder, make)] == [times, times]
    os.utime(folder / "b.py", ns=(1, 1))
    assert [cached(folder, make), cached(folder, make)] == [4, 4]
    assert cached(folder, make, "another") == 5
    assert cached(folder, make) == 4
    assert sorted(path.name for path in (folder / "__pycache__").iterdir()) == [
        f"{name}.{sys.implementation.cache_tag}.made" for name in ("another", "made")
    ]


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_damage_is_no_error(folder: Path, damage: bytes | None) -> None:
    make = Maker()
    cached(folder, make)
    [path] = (folder / "__pycache__").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:40] if damage is None else whole[:32] + damage)
    assert [cached(folder, make), cached(folder, make)] == [2, 2]


def test_where_python_writes_no_bytecode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    make = Maker()
    assert [cached(folder, make), cached(folder, make)] == [1, 2]
    assert not (folder / "__pycache__").exists()
    monkeypatch.setattr(cache, "write_always", True)
    assert [cached(folder, make), cached(folder, make)] == [3, 3]


def test_where_nothing_can_be_written(folder: Path) -> None:
    (folder / "__pycache__").write_text("a file")
    make = Maker()
    assert [cached(folder, make), cached(folder, make)] == [1, 2]


def test_source_that_is_not_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cache.cached_code("made", [str(folder / "c.py")], Maker())


@with_sources
def test_sources_of_the_evaluation() -> None:
    here = Path(kernel.__file__).parent
    members = [path for package in ("objects", "invariants") for path in sorted((here / package).glob("*.py"))]
    written_from = ["evaluation", "touched", "ledgers", "fields", "written"]
    assert [Path(path) for path in evaluated._sources()] == [*(here / f"{name}.py" for name in written_from), *members]
    assert all(Path(path).exists() for path in evaluated._sources())
