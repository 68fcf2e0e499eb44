"""A copy of the kernel and its tests in which one module is changed at a time."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kernel.mutants import MUTATED

COPIED: Final = ("abi", "kernel", "tests/__init__.py", "tests/conftest.py", "tests/kernel", "pyproject.toml")
TESTS: Final = (
    "tests/kernel/test_specifications.py", "tests/kernel/test_check.py", "tests/kernel/test_invariants.py",
    "tests/kernel/test_fuzz.py", "tests/kernel",
    *(f"--deselect=tests/kernel/test_fuzz.py::test_100_000_random_calls_with_full_checks[{n}]" for n in range(1, 5)),
)  # fmt: skip
"""What is run, in this order, until something fails; of the random calls a fifth, for they are more of the same."""
MEMORY: Final = 4 << 30
"""Bytes that a run may use: a change may allocate without end."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: caught or not, and by what."""

    caught: bool
    by: str
    cpu: float
    """Seconds of processor time."""


class Workspace:
    """A folder with a copy, and a processor-time limit for its runs."""

    def __init__(
        self, root: Path, folder: Path, limit: int, copied: Sequence[str] = COPIED, tests: Sequence[str] = TESTS
    ) -> None:
        self.folder = folder
        self.limit = limit
        self._tests = tests
        shutil.rmtree(folder, ignore_errors=True)
        for name in copied:
            source, target = root / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.calls"))
            else: shutil.copy(source, target)

    def run(self, module: str, source: str) -> Outcome:
        """Runs the tests with another source of one module, and puts its own back."""
        path = self.folder / module
        kept = path.read_text(encoding="utf-8")
        try:
            self._write(path, source)
            return self.test()
        finally:
            self._write(path, kept)

    @staticmethod
    def _write(path: Path, source: str) -> None:
        """A cache of byte code knows a source by its size and second only."""
        path.write_text(source, encoding="utf-8")
        for cache in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            cache.unlink()

    def test(self) -> Outcome:
        """Runs the tests, until one fails."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-rfE",
                   "-p", "no:cacheprovider", *self._tests]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONHASHSEED": "0",
                       "AEROSTAT_PURE": "1", MUTATED: "1"}
        with subprocess.Popen(command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:  # fmt: skip
            assert process.stdout is not None
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (self.limit, self.limit + 5))
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime
        if process.returncode == 0: return Outcome(False, "", cpu)
        if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL): return Outcome(True, "no end", cpu)
        failed = [line.split(" ")[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return Outcome(True, failed[0] if failed else (output.strip().splitlines() or ["?"])[-1], cpu)


__all__ = ["TESTS", "Outcome", "Workspace"]
