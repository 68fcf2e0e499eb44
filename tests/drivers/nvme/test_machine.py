"""The driver as a program in ring 3 of a machine, with the model as its device."""

from __future__ import annotations

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

from aerostat import Machine
from drivers.model.faults import Faults
from drivers.nvme.backing import in_file, in_memory
from drivers.nvme.model import NvmeModel
from hv.devices import LentDevice
from tests.aerostat.programs import Capture, Outcome, Pipe, built, wait

from .pattern import blocks

pytestmark = pytest.mark.kvm
ROOT = Path(__file__).resolve().parents[3]
SIZE = 8 << 20
MakeModel = Callable[..., NvmeModel]


@pytest.fixture
def make_model() -> Iterator[MakeModel]:
    made: list[NvmeModel] = []

    def make(**options: Any) -> NvmeModel:
        made.append(NvmeModel(options.pop("backing", None) or in_memory(SIZE), **options))
        return made[-1]

    yield make
    for model in made:
        model.close()
        model.backing.close()


def play(machine: Machine, lent: LentDevice, *arguments: str) -> Outcome:
    with Capture() as capture:
        program = machine.spawn(
            built("drivers/nvme"), ["nvme", "disk", *arguments], stdout=capture.fd, linux=False, devices={"disk": lent}
        )
        return Outcome(wait(program), capture.text(), program.report)


def contents(model: NvmeModel, lba: int, count: int) -> bytes:
    assert model.backing.memory is not None
    return model.backing.memory[lba * 512 : (lba + count) * 512]


@pytest.mark.parametrize("fast", [False, True])
def test_what_is_written_is_there(make_model: MakeModel, fast: bool) -> None:
    with Machine("64M", check="full") as machine:
        model = make_model(fast=fast)
        lent = machine.add_device(model)
        assert play(machine, lent, "identify").output.startswith("aerostat NVMe model, serial AERO0001")
        for number, options in enumerate(("", "-i -q 2", "-n", "-n -i -d 2")):
            assert play(machine, lent, *options.split(), "write", "3", "301", str(number)).status == 0
            assert contents(model, 3, 301) == blocks(number, 3, 301)
            assert play(machine, lent, *options.split(), "verify", "3", "301", str(number)).status == 0
            assert play(machine, lent, *options.split(), "verify", "3", "302", str(number)).status == 3
        assert not any(contents(model, 304, 100))
        assert model.memory.pages == 0, "all that the device reached was taken from it"
        assert model.counts()["dma_faults"] == model.counts()["bad_doorbells"] == 0
        machine.audit()


def test_polling_leaves_the_machine_not_once_an_operation(make_model: MakeModel) -> None:
    """With doorbells in memory, and queues that are polled, a thousand operations more make no exit more."""
    with Machine("64M") as machine:
        model = make_model(fast=True)
        lent = machine.add_device(model)
        exits = []
        for count in (128, 12800):
            before = machine.statistics()["exits"]
            assert play(machine, lent, "-n", "verify", "0", str(count), "0").status in (0, 3)
            exits.append((machine.statistics()["exits"]) - before)
        assert exits[1] - exits[0] < 800, exits  # time slices, and no more; 1584 operations


@pytest.mark.parametrize(("faults", "options"), [
    (Faults(seed=1, error=0.05, duplicated=0.1), "-i"),
    (Faults(seed=2, lost=0.02), "-q 2"),
    (Faults(seed=3, late=0.03, late_ms=700), "-i -n"),
])  # fmt: skip
def test_a_device_that_does_badly(make_model: MakeModel, faults: Faults, options: str) -> None:
    with Machine("64M") as machine:
        model = make_model(fast=True, faults=faults)
        lent = machine.add_device(model)
        done = play(machine, lent, *options.split(), "-t", "300", "write", "0", "800", "9")
        assert done.status == 0, done.output
        assert contents(model, 0, 800) == blocks(9, 0, 800)
        assert re.search(r"[1-9]", done.output), "something was to be dealt with"


def test_pulled_out_in_the_middle(make_model: MakeModel) -> None:
    with Machine("64M") as machine:
        lent = machine.add_device(make_model(faults=Faults(removal=100)))
        done = play(machine, lent, "-t", "1000", "write", "0", "4000", "1")
        assert done.status == 1
        assert done.output.startswith("the device: error 19\n")


@pytest.mark.parametrize("fast", [False, True])
def test_killed_in_the_middle_and_started_again(make_model: MakeModel, fast: bool) -> None:
    """The device reaches nothing of a driver that was killed; the next one finds it as at power-on."""
    with Machine("64M", check="full") as machine:
        model = make_model(fast=fast)
        lent = machine.add_device(model)
        for turn in range(2):
            with Pipe() as pipe:
                program = machine.spawn(
                    built("drivers/nvme"), ["nvme", "disk", "log", "16", "64"], stdout=pipe.fd, linux=False,
                    devices={"disk": lent},
                )  # fmt: skip
                pipe.until("safe: 80\n")
                program.kill()
                program.wait()
            assert model.memory.pages == 0
            machine.audit()
            assert play(machine, lent, "write", "0", "100", str(turn)).status == 0
            assert contents(model, 0, 100) == blocks(turn, 0, 100)


def test_the_whole_process_is_killed_and_every_flushed_block_is_there(tmp_path: Path) -> None:
    """kill -9 of machine, driver and model at once, while it writes to a file."""
    disk = tmp_path / "disk"
    source = f"""
from aerostat import Machine
from drivers.nvme.backing import in_file
from drivers.nvme.model import NvmeModel
with Machine("64M") as machine:
    lent = machine.add_device(NvmeModel(in_file({str(disk)!r}, 4 << 20), fast=True))
    machine.spawn({built("drivers/nvme")!r}, ["nvme", "disk", "log", "16", "64"], linux=False,
                  devices={{"disk": lent}}).wait()
"""
    for turn in range(2):
        whole = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                                 env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        assert whole.stdout is not None
        while whole.stdout.readline() != "safe: 80\n": assert whole.poll() is None
        time.sleep(random.Random(turn).uniform(0.0, 0.1))
        whole.send_signal(signal.SIGKILL)
        said = whole.communicate()[0].splitlines()
        lines = [line for line in said if re.fullmatch(r"safe: \d+", line)]
        safe = int(lines[-1].split()[1]) if lines else 80
        there = disk.read_bytes()
        for place in range(64):
            rounds = (safe - place + 63) // 64
            found = there[(16 + place) * 512 : (17 + place) * 512]
            assert found in [blocks(number, 16 + place, 1) for number in (rounds - 1, rounds)], (turn, place, safe)
    model = NvmeModel(in_file(disk), fast=True)
    with Machine("64M") as machine:
        assert play(machine, machine.add_device(model), "verify", "16", "0", "0").status == 0
    model.close()
    model.backing.close()
