"""Who may import whom: abi <- kernel <- hv <- (drivers, userland.linux) <- aerostat, and nothing imports upward."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("abi", "kernel", "hv", "drivers", "userland", "aerostat", "bench", "tests")
ALLOWED: dict[str, tuple[str, ...]] = {
    "abi": ("abi",),
    "kernel": ("abi", "kernel"),
    "hv": ("abi", "kernel", "hv"),
    "drivers": ("abi", "kernel", "hv", "drivers"),
    "userland": ("abi", "kernel", "hv", "userland"),
    "aerostat": ("abi", "kernel", "hv", "drivers", "userland", "aerostat"),
    "bench": ("abi", "kernel", "hv", "drivers", "userland", "aerostat", "bench"),
    "tests": OURS,
}
"""By package: which packages of the project it may import."""
PACKAGES = [name for name in OURS if (ROOT / name).is_dir()]


def modules(package: str) -> Iterator[Path]:
    """The Python files of a package."""
    yield from sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """What a module imports, wherever in it: line and full name."""
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            module = (base + (node.module or "")).strip(".")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def violations(package: str) -> list[str]:
    """The imports of a package that its place does not allow."""
    found = []
    for path in modules(package):
        for line, name in imported(path):
            top = name.split(".")[0]
            if top in OURS and top not in ALLOWED[package]:
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_upward(package: str) -> None:
    assert violations(package) == []


def test_kernel_imports_only_the_abi_and_the_standard_library() -> None:
    found = []
    for path in modules("kernel"):
        folder = path.relative_to(ROOT / "kernel").parts[0]
        besides = {"prove": "z3", "compiled": "mypy_extensions"}.get(folder)
        for line, name in imported(path):
            top = name.split(".")[0]
            allowed = top in ("abi", "kernel") or top in sys.stdlib_module_names or top == besides
            if not allowed: found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert found == []


def a_tool(path: Path) -> bool:
    """True for what works on the kernel from outside and is no part of what runs: its compilation, its proofs."""
    return path == ROOT / "kernel" / "compiled" / "build.py" or path.is_relative_to(ROOT / "kernel" / "prove")


def test_kernel_knows_no_clock_no_threads_and_no_network() -> None:
    forbidden = {"time", "datetime", "threading", "asyncio", "socket", "subprocess", "random", "multiprocessing"}
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules("kernel") if not a_tool(path) for line, name in imported(path)
        if name.split(".")[0] in forbidden
    ]  # fmt: skip
    assert found == []


def test_only_what_loads_the_kernel_touches_files() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in modules("kernel") if not a_tool(path)
        for _, name in imported(path) if name.split(".")[0] in ("os", "pathlib", "io")
    }  # fmt: skip
    assert found <= {
        "kernel/cache.py", "kernel/compiled/__init__.py", "kernel/evaluated.py",
        "kernel/journaled/__init__.py",
    }  # fmt: skip


def test_transitions_and_specifications_do_not_know_each_other() -> None:
    """A specification never calls a transition or its helpers, and a transition nothing that checks it."""
    from kernel.journaled import TRANSITIONS

    transitions = {f"kernel.{name}" for name in TRANSITIONS}
    checks = ("kernel.specs", "kernel.invariants", "kernel.check", "kernel.touched", "kernel.ledgers", "kernel.view")
    for path in [*modules("kernel/specs"), *modules("kernel/invariants")]:
        for line, name in imported(path):
            assert name.rsplit(".", 1)[0] not in transitions, f"{path}:{line} imports {name}"
    for module in TRANSITIONS:
        for line, name in imported(ROOT / "kernel" / f"{module}.py"):
            assert not name.startswith(checks), f"kernel/{module}.py:{line} imports {name}"


def test_a_wrong_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernel" / "deep").mkdir(parents=True)
    (tmp_path / "kernel" / "deep" / "wrong.py").write_text(
        "def late():\n    from hv.kvm import Kvm\n    import userland.linux\n    from . import right\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert [text.split()[-1] for text in violations("kernel")] == ["hv.kvm.Kvm", "userland.linux"]
