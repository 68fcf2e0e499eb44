"""Which way to the host's IOMMU devices are to be opened by in this lab, and which they were."""

import os
from pathlib import Path

from hv.device import Device
from hv.iommu import Container, Iommufd
from hv.vfio import VfioDevice
from tests.lab.kernel import DEBIAN, UBUNTU

WAYS = {DEBIAN: ("container",), UBUNTU: ("iommufd", "container")}[os.environ.get("AEROSTAT_LAB_KERNEL", DEBIAN)]
"""Those that the kernel has; the first is taken."""
_CLASSES = {"iommufd": Iommufd, "container": Container}


def open_files() -> set[str]:
    """Those below /dev that this process has open for devices."""
    fds = Path("/proc/self/fd")
    found = {os.readlink(fds / name) for name in os.listdir(fds) if (fds / name).is_symlink()}
    return {name for name in found if name == "/dev/iommu" or name.startswith("/dev/vfio")}


def takes_its_way(device: Device, way: str = WAYS[0]) -> bool:
    """A device was opened by this way, as are all that this process has open."""
    assert isinstance(device, VfioDevice)
    by_iommufd = {name for name in open_files() if name == "/dev/iommu" or name.startswith("/dev/vfio/devices/")}
    expected = open_files() if way == "iommufd" else set()
    return type(device.iommu) is _CLASSES[way] and by_iommufd == expected
