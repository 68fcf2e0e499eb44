"""PCI devices as sysfs shows them, on a sysfs of the test's own: what stands in the way of passing one through."""

from __future__ import annotations

from pathlib import Path

import pytest

from aerostat.devices import change_drivers, devices
from hv.pci import (
    DeviceUnavailable,
    bind,
    full_address,
    function_at,
    functions,
    group_members,
    in_the_way,
    obstacle,
    unbind,
)

NVME, NIC, SOUND, BRIDGE = "0000:05:00.0", "0000:06:00.0", "0000:06:00.1", "0000:00:01.0"


def add(sysfs: Path, address: str, class_code: int, group: int | None, driver: str) -> None:
    place = sysfs / "bus/pci/devices" / address
    place.mkdir(parents=True)
    for name, value in (("vendor", "0x8086"), ("device", "0x10fb"), ("class", f"{class_code:#08x}")):
        (place / name).write_text(value + "\n")
    (place / "driver_override").write_text("(null)\n")
    if driver:
        made = sysfs / "bus/pci/drivers" / driver
        made.mkdir(parents=True, exist_ok=True)
        (made / "unbind").touch()
        (place / "driver").symlink_to(made)
    if group is not None:
        members = sysfs / "kernel/iommu_groups" / str(group) / "devices"
        members.mkdir(parents=True, exist_ok=True)
        (members / address).symlink_to(place)
        (place / "iommu_group").symlink_to(members.parent)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    add(tmp_path, NVME, 0x010802, 3, "nvme")
    add(tmp_path, NIC, 0x020000, 4, "vfio-pci")
    add(tmp_path, SOUND, 0x040300, 4, "snd_hda_intel")
    add(tmp_path, BRIDGE, 0x060400, 4, "pcieport")
    (tmp_path / "bus/pci/drivers_probe").touch()
    return tmp_path


@pytest.mark.parametrize("written", ["05:00.0", "0000:05:00.0", " 0000:05:00.0\n"])
def test_addresses(written: str) -> None:
    assert full_address(written) == "0000:05:00.0"


@pytest.mark.parametrize("written", ["", "5", "05:00", "05:00.8", "05:00.0/../x", "../../etc", "0000:05:00.0x"])
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(ValueError, match=r"such as 0000:05:00\.0"): full_address(written)


def test_what_there_is(sysfs: Path) -> None:
    assert [f.address for f in functions(sysfs)] == [BRIDGE, NVME, NIC, SOUND]
    found = function_at("05:00.0", sysfs)
    assert (found.vendor_id, found.device_id, found.class_code) == (0x8086, 0x10FB, 0x010802)
    assert (found.driver, found.group) == ("nvme", 3)
    assert [f.address for f in group_members(4, sysfs)] == [BRIDGE, NIC, SOUND]
    with pytest.raises(DeviceUnavailable, match=r"there is no PCI device 0000:09:00\.0; `aerostat devices`"):
        function_at("09:00.0", sysfs)


def test_what_stands_in_the_way(sysfs: Path) -> None:
    add(sysfs, "0000:07:00.0", 0x020000, None, "e1000e")
    said = {f.address: obstacle(f, sysfs) for f in functions(sysfs)}
    assert said[NVME] == f"aerostat bind {NVME}"
    assert said[NIC] == f"in its group: aerostat bind {SOUND}"
    assert "bridge" in said[BRIDGE]
    assert "intel_iommu=on" in said["0000:07:00.0"]
    assert [f.address for f in in_the_way(function_at(NIC, sysfs), sysfs)] == [SOUND]
    (sysfs / "bus/pci/devices" / SOUND / "driver").unlink()
    assert obstacle(function_at(NIC, sysfs), sysfs) == ""


def test_bind_writes_what_the_kernel_wants(sysfs: Path) -> None:
    place = sysfs / "bus/pci/devices" / NVME
    with pytest.raises(DeviceUnavailable, match=r"vfio-pci did not take 0000:05:00\.0"): bind(NVME, sysfs)
    assert (place / "driver_override").read_text() == "vfio-pci"
    assert (sysfs / "bus/pci/drivers/nvme/unbind").read_text() == NVME
    assert (sysfs / "bus/pci/drivers_probe").read_text() == NVME
    assert bind(NIC, sysfs).driver == "vfio-pci", "nothing to do"
    with pytest.raises(DeviceUnavailable, match="is a bridge"): bind(BRIDGE, sysfs)


def test_unbind_gives_back(sysfs: Path) -> None:
    unbind(NIC, sysfs)
    assert (sysfs / "bus/pci/devices" / NIC / "driver_override").read_text() == "\n"
    assert (sysfs / "bus/pci/drivers/vfio-pci/unbind").read_text() == NIC
    with pytest.raises(DeviceUnavailable, match="driven by nvme, not by vfio-pci"): unbind(NVME, sysfs)


def test_without_the_module(sysfs: Path) -> None:
    (sysfs / "bus/pci/devices" / NIC / "driver").unlink()
    (sysfs / "bus/pci/drivers/vfio-pci/unbind").unlink()
    (sysfs / "bus/pci/drivers/vfio-pci").rmdir()
    with pytest.raises(DeviceUnavailable, match="modprobe vfio-pci"): bind(NVME, sysfs)


def test_the_list(sysfs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sysfs / "bus/pci/devices" / SOUND / "driver").unlink()
    assert devices(as_json=False, sysfs=sysfs, dev=tmp_path / "dev") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["ADDRESS", "ID", "CLASS", "GROUP", "DRIVER"]
    assert f"{NIC}  8086:10fb  Ethernet" in lines[3]
    assert f"ready: aerostat run --device {NIC}=NAME" in lines[3]
    assert f"aerostat bind {NVME}" in lines[2]


def test_the_commands_say_what_is_wrong(sysfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dev = sysfs / "dev"
    assert change_drivers([NIC], to_vfio=True, sysfs=sysfs, dev=dev) == 0
    assert capsys.readouterr().out == f"{NIC}: driven by vfio-pci, group 4: {dev}/vfio/4\n"
    assert change_drivers(["nonsense"], to_vfio=True, sysfs=sysfs) == 2
    assert change_drivers(["0000:09:00.0"], to_vfio=False, sysfs=sysfs) == 125
    said = capsys.readouterr().err
    assert "'nonsense' is no PCI address" in said
    assert "`aerostat devices` lists" in said
