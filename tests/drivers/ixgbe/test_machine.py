"""The driver as a program in ring 3 of a machine, with the model as its device."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aerostat import Machine
from drivers.ixgbe import wires
from drivers.ixgbe.model import Ixgbe, Mode
from drivers.model.faults import Faults
from hv.devices import LentDevice
from tests.aerostat.programs import Capture, Outcome, aerostat, built, wait
from tests.drivers.ixgbe.packets import THEM, US, ethernet, ipv4, numbered, udp
from tests.drivers.waiting import until

pytestmark = pytest.mark.kvm
MakeModel = Callable[..., Ixgbe]
MODES = [Mode.TRAPPED, Mode.FAST]


@pytest.fixture
def make_model() -> Iterator[MakeModel]:
    made: list[Ixgbe] = []

    def make(mode: Mode, **options: Any) -> Ixgbe:
        made.append(Ixgbe(mode, **options))
        made[-1].start()
        return made[-1]

    yield make
    for model in made: model.close()


def play(machine: Machine, lent: LentDevice, *arguments: str) -> Outcome:
    with Capture() as capture:
        program = machine.spawn(
            built("drivers/ixgbe"), ["ixgbe", "nic", *arguments], stdout=capture.fd, linux=False, devices={"nic": lent}
        )
        return Outcome(wait(program), capture.text(), program.report)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_it_receives_generates_and_forwards(make_model: MakeModel, mode: Mode) -> None:
    with Machine("64M", check="full") as machine:
        model = make_model(mode)
        lent = machine.add_device(model)
        outcome = play(machine, lent, "identify")
        assert (outcome.status, outcome.output) == (0, "address 02:82:59:90:00:01, link 10000 Mb/s\n")
        wires.capture(model)
        assert play(machine, lent, "-t", "30", "generate", "50").status == 0
        expected = [ethernet(ipv4(udp(struct.pack(">I", i) + bytes(14), ports=(1024 + i, 9)), 17), to=b"\xff" * 6)
                    for i in range(50)]  # fmt: skip
        assert [frame.replace(US, THEM) for frame in wires.sent(model)] == expected
        frames = [numbered(i, 60 + i) for i in range(40)]
        wires.feed(model, frames, times=5)
        outcome = play(machine, lent, "-t", "30", "receive", "200")
        assert outcome.status == 0, outcome.output
        assert f"bytes {5 * sum(map(len, frames))}\nsum {5 * sum(map(sum, frames))}," in outcome.output
        wires.feed(model, frames, times=2)
        assert play(machine, lent, "-t", "30", "forward", "80").status == 0
        assert wires.sent(model) == 2 * [frame[6:12] + frame[:6] + frame[12:] for frame in frames]
        assert model.errors == {}
        assert model.dma.pages == 0, "all that the device reached was taken from it"
        machine.audit()


def test_the_command_line_connects_its_port(tmp_path: Path) -> None:
    """Files of pcap both ways: the same program as on hardware, one option is another."""
    frames = [numbered(i, 60 + i) for i in range(40)]
    data = b"".join(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)
    (tmp_path / "in.pcap").write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + data)
    ways = f"play={tmp_path}/in.pcap,times=3,record={tmp_path}/out.pcap"
    done = aerostat("run", "--no-linux", "--device", f"ixgbe:mode=fast,{ways}=nic", built("drivers/ixgbe"), "nic", "-t",
                    "30", "forward", "120")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    there = [frame[6:12] + frame[:6] + frame[12:] for frame in frames]
    assert wires.read_pcap(tmp_path / "out.pcap") == there * 3


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("faults", [
    Faults(seed=2, error=0.1), Faults(seed=2, lost=0.1), Faults(seed=2, duplicated=0.1),
    Faults(seed=2, late=0.05, late_ms=1),
], ids=["error", "lost", "duplicated", "late"])  # fmt: skip
def test_a_device_that_does_badly(make_model: MakeModel, mode: Mode, faults: Faults) -> None:
    """The driver goes on, hands out nothing that is wrong, and is not held up by a report that never comes."""
    with Machine("64M") as machine:
        model = make_model(mode, faults=faults)
        lent = machine.add_device(model)
        wires.feed(model, [numbered(7)], times=0)
        done = play(machine, lent, "-t", "30", "receive", "500")
        count, size = re.findall(r"^received (\d+) packets, bytes (\d+)$", done.output, re.MULTILINE)[0]
        assert (done.status, int(size)) == (0, 60 * int(count)), done.output
        assert f"sum {int(count) * sum(numbered(7))}," in done.output
        assert ("broken descriptors" in done.output) == bool(faults.error)
        done = play(machine, lent, "-t", "30", "generate", "1500")  # more than a ring holds
        assert (done.status, done.output.split(";")[0]) == (0, "sent 1500 packets"), done.output
        assert model.errors == {}
        machine.audit()


def test_interrupts_and_several_queues(make_model: MakeModel) -> None:
    with Machine("64M") as machine:
        model = make_model(Mode.FAST)
        lent = machine.add_device(model)
        flows = [ethernet(ipv4(udp(b"", ports=(i, 5)), 17)) for i in range(64)]
        wires.feed(model, flows, times=4)
        assert play(machine, lent, "-i", "-q", "4", "-t", "30", "receive", "256").status == 0
        assert model.errors == {}


def test_polling_leaves_the_machine_not_once_a_packet(make_model: MakeModel) -> None:
    with Machine("64M") as machine:
        model = make_model(Mode.FAST)
        lent = machine.add_device(model)
        wires.feed(model, [numbered(1)], times=0)
        exits = []
        for count in (1000, 20_000):
            before = machine.statistics()["exits"]
            assert play(machine, lent, "-t", "30", "receive", str(count)).status == 0
            exits.append(machine.statistics()["exits"] - before)
        assert exits[1] - exits[0] < 1000, exits


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_killed_in_the_middle_and_started_again(make_model: MakeModel, mode: Mode) -> None:
    """The device reaches nothing of a driver that was killed; the next one finds it as at power-on."""
    with Machine("64M", check="full") as machine, Capture() as capture:
        model = make_model(mode)
        wires.feed(model, [numbered(1)], times=0)
        lent = machine.add_device(model)
        for _ in range(2):
            received = 0 * model.read(0, 0x40D0, 4)  # TPR, which this clears
            program = machine.spawn(
                built("drivers/ixgbe"), ["ixgbe", "nic", "-t", "30", "receive", str(1 << 40)], stdout=capture.fd,
                linux=False, devices={"nic": lent},
            )  # fmt: skip

            def came() -> bool:
                nonlocal received
                received += model.read(0, 0x40D0, 4)
                return received > 1000

            until(came)
            program.kill()
            program.wait()
            assert model.dma.pages == 0
            machine.audit()
            assert play(machine, lent, "identify").status == 0
            assert play(machine, lent, "-t", "30", "generate", "50").status == 0
        assert set(model.errors) <= {"DMA_FAULT"}, "memory was taken from it while frames came"


@pytest.mark.parametrize("does", ["receive", "generate"])
def test_a_device_that_is_pulled_out(make_model: MakeModel, does: str) -> None:
    with Machine("64M") as machine, Capture() as capture:
        model = make_model(Mode.FAST)
        wires.capture(model)
        program = machine.spawn(
            built("drivers/ixgbe"), ["ixgbe", "nic", "-t", "30", does, str(1 << 40)], stdout=capture.fd, linux=False,
            devices={"nic": machine.add_device(model)},
        )  # fmt: skip
        until(lambda: wires.sent(model) if does == "generate" else model.dma.pages)
        model.remove()
        assert wait(program) == 1
        assert capture.text().endswith(": error 19\n")
        machine.audit()


def test_a_program_that_is_given_a_device_that_was_pulled_out(make_model: MakeModel) -> None:
    with Machine("64M") as machine:
        model = make_model(Mode.FAST)
        lent = machine.add_device(model)
        model.remove()
        until(lambda: lent.gone)
        with pytest.raises(ValueError, match="was removed"):
            play(machine, lent, "receive", "1")
        machine.audit()
