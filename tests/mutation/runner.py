"""Runs tests again and again on sources that change, each time in a fork that imports them anew.

``python -m runner COLLECTED`` in the copy reads requests, a line of JSON each, and answers each with one:
``{"tests": {node id: seconds of processor time it may take}, "record": file or ""}`` with
``{"by": the first test that failed or "", "seconds": of processor time}``.  What pytest does before a test begins takes
longer than most tests that notice a change; here it is done once (``collection``), and what neither depends on the
kernel nor on its tests is imported before the fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import pytest

NO_END: Final = " (no end)"
IMPORT: Final = "import"
"""What is executed before the first test, under this name."""
IMPORTING: Final = 60.0
"""Seconds of processor time that importing a module of tests may take."""
MEMORY: Final = 4 << 30
"""Bytes that a run may use: a change may allocate without end."""
BEFOREHAND: Final = (
    "ast", "copy", "inspect", "random", "dataclasses", "marshal", "multiprocessing", "hypothesis",
    "hypothesis.strategies",
)  # fmt: skip
Collected = dict[str, tuple[str, str, dict[str, int]]]


class Recorder:
    """What each test executes of the kernel, and how long it takes."""

    def __init__(self) -> None:
        self._root = str(Path.cwd()) + os.sep
        self._seen: set[CodeType] = set()
        self.found: dict[str, dict[str, object]] = {}

    def begin(self) -> None:
        """From here on."""
        self._start = time.process_time()
        sys.settrace(self._enter)

    def _enter(self, frame: FrameType, event: str, argument: object) -> None:
        self._seen.add(frame.f_code)

    def end(self, name: str) -> None:
        """Until here, under this name."""
        sys.settrace(None)
        places = {(code.co_filename, code.co_firstlineno) for code in self._seen}
        kernel = self._root + "kernel" + os.sep
        functions = sorted((file.removeprefix(self._root), line) for file, line in places if file.startswith(kernel))
        self.found[name] = {"seconds": time.process_time() - self._start, "functions": functions}
        self._seen.clear()


def argument(module: Any, function: Any, name: str, indices: dict[str, int], made: dict[str, Any]) -> object:
    """The value of a test's argument: of a parameter, or what a fixture of the module returns; ``made`` is what other
    fixtures have returned for this test."""
    for mark in getattr(function, "pytestmark", ()):
        if mark.name != "parametrize": continue
        names, values = mark.args[:2]
        names = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
        if name not in names: continue
        value = list(values)[indices[name]]
        if isinstance(value, type(pytest.param())): value = value.values if len(names) > 1 else value.values[0]
        return value[names.index(name)] if len(names) > 1 else value
    if name not in made:
        if name == "tmp_path": made[name] = Path(tempfile.mkdtemp())
        elif name == "monkeypatch": made[name] = pytest.MonkeyPatch()
        else: made[name] = called(module, getattr(module, name)._get_wrapped_function(), indices, made)
    return made[name]


def called(module: Any, function: Any, indices: dict[str, int], made: dict[str, Any]) -> object:
    """What a test or fixture returns, given its arguments."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return function(*(argument(module, function, name, indices, made) for name in names))


def undo(made: dict[str, Any]) -> None:
    """Takes back what a test's own files and patches were."""
    if "monkeypatch" in made: made["monkeypatch"].undo()
    if "tmp_path" in made: shutil.rmtree(made["tmp_path"], ignore_errors=True)


class Child:
    """One run, in a process of its own; its answer goes to a pipe."""

    def __init__(self, collected: Collected, answer: int) -> None:
        self._collected = collected
        self._answer = answer
        self._running = ""
        signal.signal(signal.SIGVTALRM, self._too_long)

    def _too_long(self, number: int, frame: FrameType | None) -> None:
        os.write(self._answer, (self._running + NO_END).encode())
        os._exit(0)

    def run(self, tests: dict[str, float], record: str) -> None:
        """Until the first that fails."""
        recorder = Recorder() if record else None
        sys.dont_write_bytecode = recorder is None
        modules: dict[str, Any] = {}
        for test, limit in tests.items():
            file, name, indices = self._collected[test]
            if file not in modules:
                try:
                    modules[file] = self._imported(file, recorder)
                except BaseException:
                    os.write(self._answer, file.encode())
                    return
            self._running = test
            signal.setitimer(signal.ITIMER_VIRTUAL, limit)
            if recorder: recorder.begin()
            made: dict[str, Any] = {}
            try:
                called(modules[file], getattr(modules[file], name), indices, made)
            except pytest.skip.Exception:
                pass
            except BaseException as failure:
                os.write(self._answer, test.encode())
                if recorder: print(f"{test}: {failure!r}", file=sys.stderr)
                return
            finally:
                undo(made)
                if recorder: recorder.end(test)
        if recorder: Path(record).write_text(json.dumps(recorder.found), encoding="utf-8")
        os.write(self._answer, b"-")

    def _imported(self, file: str, recorder: Recorder | None) -> object:
        self._running = file
        signal.setitimer(signal.ITIMER_VIRTUAL, IMPORTING)
        if recorder: recorder.begin()
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        if recorder: recorder.end(f"{IMPORT} {file}")
        return module


def serve(collected: Collected) -> None:
    """Answers requests until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            Child(collected, writing).run(request["tests"], request["record"])
            os._exit(0)
        os.close(writing)
        with open(reading, encoding="utf-8") as answers: answer = answers.read()
        usage = os.wait4(child, 0)[2]
        by = "" if answer == "-" else answer or "died"
        print(json.dumps({"by": by, "seconds": usage.ru_utime + usage.ru_stime}), flush=True)


if __name__ == "__main__":
    for module in BEFOREHAND: importlib.import_module(module)
    gc.freeze()
    serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
