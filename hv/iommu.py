"""The host's IOMMU in front of one passed-through device: what the device can reach is what is mapped here.

Two ways to it: a VFIO container of type 1, everywhere, and iommufd, on newer hosts (Linux 6.2, where the kernel was
built with CONFIG_VFIO_DEVICE_CDEV).

Source: include/uapi/linux/vfio.h and include/uapi/linux/iommufd.h of the Linux source.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final, Protocol

from hv.kvm import ffi, ioctl, lib
from hv.pci import SYSFS, DeviceUnavailable, Function, in_the_way

VFIO: Final = Path("/dev/vfio")
IOMMUFD: Final = Path("/dev/iommu")
_CALLS: Final = ord(";") << 8
"""_IO(';', n): no size is in the number, each structure begins with its own."""
_DESTROY, _IOAS_ALLOC, _IOAS_MAP, _IOAS_UNMAP = (_CALLS | n for n in (0x80, 0x81, 0x85, 0x86))
_BIND_IOMMUFD, _ATTACH_IOMMUFD_PT = (_CALLS | 100 + n for n in (18, 19))
_FIXED_IOVA, _WRITABLE, _READABLE = 1, 2, 4


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
        if error.errno == errno.EBUSY:
            raise DeviceUnavailable(
                f"{function.address} is in use: another process has {path} open", "end that first"
            ) from None
        raise


class Container:
    """A VFIO container of type 1 (version 2) with the one group that the device is in."""

    def __init__(self, function: Function, sysfs: Path = SYSFS, vfio: Path = VFIO) -> None:
        self._function = function
        self._group = -1
        self._container = _open(vfio / "vfio", function)
        try:
            if ioctl(self._container, "VFIO_GET_API_VERSION", 0) != lib.VFIO_API_VERSION:
                raise DeviceUnavailable("VFIO here speaks another version", "use another Linux kernel")
            if not ioctl(self._container, "VFIO_CHECK_EXTENSION", lib.VFIO_TYPE1v2_IOMMU):
                raise DeviceUnavailable(
                    "VFIO here has no IOMMU of type 1", "load the module: modprobe vfio_iommu_type1"
                )
            self._group = _open(vfio / str(function.group), function)
            self._join(sysfs)
        except BaseException:
            self.close()
            raise

    def _join(self, sysfs: Path) -> None:
        function = self._function
        status = ffi.new("struct vfio_group_status *", {"argsz": ffi.sizeof("struct vfio_group_status")})
        ioctl(self._group, "VFIO_GROUP_GET_STATUS", status)
        if not status.flags & lib.VFIO_GROUP_FLAGS_VIABLE:
            others = in_the_way(function, sysfs)
            names = ", ".join(f"{other.address} ({other.driver})" for other in others) or "a device"
            raise DeviceUnavailable(
                f"the IOMMU cannot tell {function.address} from {names} of group {function.group}, which the host uses",
                f"aerostat bind {' '.join(other.address for other in others)}" if others else "see `dmesg`",
            )
        fd = ffi.new("int *", self._container)
        try:
            ioctl(self._group, "VFIO_GROUP_SET_CONTAINER", fd)
            ioctl(self._container, "VFIO_SET_IOMMU", lib.VFIO_TYPE1v2_IOMMU)
        except OSError as error:
            if error.errno != errno.EPERM: raise
            raise DeviceUnavailable(
                "the IOMMU here does not keep devices' interrupts apart",
                "enable interrupt remapping in the firmware, or accept the risk: "
                "echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
            ) from None

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


class Iommufd:
    """An address space of iommufd, and the device by a node of its own."""

    def __init__(self, function: Function, sysfs: Path = SYSFS, vfio: Path = VFIO, iommufd: Path = IOMMUFD) -> None:
        self._fd = self._device = -1
        self._space = 0
        nodes = os.listdir(sysfs / "bus/pci/devices" / function.address / "vfio-dev")
        try:
            self._fd = _open(iommufd, function)
            self._device = _open(vfio / "devices" / nodes[0], function)
            bind = bytearray(struct.pack("<IIiI", 16, 0, self._fd, 0))
            fcntl.ioctl(self._device, _BIND_IOMMUFD, bind)
            space = bytearray(struct.pack("<III", 12, 0, 0))
            fcntl.ioctl(self._fd, _IOAS_ALLOC, space)
            self._space = struct.unpack_from("<I", space, 8)[0]
            fcntl.ioctl(self._device, _ATTACH_IOMMUFD_PT, bytearray(struct.pack("<III", 12, 0, self._space)))
        except OSError as error:
            self.close()
            others = in_the_way(function, sysfs)
            names = ", ".join(f"{other.address} ({other.driver})" for other in others)
            raise DeviceUnavailable(
                f"iommufd does not give {function.address}: {error.strerror}",
                f"its group is shared with {names}: aerostat bind these too" if names else "see `dmesg`",
            ) from None
        except BaseException:
            self.close()
            raise

    @staticmethod
    def there(function: Function, sysfs: Path = SYSFS, iommufd: Path = IOMMUFD) -> bool:
        """The host has iommufd, and the device has a node for it that may be opened."""
        place = sysfs / "bus/pci/devices" / function.address / "vfio-dev"
        return os.access(iommufd, os.R_OK | os.W_OK) and place.is_dir()

    def device(self) -> int:
        device, self._device = self._device, -1
        return device

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        flags = _FIXED_IOVA | _READABLE | (_WRITABLE if writable else 0)
        request = struct.pack("<IIIIQQQ", 40, flags, self._space, 0, address, length, iova)
        fcntl.ioctl(self._fd, _IOAS_MAP, bytearray(request))

    def unmap(self, iova: int, length: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # nothing was mapped there
            fcntl.ioctl(self._fd, _IOAS_UNMAP, bytearray(struct.pack("<IIQQ", 24, self._space, iova, length)))

    def close(self) -> None:
        for fd in (self._device, self._fd):
            if fd >= 0: os.close(fd)
        self._device = self._fd = -1


def _make_present(address: int, length: int) -> None:
    """Gives pages that were never written memory of their own: VFIO would else have a device that may only read them
    read the page of zeros that the host shares, also after they are written (Linux before 6.2)."""
    if lib.madvise(ffi.cast("void *", address), length, lib.MADV_POPULATE_WRITE) == 0: return
    lib.aero_touch(ffi.cast("void *", address), length)  # Linux before 5.14


def open_iommu(function: Function) -> Iommu:
    """The host's IOMMU for a function that vfio-pci drives.  Raises DeviceUnavailable."""
    if function.group < 0:
        raise DeviceUnavailable(
            f"there is no IOMMU in front of {function.address}",
            "enable VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on on Intel",
        )
    return Iommufd(function) if Iommufd.there(function) else Container(function)


__all__ = ["Container", "Iommu", "Iommufd", "open_iommu"]
