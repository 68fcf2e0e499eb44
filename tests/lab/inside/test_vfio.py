"""Passing a device through for real: QEMU's NVMe behind its IOMMU, by VFIO, from Python and from ring 3.

Whether DMA was blocked is seen by memory, for emulated devices report success all the same.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aerostat import DeviceUnavailable, DirectDevice, Machine, open_device
from aerostat.cli import main
from hv.pci import bind, function_at, obstacle, unbind
from hv.vfio import VfioDevice
from tests.aerostat.programs import Capture, Pipe, built, wait
from tests.lab.hardware import SERIAL
from tests.lab.inside.by_hand import CAP, NVME, PATIENCE, VS, Nvme, host_address, queues
from tests.lab.inside.way import takes_its_way

NIC, OLD_NIC = "0000:00:06.0", "0000:00:08.0"


@pytest.fixture(scope="module")
def nvme() -> Iterator[DirectDevice]:
    bind(NVME)
    with open_device(NVME) as device:
        assert takes_its_way(device.device)
        yield device


def disks() -> list[Path]:
    """The block devices that the host's own driver has made of the controller."""
    return [Path("/dev") / path.name for path in Path(f"/sys/bus/pci/devices/{NVME}").glob("nvme/nvme*/nvme*n1")]


def await_disk() -> Path:
    """The one, which takes the driver a moment."""
    end = time.monotonic() + PATIENCE
    while not disks() or not disks()[0].exists(): assert time.monotonic() < end
    return disks()[0]


def command(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """``aerostat WORDS`` in this process, for another one takes half a minute to start here: its status and output."""
    status = main(words)
    said = capfd.readouterr()
    return status, said.out, said.err


def test_what_stands_in_the_way_is_said_and_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    assert obstacle(function_at(NVME)) == f"aerostat bind {NVME}"
    _, listed, _ = command(capfd, "devices")
    assert f"{NVME}  1b36:0010  NVMe storage" in listed
    assert f"{NIC}  8086:10d3  Ethernet" in listed
    with pytest.raises(DeviceUnavailable, match=r"driven by nvme; give it to vfio-pci: sudo aerostat bind"):
        VfioDevice(NVME)
    words = ("run", "--device", f"{NVME}=nvme0", "--no-linux", built("tests/passthrough"), "identify")
    status, _, errors = command(capfd, *words)
    assert status == 125
    assert f"sudo aerostat bind {NVME}" in errors


def test_a_group_is_passed_through_as_a_whole() -> None:
    one, two = "0000:00:07.0", "0000:00:07.1"
    bind(one)
    assert obstacle(function_at(one)) == f"in its group: aerostat bind {two}"
    why = rf"cannot tell {one} from {two} \(nvme\) of group \d+, which the host uses; aerostat bind {two}"
    with pytest.raises(DeviceUnavailable, match=why): VfioDevice(one)
    bind(two)
    with open_device(one) as device: assert device.bar[0].read32(VS) == 0x10400
    assert {unbind(one).driver, unbind(two).driver} == {"nvme"}


def test_bind_and_unbind_by_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    await_disk()
    assert command(capfd, "bind", NVME)[1].startswith(f"{NVME}: driven by vfio-pci, group ")
    assert not disks()
    assert command(capfd, "unbind", NVME)[1] == f"{NVME}: driven by nvme\n"
    await_disk()
    bind(NVME)


def test_registers_from_python(nvme: DirectDevice) -> None:
    assert repr(nvme) == f"<device {NVME} 1b36:0010, class 010802>"
    assert nvme.bar[0].read32(VS) == 0x10400
    assert nvme.bar[0].read64(CAP) & 0xFFFF == 2047
    assert nvme.bar[0].read32(CAP) & 0xFFFF == 2047
    assert nvme.bar[1].size == 0, "the upper half of BAR 0"
    with pytest.raises(IndexError): nvme.bar[0].read32(2)
    region = nvme.device.regions[0]
    assert region.host_address(0) != 0, "BAR 0 is mapped"
    assert region.host_address(0x2000) == 0, "but for the page of the MSI-X table"


def test_a_device_is_opened_once(nvme: DirectDevice) -> None:
    why = r"in use: /dev/vfio/(devices/vfio)?\d+ is open already"
    with pytest.raises(DeviceUnavailable, match=why): VfioDevice(NVME)


def test_dma_and_interrupts_from_python(nvme: DirectDevice) -> None:
    nvme.reset()
    admin, buffer = Nvme(nvme), nvme.dma(4096)
    admin.enable()
    assert nvme.interrupts[0].wait(0) == 0
    assert admin.command(6, buffer.iova, 0, 1) == 0
    assert bytes(buffer[4:24]).decode().strip() == SERIAL
    assert nvme.interrupts[0].wait(PATIENCE) == 1


def test_dma_reaches_what_is_mapped_and_nothing_else(nvme: DirectDevice) -> None:
    nvme.reset()
    admin, buffer, other = Nvme(nvme), nvme.dma(4096), nvme.dma(4096, writable=False)
    admin.enable()
    for memory in (buffer, other): memory[:] = b"\xa5" * 4096
    admin.command(6, 0xDEAD_0000, 0, 1)
    admin.command(6, other.iova, 0, 1)
    assert bytes(other.view) == b"\xa5" * 4096, "it may only read there"
    iova = buffer.iova
    buffer.close()
    admin.command(6, iova, 0, 1)
    assert bytes(buffer.view) == b"\xa5" * 4096, "it was taken away"
    nvme.device.map(iova, host_address(buffer.view), 4096, True)
    assert admin.command(6, iova, 0, 1) == 0
    assert bytes(buffer[4:24]).decode().strip() == SERIAL, "and given back"
    nvme.device.unmap(iova, 4096)


def test_a_device_does_not_reach_what_another_reaches(nvme: DirectDevice) -> None:
    """The same addresses are other memory to each of them, or none."""
    nvme.reset()
    admin, mine = Nvme(nvme), nvme.dma(4096)
    admin.enable()
    bind(NIC)
    with open_device(NIC) as nic:
        theirs = [nic.dma(4096) for _ in range(64)]
        for memory in theirs: memory[:] = b"\xa5" * 4096
        assert mine.iova in [memory.iova for memory in theirs]
        assert admin.command(6, mine.iova, 0, 1) == 0
        admin.command(6, theirs[-1].iova, 0, 1)
        assert all(bytes(memory.view) == b"\xa5" * 4096 for memory in theirs)
    assert bytes(mine[4:24]).decode().strip() == SERIAL
    unbind(NIC)


def test_data_on_the_disk(nvme: DirectDevice) -> None:
    nvme.reset()
    _, queue = queues(nvme)
    buffer, back = nvme.dma(4096), nvme.dma(4096)
    buffer[:] = bytes(n * 7 & 255 for n in range(4096))
    assert queue.command(1, buffer.iova, 1, 8, 0, 7) == 0
    assert queue.command(2, back.iova, 1, 8, 0, 7) == 0
    assert back.view == buffer.view
    # A write of memory that it may not read: nothing of it reaches the disk, which test_lab.py looks at.
    buffer[:] = b"SECRET" + bytes(4090)
    iova = buffer.iova
    buffer.close()
    queue.command(1, iova, 1, 16, 0, 7)
    assert queue.command(2, back.iova, 1, 16, 0, 7) == 0
    assert b"SECRET" not in bytes(back.view)
    assert queue.command(0, 0, 1) == 0


def test_close_gives_everything_back(nvme: DirectDevice) -> None:
    nvme.close()
    before = len(os.listdir("/proc/self/fd"))
    device = VfioDevice(NVME)
    device.close()
    device.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("scene", ["identify", "blocked", "msix_table"])
def test_from_ring_3(scene: str) -> None:
    with Machine("16M", check="full") as machine, Capture() as capture:
        lent = machine.add_device(VfioDevice(NVME))
        program = machine.spawn(
            built("tests/passthrough"), ["passthrough", scene], stdout=capture.fd, linux=False, devices={"nvme0": lent}
        )
        status = wait(program)
        said = capture.text()
        assert status == 0, f"{said}\n{program.report}"
        if scene == "identify":
            assert said == f"version 0x10400\nserial {SERIAL}\nmodel QEMU NVMe Ctrl\nidentify: ok\n"
            assert machine.statistics()["exits"] < 2000, "polling registers does not leave the guest"
        assert lent.mirrored == {}
        machine.audit()


def test_kill_in_the_middle_and_again() -> None:
    with Machine("16M", check="full") as machine:
        lent = machine.add_device(VfioDevice(NVME))
        for _ in range(2):
            with Pipe() as pipe:
                program = machine.spawn(
                    built("tests/passthrough"), ["passthrough", "hold"], stdout=pipe.fd, linux=False,
                    devices={"nvme0": lent},
                )  # fmt: skip
                pipe.until("holds")
                assert len(lent.mirrored) == 3
                machine.audit()
                program.kill()
                program.wait()
            assert lent.mirrored == {}
            machine.audit()


def test_the_command_line_passes_it_through(capfd: pytest.CaptureFixture[str]) -> None:
    words = ("run", "--device", f"{NVME}=nvme0", "--no-linux", built("tests/passthrough"), "identify")
    status, said, errors = command(capfd, *words)
    assert status == 0, errors
    assert f"serial {SERIAL}" in said


def test_a_line_from_python() -> None:
    """An 82540 has no MSI: its line interrupts again for as long as the cause was not read, and then no more."""
    cause_read, cause_set, mask_set, link = 0xC0, 0xC8, 0xD0, 1 << 2
    bind(OLD_NIC)
    with open_device(OLD_NIC) as nic:
        (line,) = nic.interrupts
        nic.bar[0].write32(mask_set, link)
        assert line.wait(0.1) == 0
        for _ in range(5):
            nic.bar[0].write32(cause_set, link)
            assert line.wait(PATIENCE) >= 1
            assert line.wait(PATIENCE) >= 1, "it was not served"
            assert nic.bar[0].read32(cause_read) & link
            while line.wait(0.05): pass  # what was on its way
            assert line.wait(0.1) == 0


def test_a_line_in_ring_3() -> None:
    with Machine("16M", check="full") as machine, Capture() as capture:
        lent = machine.add_device(VfioDevice(OLD_NIC))
        program = machine.spawn(
            built("tests/passthrough"), ["passthrough", "line"], stdout=capture.fd, linux=False, devices={"nic": lent}
        )
        assert wait(program) == 0, f"{capture.text()}\n{program.report}"


def test_the_host_takes_it_back_while_it_is_used() -> None:
    """VFIO asks for it by an eventfd, and waits until it is given back: to its driver it was unplugged."""
    with Machine("16M", check="full") as machine, Pipe() as pipe:
        lent = machine.add_device(VfioDevice(NVME))
        program = machine.spawn(
            built("tests/passthrough"), ["passthrough", "hold"], stdout=pipe.fd, linux=False, devices={"nvme0": lent}
        )
        pipe.until("holds")
        assert unbind(NVME).driver == "nvme"
        assert lent.gone
        pipe.until("the interrupt failed: EPIPE")
        assert wait(program) == 1
        machine.audit()


def test_the_host_has_it_and_what_is_on_it() -> None:
    written = bytes(n * 7 & 255 for n in range(4096))
    with await_disk().open("rb") as disk: assert disk.read(8 * 512 + 4096)[8 * 512 :] == written
