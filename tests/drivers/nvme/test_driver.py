"""The driver as a plain Linux program, on a model that shares files with it."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers._native import ffi
from drivers.model.faults import Faults
from drivers.model.files import SharedFiles
from drivers.nvme.backing import in_memory
from drivers.nvme.model import BAR_SIZE, NvmeModel

from .pattern import blocks

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "build" / "userland" / "drivers" / "nvme-outside"
SIZE = 8 << 20


class Outside:
    """A model on files, and the program on it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.files = files = SharedFiles.open(folder / "bar", folder / "dma", folder / "interrupts", bar_size=BAR_SIZE,
                                 memory_size=16 << 20)  # fmt: skip
        self.name = f"{folder}/bar:{folder}/dma:{folder}/interrupts"
        self.backing = in_memory(SIZE)
        self.model = NvmeModel(self.backing, registers=files.registers, interrupt_counts=files.interrupts, **options)
        self.model.map(0, int(ffi.cast("uintptr_t", ffi.from_buffer(files.memory))), len(files.memory), True)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, self.name, *arguments], capture_output=True, text=True, timeout=120)

    def contents(self, lba: int, count: int) -> bytes:
        assert self.backing.memory is not None
        return self.backing.memory[lba * 512 : (lba + count) * 512]

    def close(self) -> None:
        self.model.close()
        self.backing.close()


MakeOutside = Callable[..., Outside]


@pytest.fixture
def make_outside(tmp_path: Path) -> Iterator[MakeOutside]:
    made: list[Outside] = []

    def make(**options: Any) -> Outside:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Outside(folder, **options))
        return made[-1]

    yield make
    for one in made: one.close()


def test_identify(make_outside: MakeOutside) -> None:
    outside = make_outside()
    done = outside.run("identify")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "aerostat NVMe model, serial AERO0001, firmware 1",
        "16384 blocks of 512 bytes, 524288 bytes a command at most, queues: 1, write cache, doorbell buffers",
    ]


@pytest.mark.parametrize("options", ["", "-i -q 8", "-n -d 2", "-q 2 -d 7 -n -i"])
def test_what_is_written_is_there(make_outside: MakeOutside, options: str) -> None:
    """Polling and interrupts, doorbell buffers and registers, several queues, the smallest rings."""
    outside = make_outside()
    chosen = options.split()
    done = outside.run(*chosen, "write", "3", "1001", "42")
    assert (done.returncode, done.stdout) == (0, "")
    assert outside.contents(3, 1001) == blocks(42, 3, 1001)
    assert not any(outside.contents(0, 3) + outside.contents(1004, 100))
    assert outside.run(*chosen, "verify", "3", "1001", "42").returncode == 0
    assert outside.run(*chosen, "zero", "100", "50").returncode == 0
    assert outside.run(*chosen, "discard", "200", "1").returncode == 0
    done = outside.run(*chosen, "verify", "3", "198", "42")
    said = re.fullmatch(r"other bytes in block (\d+) at 0\n", done.stdout)
    assert done.returncode == 3
    assert said is not None
    assert 100 <= int(said[1]) < 150  # with several queues not always the first of them
    assert outside.run(*chosen, "verify", "200", "1", "42").returncode == 3
    done = outside.run(*chosen, "read", "99", "2")
    assert bytes.fromhex("".join(line.split()[1] for line in done.stdout.splitlines())) == outside.contents(99, 2)
    assert outside.run(*chosen, "flush").returncode == 0
    assert outside.model.counts()["errors"] == 0
    assert outside.model.counts()["bad_doorbells"] == 0


@pytest.mark.parametrize("options", [
    "-s 512", "-s 8192", "-s 12288", "-s 8192 -o 8", "-s 4096 -o 2048", "-s 4096 -o 4088", "-s 131072", "-s 524288",
    "-s 520192 -o 4088", "-s 8192 -r", "-s 65536 -r", "-s 65536 -o 1024 -r -q 3 -i", "-s 524288 -r -n -d 3",
])  # fmt: skip
def test_data_of_several_pages(make_outside: MakeOutside, options: str) -> None:
    """PRP2 as a page and as a list, an offset in the first page, pages that follow each other and that do not."""
    outside, chosen = make_outside(), options.split()
    assert outside.run(*chosen, "write", "5", "3000", "8").returncode == 0
    assert outside.contents(5, 3000) == blocks(8, 5, 3000)
    assert not any(outside.contents(0, 5) + outside.contents(3005, 100))
    assert outside.run(*chosen, "verify", "5", "3000", "8").returncode == 0
    assert outside.run("verify", "5", "3000", "8").returncode == 0
    assert outside.run(*chosen, "verify", "5", "3001", "8").returncode == 3
    done = outside.run(*chosen, "read", "3003", "2")
    assert bytes.fromhex("".join(line.split()[1] for line in done.stdout.splitlines())) == outside.contents(3003, 2)
    counts = outside.model.counts()
    assert (counts["errors"], counts["dma_faults"]) == (0, 0)
    assert counts["writes"] == -(-3000 // (int(chosen[1]) // 512))


@pytest.mark.parametrize("options", ["-s 0", "-s 100", "-s 1048576", "-o 4", "-o 4096"])
def test_requests_that_cannot_be(make_outside: MakeOutside, options: str) -> None:
    done = make_outside().run(*options.split(), "read", "0", "1")
    assert (done.returncode, done.stdout) == (1, "memory: error 22\n")


def test_doorbell_buffers_spare_register_writes(make_outside: MakeOutside) -> None:
    outside = make_outside()
    done = outside.run("bench", "read", "1")
    rate, depth, writes, _ = map(int, re.findall(r"\d+", done.stdout))
    assert depth == 128
    assert writes * 20 < rate
    assert outside.run("-n", "bench", "write", "1").returncode == 0


def test_large_blocks(make_outside: MakeOutside) -> None:
    outside = make_outside(block=4096)
    assert outside.run("write", "5", "20", "1").returncode == 0
    assert outside.contents(40, 160) == blocks(1, 5, 20, 4096)


def test_beyond_the_end_is_refused_by_the_driver(make_outside: MakeOutside) -> None:
    outside = make_outside()
    done = outside.run("write", "16383", "2", "1")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "the device: error 22")
    assert outside.model.counts()["errors"] == 0


@pytest.mark.parametrize("arguments", ["", "what", "read", "read 1", "read x 1", "read 1 1 1", "-q identify",
                                       "-z identify", "bench move 1", "-q x identify"])  # fmt: skip
def test_wrong_usage(make_outside: MakeOutside, arguments: str) -> None:
    assert make_outside().run(*arguments.split()).returncode == 2


@pytest.mark.parametrize(("faults", "does", "options"), [
    (Faults(seed=1, error=0.05), "retried", "-q 2"),
    (Faults(seed=2, duplicated=0.2), "strays", "-i"),
    (Faults(seed=3, late=0.05, late_ms=5), "", "-q 3"),
    (Faults(seed=4, late=0.02, late_ms=700), "timeouts", "-i -q 2"),
    (Faults(seed=5, lost=0.02), "aborts", "-n"),
    (Faults(seed=6, lost=0.003, late=0.003, late_ms=600, error=0.02, duplicated=0.02), "retried", "-i"),
])  # fmt: skip
def test_a_device_that_does_badly(make_outside: MakeOutside, faults: Faults, does: str, options: str) -> None:
    """Commands fail now and then, are told late, twice or never: all that was asked for is done all the same."""
    outside = make_outside(faults=faults)
    chosen = [*options.split(), "-t", "300"]  # long enough for a host that does much else
    wrote = outside.run(*chosen, "write", "0", "1600", "9")
    assert wrote.returncode == 0, wrote.stdout
    assert outside.contents(0, 1600) == blocks(9, 0, 1600)
    read = outside.run(*chosen, "verify", "0", "1600", "9")
    assert read.returncode == 0, read.stdout
    troubles = dict(re.findall(r"(\w+) (\d+)", wrote.stdout + read.stdout))
    if does: assert int(troubles[does]) > 0
    assert troubles.get("failed", "0") == "0"


def test_what_always_fails_ends_with_an_error(make_outside: MakeOutside) -> None:
    done = make_outside(faults=Faults(error=1.0)).run("write", "0", "8", "1")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "the device: error 5")
    assert "retried 5," in done.stdout


def test_what_is_never_answered_ends_with_an_error(make_outside: MakeOutside) -> None:
    done = make_outside(faults=Faults(lost=1.0)).run("-t", "300", "flush")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "flush: error 110")
    assert "aborts 6, resets 0," in done.stdout


def test_a_controller_that_does_not_abort_is_reset(make_outside: MakeOutside) -> None:
    """What is not answered, and not aborted either, is submitted anew after a reset."""
    outside = make_outside(faults=Faults(seed=5, lost=0.01))
    outside.model.admin.commands[0x08] = lambda command: (0, 1)  # "not aborted" (5.1)
    done = outside.run("-t", "200", "write", "0", "1600", "9")
    assert done.returncode == 0, done.stdout
    assert outside.contents(0, 1600) == blocks(9, 0, 1600)
    assert int(re.findall(r"resets (\d+)", done.stdout)[0]) > 0


def test_what_the_controller_says_will_fail_again_is_not_repeated(make_outside: MakeOutside) -> None:
    """DNR (4.6.1): of blocks that Identify promises, and that are not there."""
    outside = make_outside()
    there = outside.model.namespace
    outside.model.admin.namespace = dataclasses.replace(there, blocks=2 * there.blocks)
    done = outside.run("read", str(there.blocks), "1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "the device: error 5"
    assert "retried 0," in done.stdout
    assert outside.model.counts()["errors"] == 1


def test_a_controller_that_fails_when_it_is_enabled(make_outside: MakeOutside) -> None:
    outside = make_outside(ready_ms=-1)
    outside.model._unfit = lambda: "it does not want to"  # type: ignore[method-assign]
    done = outside.run("identify")
    assert (done.returncode, done.stdout) == (1, "the controller: error 5\n")


@pytest.mark.parametrize("options", ["", "-i"])
def test_pulled_out_in_the_middle(make_outside: MakeOutside, options: str) -> None:
    done = make_outside(faults=Faults(removal=200)).run(*options.split(), "-t", "1000", "write", "0", "4000", "1")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "the device: error 19")


def test_a_controller_that_does_not_become_ready(make_outside: MakeOutside) -> None:
    done = make_outside(ready_ms=-1).run("identify")
    assert (done.returncode, done.stdout) == (1, "the controller: error 110\n")
    slow = make_outside(ready_ms=200).run("identify")
    assert slow.returncode == 0


def test_a_queue_that_vanishes_is_recovered_from(make_outside: MakeOutside) -> None:
    """The controller says that it failed for good, and works again after a reset."""
    outside = make_outside()
    # It looks at the state every 500 ms: the memory is back by then, on a busy host as well.
    running = subprocess.Popen([PROGRAM, outside.name, "-t", "8000", "bench", "write", "2"], stdout=subprocess.PIPE,
                               text=True)  # fmt: skip
    deadline = time.monotonic() + 60
    while outside.model.counts()["writes"] < 100 and time.monotonic() < deadline: time.sleep(0.01)
    registers = outside.files.registers
    address = int(ffi.cast("uintptr_t", ffi.from_buffer(outside.files.memory)))
    outside.model.unmap(0, 16 << 20)  # all of it, rings as well
    while not registers[0x1C] & 2 and time.monotonic() < deadline: time.sleep(0.001)
    outside.model.map(0, address, 16 << 20, True)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0, out
    assert "timeouts 0, aborts 0, resets 1," in out, "by what its state said, at once"


def test_killed_while_it_writes_every_flushed_block_is_there(tmp_path: Path) -> None:
    """kill -9 of the model and of the driver at once; the file has all that the driver said was safe."""
    disk, name = tmp_path / "disk", f"{tmp_path}/bar:{tmp_path}/dma"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for turn in range(2):
        model = subprocess.Popen(
            [sys.executable, "-m", "aerostat", "model", "nvme", "--bar", tmp_path / "bar", "--dma", tmp_path / "dma",
             "--file", disk, "--size", "4M"], stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
        )  # fmt: skip
        assert model.stdout is not None
        assert model.stdout.readline().startswith("ready: 8192 blocks")
        driver = subprocess.Popen([PROGRAM, name, "log", "16", "64"], stdout=subprocess.PIPE, text=True)
        assert driver.stdout is not None
        while driver.stdout.readline() != "safe: 80\n": pass
        time.sleep(random.Random(turn).uniform(0.0, 0.1))
        model.send_signal(signal.SIGKILL)
        driver.send_signal(signal.SIGKILL)
        said = driver.stdout.read().splitlines()
        for process in (model, driver): process.communicate()
        safe = int(said[-1].split()[1]) if said else 80
        there = disk.read_bytes()
        for place in range(64):
            rounds = (safe - place + 63) // 64  # how often this block was written when the last line was said
            if rounds <= 0: continue
            found = there[(16 + place) * 512 : (17 + place) * 512]
            at_least = [blocks(number, 16 + place, 1) for number in (rounds - 1, rounds)]
            assert found in at_least, (turn, place, safe)
        for path in ("bar", "dma"): (tmp_path / path).unlink()


@pytest.mark.parametrize("seed", range(2))
def test_power_fails_while_it_writes(make_outside: MakeOutside, seed: int) -> None:
    """As above, on a device that loses what was not flushed."""
    outside = make_outside(power_cuts=True)
    driver = subprocess.Popen([PROGRAM, outside.name, "log", "16", "64"], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "safe: 8\n"
    time.sleep(random.Random(seed).uniform(0.02, 0.1))
    outside.model.cut_power(seed)
    driver.kill()
    said = driver.communicate()[0].splitlines()
    safe = int(said[-1].split()[1]) if said and said[-1].startswith("safe: ") else 8
    for place in range(64):
        rounds = (safe - place + 63) // 64
        if rounds <= 0: continue
        assert outside.contents(16 + place, 1) in [blocks(number, 16 + place, 1) for number in (rounds - 1, rounds)]
    assert outside.run("verify", "16", "0", "0").returncode == 0  # it works again


def test_a_shutdown_keeps_what_nobody_flushed(make_outside: MakeOutside) -> None:
    outside = make_outside(power_cuts=True)
    assert outside.run("write", "0", "64", "3").returncode == 0
    assert outside.run("zero", "8", "16").returncode == 0
    assert outside.model.counts()["flushes"] == 1, "that of the first program"
    assert outside.model.cut_power(1) == 0
    assert outside.contents(0, 64) == blocks(3, 0, 8) + bytes(16 * 512) + blocks(3, 24, 40)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aerostat", "model", "nvme", "--bar", tmp_path / "bar", "--dma", tmp_path / "dma"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for wrong, says in ((["--file", "/nowhere/disk"], "No such file"), (["--faults", "soon=1"], "soon=1")):
        done = subprocess.run([*command, *wrong], capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 2
        assert says in done.stderr


def test_the_command_counts_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aerostat", "model", "nvme", "--bar", tmp_path / "bar", "--dma", tmp_path / "dma"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    model = subprocess.Popen([*command, "--size", "1M"], stdout=subprocess.PIPE, text=True, env=environment)
    assert model.stdout is not None
    assert model.stdout.readline() == "ready: 2048 blocks of 512 bytes in memory\n"
    done = subprocess.run([PROGRAM, f"{tmp_path}/bar:{tmp_path}/dma", "write", "0", "80", "1"], timeout=60)
    assert done.returncode == 0
    model.send_signal(signal.SIGINT)
    out, _ = model.communicate(timeout=60)
    assert model.returncode == 0
    assert "written_blocks: 80" in out.splitlines()
