"""The paper's configurations of driver and application (Figure 4), in a machine, on the model of the 82599.

*driver*: one program.  *c2*: two processes in two containers on two cores, with rings between them.  *c1-b1*, *c1-b32*:
the two on one core, and a call of the driver for each batch.  The model does its part only when the driver calls for
that, every 256 packets, on the driver's own core, and this is not counted: so two processors are enough for c2.

An exit is what leaving the guest and coming back costs with nothing done between, measured in the same round; a call
and its reply are two.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from statistics import median
from typing import Final

from aerostat import Machine, Thread
from bench.built import built
from bench.inside_outside import pin_cores
from bench.measure import Result, ratios, result
from drivers._native import lib
from drivers.ixgbe import wires
from drivers.ixgbe.model import Ixgbe, Mode
from hv.vcpu import Vcpu

POLL: Final = 0x2000
POLLS: Final = 8
"""Of the engine, each moves 64 packets at most either way."""
CONFIGURATIONS: Final = {
    "driver": ("driver", 32, 40), "c2": ("c2", 32, 20), "c1-b1": ("c1", 1, 1), "c1-b32": ("c1", 32, 8)
}  # fmt: skip
"""By name: what the program is told, the batch, and bursts of 256 packets."""
PAPER_DRIVER: Final = 14.2
PAPER: Final = {"driver": PAPER_DRIVER, "c2": None, "c1-b1": 2.3, "c1-b32": 11.1}
"""Mpps of 64 bytes on an X520, in batches of 32 for the first, which the wire limits."""


def one(configuration: str, cpus: tuple[int, ...]) -> tuple[float, float]:
    """Cycles a packet, and nanoseconds of an exit."""
    words, batch, bursts = CONFIGURATIONS[configuration]
    cores = 2 if configuration == "c2" else 1
    exits: list[float] = []
    with tempfile.TemporaryFile() as output, Machine("64M", cores=cores) as machine, Ixgbe(Mode.FAST) as model:
        wires.feed(model, [bytes(range(14)) + bytes(46)], times=0)

        def poll(thread: Thread, count: int, *rest: int) -> int:
            """The model's part; or so many exits with nothing done."""
            if count:
                vcpu = thread.engine
                assert isinstance(vcpu, Vcpu)
                vcpu.regs.rax = 0
                exits.append(vcpu.raw_exit_loop(count) / count)
                return 0
            model.poll(POLLS)
            return 0

        machine.syscall(POLL)(poll)
        program = machine.spawn(
            built("bench/nicpaths"), ["nicpaths", words, str(batch), str(bursts)], stdout=output.fileno(),
            linux=False, devices={"nic": machine.add_device(model)},
        )  # fmt: skip
        pin_cores(cpus[:cores])
        status = program.wait()
        said = os.pread(output.fileno(), 4096, 0).decode().split()
        wrong = model.errors
    if status != 0 or len(said) != 4: raise RuntimeError(f"nicpaths {words} ended with status {status}: {said}")
    if wrong: raise RuntimeError(f"nicpaths {words}: the driver used the device wrongly: {wrong}")
    return int(said[1]) / int(said[3]), exits[0]


def measure(turns: int, cpus: tuple[int, ...], ticks_per_second: float) -> Iterator[Result]:
    """All four, in turns."""
    names = [name for name in CONFIGURATIONS if name != "c2" or len(cpus) > 1]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    trips = []
    for turn in range(turns + 1):
        if len(cpus) > 1: trips.append(lib.nic_ping_pong(cpus[0], cpus[1], 2000))
        for name in names:
            sample = one(name, cpus)
            if turn: found[name].append(sample)
    driver = [cycles for cycles, _ in found["driver"]]
    pair = [2 * ns * 1e-9 * ticks_per_second for name in names for _, ns in found[name]]
    yield result("in the machine: an exit pair", pair, "cycles")
    for name in names:
        cycles = [sample for sample, _ in found[name]]
        paper = PAPER[name]
        note = "" if name == "driver" else f"{median(ratios(cycles, driver)):.3g} times driver"
        if name != "driver" and paper: note += f"; the paper: {PAPER_DRIVER / paper:.3g} times"
        if name == "c2": note += f"; ping-pong {min(trips):.0f} .. {max(trips):.0f} cycles; the paper has no number"
        yield result(f"in the machine: {name}", cycles, "cycles", note=note.lstrip("; "))
    batch = CONFIGURATIONS["c1-b32"][1]
    bound = [cycles * batch / (alone * batch + 2 * ns * 1e-9 * ticks_per_second)
             for (cycles, ns), alone in zip(found["c1-b32"], driver, strict=True)]  # fmt: skip
    yield result("c1-b32 / (a batch of driver + an exit pair)", bound, "x", 2.0)


__all__ = ["CONFIGURATIONS", "PAPER", "measure", "one"]
