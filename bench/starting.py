"""Start-up and size: from the shell to the end of hello, programs in a machine that stays, resident memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from aerostat import Machine
from bench.built import ROOT, aerostat_command, built, environment
from bench.measure import Result, result, rounds, run_and_time

PROGRAMS: Final = 50
"""Programs run in one machine, for the time of one."""
LAZY: Final = ("z3", "rich", "capstone", "elftools", "construct", "psutil", "hypothesis", "ctypes", "asyncio")
"""What running a program must not import: slow, and of use to other commands only."""


def _loaded(program: str) -> list[str]:
    """Which of LAZY a run imports."""
    command = [sys.executable, "-X", "importtime", "-m", "aerostat", "run", "--memory", "64M", program]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stderr
    names = {match[1] for match in re.finditer(r"\|\s+(\w+)[\w.]*$", told, re.MULTILINE)}
    return sorted(names & set(LAZY))


def _peak_memory(program: str) -> float:
    """Most memory that was resident, in MB of 1,000,000 bytes: hello in 64M, by the process itself when done."""
    script = (
        "import sys; from aerostat.cli import main; status = main(['run', '--memory', '64M', sys.argv[1]]); "
        "print(status, next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", script, program]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(), cwd=ROOT).stdout
    found = re.search(r"^0 VmHWM:\s+(\d+) kB", told, re.MULTILINE)
    if found is None: raise RuntimeError(f"no VmHWM: {told!r}")
    return int(found[1]) * 1024 / 1e6


def _programs(machine: Machine, path: str) -> list[float]:
    """Milliseconds from spawn to exit, each of PROGRAMS times."""
    times = []
    with open(os.devnull, "wb") as nowhere:
        for _ in range(PROGRAMS):
            start = time.perf_counter()
            status = machine.spawn(path, stdout=nowhere.fileno()).wait()
            times.append((time.perf_counter() - start) * 1000)
            if status != 0: raise RuntimeError(f"{path} ended with status {status}")
    return times


def measure(turns: int) -> Iterator[Result]:
    """Start-up, reuse, resident memory."""
    hellos = {
        "native": built("demo/hello"), "musl": built("tests/hello_libc-musl"), "glibc": built("tests/hello_libc-glibc"),
    }  # fmt: skip
    parts = {"python": partial(run_and_time, [sys.executable, "-c", "pass"])}
    for kind, path in hellos.items():
        parts[kind] = partial(run_and_time, [*aerostat_command(), "run", "--memory", "64M", path], environment())
    found = rounds(max(turns, 9), **parts)
    yield result("python -c pass, for comparison", [took.clock * 1000 for took in found["python"]], "ms")
    for kind in hellos:
        what = f"aerostat run, {kind} hello"
        yield result(f"{what}: from shell to exit", [took.clock * 1000 for took in found[kind]], "ms", 90)
        yield result(f"{what}: processor time of it", [took.cpu * 1000 for took in found[kind]], "ms")
    loaded = _loaded(hellos["musl"])
    yield result("modules loaded that should not be", float(len(loaded)), "", 0, note=" ".join(loaded))
    with Machine("64M") as machine:
        for kind, path in hellos.items():
            _programs(machine, path)
            yield result(f"a program in a machine that stays, {kind} hello", _programs(machine, path), "ms", 5)
    yield result("resident at most, hello with --memory 64M", _peak_memory(hellos["native"]), "MB", 64)


__all__ = ["measure"]
