"""``python -m bench calls``: what the paper's Table 3 has, as ratios to the exit floor of the same run.

Atmosphere (SOSP'25), Table 3, gives cycles of call/reply, of call/reply with a page, and of mapping a page; creating
threads and processes are here besides.  A ratio is that of the medians of one turn; cycles and microseconds are over
all turns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from statistics import mean, median
from typing import Final

from aerostat import Machine
from bench import growth, pingpong
from bench.alone import Alone
from bench.measure import Result, pinned, ratios, result, rounds, run_kvm_table
from bench.timings import FLOOR, KINDS, Distribution, Timings

CALLS: Final = 300
"""Calls of each kind in a turn."""
GOALS: Final = {
    "call/reply": 2.6, "call/reply with a page": 2.8, "map a 4 KiB page": 1.5, "create a thread": 2.5,
    "create a process": 4.0,
}  # fmt: skip
"""Times the exit floor, with ``--check touched``; a call/reply has two exits."""
SIMPLE: Final = 6.0
PAIR: Final = 10.0
"""Microseconds on the kernel alone, checks included: of one call, and of a call with its reply."""


def _in_machine(turns: int, check: str) -> Iterator[Result]:
    with Machine("64M", check=check) as machine:
        timings = Timings(machine, CALLS)
        timings.run(turns)
    for name in KINDS:
        everything = Distribution([cycles for turn in timings.turns for cycles in turn[name].samples])
        medians = [turn[name].median for turn in timings.turns]
        if name != FLOOR:
            goal = GOALS.get(name) if check == "touched" else None
            floors = [turn[FLOOR].median for turn in timings.turns]
            yield result(f"{name} / floor, --check {check}", ratios(medians, floors), "x", goal)
        yield result(f"{name}, --check {check}", medians, "cycles", note=_spread(everything, 1, "cycles"))
        scale = timings.cycles_per_us
        yield result("  the same", [cycles / scale for cycles in medians], "us", note=_spread(everything, scale, "us"))


def _spread(of: Distribution, scale: float, unit: str) -> str:
    values = (of.mean / scale, of.median / scale, of.p99 / scale)
    digits = 0 if unit == "cycles" else 1
    return "mean {}, median {}, p99 {}".format(*(f"{value:.{digits}f}" for value in values))


def _alone(turns: int) -> Iterator[Result]:
    found = rounds(turns, off=Alone("off").sample, touched=Alone("touched").sample)
    for name in found["off"][0]:
        off = [sample[name] for sample in found["off"]]
        touched = [sample[name] for sample in found["touched"]]
        goal = PAIR if name.startswith("call/reply") else SIMPLE
        note = f"without checks {median(off):.1f}, mean {mean(touched):.1f}"
        yield result(f"{name}: kernel alone, --check touched", touched, "us", goal, note=note)


def measure(turns: int) -> Iterator[Result]:
    """Native calls against the exit floor, the kernel alone, growth, and shared memory."""
    with pinned(max(os.sched_getaffinity(0))):
        for check in ("touched", "off"):
            yield from _in_machine(turns, check)
        yield from _alone(turns)
        yield from growth.measure(turns)
    yield from pingpong.measure(max(3, turns // 3))


def main(argv: list[str]) -> int:
    """The command line of this table; 1 where there is no usable KVM."""
    return run_kvm_table("calls", measure, argv)


__all__ = ["GOALS", "main", "measure"]
