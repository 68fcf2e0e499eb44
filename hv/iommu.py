"""The host's IOMMU in front of one passed-through device: what the device can reach is what is mapped here.

Two ways to it: a VFIO container of type 1, and iommufd, on newer hosts (Linux 6.6, where the kernel was built with
CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV).

Source: include/uapi/linux/vfio.h and include/uapi/linux/iommufd.h of the Linux source.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from abi.layout import PAGE_SIZE
from hv.kvm import check, ffi, ioctl, lib
from hv.pci import (
    DEV,
    SYSFS,
    VFIO_DRIVER,
    DeviceUnavailable,
    Function,
    container_nodes,
    group_members,
    in_the_way,
    iommufd_nodes,
    nodes,
)


class Iommu(Protocol):
    """What one device can reach."""

    def device(self) -> int:
        """The device's descriptor, whose owner is the caller."""

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        """As ``hv.device.Device.map``."""

    def unmap(self, iova: int, length: int) -> None:
        """As ``hv.device.Device.unmap``."""

    def close(self) -> None:
        """Maps nothing any more.  The device is closed before."""


def _open(path: Path, function: Function) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DeviceUnavailable(f"there is no {path}", "load the module: modprobe vfio-pci") from None
    except PermissionError:
        raise DeviceUnavailable(f"no permission to open {path}", f"sudo chown $USER {path}") from None
    except OSError as error:
        if error.errno == errno.EBUSY: raise _in_use(function, path) from None
        raise


def _in_use(function: Function, path: Path) -> DeviceUnavailable:
    return DeviceUnavailable(
        f"{function.address} is in use: {path} is open already",
        f"end what has opened it, for this function or another of group {function.group}",
    )


def _not_viable(function: Function, others: list[Function]) -> DeviceUnavailable:
    names = ", ".join(f"{other.address} ({other.driver})" for other in others) or "a device"
    return DeviceUnavailable(
        f"the IOMMU cannot tell {function.address} from {names} of group {function.group}, which the host uses",
        f"aerostat bind {' '.join(other.address for other in others)}" if others else "see `dmesg`",
    )


def _interrupts_unsafe(module: str) -> DeviceUnavailable:
    return DeviceUnavailable("the IOMMU here does not keep devices' interrupts apart", _accept_unsafe(module))


def _accept_unsafe(module: str) -> str:
    return (
        "enable interrupt remapping in the firmware, or accept the risk: "
        f"echo 1 > /sys/module/{module}/parameters/allow_unsafe_interrupts"
    )


class Container:
    """A VFIO container of type 1 (version 2) with the one group that the device is in."""

    def __init__(self, function: Function, sysfs: Path = SYSFS, dev: Path = DEV) -> None:
        self._function = function
        self._group = -1
        container, group = container_nodes(function, dev)
        self._container = _open(container, function)
        try:
            if ioctl(self._container, "VFIO_GET_API_VERSION", 0) != lib.VFIO_API_VERSION:
                raise DeviceUnavailable("VFIO here speaks another version", "use another Linux kernel")
            if not ioctl(self._container, "VFIO_CHECK_EXTENSION", lib.VFIO_TYPE1v2_IOMMU):
                raise DeviceUnavailable(
                    "VFIO here has no IOMMU of type 1", "load the module: modprobe vfio_iommu_type1"
                )
            self._group = _open(group, function)
            self._join(sysfs)
        except BaseException:
            self.close()
            raise

    def _join(self, sysfs: Path) -> None:
        function = self._function
        status = ffi.new("struct vfio_group_status *", {"argsz": ffi.sizeof("struct vfio_group_status")})
        ioctl(self._group, "VFIO_GROUP_GET_STATUS", status)
        if not status.flags & lib.VFIO_GROUP_FLAGS_VIABLE: raise _not_viable(function, in_the_way(function, sysfs))
        fd = ffi.new("int *", self._container)
        try:
            ioctl(self._group, "VFIO_GROUP_SET_CONTAINER", fd)
            ioctl(self._container, "VFIO_SET_IOMMU", lib.VFIO_TYPE1v2_IOMMU)
        except OSError as error:
            if error.errno != errno.EPERM: raise
            raise _interrupts_unsafe("vfio_iommu_type1") from None

    def device(self) -> int:
        name = ffi.new("char[]", self._function.address.encode())
        return ioctl(self._group, "VFIO_GROUP_GET_DEVICE_FD", name)

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        _make_present(address, length)
        request = ffi.new("struct vfio_iommu_type1_dma_map *", {
            "argsz": ffi.sizeof("struct vfio_iommu_type1_dma_map"), "vaddr": address, "iova": iova, "size": length,
            "flags": lib.VFIO_DMA_MAP_FLAG_READ | (lib.VFIO_DMA_MAP_FLAG_WRITE if writable else 0),
        })  # fmt: skip
        ioctl(self._container, "VFIO_IOMMU_MAP_DMA", request)

    def unmap(self, iova: int, length: int) -> None:
        request = ffi.new("struct vfio_iommu_type1_dma_unmap *", {
            "argsz": ffi.sizeof("struct vfio_iommu_type1_dma_unmap"), "iova": iova, "size": length,
        })  # fmt: skip
        ioctl(self._container, "VFIO_IOMMU_UNMAP_DMA", request)

    def close(self) -> None:
        for fd in (self._group, self._container):
            if fd >= 0: os.close(fd)
        self._group = self._container = -1


@dataclass(frozen=True)
class Request:
    """An ioctl of iommufd.  The structure begins with its own size, which the number, _IO(';', n), does not hold."""

    name: str
    n: int
    layout: str
    """Of the structure, for ``struct``; the first member is the size."""

    @property
    def number(self) -> int:
        return ord(";") << 8 | self.n

    @property
    def size(self) -> int:
        return struct.calcsize(self.layout)

    def __call__(self, fd: int, *members: int) -> tuple[int, ...]:
        """Makes it; the structure as it is then.  Raises OSError that names it."""
        packed = bytearray(struct.pack(self.layout, self.size, *members))
        check(lib.aero_ioctl(fd, self.number, ffi.from_buffer(packed)), self.name)
        return struct.unpack(self.layout, packed)


DESTROY: Final = Request("IOMMU_DESTROY", 0x80, "<II")
"""size, id"""
IOAS_ALLOC: Final = Request("IOMMU_IOAS_ALLOC", 0x81, "<III")
"""size, flags, out_ioas_id"""
IOAS_COPY: Final = Request("IOMMU_IOAS_COPY", 0x83, "<IIIIQQQ")
"""size, flags, dst_ioas_id, src_ioas_id, length, dst_iova, src_iova"""
IOAS_MAP: Final = Request("IOMMU_IOAS_MAP", 0x85, "<IIIIQQQ")
"""size, flags, ioas_id, __reserved, user_va, length, iova"""
IOAS_UNMAP: Final = Request("IOMMU_IOAS_UNMAP", 0x86, "<IIQQ")
"""size, ioas_id, iova, length"""
BIND: Final = Request("VFIO_DEVICE_BIND_IOMMUFD", 118, "<IIiI")
"""argsz, flags, iommufd, out_devid"""
ATTACH: Final = Request("VFIO_DEVICE_ATTACH_IOMMUFD_PT", 119, "<III")
"""argsz, flags, pt_id"""
FIXED_IOVA, WRITEABLE, READABLE = 1, 2, 4
"""Flags of IOAS_MAP and IOAS_COPY."""


class Iommufd:
    """An address space of iommufd, and the device by a node of its own.

    What a user who may not lock memory at will (CAP_IPC_LOCK) has mapped counts as locked by the user, by a process in
    a container.  Pages that a device may only read are the process's own, as written or not, since Linux 6.2.
    """

    def __init__(self, function: Function, sysfs: Path = SYSFS, dev: Path = DEV) -> None:
        self._fd = self._device = -1
        self._space = 0
        found = iommufd_nodes(function, sysfs, dev)
        if not found:
            raise DeviceUnavailable(f"iommufd has no node of {function.address}", "load the module: modprobe iommufd")
        try:
            self._fd = _open(found[0], function)
            self._device = _open(found[1], function)
            try:
                BIND(self._device, 0, self._fd, 0)
                self._space = self._new_space()
                ATTACH(self._device, 0, self._space)
            except OSError as error:
                raise self._why(error, function, sysfs, dev) from None
        except BaseException:
            self.close()
            raise

    def _new_space(self) -> int:
        return IOAS_ALLOC(self._fd, 0, 0)[2]

    @staticmethod
    def _why(error: OSError, function: Function, sysfs: Path, dev: Path) -> DeviceUnavailable:
        """Who opens the node a second time gets EINVAL; where a container has the group it is EBUSY; where the host or
        somebody else has another device of it, or interrupts are not remapped, EPERM."""
        if error.errno == errno.EINVAL: return _in_use(function, iommufd_nodes(function, sysfs, dev)[-1])
        if error.errno == errno.EBUSY: return _in_use(function, container_nodes(function, dev)[-1])
        if error.errno == errno.EPERM:
            others = in_the_way(function, sysfs)
            if others: return _not_viable(function, others)
            given = [f for f in group_members(function.group, sysfs) if f.driver == VFIO_DRIVER and f != function]
            if not given: return _interrupts_unsafe("iommufd")
            return DeviceUnavailable(
                f"{function.address} is in one group with {', '.join(f.address for f in given)}, and one can be used "
                "at a time", f"end what uses the other; if nothing does, {_accept_unsafe('iommufd')}",
            )  # fmt: skip
        return DeviceUnavailable(f"iommufd does not give {function.address}: {error.strerror}", "see `dmesg`")

    def device(self) -> int:
        device, self._device = self._device, -1
        return device

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        flags = FIXED_IOVA | READABLE | (WRITEABLE if writable else 0)
        IOAS_MAP(self._fd, flags, self._space, 0, address, length, iova)

    def unmap(self, iova: int, length: int) -> None:
        try:
            IOAS_UNMAP(self._fd, self._space, iova, length)
        except FileNotFoundError:
            # Nothing was mapped there; or what was reaches beyond, and is mapped still.
            if self._is_mapped(iova) or self._is_mapped(iova + length - PAGE_SIZE):
                raise OSError(
                    errno.EINVAL, f"{IOAS_UNMAP.name}: {length:#x} bytes at {iova:#x} cut a mapping in two"
                ) from None

    def _is_mapped(self, iova: int) -> bool:
        """Whether the device can reach this page: if so, another address space can have it as well."""
        other = self._new_space()
        try:
            IOAS_COPY(self._fd, READABLE, other, self._space, PAGE_SIZE, 0, iova)
        except FileNotFoundError:
            return False
        finally:
            DESTROY(self._fd, other)
        return True

    def close(self) -> None:
        for fd in (self._device, self._fd):
            if fd >= 0: os.close(fd)
        self._device = self._fd = -1


def _make_present(address: int, length: int) -> None:
    """Gives pages that were never written memory of their own: VFIO would else have a device that may only read them
    read the page of zeros that the host shares, also after they are written (Linux before 6.2)."""
    memory = ffi.cast("void *", address)
    if lib.madvise(memory, length, lib.MADV_POPULATE_WRITE) == 0: return
    # Memory that is not there, or that this process may not write: VFIO judges that.
    if lib.madvise(memory, 0, lib.MADV_POPULATE_WRITE) == 0: return
    lib.aero_touch(memory, length)  # Linux before 5.14, which does not know this advice


def open_iommu(function: Function, sysfs: Path = SYSFS, dev: Path = DEV) -> Iommu:
    """The host's IOMMU for a function that vfio-pci drives.  Raises DeviceUnavailable."""
    if function.group < 0:
        raise DeviceUnavailable(
            f"there is no IOMMU in front of {function.address}",
            "enable VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on on Intel",
        )
    by_iommufd = nodes(function, sysfs, dev) == iommufd_nodes(function, sysfs, dev)
    return Iommufd(function, sysfs, dev) if by_iommufd else Container(function, sysfs, dev)


__all__ = ["Container", "Iommu", "Iommufd", "Request", "open_iommu"]
