"""What each test executes of the kernel, and from that the tests to run for a change, those likely to notice it first.

A test that never enters the function that was changed cannot notice, unless what was changed runs when modules are
imported or the test reads sources; for those all tests are run, or the test is run always.
"""

from __future__ import annotations

import ast
import json
import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tests.mutation.runner import IMPORT

SLOW: Final = ("tests/kernel/test_touched.py", "tests/kernel/test_fuzz.py", "tests/kernel/test_compiled.py::test_build")
"""What takes longer than all other tests together: run, as it stands there, only on changes that no other noticed."""
SLOW_LIMIT: Final = 300.0
"""Seconds of processor time that a slow test may take."""
UNKNOWN: Final = 10.0
"""Seconds that a test is thought to take which was not recorded."""
Function = tuple[str, str]
"""A module, and the name of a function or ``Class.method``; "" is the module itself."""


def functions_of(source: str) -> list[tuple[int, int, str]]:
    """The outermost functions and methods: (first line with decorators, last line, name), in order."""
    found = []
    for node in ast.parse(source).body:
        inner = [(f"{node.name}.", part) for part in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        for prefix, part in inner:
            if isinstance(part, ast.FunctionDef):
                first = min([part.lineno, *(decorator.lineno for decorator in part.decorator_list)])
                found.append((first, part.end_lineno or part.lineno, prefix + part.name))
    return found


class Executed:
    """The recorded runs of tests (``runner``), against the sources that they were made on."""

    def __init__(self, root: Path, recordings: Iterable[Path], tests: Sequence[str]) -> None:
        self._root = root
        self._seconds: dict[str, float] = {}
        self._tests: dict[Function, set[str]] = {}
        self._at_import: set[Function] = set()
        self._always: set[str] = set()
        """Tests that are run for any change: those that may read sources."""
        for recording in recordings:
            for name, run in json.loads(recording.read_text(encoding="utf-8")).items():
                entered = {self.function(module, line) for module, line in run.get("functions", ())}
                if name.startswith(f"{IMPORT} "):
                    self._at_import |= entered
                    continue
                self._seconds[name] = run["seconds"]
                if "[" not in name: self._always.add(name)
                if name not in tests: continue
                for function in entered: self._tests.setdefault(function, set()).add(name)

        for name in set(tests) - self._seconds.keys():  # new since then
            self._seconds[name] = UNKNOWN
            self._always.add(name)
        for name in self._seconds.keys() - set(tests): del self._seconds[name]
        self._always &= self._seconds.keys()

    @cache  # noqa: B019 - one object for the whole run
    def _functions(self, module: str) -> list[tuple[int, int, str]]:
        return functions_of((self._root / module).read_text(encoding="utf-8"))

    def function(self, module: str, line: int) -> Function:
        """The function that a line is in."""
        functions = self._functions(module)
        n = bisect_right(functions, line, key=lambda function: function[0]) - 1
        return (module, functions[n][2]) if n >= 0 and line <= functions[n][1] else (module, "")

    def tests(self, module: str, line: int, noticed_by: str = "") -> dict[str, float]:
        """The tests for a change of this line, each with the seconds that it may take, in the order to run them: first
        ``noticed_by``, then those named after the function, then the quicker ones."""
        function = self.function(module, line)
        everything = function[1] == "" or function in self._at_import
        chosen = set(self._seconds) if everything else self._tests.get(function, set()) | self._always
        name = function[1].rpartition(".")[2]
        mixed = sorted(chosen)
        random.Random(0).shuffle(mixed)  # neighbours notice the same

        def rank(test: str) -> tuple[bool, bool, int]:
            return test != noticed_by, not name or name not in test, int(4 * self._seconds[test])

        return {test: 10 * self._seconds[test] + 3 for test in sorted(mixed, key=rank)}


def quick(tests: Sequence[str]) -> list[str]:
    """The tests that are not slow."""
    return [test for test in tests if not test.startswith(SLOW)]


def slow(tests: Sequence[str], noticed_by: str = "") -> dict[str, float]:
    """The slow tests, ``noticed_by`` first, each with the seconds that it may take."""
    chosen = sorted((test for test in tests if test.startswith(SLOW)), key=lambda test: test != noticed_by)
    return dict.fromkeys(chosen, SLOW_LIMIT)


__all__ = ["Executed", "functions_of", "quick", "slow"]
