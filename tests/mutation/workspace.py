"""A copy of the kernel and its tests in which one module is changed at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kernel.mutants import MUTATED
from tests.mutation.collection import COLLECT

COPIED: Final = ("abi", "kernel", "tests/__init__.py", "tests/conftest.py", "tests/kernel", "pyproject.toml")
TESTS: Final = (
    "tests/kernel", "--ignore=tests/kernel/prove", "--deselect=tests/kernel/test_fuzz.py::test_fuzz_command",
    *(f"--deselect=tests/kernel/test_fuzz.py::test_100_000_random_calls_with_full_checks[{n}]" for n in range(1, 5)),
)  # fmt: skip
"""What is run; of the random calls a fifth, for they are more of the same, and not the command for more of them; and no
proofs, which have mutants of their own (``tests.kernel.prove.mutants``)."""
HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    """What came of a run: caught by a test, or not ("")."""

    by: str
    seconds: float
    """Of processor time."""

    @property
    def caught(self) -> bool:
        """Whether a test failed."""
        return self.by != ""


class Workspace:
    """A folder with a copy, and a process that runs its tests."""

    def __init__(
        self, root: Path, folder: Path, copied: Sequence[str] = COPIED, tests: Sequence[str] = TESTS
    ) -> None:
        self.folder = folder
        self._kept: dict[Path, tuple[str, os.stat_result]] = {}
        shutil.rmtree(folder, ignore_errors=True)
        for name in copied:
            source, target = root / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            else: shutil.copy2(source, target)
        path = os.pathsep.join((str(folder), str(HERE)))
        collected = folder / "collected.json"
        self._environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "AEROSTAT_PURE": "1",
                             MUTATED: "1", COLLECT: str(collected)}  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "-p", "collection",
             "--rootdir", str(folder), *tests],
            cwd=folder, env=self._environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.tests: list[str] = list(json.loads(collected.read_text(encoding="utf-8")))
        """The names of all tests."""
        self._runner = subprocess.Popen(
            [sys.executable, "-m", "runner", str(collected)], cwd=folder, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def change(self, module: str, source: str) -> None:
        """Gives a module another source, until ``restore``."""
        path = self.folder / module
        self._kept.setdefault(path, (path.read_text(encoding="utf-8"), path.stat()))
        path.write_text(source, encoding="utf-8")

    def restore(self) -> None:
        """Every module is as it was, and what was compiled from it is current again."""
        for path, (source, stat) in self._kept.items():
            path.write_text(source, encoding="utf-8")
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        self._kept.clear()

    def run(self, tests: Mapping[str, float], record: Path | None = None) -> Outcome:
        """Runs these tests, each with the seconds of processor time that it may take, until one fails; into ``record``
        goes what each executes and how long it takes."""
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        request = {"tests": dict(tests), "record": "" if record is None else str(record)}
        print(json.dumps(request), file=self._runner.stdin, flush=True)
        answer = json.loads(self._runner.stdout.readline())
        return Outcome(answer["by"], answer["seconds"])

    def close(self) -> None:
        """Ends its process."""
        assert self._runner.stdin is not None
        self._runner.stdin.close()
        self._runner.wait()


__all__ = ["COPIED", "TESTS", "Outcome", "Workspace"]
