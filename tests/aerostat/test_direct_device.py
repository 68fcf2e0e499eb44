"""Devices in the hands of Python, and how they are named."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from aerostat import DirectDevice, open_device
from aerostat.device_kinds import open_named, parse, split_name
from tests.aerostat.board import ADDRESS, BOARD, COMMAND, FAULTS, IDENTITY, INTERRUPT, SCRATCH, VALUE, Board
from tests.aerostat.programs import aerostat


@pytest.fixture
def board() -> Iterator[DirectDevice]:
    with open_device(Board()) as device: yield device


def test_registers_trapped_and_as_memory(board: DirectDevice) -> None:
    bar = board.bar[0]
    assert bar.read64(IDENTITY) == BOARD
    bar.write32(SCRATCH, 0x11223344)
    bar.write8(SCRATCH, 0xFF)
    assert (bar.read32(SCRATCH), bar.read16(SCRATCH), bar.read8(SCRATCH + 3)) == (0x112233FF, 0x33FF, 0x11)
    assert bar.read64(0x1000) == 0x5EED
    bar.write16(0x1002, 0xABCD)
    assert bar.read64(0x1000) == 0xABCD5EED
    assert board.bar[1].size == 0
    assert repr(board) == "<device board abcd:5678, class ff0000>"
    for offset in (1, -8, 0x3800, 1 << 40):
        with pytest.raises(IndexError, match="no register of 8 bytes"): bar.read64(offset)


def test_buffers(board: DirectDevice) -> None:
    bar, both, only_read = board.bar[0], board.dma(5000), board.dma(4096, writable=False)
    assert (len(both), both.iova % 4096, bytes(both.view)) == (8192, 0, bytes(8192))
    bar.write64(ADDRESS, both.iova + 4096)
    bar.write64(VALUE, 0xD00D)
    bar.write64(COMMAND, 1)
    assert both[4096] == 0x0D
    bar.write64(ADDRESS, only_read.iova)
    bar.write64(COMMAND, 1)
    assert bar.read64(FAULTS) == 1
    both.close()
    both.close()
    bar.write64(ADDRESS, both.iova)
    bar.write64(COMMAND, 1)
    assert bar.read64(FAULTS) == 2
    assert both[4096] == 0x0D, "what was there stays readable"
    with pytest.raises(OSError, match="all entries are used"): board.dma(9 * 4096)
    assert len(board.device.mapped) == 1, "nothing stays of it"  # type: ignore[attr-defined]
    for size in (0, -1, 1 << 40):
        with pytest.raises(ValueError, match="a buffer of"): board.dma(size)


def test_interrupts_and_reset(board: DirectDevice) -> None:
    board.bar[0].write64(INTERRUPT, 1)
    board.bar[0].write64(INTERRUPT, 1)
    assert (board.interrupts[1].wait(), board.interrupts[1].wait(0), board.interrupts[0].wait(0)) == (2, 0, 0)
    board.bar[0].write64(SCRATCH, 5)
    board.reset()
    assert board.bar[0].read64(SCRATCH) == 0


@pytest.mark.parametrize(("what", "found"), [
    ("0000:05:00.0", ("pci", {"address": "0000:05:00.0"})), ("05:00.0", ("pci", {"address": "0000:05:00.0"})),
    ("pci:05:00.0", ("pci", {"address": "0000:05:00.0"})), ("nvme", ("nvme", {})),
    ("nvme:file=/tmp/a=b,block=4096", ("nvme", {"file": "/tmp/a=b", "block": "4096"})),
])  # fmt: skip
def test_names(what: str, found: tuple[str, dict[str, str]]) -> None:
    assert parse(what) == found
    assert split_name(f"{what}=disk0") == (what, "disk0")


@pytest.mark.parametrize("argument", ["05:00.0", "=x", "nvme=", "nvme=1x", "nvme=a b", "disk=x", "nvme:memory=x"])
def test_what_names_no_device(argument: str) -> None:
    with pytest.raises(ValueError, match=r"--device|PCI address|KEY=VALUE"): split_name(argument)
    done = aerostat("run", "--device", argument, "/bin/true")
    assert done.returncode == 2


@pytest.mark.parametrize(("what", "said"), [
    ("nvme:memroy=1M", "there is no option 'memroy': block, entries"), ("nvme:memory=lots", "is not a size"),
    ("nvme:block=100", "it is 512 or 4096"), ("nvme:fast=maybe", "write yes or no"), ("nvme:queues=x", "queues=x"),
    ("ixgbe:mode=slow", "mode=slow"), ("nvme:faults=late=2", "probabilities"), ("nvme:size=1G", "that of a file"),
    ("nvme:file=x,memory=1M", "not both"), ("ixgbe:mac=0282:59:90:00:01", "write six bytes"),
    ("ixgbe:generate=5000000", "14 to 15872"), ("ixgbe:play=/etc/passwd", "not a pcap"), ("ixgbe:times=-1", "-1 times"),
    ("ixgbe:play=x,generate=60", "not both"), ("ixgbe:tap=x,interface=y", "not both"),
    ("ixgbe:tap=a-name-of-16-byte", "1 to 15 bytes"), ("ixgbe:storm=1", "write yes or no"),
])  # fmt: skip
def test_options_of_models(what: str, said: str) -> None:
    with pytest.raises(ValueError, match=said): open_named(what)


@pytest.mark.kvm
@pytest.mark.parametrize(("devices", "status", "said"), [
    (["nvme=disk", "ixgbe=disk"], 2, "two devices of one name"), (["nvme:memory=12=disk"], 2, "less than a block"),
    (["ixgbe:mac=x=nic"], 2, "write six bytes"), (["nvme:file=/nowhere/disk=disk"], 125, "/nowhere/disk"),
    (["ixgbe:interface=nowhere0=nic"], 125, "nowhere0"), (["ixgbe:record=/nowhere/x=nic"], 125, "/nowhere/x"),
])  # fmt: skip
def test_devices_that_no_program_can_be_given(devices: list[str], status: int, said: str) -> None:
    options = [word for device in devices for word in ("--device", device)]
    done = aerostat("run", *options, "/bin/true")
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_model_looks_like_a_device() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open_device("nvme:memory=1M,fast=yes") as nvme:
        assert nvme.bar[0].read32(8) == 0x10400
        assert nvme.bar[0].read64(0) & 0xFFFF == 1023
    with open_device("ixgbe:mode=fast,mac=02:00:00:00:00:07") as nic:
        assert nic.bar[0].read32(0x5400) == 2
        assert nic.bar[0].read32(0x5404) == 0x80000700
    assert len(os.listdir("/proc/self/fd")) == before
