"""``python -m bench nic``: what the 82599 driver costs, on the model of the device: the paper's Figure 4.

*Inline*: the engine is polled on the same core between timed bursts, so descriptors are warm: what is counted is the
driver alone, with a touch of each packet.  Beside it stands the same source in a machine, where each burst begins with
an exit.  *Two cores*: the engine polls on the other core, and both hand cache lines to and fro, so the round trip of
one line (ping-pong) is measured in the same round; it says which of a machine's states this was.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from bench import nic_paths
from bench.measure import Result, pinned, result, run_kvm_table
from bench.paths import ticks_per_second
from drivers._native import ffi, lib
from drivers.ixgbe.model import Ixgbe, Mode
from drivers.ixgbe.outside import IOVA

BURST: Final = 256
"""Packets between two polls of the engine."""
TURNS: Final = 200
"""Bursts of a round."""
BURSTS_INSIDE: Final = 100
"""The same, in a machine."""
APART: Final = 0.05
"""Seconds of a round on two cores."""
GOALS: Final = {
    ("forward", 32): 30.0, ("forward", 1): 45.0, ("receive", 32): 22.0, ("receive", 1): 32.0, ("generate", 32): 16.0,
    ("generate", 1): 31.0,
}  # fmt: skip
"""Cycles a packet of 64 bytes."""
TWO_CORES: Final = 30.0
"""Mpps of forwarding in batches of 32 where the two cores are near each other."""
NEAR: Final = 300.0
"""Cycles of a round trip of a cache line: below, cores are near."""
WORKS: Final = {"receive": lib.NIC_RECEIVE, "generate": lib.NIC_GENERATE, "forward": lib.NIC_FORWARD}


class Port:
    """The driver on the model with a source of frames that never ends, and a sink."""

    def __init__(self) -> None:
        self.model = Ixgbe(Mode.MEMORY)
        self._memory = mmap.mmap(-1, 16 << 20)
        self._at: Any = ffi.from_buffer(self._memory)
        ffi.memmove(self._at, bytes(16 << 20), 16 << 20)
        self.model.map(IOVA, int(ffi.cast("uintptr_t", self._at)), 16 << 20, True)
        self.model.start()
        registers = ffi.cast("void *", self.model.regions[0].windows[0].address)
        error = ffi.new("int *")
        options = ffi.new("struct nic_options *")
        self.nic: Any = lib.nic_shared_open(registers, self._at, 16 << 20, IOVA, ffi.NULL, options, error)
        if self.nic == ffi.NULL: raise OSError(-error[0], os.strerror(-error[0]))
        if lib.nic_wait_for_link(self.nic, 10_000): raise TimeoutError("the model's link does not come up")
        frame = bytes(range(14)) + bytes(46)
        lib.ixgbe_lock(self.model.engine)
        fed = lib.ixgbe_feed(self.model.engine, frame, ffi.new("uint32_t[]", [60]), 1, 0, lib.IXGBE_PATIENT)
        lib.ixgbe_unlock(self.model.engine)
        if not fed: raise MemoryError("no memory for a source of frames")

    def inline(self, work: str, batch: int) -> float:
        """Cycles a packet."""
        lib.ixgbe_halt(self.model.engine)
        done = ffi.new("uint64_t *")
        took = lib.nic_inline_work(self.nic, self.model.engine, WORKS[work], batch, BURST, TURNS, done)
        return float(took) / float(done[0])

    def apart(self, work: str, batch: int, ticks_per_second: float, cpus: tuple[int, int]) -> tuple[float, float]:
        """Mpps, and cycles a packet of the driver's turns that had something to do, with driver and engine on these."""
        busy = ffi.new("uint64_t *")
        with pinned(cpus[1]):  # the engine's thread inherits it
            lib.ixgbe_run(self.model.engine, 0)
        with pinned(cpus[0]):
            done = lib.nic_apart_work(self.nic, WORKS[work], batch, int(APART * ticks_per_second), busy)
        lib.ixgbe_halt(self.model.engine)
        return done / APART / 1e6, float(busy[0]) / max(done, 1)

    def close(self) -> None:
        lib.ixgbe_halt(self.model.engine)
        lib.nic_shared_close(self.nic)
        self.model.close()


def _inline(port: Port, turns: int, cpu: int) -> Iterator[Result]:
    """Natively, and beside it the same in a machine, where a call has the engine polled between bursts."""
    samples: dict[tuple[str, int], list[float]] = {kind: [] for kind in GOALS}
    inside: dict[tuple[str, int], list[float]] = {kind: [] for kind in GOALS}
    for turn in range(turns + 1):
        for kind in GOALS:
            cycles = port.inline(*kind)
            if turn: samples[kind].append(cycles)
        for kind in GOALS:
            cycles, _ = nic_paths.work(*kind, BURSTS_INSIDE, (cpu,))
            if turn: inside[kind].append(cycles)
    for (work, batch), values in samples.items():
        there = inside[work, batch]
        note = f"a packet; in a machine {median(there):.0f} ({min(there):.0f} .. {max(there):.0f})"
        yield result(f"{work}, batch {batch}, inline", values, "cycles", GOALS[work, batch], note=note)


def _two_cores(port: Port, turns: int, cpus: tuple[int, int]) -> Iterator[Result]:
    rate = ticks_per_second()
    rounds: dict[tuple[str, int], list[tuple[float, float, float]]] = {kind: [] for kind in GOALS}
    for _ in range(turns):
        for work, batch in GOALS:
            trip = lib.nic_ping_pong(*cpus, 2000)
            rounds[work, batch].append((trip, *port.apart(work, batch, rate, cpus)))
    for (work, batch), values in rounds.items():
        near = [mpps for trip, mpps, _ in values if trip < NEAR]
        trips = [trip for trip, _, _ in values]
        busy = median(cycles for _, _, cycles in values)
        note = f"ping-pong {min(trips):.0f} .. {max(trips):.0f} cycles; driver {busy:.0f} cycles a packet"
        goal = TWO_CORES if (work, batch) == ("forward", 32) and near else None
        name = f"{work}, batch {batch}, two cores"
        if near: yield result(f"{name}, near", near, "Mpps", goal, at_least=True, note=f"{note}, {len(near)} rounds")
        if len(near) < len(values):
            far = [mpps for trip, mpps, _ in values if trip >= NEAR]
            yield result(f"{name}, far or disturbed", far, "Mpps", note=note)


def measure(turns: int) -> Iterator[Result]:
    """Cycles a packet of 64 bytes on one core, Mpps on two, and the paper's configurations in a machine."""
    turns = max(turns, 5)
    cpus = sorted(os.sched_getaffinity(0))
    with pinned(cpus[0]):
        port = Port()
        yield from _inline(port, turns, cpus[0])
    if len(cpus) > 1: yield from _two_cores(port, turns, (cpus[0], cpus[1]))
    port.close()
    yield from nic_paths.measure(turns, tuple(cpus[:2]))


def main(argv: list[str]) -> int:
    """The command line of this table; 1 where there is no usable KVM."""
    return run_kvm_table("nic", measure, argv)


__all__ = ["GOALS", "main", "measure"]
