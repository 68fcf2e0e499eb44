"""``python -m bench kernel``: what each transition takes by itself, and what its check adds; no virtual machine.

Transitions are called in cycles that come back to where they began, on one kernel without checks and on one with
``touched``, in turns.  A check's time is the difference, round by round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from bench.measure import Result, result, rounds, run_table
from kernel.boot import boot
from kernel.check import Checker
from kernel.journaled import TRANSITIONS as MODULES
from kernel.objects import Kernel
from kernel.specs import SPECIFICATIONS

CYCLES: Final = 200
"""Turns of a cycle that one measurement takes the mean of."""
GOALS: Final = {
    "map_page, refused": 1.0, "thread_wake, refused": 1.0, "thread_yield": 8.0, "schedule": 8.0, "map_page": 15.0,
}  # fmt: skip
"""Microseconds that a check may take, by transition."""


class Calls:
    """A small kernel, and transitions on it by name, each timed under a label."""

    def __init__(self, level: str) -> None:
        import importlib

        self.k: Kernel = boot(blocks=1600, cores=1)
        self._step = Checker(self.k, level).step
        self._transitions: dict[str, Callable[..., int]] = {}
        for module in MODULES:
            names = vars(importlib.import_module(f"kernel.journaled.{module}"))
            self._transitions |= {name: names[name] for name in SPECIFICATIONS if name in names}
        self.spent: dict[str, int] = {}
        """Nanoseconds by label."""
        self.made: dict[str, int] = {}
        """Calls by label."""

    def call(self, name: str, *arguments: int, label: str = "") -> int:
        """Makes a call and adds the time it took to its label's, which is its name if not said otherwise."""
        transition, step = self._transitions[name], self._step
        start = time.perf_counter_ns()
        value = step(transition, *arguments)
        end = time.perf_counter_ns()
        label = label or name
        self.spent[label] = self.spent.get(label, 0) + end - start
        self.made[label] = self.made.get(label, 0) + 1
        return value

    def running(self) -> tuple[int, int]:
        """A new process and its thread, which runs."""
        s = self.call("process_spawn", self.k.root)
        t = self.call("thread_start", s)
        while self.k.core[0].current != t:
            if self.k.core[0].current: self.call("preempt", 0)
            self.call("schedule", 0)
        return s, t


Cycle = Callable[[Calls], Callable[[], None]]
"""Sets a scene and returns what is to be measured in it."""


def refused(c: Calls) -> Callable[[], None]:
    """Calls that change nothing."""
    s, t = c.running()
    c.call("map_page", s, 1, 2, 3, 4, 7)

    def cycle() -> None:
        c.call("map_page", s, 1, 2, 3, 4, 7, label="map_page, refused")
        c.call("thread_wake", t, label="thread_wake, refused")

    return cycle


def scheduling(c: Calls) -> Callable[[], None]:
    """Two threads that take turns, and one that waits."""
    s, _ = c.running()
    c.call("thread_start", s)
    R = c.k.core[0]

    def cycle() -> None:
        c.call("thread_yield", R.current)
        c.call("schedule", 0)
        c.call("preempt", 0)
        t = c.call("schedule", 0)
        c.call("thread_block", t)
        c.call("schedule", 0)
        c.call("thread_wake", t)

    return cycle


def pages(c: Calls) -> Callable[[], None]:
    """4 KiB mappings where the tables are there, and where they are not."""
    s, _ = c.running()
    d = c.call("process_spawn", c.k.root)
    c.call("map_page", s, 1, 2, 3, 4, 7)
    c.call("map_page", d, 1, 2, 3, 4, 7)

    def cycle() -> None:
        c.call("map_page", s, 1, 2, 3, 5, 7)
        c.call("protect_page", s, 1, 2, 3, 5, 1)
        c.call("grant_page", s, 1, 2, 3, 5, d, 1, 2, 3, 6, 1)
        c.call("grant_page", d, 1, 2, 3, 6, s, 1, 2, 3, 5, 1)
        c.call("share_page", s, 1, 2, 3, 5, d, 1, 2, 3, 6, 1)
        c.call("unmap_page", s, 1, 2, 3, 5, label="unmap_page, still shared")
        c.call("unmap_page", d, 1, 2, 3, 6)
        c.call("map_page", s, 9, 9, 9, 9, 7, label="map_page, with three tables")
        c.call("unmap_page", s, 9, 9, 9, 9, label="unmap_page, with three tables")

    return cycle


def blocks(c: Calls) -> Callable[[], None]:
    """2 MiB mappings, and the quota's two sizes."""
    s, _ = c.running()
    d = c.call("process_spawn", c.k.root)
    c.call("map_block", s, 1, 2, 3, 7)
    c.call("map_block", d, 1, 2, 3, 7)

    def cycle() -> None:
        c.call("map_block", s, 1, 2, 4, 7)
        c.call("protect_block", s, 1, 2, 4, 1)
        c.call("share_block", s, 1, 2, 4, d, 1, 2, 5, 1)
        c.call("unmap_block", s, 1, 2, 4, label="unmap_block, still shared")
        c.call("unmap_block", d, 1, 2, 5)
        c.call("quota_split", c.k.root)
        c.call("quota_merge", c.k.root)

    return cycle


def giants(c: Calls) -> Callable[[], None]:
    """1 GiB mappings."""
    s, _ = c.running()
    d = c.call("process_spawn", c.k.root)
    c.call("map_page", s, 1, 2, 3, 4, 7)
    c.call("map_page", d, 1, 2, 3, 4, 7)

    def cycle() -> None:
        c.call("map_giant", s, 1, 4, 7)
        c.call("protect_giant", s, 1, 4, 1)
        c.call("grant_giant", s, 1, 4, d, 1, 5, 1)
        c.call("grant_giant", d, 1, 5, s, 1, 4, 1)
        c.call("share_giant", s, 1, 4, d, 1, 5, 1)
        c.call("unmap_giant", s, 1, 4, label="unmap_giant, still shared")
        c.call("unmap_giant", d, 1, 5)
        c.call("giant_split", c.k.root)
        c.call("giant_merge", c.k.root)

    return cycle


def threads(c: Calls) -> Callable[[], None]:
    """A thread that is created, joined, and ends."""
    _, t = c.running()

    def cycle() -> None:
        handle = c.call("thread_create", t)
        c.call("thread_join", t, handle % 65536, handle >> 16)
        c.call("thread_exit", c.call("schedule", 0), 3)
        c.call("schedule", 0)

    return cycle


def children(c: Calls) -> Callable[[], None]:
    """A child process that is created, waited for, and ends."""
    _, t = c.running()

    def cycle() -> None:
        handle = c.call("process_create", t)
        c.call("process_start", t, handle % 65536, handle >> 16)
        c.call("process_wait", t, handle % 65536, handle >> 16)
        u = c.call("schedule", 0)
        s = c.k.thread[u].process
        c.call("process_exit", u, 3)
        c.call("thread_end", u)
        c.call("process_finish", s)
        c.call("schedule", 0)

    return cycle


def spawned(c: Calls) -> Callable[[], None]:
    """A process of the host's, which is ended from outside while it holds a child."""

    def cycle() -> None:
        s = c.call("process_spawn", c.k.root)
        t = c.call("thread_start", s)
        c.call("schedule", 0)
        handle = c.call("process_create", t)
        child = c.k.process[s].handle_object[handle % 65536]
        c.call("process_end", s, 3)
        c.call("thread_end", t)
        c.call("handle_drop", s, handle % 65536)
        c.call("process_finish", child)
        c.call("process_finish", s)
        c.call("process_collect", s)

    return cycle


ALL: Final[tuple[Cycle, ...]] = (refused, scheduling, pages, blocks, giants, threads, children, spawned)


def microseconds(setting: Cycle, level: str) -> Callable[[], dict[str, float]]:
    """What measures a cycle once: the mean of each label's calls."""
    calls = Calls(level)
    cycle = setting(calls)

    def part() -> dict[str, float]:
        calls.spent.clear()
        calls.made.clear()
        for _ in range(CYCLES):
            cycle()
        return {label: calls.spent[label] / calls.made[label] / 1000 for label in calls.spent}

    return part


def measure(turns: int) -> Iterator[Result]:
    """Each transition by itself (journalled, unchecked), and what checking it adds."""
    seen = set()
    for setting in ALL:
        samples = rounds(turns, off=microseconds(setting, "off"), touched=microseconds(setting, "touched"))
        for label in samples["off"][0]:
            if label in seen: continue
            seen.add(label)
            off = [sample[label] for sample in samples["off"]]
            check = [sample[label] - alone for sample, alone in zip(samples["touched"], off, strict=True)]
            yield result(label, off, "us")
            yield result(f"  its check, {label}", check, "us", GOALS.get(label))


def main(argv: list[str]) -> int:
    """The command line of this table."""
    return run_table("kernel", measure, argv, turns=15)


__all__ = ["GOALS", "main", "measure"]
