"""What opening a device asks of the host: by which files, in which words it says what is wrong, and the structures of
iommufd as the kernel's own header has them.  The rest needs an IOMMU: tests/lab/inside/test_iommu.py."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import hv.iommu
from hv.iommu import Container, Iommufd, Request, open_iommu
from hv.pci import DeviceUnavailable, Function, container_nodes, iommufd_nodes, nodes, refused

NIC = Function("0000:06:00.0", 0x8086, 0x10FB, 0x020000, "vfio-pci", 4)
REQUESTS = {value.name: value for value in vars(hv.iommu).values() if isinstance(value, Request)}
STRUCTURES = {
    "IOMMU_DESTROY": "iommu_destroy", "IOMMU_IOAS_ALLOC": "iommu_ioas_alloc", "IOMMU_IOAS_COPY": "iommu_ioas_copy",
    "IOMMU_IOAS_MAP": "iommu_ioas_map", "IOMMU_IOAS_UNMAP": "iommu_ioas_unmap",
    "VFIO_DEVICE_BIND_IOMMUFD": "vfio_device_bind_iommufd",
    "VFIO_DEVICE_ATTACH_IOMMUFD_PT": "vfio_device_attach_iommufd_pt",
}  # fmt: skip
ORDERS = {
    "IOMMU_DESTROY": "size id",
    "IOMMU_IOAS_ALLOC": "size flags out_ioas_id",
    "IOMMU_IOAS_COPY": "size flags dst_ioas_id src_ioas_id length dst_iova src_iova",
    "IOMMU_IOAS_MAP": "size flags ioas_id __reserved user_va length iova",
    "IOMMU_IOAS_UNMAP": "size ioas_id iova length",
    "VFIO_DEVICE_BIND_IOMMUFD": "argsz flags iommufd out_devid",
    "VFIO_DEVICE_ATTACH_IOMMUFD_PT": "argsz flags pt_id",
}


def test_requests_are_those_of_the_kernel(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None: pytest.skip("there is no gcc")
    assert set(REQUESTS) == set(STRUCTURES) == set(ORDERS)
    told = []
    for name, request in REQUESTS.items():
        structure, members = f"struct {STRUCTURES[name]}", ORDERS[name].split()
        told.append(f"_Static_assert({name} == {request.number}, \"number of {name}\");")
        told.append(f"_Static_assert(sizeof({structure}) == {request.size}, \"size of {structure}\");")
        for n, member in enumerate(members):
            offset = Request("", 0, request.layout[: 1 + n]).size
            told.append(f"_Static_assert(offsetof({structure}, {member}) == {offset}, \"place of {member}\");")
    for name, value in (("FIXED_IOVA", 1), ("WRITEABLE", 2), ("READABLE", 4)):
        assert getattr(hv.iommu, name) == value
        told.append(f"_Static_assert(IOMMU_IOAS_MAP_{name} == {value}, \"{name}\");")
    includes = "#include <stddef.h>\n#include <linux/vfio.h>\n#include <linux/iommufd.h>\n"
    source = tmp_path / "iommufd.c"
    source.write_text(includes + "#ifdef VFIO_DEVICE_BIND_IOMMUFD\nint here;\n#endif\n")
    there = subprocess.run([compiler, "-E", source], capture_output=True, text=True, check=False)
    if "int here" not in there.stdout: pytest.skip("the kernel's headers here are older than Linux 6.6")
    source.write_text(includes + "\n".join(told) + "\n")
    done = subprocess.run([compiler, "-fsyntax-only", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Where a /sys and a /dev are, as a host has them that has both ways."""
    for path in ("dev/iommu", "dev/vfio/vfio", "dev/vfio/4", "dev/vfio/devices/vfio2"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / f"sys/bus/pci/devices/{NIC.address}/vfio-dev/vfio2").mkdir(parents=True)
    return tmp_path


def taken(host: Path) -> list[str]:
    return [str(node.relative_to(host)) for node in nodes(NIC, host / "sys", host / "dev")]


def test_which_files_are_opened(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_iommufd, by_container = ["dev/iommu", "dev/vfio/devices/vfio2"], ["dev/vfio/vfio", "dev/vfio/4"]
    assert taken(host) == by_iommufd
    closed: set[Path] = set()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in closed)
    for path in by_iommufd:
        closed = {host / path}
        assert taken(host) == by_container, "a container will do"
        assert refused(nodes(NIC, host / "sys", host / "dev")) == []
    closed.add(host / "dev/vfio/4")
    assert refused(nodes(NIC, host / "sys", host / "dev")) == [host / "dev/vfio/4"], "one file is enough"
    (host / "dev/vfio/4").unlink()
    assert taken(host) == by_iommufd, "there are no groups"
    closed = set()
    assert taken(host) == by_iommufd


@pytest.mark.parametrize("lacking", ["dev/iommu", "dev/vfio/devices/vfio2", "sys/bus/pci/devices/{}/vfio-dev/vfio2"])
def test_where_the_kernel_has_half_of_iommufd(host: Path, lacking: str) -> None:
    """One built without device nodes has /dev/iommu, and one before that has nodes' names."""
    path = host / lacking.format(NIC.address)
    if path.is_dir(): path.rmdir()
    else: path.unlink()
    assert taken(host) == ["dev/vfio/vfio", "dev/vfio/4"]
    assert iommufd_nodes(NIC, host / "sys", host / "dev") == ()
    with pytest.raises(DeviceUnavailable, match="modprobe iommufd"): Iommufd(NIC, host / "sys", host / "dev")


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable, match=r"there is no .*/dev/vfio/vfio; load the module: modprobe vfio-pci"):
        open_iommu(NIC, tmp_path / "sys", tmp_path / "dev")
    without = Function(NIC.address, 0x8086, 0x10FB, 0x020000, "vfio-pci", -1)
    with pytest.raises(DeviceUnavailable, match=r"no IOMMU in front of 0000:06:00\.0; .*intel_iommu=on"):
        open_iommu(without, tmp_path / "sys", tmp_path / "dev")


def test_files_that_are_no_devices(host: Path) -> None:
    """What the kernel refuses is told, and nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DeviceUnavailable, match=r"iommufd does not give 0000:06:00\.0: VFIO_DEVICE_BIND_IOMMUFD: "):
        Iommufd(NIC, host / "sys", host / "dev")
    with pytest.raises(OSError, match="VFIO_GET_API_VERSION"): Container(NIC, host / "sys", host / "dev")
    assert len(os.listdir("/proc/self/fd")) == before
    assert container_nodes(NIC, host / "dev")[-1] == host / "dev/vfio/4"
