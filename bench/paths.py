"""The paper's configurations of driver and application, in a machine, whatever the device (``bench/programs/paths.h``).

*driver*: one program.  *c2*: two processes in two containers on two cores, with rings between them.  *c1-b1*, *c1-b32*:
the two on one core, and a call of the driver for each batch.  The model does its part only when the driver calls for
that, on the driver's own core, and this is not counted: so two processors are enough for c2.

An exit is what leaving the guest and coming back costs with nothing done between, measured in the same round; a call
and its reply are two.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Final

from aerostat import Machine, Thread
from bench.built import built
from bench.inside_outside import pin_cores
from bench.measure import Result, ratios, result
from drivers._native import lib
from hv.device import Device
from hv.vcpu import Vcpu

HOST: Final = 0x2000
TURN, TIME, QUIET, RUNNING = range(4)
CONFIGURATIONS: Final = {
    "driver": ("driver", 32, 40), "c2": ("c2", 32, 20), "c1-b1": ("c1", 1, 1), "c1-b32": ("c1", 32, 8)
}  # fmt: skip
"""By name: what the program is told, the batch, and bursts (of 256 packets, of 192 requests)."""


@dataclass(frozen=True)
class Lent:
    """A model that a program of ``Paths`` drives."""

    device: Device
    turn: Callable[[], object]
    """Does the model's part."""
    wrong: Callable[[], object]
    """What the driver did wrong, if anything."""
    without_thread: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    """Meanwhile the model does its part in ``turn`` alone."""


@dataclass(frozen=True)
class Paths:
    """A program of bench/programs in all configurations."""

    program: str
    name: str
    """Of the device, to the program."""
    unit: str
    lend: Callable[[], AbstractContextManager[Lent]]
    paper: Mapping[str, float]
    """Times ``driver`` that an item takes there, as far as it says."""


def one(paths: Paths, configuration: str, cpus: tuple[int, ...]) -> tuple[float, float]:
    """Cycles an item, and nanoseconds of an exit."""
    return run(paths, *CONFIGURATIONS[configuration], cpus[: 2 if configuration == "c2" else 1])


def run(paths: Paths, words: str, batch: int, bursts: int, cpus: tuple[int, ...]) -> tuple[float, float]:
    """As ``one``, of what the program is told, on a core for each of these CPUs."""
    exits: list[float] = []
    with tempfile.TemporaryFile() as output, Machine("64M", cores=len(cpus)) as machine, paths.lend() as lent:
        with contextlib.ExitStack() as quiet:

            def host(thread: Thread, what: int, count: int, *rest: int) -> int:
                if what == TURN: lent.turn()
                elif what == QUIET: quiet.enter_context(lent.without_thread())
                elif what == RUNNING: quiet.close()
                else:
                    vcpu = thread.engine
                    assert isinstance(vcpu, Vcpu)
                    vcpu.regs.rax = 0
                    exits.append(vcpu.raw_exit_loop(count) / count)
                return 0

            machine.syscall(HOST)(host)
            program = machine.spawn(
                built(f"bench/{paths.program}"), [paths.program, words, str(batch), str(bursts)],
                stdout=output.fileno(), linux=False, devices={paths.name: machine.add_device(lent.device)},
            )  # fmt: skip
            pin_cores(cpus)
            status = program.wait()
        text = os.pread(output.fileno(), 4096, 0).decode()
        wrong = lent.wrong()
    said = text.split()
    if status != 0 or len(said) != 4:
        raise RuntimeError(f"{paths.program} {words} ended with status {status}: {text!r}; {program.report}")
    if wrong: raise RuntimeError(f"{paths.program} {words}: the driver used the device wrongly: {wrong}")
    return int(said[1]) / int(said[3]), exits[0]


def ticks_per_second() -> float:
    """Of the time-stamp counter, by the clock of 20 ms."""
    start, ticks = time.perf_counter(), lib.nic_ticks()
    while time.perf_counter() - start < 0.02: pass
    return float(lib.nic_ticks() - ticks) / (time.perf_counter() - start)


def measure(paths: Paths, turns: int, cpus: tuple[int, ...]) -> Iterator[Result]:
    """All four, in turns."""
    rate = ticks_per_second()
    names = [name for name in CONFIGURATIONS if name != "c2" or len(cpus) > 1]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    trips = []
    for turn in range(turns + 1):
        if len(cpus) > 1: trips.append(lib.nic_ping_pong(cpus[0], cpus[1], 2000))
        for name in names:
            sample = one(paths, name, cpus)
            if turn: found[name].append(sample)
    driver = [cycles for cycles, _ in found["driver"]]
    pair = [2 * ns * 1e-9 * rate for name in names for _, ns in found[name]]
    yield result(f"{paths.program}: an exit pair", pair, "cycles")
    for name in names:
        cycles = [sample for sample, _ in found[name]]
        note = f"{paths.unit}" if name == "driver" else f"{median(ratios(cycles, driver)):.3g} times driver"
        if name in paths.paper and name != "driver": note += f"; the paper: {paths.paper[name]:.3g} times"
        elif name != "driver": note += "; the paper has no number"
        if name == "c2": note += f"; ping-pong {min(trips):.0f} .. {max(trips):.0f} cycles"
        yield result(f"in the machine: {name}", cycles, "cycles", note=note)
    batch = CONFIGURATIONS["c1-b32"][1]
    bound = [cycles * batch / (alone * batch + 2 * ns * 1e-9 * rate)
             for (cycles, ns), alone in zip(found["c1-b32"], driver, strict=True)]  # fmt: skip
    yield result("c1-b32 / (a batch of driver + an exit pair)", bound, "x", 2.0)


__all__ = ["CONFIGURATIONS", "Lent", "Paths", "measure", "one", "run", "ticks_per_second"]
