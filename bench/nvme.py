"""``python -m bench nvme``: the NVMe driver on the software model (the counterpart of the paper's Figure 5).

The gate is what the driver itself takes, on one core in turns with the model, so that no other core's cache is part of
it.  Beside each number of two cores stands how long a cache line takes between them, which changes by a factor of six.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from aerostat import Machine
from bench import nvme_paths
from bench.built import ROOT, built
from bench.measure import Result, pinned, ratios, result, rounds, run_kvm_table
from drivers._native import ffi, lib
from drivers.nvme.backing import Backing, in_file, in_memory
from drivers.nvme.model import BAR_SIZE, NvmeModel

MEMORY: Final = 16 << 20
IOVA: Final = 1 << 32
BATCHES: Final = (1, 32)
DEPTH: Final = 32
FILE_SIZE: Final = 256 << 20
MILLISECONDS: Final = 1000
GOAL_CYCLES: Final = 250
GOAL_FILE: Final = 0.9


class Linked:
    """The driver on a model, both in this process."""

    def __init__(self, backing: Backing) -> None:
        self.registers, self.memory = mmap.mmap(-1, BAR_SIZE), mmap.mmap(-1, MEMORY)
        self.model = NvmeModel(backing, registers=self.registers)
        at = ffi.from_buffer(self.memory)
        self.model.map(IOVA, int(ffi.cast("uintptr_t", at)), MEMORY, True)
        error = ffi.new("int *")
        self.disk: Any = lib.linked_disk_open(
            ffi.from_buffer(self.registers), BAR_SIZE, at, MEMORY, IOVA, ffi.new("struct disk_options *"), error
        )
        if self.disk == ffi.NULL: raise RuntimeError(f"the driver cannot be opened: error {-error[0]}")

    def in_turns(self, *, write: bool, batch: int) -> Any:
        """Cycles of driver and model; the model's thread must not run."""
        timing = ffi.new("struct nvme_timing *")
        error = lib.linked_disk_in_turns(self.disk, self.model.engine, write, batch, 40_000 // batch, timing)
        if error: raise RuntimeError(f"a request failed: error {-error}")
        return timing

    def at_depth(self, *, write: bool = False, depth: int = DEPTH, inline: bool = False) -> float:
        """Operations a second."""
        timing = ffi.new("struct nvme_timing *")
        engine = self.model.engine if inline else ffi.NULL
        error = lib.linked_disk_at_depth(self.disk, engine, write, depth, MILLISECONDS, timing)
        if error: raise RuntimeError(f"a request failed: error {-error}")
        return float(timing.operations * timing.per_us * 1_000_000 / timing.ticks)

    def close(self) -> None:
        """Shuts the controller down."""
        lib.linked_disk_close(self.disk)
        self.model.close()


@contextlib.contextmanager
def linked(backing: Backing) -> Iterator[Linked]:
    """A driver on a model with this namespace."""
    made = Linked(backing)
    try:
        yield made
    finally:
        made.close()
        backing.close()


def _round_trip() -> float:
    """Nanoseconds that a cache line takes to the other core and back."""
    return float(subprocess.run([built("bench/pingpong"), "200000"], check=True, capture_output=True).stdout)


def in_turns(turns: int) -> Iterator[Result]:
    """What the driver takes for 4 KiB, submit and poll, with all caches hot."""
    with pinned(max(os.sched_getaffinity(0))), linked(in_memory(64 << 20)) as one, one.model.without_thread():
        def part(write: bool, batch: int) -> Callable[[], Any]:
            return lambda: one.in_turns(write=write, batch=batch)

        parts = {f"{name}, batch {batch}": part(name == "write", batch) for batch in BATCHES
                 for name in ("read", "write")}  # fmt: skip
        for name, found in rounds(turns, **parts).items():
            cycles = [(timing.submit + timing.poll) / timing.operations for timing in found]
            model = min(timing.model / timing.operations for timing in found)
            rings = max(timing.doorbells / timing.operations for timing in found)
            goal = GOAL_CYCLES if name.endswith("32") else None
            note = f"min {min(cycles):.0f}; model {model:.0f}; register writes {rings:.3f} each"
            yield result(f"driver, {name}: submit + poll", cycles, "cycles", goal, note=note)


def two_cores(turns: int) -> Iterator[Result]:
    """The engine polls on another core."""
    if len(os.sched_getaffinity(0)) < 2:
        yield result("two cores: not measured", 0.0, "", note="this process may use one CPU only")
        return
    with linked(in_memory(64 << 20)) as one:
        found = rounds(turns, pingpong=_round_trip, read=one.at_depth,
                       write=lambda: one.at_depth(write=True))  # fmt: skip
    trip = f"cache line there and back {min(found['pingpong']):.0f} .. {max(found['pingpong']):.0f} ns"
    for name in ("read", "write"):
        yield result(f"memory, two cores, {name}, depth {DEPTH}", [rate / 1e3 for rate in found[name]], "Kops/s",
                     note=trip)  # fmt: skip


def _fio(path: Path, write: bool) -> tuple[float, float]:
    """Operations a second of fio by io_uring, and microseconds of processor time that one takes."""
    command = [
        "fio", "--name=bench", f"--filename={path}", f"--rw={'randwrite' if write else 'randread'}", "--bs=4k",
        "--direct=1", "--ioengine=io_uring", f"--iodepth={DEPTH}", f"--size={FILE_SIZE}", "--time_based",
        f"--runtime={MILLISECONDS}ms", "--thread", "--output-format=json",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    rate = float(job["write" if write else "read"]["iops"])
    return rate, (job["usr_cpu"] + job["sys_cpu"]) / 100 * 1e6 / rate


def on_file(turns: int) -> Iterator[Result]:
    """The same file, around the page cache, for fio and for the driver on the model."""
    if shutil.which("fio") is None:
        yield result("file against fio: not measured", 0.0, "", note="no fio here: apt-get install fio")
        return
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="bench-nvme-") as folder:
        path = Path(folder) / "disk"
        with path.open("wb") as file:
            for _ in range(FILE_SIZE >> 20): file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
        with linked(in_file(path, depth=DEPTH)) as one:
            if not one.model.backing.direct:
                yield result("file: not measured", 0.0, "", note=f"no O_DIRECT on {folder}")
                return

            def inline(write: bool) -> tuple[float, float]:
                with one.model.without_thread():
                    before = time.process_time()
                    rate = one.at_depth(write=write, inline=True)
                    took = time.process_time() - before
                return rate, took * 1e6 / (rate * MILLISECONDS / 1000)

            parts: dict[str, Callable[[], Any]] = {
                "pingpong": _round_trip, "fio_read": lambda: _fio(path, False), "inline_read": lambda: inline(False),
                "thread_read": one.at_depth, "fio_write": lambda: _fio(path, True),
                "inline_write": lambda: inline(True), "thread_write": lambda: one.at_depth(write=True),
            }  # fmt: skip
            found = rounds(turns, **parts)
    trip = f"cache line there and back {min(found['pingpong']):.0f} .. {max(found['pingpong']):.0f} ns"
    for what in ("read", "write"):
        fio = [rate for rate, _ in found[f"fio_{what}"]]
        ours = [rate for rate, _ in found[f"inline_{what}"]]
        took = [median(us for _, us in found[f"{who}_{what}"]) for who in ("inline", "fio")]
        yield result(f"file, fio by io_uring, {what}, depth {DEPTH}", [rate / 1e3 for rate in fio], "Kops/s")
        yield result(f"file, driver and model / fio, {what}", ratios(ours, fio), "x", GOAL_FILE, at_least=True,
                     note=f"one core, as fio has; {took[0]:.1f} us of processor each, fio {took[1]:.1f}")  # fmt: skip
        yield result(f"file, driver, model on another core / fio, {what}", ratios(found[f"thread_{what}"], fio), "x",
                     note=trip)  # fmt: skip


def inside(turns: int) -> Iterator[Result]:
    """The driver as a program in ring 3, the engine on another core."""
    exits: list[float] = []
    cycles: list[float] = []

    def bench(machine: Machine, lent: Any) -> float:
        reader, writer = os.pipe()
        with os.fdopen(reader) as output:
            before = machine.statistics()["exits"]
            status = machine.spawn(
                built("drivers/nvme"), ["nvme", "disk", "-d", str(DEPTH + 1), "-n", "bench", "read", "1"],
                stdout=writer, linux=False, devices={"disk": lent},
            ).wait()  # fmt: skip
            os.close(writer)
            said = re.findall(r"\d+", output.read())
            if status or len(said) != 4: raise RuntimeError(f"nvme ended with status {status}: {said}")
            rate, _, _, each = map(int, said)
            exits.append((machine.statistics()["exits"] - before) / rate)
            cycles.append(each)
            return float(rate)

    backing = in_memory(64 << 20)
    model = NvmeModel(backing, fast=True)
    try:
        with Machine("64M") as machine:
            lent = machine.add_device(model)
            found = rounds(turns, pingpong=_round_trip, inside=lambda: bench(machine, lent))
    finally:
        model.close()
        backing.close()
    trip = f"cache line there and back {min(found['pingpong']):.0f} .. {max(found['pingpong']):.0f} ns"
    yield result(f"inside a machine, memory, read, depth {DEPTH}", [rate / 1e3 for rate in found["inside"]], "Kops/s",
                 note=trip)  # fmt: skip
    yield result("inside a machine: the driver an operation", cycles[1:], "cycles",
                 note=f"its batches are as they come; {trip}")  # fmt: skip
    yield result("inside a machine: exits an operation, start and end included", exits[1:], "exits", 0.01)


def measure(turns: int) -> Iterator[Result]:
    """The NVMe driver on the model: cycles, rates, a file against fio, inside a machine, apart from its application."""
    turns = max(turns, 5)
    yield from in_turns(turns)
    yield from two_cores(turns)
    yield from on_file(turns)
    yield from inside(turns)
    yield from nvme_paths.measure(turns, tuple(sorted(os.sched_getaffinity(0)))[:2])


def main(argv: list[str]) -> int:
    """The command line of this table; 1 where there is no usable KVM."""
    return run_kvm_table("nvme", measure, argv)


__all__ = ["main", "measure"]
