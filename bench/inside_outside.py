"""The same static programs inside a machine and outside, in turns: processor work, first touch of memory, two cores."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from aerostat import Machine
from bench.built import built
from bench.measure import Result, Took, pinned, ratios, result, rounds, run_and_time

WORK: Final = {
    "xorshift, 1,000 million steps": ["xorshift", "1000000000"],
    "SHA-256 of 256 MiB in a 64 KiB buffer": ["sha256", "256"],
}
TOUCHED_MIB: Final = 256
STEPS: Final = 200_000_000


def _inside(machine: Machine, command: list[str]) -> Took:
    """What a program takes from loading it to its end in the machine; all threads of this process count."""
    with open(os.devnull, "wb") as nowhere:
        start, cpu = time.perf_counter(), time.process_time()
        status = machine.spawn(command[0], command, stdout=nowhere.fileno()).wait()
        took = Took(time.perf_counter() - start, time.process_time() - cpu)
    if status != 0: raise RuntimeError(f"{command} ended with status {status} inside")
    return took


def _touch_inside(*words: str) -> float:
    """Nanoseconds a page, as the program found by its own clock, in a new machine."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as output, Machine(f"{TOUCHED_MIB + 64}M") as machine:
        program = built("tests/touch")
        status = machine.spawn(program, [program, str(TOUCHED_MIB), *words], stdout=writer).wait()
        os.close(writer)
        if status != 0: raise RuntimeError(f"touch ended with status {status} inside")
        return float(output.read())


def _touch_outside() -> float:
    command = [built("tests/touch"), str(TOUCHED_MIB)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def measure(turns: int) -> Iterator[Result]:
    """Processor work and first touch, on one core."""
    with Machine("64M") as machine:
        for name, words in WORK.items():
            command = [built("tests/cpu"), *words]
            found = rounds(turns, outside=partial(run_and_time, command), inside=partial(_inside, machine, command))
            inside, outside = found["inside"], found["outside"]
            yield result(f"{name}: outside", [took.clock for took in outside], "s")
            clock = ratios([took.clock for took in inside], [took.clock for took in outside])
            yield result(f"{name}: inside / outside", clock, "x", 1.03)
            cpu = ratios([took.cpu for took in inside], [took.cpu for took in outside])
            yield result(f"{name}: the same in processor time", cpu, "x", 1.03)
    touched = rounds(
        turns, outside=_touch_outside, inside=_touch_inside, native=partial(_touch_inside, "native")
    )  # fmt: skip
    yield result(f"first touch of {TOUCHED_MIB} MiB: outside, a page", touched["outside"], "ns")
    yield result("first touch, Linux mmap: inside / outside", ratios(touched["inside"], touched["outside"]), "x", 1.5)
    yield result("first touch, native mmap: inside / outside", ratios(touched["native"], touched["outside"]), "x", 1.5)


def _parallel_inside(count: int, cpus: tuple[int, ...]) -> Callable[[], float]:
    """Steps a second of ``count`` threads in a machine with as many cores, one on each of the CPUs."""

    def run() -> float:
        with Machine("64M", cores=count) as machine:
            program = built("bench/parallel")
            loaded = machine.load(program, [program, str(count), str(STEPS)])
            start = time.perf_counter()
            loaded.start()
            pin_cores(cpus)
            if loaded.wait() != 0: raise RuntimeError("parallel failed inside")
            return count * STEPS / (time.perf_counter() - start)

    return run


def pin_cores(cpus: tuple[int, ...]) -> None:
    """Keeps the cores of the machine that runs in this process each on one of the CPUs."""
    names = [f"aerostat-core-{index}" for index in range(len(cpus))]
    for thread in threading.enumerate():
        if thread.name in names and thread.native_id is not None:
            os.sched_setaffinity(thread.native_id, {cpus[names.index(thread.name)]})


def _parallel_outside(count: int, cpus: tuple[int, ...]) -> Callable[[], float]:
    """The same by as many processes of the host: what two CPUs are worth at this moment."""

    def run() -> float:
        command = [built("tests/cpu"), "xorshift", str(STEPS)]
        start = time.perf_counter()
        started = []
        for cpu in cpus[:count]:
            with pinned(cpu):
                started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        for process in started:
            process.wait()
        return count * STEPS / (time.perf_counter() - start)

    return run


def measure_parallel(turns: int) -> Iterator[Result]:
    """Two threads on two cores against one on one."""
    cpus = tuple(sorted(os.sched_getaffinity(0)))[:2]
    if len(cpus) < 2:
        yield result("two threads on two cores: not measured", 0.0, "", note="this process may use one CPU only")
        return
    found = rounds(
        turns,
        one_outside=_parallel_outside(1, cpus), two_outside=_parallel_outside(2, cpus),
        one=_parallel_inside(1, cpus), two=_parallel_inside(2, cpus),
    )  # fmt: skip
    outside = result("two processes / one, outside", ratios(found["two_outside"], found["one_outside"]), "x")
    free = outside.value >= 1.9
    yield outside
    yield result(
        "two threads on two cores / one", ratios(found["two"], found["one"]), "x", 1.8, at_least=True,
        note="" if free else "two cores are not free: see the line above",
    )  # fmt: skip


__all__ = ["measure", "measure_parallel", "pin_cores"]
