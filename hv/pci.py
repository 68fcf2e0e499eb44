"""PCI functions of the host, by sysfs: what they are, who drives them, and giving them to vfio-pci and back.

Source: Documentation/ABI/testing/sysfs-bus-pci and Documentation/driver-api/vfio.rst of the Linux source.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSFS: Final = Path("/sys")
DEV: Final = Path("/dev")
VFIO_DRIVER: Final = "vfio-pci"
BRIDGE: Final = 0x0604
"""Class of bridges between PCI buses: they stay with the host, whatever group they are in."""
_ADDRESS: Final = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE)


class DeviceUnavailable(Exception):
    """A device cannot be used.  ``reason`` says what was found, ``remedy`` what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Function:
    """A function of a PCI device.  ``group``: the number of its IOMMU group, -1 where no IOMMU is in front of it;
    ``driver``: who drives it, "" for nobody."""

    address: str
    vendor_id: int
    device_id: int
    class_code: int
    driver: str
    group: int

    @property
    def is_bridge(self) -> bool:
        return self.class_code >> 8 == BRIDGE


def full_address(address: str) -> str:
    """``05:00.0`` -> ``0000:05:00.0``, as sysfs has it.  ValueError for what is no address."""
    found = _ADDRESS.fullmatch(address.strip())
    if found is None:
        raise ValueError(f"{address!r} is no PCI address: write DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:05:00.0")
    domain, bus, device, function = found.groups()
    return f"{domain or '0000'}:{bus}:{device}.{function}".lower()


def _link(path: Path) -> str:
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return ""


def _number(path: Path) -> int:
    return int(path.read_text(), 16)


def function_at(address: str, sysfs: Path = SYSFS) -> Function:
    """The function at this address.  Raises DeviceUnavailable where there is none, ValueError for no address."""
    address = full_address(address)
    place = sysfs / "bus/pci/devices" / address
    try:
        return Function(
            address, _number(place / "vendor"), _number(place / "device"), _number(place / "class"),
            _link(place / "driver"), int(_link(place / "iommu_group") or -1),
        )  # fmt: skip
    except FileNotFoundError:
        raise DeviceUnavailable(
            f"there is no PCI device {address}", "`aerostat devices` lists those that there are"
        ) from None


def functions(sysfs: Path = SYSFS) -> list[Function]:
    """All PCI functions of the host, by address."""
    place = sysfs / "bus/pci/devices"
    return [function_at(name, sysfs) for name in sorted(os.listdir(place))] if place.is_dir() else []


def group_members(group: int, sysfs: Path = SYSFS) -> list[Function]:
    """The functions that an IOMMU cannot tell apart, by address."""
    place = sysfs / "kernel/iommu_groups" / str(group) / "devices"
    return [function_at(name, sysfs) for name in sorted(os.listdir(place))] if place.is_dir() else []


def obstacle(function: Function, sysfs: Path = SYSFS) -> str:
    """Why a function cannot be passed through as things are, and what to do; "" if it can."""
    if function.is_bridge: return "a bridge, which the host keeps"
    if function.group < 0:
        return "no IOMMU in front of it: enable VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on on Intel"
    if function.driver != VFIO_DRIVER: return f"aerostat bind {function.address}"
    others = in_the_way(function, sysfs)
    if others: return f"in its group: aerostat bind {' '.join(other.address for other in others)}"
    return ""


def in_the_way(function: Function, sysfs: Path = SYSFS) -> list[Function]:
    """Functions of the same IOMMU group that the host drives: what one of them may reach, all may."""
    return [
        other for other in group_members(function.group, sysfs)
        if other.address != function.address and other.driver not in ("", VFIO_DRIVER, "pci-stub")
        and not other.is_bridge
    ]  # fmt: skip


def iommufd_nodes(function: Function, sysfs: Path = SYSFS, dev: Path = DEV) -> tuple[Path, ...]:
    """The files by which iommufd gives a function that vfio-pci drives; none where the host's kernel does not (before
    Linux 6.6, or built without CONFIG_IOMMUFD or CONFIG_VFIO_DEVICE_CDEV)."""
    place = sysfs / "bus/pci/devices" / function.address / "vfio-dev"
    try:
        nodes = (dev / "iommu", *(dev / "vfio/devices" / name for name in os.listdir(place)))
    except FileNotFoundError:
        return ()
    return nodes if len(nodes) == 2 and all(node.exists() for node in nodes) else ()


def container_nodes(function: Function, dev: Path = DEV) -> tuple[Path, ...]:
    """The files by which a VFIO container gives a function."""
    return (dev / "vfio/vfio", dev / "vfio" / str(function.group))


def nodes(function: Function, sysfs: Path = SYSFS, dev: Path = DEV) -> tuple[Path, ...]:
    """The files to be opened for a function that vfio-pci drives: iommufd's where there are such, unless this user may
    not open them and there are those of a container."""
    by_iommufd, by_container = iommufd_nodes(function, sysfs, dev), container_nodes(function, dev)
    if by_iommufd and (not refused(by_iommufd) or not all(node.exists() for node in by_container)): return by_iommufd
    return by_container


def refused(nodes: Iterable[Path]) -> list[Path]:
    """Those of these files that are there and that this user may not open to read and write."""
    return [node for node in nodes if node.exists() and not os.access(node, os.R_OK | os.W_OK)]


def _write(path: Path, text: str) -> None:
    with path.open("w") as file: file.write(text)


def _change_driver(address: str, override: str, sysfs: Path) -> Function:
    """Has the driver of this name drive a function, or whichever fits (""); who does now."""
    function = function_at(address, sysfs)
    place = sysfs / "bus/pci/devices" / function.address
    try:
        _write(place / "driver_override", override or "\n")
        if function.driver: _write(place / "driver" / "unbind", function.address)
        _write(sysfs / "bus/pci/drivers_probe", function.address)
    except PermissionError:
        raise DeviceUnavailable(
            f"no permission to change who drives {function.address}", "run this as root: sudo"
        ) from None
    except OSError as error:
        # The kernel says EINVAL where the driver that it then tried did not take the device.
        if function_at(address, sysfs).driver not in ("", function.driver): raise
        raise DeviceUnavailable(
            f"{override or 'no driver'} did not take {function.address}: {error.strerror}", "see `dmesg`"
        ) from None
    return function_at(address, sysfs)


def bind(address: str, sysfs: Path = SYSFS) -> Function:
    """Takes a function from its driver and gives it to vfio-pci, as root.  Raises DeviceUnavailable."""
    function = function_at(address, sysfs)
    if function.driver == VFIO_DRIVER: return function
    if function.is_bridge: raise DeviceUnavailable(f"{function.address} is a bridge", "name the device behind it")
    if not (sysfs / "bus/pci/drivers" / VFIO_DRIVER).is_dir():
        raise DeviceUnavailable("the module vfio-pci is not loaded", "modprobe vfio-pci")
    bound = _change_driver(address, VFIO_DRIVER, sysfs)
    if bound.driver != VFIO_DRIVER:
        raise DeviceUnavailable(f"vfio-pci did not take {bound.address}", "see `dmesg`")
    return bound


def unbind(address: str, sysfs: Path = SYSFS) -> Function:
    """Takes a function from vfio-pci and lets the host's own driver have it, as root.  Raises DeviceUnavailable."""
    function = function_at(address, sysfs)
    if function.driver != VFIO_DRIVER:
        raise DeviceUnavailable(
            f"{function.address} is driven by {function.driver or 'nobody'}, not by vfio-pci", "there is nothing to do"
        )
    return _change_driver(address, "", sysfs)


__all__ = [
    "BRIDGE", "DEV", "SYSFS", "VFIO_DRIVER", "DeviceUnavailable", "Function", "bind", "container_nodes",
    "full_address", "function_at", "functions", "group_members", "in_the_way", "iommufd_nodes", "nodes", "obstacle",
    "refused", "unbind",
]  # fmt: skip
