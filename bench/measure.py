"""What all benchmarks share: interleaved rounds, medians with their spread, a table and a JSON file.

A measured thing and its floor take turns (A B A B ...), and a ratio is the median of the ratios of neighbours: on a
machine that others use as well, what is slow for one of a pair is usually slow for the other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple, TypeVar


@dataclass(frozen=True)
class Result:
    """One number.  ``low`` and ``high`` are the extremes of the rounds that ``value`` is the median of; ``met`` is None
    where there is no goal."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    met: bool | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


def result(
    name: str, samples: float | Sequence[float], unit: str, goal: float | None = None,
    *, at_least: bool = False, note: str = "",
) -> Result:  # fmt: skip
    """The median of the samples against a goal: at most that, or with ``at_least`` no less."""
    values = [samples] if isinstance(samples, int | float) else list(samples)
    value = median(values)
    met = None if goal is None else value >= goal if at_least else value <= goal
    many = len(values) > 1
    return Result(name, value, unit, goal, met, min(values) if many else None, max(values) if many else None, note)


T = TypeVar("T")


def rounds(count: int, **parts: Callable[[], T]) -> dict[str, list[T]]:
    """Measures every part in turn, ``count`` times over, after one turn that does not count."""
    samples: dict[str, list[T]] = {name: [] for name in parts}
    for turn in range(count + 1):
        for name, part in parts.items():
            value = part()
            if turn: samples[name].append(value)
    return samples


def ratios(measured: Sequence[float], floor: Sequence[float]) -> list[float]:
    """Round by round, measured over floor."""
    return [one / other for one, other in zip(measured, floor, strict=True)]


class Took(NamedTuple):
    """Seconds that something took: on the clock, and of processors.  Where others use the machine as well, only the
    second says something."""

    clock: float
    cpu: float


def run_and_time(command: Sequence[str], env: Mapping[str, str] | None = None) -> Took:
    """Runs a command to its end, its output discarded.  Raises RuntimeError if it fails."""
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], list(command), os.environ if env is None else env, file_actions=nowhere)
    _, status, usage = os.wait4(pid, 0)
    took = Took(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)
    if status != 0: raise RuntimeError(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return took


@contextlib.contextmanager
def pinned(*cpus: int) -> Iterator[None]:
    """Keeps this thread, and threads and processes it starts, on these CPUs; afterwards it has its own again."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def host_facts() -> dict[str, Any]:
    """What the numbers depend on: CPU, kernel, Python, load, and how this host's KVM behaves (``hv.probe``)."""
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    facts: dict[str, Any] = {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "linux": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }
    try:
        from hv.kvm import Kvm
        from hv.probe import probe

        with Kvm() as kvm:
            facts["kvm"] = probe(kvm)._asdict()
    except Exception as error:  # benchmarks of the kernel alone run without KVM
        facts["kvm"] = f"none: {error}"
    return facts


_COLUMNS = "{:<58} {:>10} {:<7} {:>22}   {}"


def _line(row: Result) -> str:
    def number(value: float) -> str:
        return f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value < 1 else f"{value:.2f}"

    spread = "" if row.low is None or row.high is None else f"{number(row.low)} .. {number(row.high)}"
    remark = row.note
    if row.goal is not None: remark = f"goal {row.goal:g} {'met' if row.met else 'MISSED'}  {row.note}"
    return _COLUMNS.format(row.name, number(row.value), row.unit, spread, remark).rstrip()


def run_table(title: str, measure: Callable[[int], Iterable[Result]], argv: Sequence[str], *, turns: int = 9) -> int:
    """The command line of a benchmark: ``[--json FILE] [--rounds N]``.

    ``measure(rounds)`` yields results, which are printed as they come.  Exit status 0: it ran, whatever the numbers;
    2: wrong usage, or the file cannot be written.
    """
    parser = argparse.ArgumentParser(prog=f"python -m bench {title}", description=measure.__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the results and facts about the host to a file")
    parser.add_argument("--rounds", type=int, default=turns, metavar="N", help=f"turns of each part (default {turns})")
    options = parser.parse_args(argv)
    if options.rounds < 1: parser.error("at least one round is needed")
    facts = host_facts()
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    print(_COLUMNS.format(title, "median", "", "lowest .. highest", ""))
    found: list[Result] = []
    for row in measure(options.rounds):
        found.append(row)
        print(_line(row), flush=True)
    missed = [row.name for row in found if row.met is False]
    print(f"{sum(row.met is True for row in found)} goals met, {len(missed)} missed")
    for name in missed:
        print(f"  missed: {name}")
    if options.json:
        try:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump({"table": title, "host": facts, "results": [asdict(row) for row in found]}, file, indent=2)
                file.write("\n")
        except OSError as error:
            print(f"{options.json}: {error.strerror}", file=sys.stderr)
            return 2
    return 0


def run_kvm_table(title: str, measure: Callable[[int], Iterable[Result]], argv: Sequence[str]) -> int:
    """As ``run_table``, for what needs KVM; 1, with the reason, where there is none that can be used."""
    from hv.kvm import KvmUnavailable

    try:
        return run_table(title, measure, argv)
    except KvmUnavailable as error:
        print(f"{error.reason}\n  {error.remedy}", file=sys.stderr)
        return 1


__all__ = ["Result", "Took", "host_facts", "pinned", "ratios", "result", "rounds", "run_and_time", "run_kvm_table",
           "run_table"]  # fmt: skip
