"""Start-up and size: from the shell to the end of hello, programs in a machine that stays, resident memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from aerostat import Machine
from bench.built import ROOT, aerostat_command, built, environment
from bench.measure import Result, result, rounds

PROGRAMS: Final = 50
"""Programs run in one machine, for the time of one."""
LAZY: Final = ("z3", "rich", "capstone", "elftools", "construct", "psutil", "hypothesis", "ctypes", "asyncio")
"""What running a program must not import: slow, and of use to other commands only."""


def _seconds(command: list[str]) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
        return (time.perf_counter() - start) * 1000

    return run


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
    native, musl = built("demo/hello"), built("tests/hello_libc-musl")
    command = [*aerostat_command(), "run", "--memory", "64M"]
    found = rounds(
        max(turns, 9), python=_seconds([sys.executable, "-c", "pass"]),
        native=_seconds([*command, native]), musl=_seconds([*command, musl]),
    )  # fmt: skip
    yield result("python -c pass, for comparison", found["python"], "ms")
    yield result("aerostat run, native hello, from shell to exit", found["native"], "ms", 90)
    yield result("aerostat run, musl hello, from shell to exit", found["musl"], "ms", 90)
    loaded = _loaded(musl)
    yield result("modules loaded that should not be", float(len(loaded)), "", 0, note=" ".join(loaded))
    with Machine("64M") as machine:
        _programs(machine, native)
        yield result("a program in a machine that stays, native hello", _programs(machine, native), "ms", 5)
        yield result("a program in a machine that stays, musl hello", _programs(machine, musl), "ms", 5)
    yield result("resident at most, hello with --memory 64M", _peak_memory(native), "MB", 64)


__all__ = ["measure"]
