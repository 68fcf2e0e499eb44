"""This project's drivers, in ring 3, on QEMU's devices, passed through by VFIO.

What they leave on the disk and on the wire is looked at from outside as well (tests/lab/outside.py), and so is what
QEMU says that they did wrong.
"""

import threading
from collections.abc import Iterator

import pytest

from aerostat import Machine
from hv.devices import LentDevice
from hv.pci import bind
from hv.vfio import VfioDevice
from tests.aerostat.programs import Capture, Outcome, Pipe, built, wait
from tests.lab.hardware import MAC, SERIAL
from tests.lab.inside.way import takes_its_way

NVME, NIC = "0000:00:05.0", "0000:00:06.0"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine("64M") as machine: yield machine


@pytest.fixture(scope="module")
def disk(machine: Machine) -> LentDevice:
    bind(NVME)
    device = VfioDevice(NVME)
    assert takes_its_way(device)
    return machine.add_device(device)


@pytest.fixture(scope="module")
def nic(machine: Machine) -> LentDevice:
    bind(NIC)
    device = VfioDevice(NIC)
    assert takes_its_way(device)
    return machine.add_device(device)


def play(machine: Machine, lent: LentDevice, driver: str, *arguments: str) -> Outcome:
    with Capture() as capture:
        program = machine.spawn(
            built(f"drivers/{driver}"), [driver, "device", *arguments], stdout=capture.fd, linux=False,
            devices={"device": lent},
        )  # fmt: skip
        outcome = Outcome(wait(program), capture.text(), program.report)
    assert lent.mirrored == {}, "the device reaches nothing any more"
    return outcome


def test_nvme_identifies(machine: Machine, disk: LentDevice) -> None:
    done = play(machine, disk, "nvme", "identify")
    assert done.status == 0, done
    assert f"QEMU NVMe Ctrl, serial {SERIAL}" in done.output


@pytest.mark.parametrize("options", ["", "-n -d 4 -q 2", "-i"])
def test_nvme_writes_and_verifies(machine: Machine, disk: LentDevice, options: str) -> None:
    seed = str(len(options))
    for command, status in ((("write", "64", "1000", seed), 0), (("verify", "64", "1000", seed), 0),
                            (("verify", "64", "1000", "9"), 3)):  # fmt: skip
        done = play(machine, disk, "nvme", *options.split(), *command)
        assert done.status == status, done


def test_nvme_is_killed_in_the_middle_and_started_again(machine: Machine, disk: LentDevice) -> None:
    for _ in range(2):
        with Pipe() as pipe:
            program = machine.spawn(
                built("drivers/nvme"), ["nvme", "device", "log", "4096", "64"], stdout=pipe.fd, linux=False,
                devices={"device": disk},
            )  # fmt: skip
            pipe.until("safe: 8")
            program.kill()
            program.wait()
        assert disk.mirrored == {}
        machine.audit()
    assert play(machine, disk, "nvme", "write", "8192", "64", "5").status == 0


def test_e1000e_has_its_address(machine: Machine, nic: LentDevice) -> None:
    done = play(machine, nic, "e1000e", "mac")
    assert (done.status, done.output) == (0, f"{MAC}\n")


@pytest.mark.parametrize("options", ["", "-i"])
def test_e1000e_asks_and_is_answered(machine: Machine, nic: LentDevice, options: str) -> None:
    """More often than it has descriptors, so that each queue goes round."""
    done = play(machine, nic, "e1000e", *options.split(), "arp", "10.0.2.2", "100")
    assert done.status == 0, done
    address, _, more = done.output.partition("\n")
    assert address == "it is at 52:55:0a:00:02:02", done
    assert (int(more.removeprefix("interrupts: ")) > 50) if options else not more, done


def test_e1000e_sends(machine: Machine, nic: LentDevice) -> None:
    done = play(machine, nic, "e1000e", "-i", "send", "200")
    assert (done.status, done.output) == (0, ""), done


def test_both_at_once_in_containers_of_their_own(machine: Machine) -> None:
    machine.close()  # and with it the devices
    outcomes: dict[str, Outcome] = {}
    with Machine("64M", cores=2) as machine:
        def run(driver: str, address: str, *arguments: str) -> None:
            container = machine.create_container(driver, "8M")
            lent = machine.add_device(VfioDevice(address), container)
            with Capture() as capture:
                program = machine.load(
                    built(f"drivers/{driver}"), [driver, "device", *arguments], stdout=capture.fd, linux=False,
                    container=container, devices={"device": lent},
                )  # fmt: skip
                program.start()
                outcomes[driver] = Outcome(wait(program), capture.text(), program.report)

        both = [
            threading.Thread(target=run, args=("nvme", NVME, "write", "16384", "200", "6")),
            threading.Thread(target=run, args=("e1000e", NIC, "arp", "10.0.2.2", "20")),
        ]
        for thread in both: thread.start()
        for thread in both: thread.join()
        assert {name: outcome.status for name, outcome in outcomes.items()} == {"nvme": 0, "e1000e": 0}, outcomes
        machine.audit()
