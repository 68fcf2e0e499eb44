"""The same calls with few and with many live objects, and how much memory of the host an object takes.

Each size is a machine in a process of its own, so that Python's garbage collector has as much to look at as it would
have; the processes make their turns one after another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from statistics import mean, median
from typing import IO, TYPE_CHECKING, Any, Final

from abi.layout import PAGE_SIZE, READ, USER_MIN, WRITE
from aerostat import Machine
from bench.alone import Alone
from bench.built import ROOT, environment
from bench.measure import Result, ratios, result
from bench.timings import FLOOR, KINDS, Timings
from hv.process import Process
from kernel.objects import DEPTH_LIMIT

if TYPE_CHECKING:
    from kernel import scheduler
else:
    from kernel.journaled import scheduler

SIZES: Final = (10, 1_000, 100_000)
"""Live objects: pages that are a kernel object's or a program's own."""
WITHIN: Final = 1.10
BYTES: Final = 2048
CALLS: Final = 150
MAPPED: Final = 0x4000_0000_0000
PAGES_EACH: Final = 3


def _resident(machine: Machine) -> int:
    """Bytes of this process's own memory: without the guest's, which objects are charged for, so without the frames of
    page tables either."""
    with open("/proc/self/status", encoding="utf-8") as status:
        anonymous = next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))
    return anonymous - PAGE_SIZE * len(machine.hypervisor.kernel.table)


def _populate(machine: Machine, count: int) -> int:
    """Makes at least ``count`` objects: processes, each with page tables, pages, and a thread that waits.  Returns how
    many."""
    hypervisor = machine.hypervisor
    k, system = hypervisor.kernel, hypervisor.system
    C = k.container[k.root]
    before = C.used_pages
    with hypervisor.lock:
        while C.used_pages - before < count:
            s = system.spawn(k.root)
            process = hypervisor.processes[s] = Process(hypervisor, s, "one of many")
            if process.map(MAPPED, PAGES_EACH * PAGE_SIZE, READ | WRITE) != 0: raise RuntimeError("no memory")
            process.create_thread(USER_MIN, USER_MIN)
            t = hypervisor.step(scheduler.schedule, 0)
            hypervisor.step(scheduler.thread_block, t)
    return C.used_pages - before


def _serve(count: int) -> None:
    """A size's process: makes its objects, says so, and makes a turn for each line it reads."""
    machine = Machine("640M")
    before = _resident(machine)
    made = _populate(machine, count)
    _say({"made": made, "bytes": (_resident(machine) - before) / made})
    timings = Timings(machine, CALLS)

    def between() -> None:
        for turn in timings.turns:
            _say({name: [found.median, found.p99] for name, found in turn.items()})
        timings.turns.clear()
        if not sys.stdin.readline(): os._exit(0)  # nothing of this is to be taken down one by one

    timings.run(1 << 30, between)


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


class Size:
    """The process of one size."""

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-m", "bench.growth", str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         env=environment(), cwd=ROOT)  # fmt: skip
        self.facts = self._read()
        self.turn()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line: raise RuntimeError("the process of a size ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def turn(self) -> dict[str, tuple[float, float]]:
        """Makes a turn.  Returns median and p99 by kind, in cycles."""
        stdin: IO[str] | None = self._process.stdin
        assert stdin is not None
        stdin.write("go\n")
        stdin.flush()
        return {name: (one[0], one[1]) for name, one in self._read().items()}

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def measure(turns: int) -> Iterator[Result]:
    """The calls of ``bench.timings``, exit included, by number of live objects; memory by object and by depth."""
    sizes = [Size(count) for count in SIZES]
    try:
        found: list[list[dict[str, tuple[float, float]]]] = [[] for _ in sizes]
        for _ in range(turns):
            for size, samples in zip(sizes, found, strict=True):
                samples.append(size.turn())
    finally:
        for size in sizes:
            size.close()
    few, many = found[0], found[-1]
    for name in KINDS:
        if name == FLOOR: continue
        grown = ratios([turn[name][0] for turn in many], [turn[name][0] for turn in few])
        tail = ratios([turn[name][1] for turn in many], [turn[name][1] for turn in few])
        middle = ratios([turn[name][0] for turn in found[1]], [turn[name][0] for turn in few])
        note = f"{SIZES[1]:,}: {median(middle):.2f}x; p99 of {SIZES[-1]:,}: {median(tail):.2f}x"
        yield result(f"{name}: {SIZES[-1]:,} objects / {SIZES[0]}", grown, "x", WITHIN, note=note)
    yield result("host memory, an object", sizes[-1].facts["bytes"], "bytes", BYTES,
                 note=f"{sizes[-1].facts['made']:,} objects: processes, threads, page tables, pages")  # fmt: skip
    flat, level = depth_bytes()
    yield result("host memory, a container below the root", flat, "bytes", BYTES)
    yield result("host memory, each level of depth more", level, "bytes")


def depth_bytes() -> tuple[float, float]:
    """Bytes that a container takes at depth 1, and how many more with each level."""
    alone = Alone("off")  # what the checker remembers of each kind of step is no part of an object
    system, t = alone.system, alone.client
    s = alone.k.thread[t].process
    taken = []
    tracemalloc.start()
    try:
        for depth in range(DEPTH_LIMIT, 0, -1):
            before = tracemalloc.get_traced_memory()[0]
            handle = system.complete(system.container_create(t, 8 * depth, 0, 0, 0))
            taken.append(tracemalloc.get_traced_memory()[0] - before)
            child = system.process_create_in(t, handle)
            assert system.process_start(t, child, USER_MIN, USER_MIN, 0) == 0
            system.process_wait(t, child)
            t = alone.run_next()
    finally:
        tracemalloc.stop()
    assert s != alone.k.thread[t].process
    half = len(taken) // 2
    level = (mean(taken[half:]) - mean(taken[:half])) / half
    return median(taken[1:10]), level


if __name__ == "__main__":
    _serve(int(sys.argv[1]))

__all__ = ["Size", "depth_bytes", "measure"]
