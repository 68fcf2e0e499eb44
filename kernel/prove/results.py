"""What was proved before, kept until something changes that it was proved from.

A task's result depends on the engine (kernel/prove), the invariants, ledger rules and classes of objects, and on z3:
a change there forgets everything.  And it depends on the functions and constants that the evaluator consulted: a
change of these forgets the tasks that did.  What was not proved is never kept.  How long each task took is.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import z3

from kernel.prove import source
from kernel.prove.obligations import Outcome, Report, Task
from kernel.prove.solver import PROVED

ENGINE: Final = (
    "kernel/prove", "kernel/invariants", "kernel/objects", "kernel/ledgers.py", "kernel/storage.py",
    "kernel/written.py", "kernel/touched.py", "kernel/specs/__init__.py", "kernel/specs/frame.py",
    "kernel/journaled/__init__.py", "abi/layout.py",
)  # fmt: skip
"""Files and folders on which every result depends."""


@cache
def of_files(*paths: str) -> str:
    """A digest of these files, and of the Python files in these folders, below the project's own."""
    digest = hashlib.sha256()
    for path in paths:
        full = source.ROOT / path
        for file in sorted(full.rglob("*.py")) if full.is_dir() else [full]:
            digest.update(f"{file.relative_to(source.ROOT)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def of_name(module: str, name: str) -> str:
    """A digest of what a name stands for; empty if it is nothing."""
    try:
        found = source.module(module)
        if found.bound[name] > 1: said = found.text
        elif name in found.functions: said = ast.dump(found.functions[name].tree)
        else: said = _constant(found.meaning(name)) or found.text
    except (KeyError, ImportError, OSError):
        return ""
    return hashlib.sha256(said.encode()).hexdigest()


def _constant(value: Any) -> str:
    """A constant as text; empty for what is not made of integers and texts."""
    if isinstance(value, source.Function): return f"{value.module}.{value.name}"
    if value is None or isinstance(value, (bool, int, str)): return repr(value)
    if isinstance(value, tuple): parts = [_constant(part) for part in value]
    elif isinstance(value, frozenset): parts = sorted(_constant(part) for part in value)
    elif isinstance(value, dict): parts = [f"{_constant(key)}:{_constant(part)}" for key, part in value.items()]
    else: return ""
    return f"{type(value).__name__}({','.join(parts)})" if all(parts) else ""


def folder() -> Path:
    """Where results are kept: below the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aerostat" / "proofs"


class Results:
    """Results that were kept."""

    def __init__(self, seed: int = 0, used: bool = True) -> None:
        place = hashlib.sha256(str(source.ROOT).encode()).hexdigest()[:16]
        self.path = folder() / f"{place}.json"
        self.seed = seed
        self.used = used
        """False if nothing that was kept is to be believed."""
        self.engine = f"{of_files(*ENGINE)} z3 {z3.get_version_string()} Python {sys.version_info[:3]} seed {seed}"
        self._kept: dict[str, Any] = {}
        try:
            kept = json.loads(self.path.read_text("utf-8"))
            if isinstance(kept, dict): self._kept = kept
        except (OSError, ValueError):
            pass  # none, or damaged

    def seconds(self, task: Task) -> float | None:
        """How long a task took when it was run last; None if it never was."""
        found = self._kept.get(task.name)
        return float(found["cpu"]) if isinstance(found, dict) and "cpu" in found else None

    def find(self, task: Task) -> Report | None:
        """A task's result, if all that it depends on is as it was."""
        found = self._kept.get(task.name)
        if not self.used or not isinstance(found, dict) or found.get("engine") != self._engine(task): return None
        if any(of_name(module, name) != digest for module, name, digest in found["consulted"]): return None
        outcomes = tuple(Outcome(**outcome) for outcome in found["outcomes"])
        return Report(task.name, outcomes, found["seconds"], found["cpu"], (), cached=True)

    def keep(self, task: Task, report: Report) -> None:
        """Notes a result, for ``save``."""
        kept: dict[str, Any] = {"seconds": report.seconds, "cpu": report.cpu}
        if report.status == PROVED:
            kept["engine"] = self._engine(task)
            kept["consulted"] = [[module, name, of_name(module, name)] for module, name in report.consulted]
            kept["outcomes"] = [asdict(outcome) for outcome in report.outcomes]
        self._kept[task.name] = kept

    def _engine(self, task: Task) -> str:
        return f"{self.engine} {of_files(*task.sources)}" if task.sources else self.engine

    def save(self) -> None:
        """Writes what is kept to its file; a cache folder that cannot be written to is no error."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            staged = self.path.with_suffix(f".{os.getpid()}")
            staged.write_text(json.dumps(self._kept), "utf-8")
            os.replace(staged, self.path)
        except OSError:
            pass


USUAL: Final = {"preservation": 3.0, "specification": 2.0, "contract": 2.0}
"""Seconds that tasks of these kinds take where nothing better is known."""


def longest_first(tasks: Iterable[Task], results: Results) -> list[Task]:
    """Tasks in the order in which to begin them, by how long they took last."""

    def seconds(task: Task) -> float:
        known = results.seconds(task)
        return USUAL.get(task.what, 1.0) if known is None else known

    return sorted(tasks, key=seconds, reverse=True)


__all__ = ["Results", "folder", "longest_first", "of_files", "of_name"]
