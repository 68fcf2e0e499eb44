"""A PCI device of the host, passed through: its registers, interrupts and reset by VFIO, its memory by ``hv.iommu``.

Where the MSI-X table lies registers are trapped, since VFIO itself writes the table; pages that VFIO cannot map are
trapped as well.  Vectors are those of MSI-X, or else MSI, or else there is one, its line (``hv.interrupt_line``).

Source: include/uapi/linux/vfio.h of the Linux source; PCI Local Bus Specification 3.0, sections 6.2 and 6.8.2.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from typing import Any, Final

from abi.layout import PAGE_SIZE
from hv.device import Region, Window
from hv.interrupt_line import InterruptLine
from hv.iommu import open_iommu
from hv.kvm import ffi, ioctl, lib
from hv.pci import VFIO_DRIVER, DeviceUnavailable, function_at

BARS: Final = 6
MOST_VECTORS: Final = 64
"""More than that of a device are not used."""
COMMAND: Final = 4
"""Offset in configuration space: bit 1 lets it answer to memory accesses, bit 2 lets it access memory."""
CAPABILITIES: Final = 0x34
MSIX: Final = 0x11
INFO_SIZE: Final = 4096


class VfioDevice:
    """The device at a PCI address (``hv.device.Device``).  Raises DeviceUnavailable, with what to do about it."""

    def __init__(self, address: str) -> None:
        function = function_at(address)
        self.name = function.address
        self.vendor_id, self.device_id = function.vendor_id, function.device_id
        self.class_code = function.class_code
        self.interrupts: list[int] = []
        self.removal = -1
        self._line: InterruptLine | None = None
        self._lock = threading.Lock()
        """Held while the device is reset or closed."""
        self._fd = -1
        self._mapped: list[mmap.mmap] = []
        if function.driver != VFIO_DRIVER:
            raise DeviceUnavailable(
                f"{function.address} is driven by {function.driver or 'nobody'}",
                f"give it to vfio-pci: sudo aerostat bind {function.address}",
            )
        self.iommu = open_iommu(function)
        try:
            self._fd = self.iommu.device()
            info = ffi.new("struct vfio_device_info *", {"argsz": ffi.sizeof("struct vfio_device_info")})
            ioctl(self._fd, "VFIO_DEVICE_GET_INFO", info)
            if not info.flags & lib.VFIO_DEVICE_FLAGS_PCI:
                raise DeviceUnavailable(f"{function.address} is no PCI device to VFIO", "see `dmesg`")
            self._can_reset = bool(info.flags & lib.VFIO_DEVICE_FLAGS_RESET)
            self._config = self._region_info(lib.VFIO_PCI_CONFIG_REGION_INDEX)[0].offset
            self._offsets: list[int] = []
            self.regions = tuple(self._regions())
            if self._can_reset: self._reset()
            self._enable()
            self._open_interrupts()
        except BaseException:
            self.close()
            raise

    # What it has.

    def _region_info(self, index: int) -> tuple[Any, Any]:
        """A region's ``struct vfio_region_info``, and the memory that it is the start of."""
        memory = ffi.new("char[]", INFO_SIZE)
        info = ffi.cast("struct vfio_region_info *", memory)
        info.argsz, info.index = INFO_SIZE, index
        ioctl(self._fd, "VFIO_DEVICE_GET_REGION_INFO", info)
        return info, memory

    def _regions(self) -> Iterator[Region]:
        table = self._msix_pages()
        for index in range(BARS):
            info, memory = self._region_info(index)
            self._offsets.append(info.offset)
            windows = []
            if info.flags & lib.VFIO_REGION_INFO_FLAG_MMAP:
                for start, end in self._mappable(info, memory):
                    trapped = sorted(page for bar, page in table if bar == index and start <= page < end)
                    for first, last in _between(start, end, trapped):
                        windows.append(self._window(info.offset, first, last - first))
            yield Region(info.size, tuple(windows))

    @staticmethod
    def _mappable(info: Any, memory: Any) -> list[tuple[int, int]]:
        """The parts of a region that can be mapped, whole pages: (start, end)."""
        areas = [(0, info.size)]
        at = info.cap_offset if info.flags & lib.VFIO_REGION_INFO_FLAG_CAPS else 0
        while at:
            head = ffi.cast("struct vfio_info_cap_header *", memory + at)
            if head.id == lib.VFIO_REGION_INFO_CAP_SPARSE_MMAP:
                sparse = ffi.cast("struct vfio_region_info_cap_sparse_mmap *", head)
                areas = [
                    (sparse.areas[i].offset, sparse.areas[i].offset + sparse.areas[i].size)
                    for i in range(sparse.nr_areas)
                ]
            at = head.next
        whole = [(-(-start // PAGE_SIZE) * PAGE_SIZE, end // PAGE_SIZE * PAGE_SIZE) for start, end in areas]
        return sorted((start, end) for start, end in whole if start < end)

    def _window(self, offset: int, first: int, length: int) -> Window:
        mapped = mmap.mmap(self._fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset + first)
        self._mapped.append(mapped)
        return Window(first, length, int(ffi.cast("uintptr_t", ffi.from_buffer(mapped))))

    def _msix_pages(self) -> set[tuple[int, int]]:
        """The pages that the MSI-X table is in: (BAR, offset)."""
        at = self.config_read(CAPABILITIES, 1) & ~3
        for _ in range(48):
            if at == 0: break
            kind, following = self.config_read(at, 1), self.config_read(at + 1, 1) & ~3
            if kind == MSIX:
                entries = (self.config_read(at + 2, 2) & 0x7FF) + 1
                place = self.config_read(at + 4, 4)
                bar, start = place & 7, place & ~7
                first = start // PAGE_SIZE * PAGE_SIZE
                return {(bar, page) for page in range(first, start + 16 * entries, PAGE_SIZE)}
            at = following
        return set()

    def config_read(self, offset: int, size: int) -> int:
        """Reads 1, 2 or 4 bytes of configuration space."""
        return int.from_bytes(os.pread(self._fd, size, self._config + offset), "little")

    def config_write(self, offset: int, size: int, value: int) -> None:
        """Writes 1, 2 or 4 bytes of configuration space; VFIO lets through what is safe."""
        os.pwrite(self._fd, value.to_bytes(size, "little"), self._config + offset)

    def _enable(self) -> None:
        """It answers, and may access memory: of which it reaches what is mapped."""
        self.config_write(COMMAND, 2, self.config_read(COMMAND, 2) | 6)

    # Interrupts.

    def _irqs(self, index: int) -> int:
        info = ffi.new("struct vfio_irq_info *", {"argsz": ffi.sizeof("struct vfio_irq_info"), "index": index})
        try:
            ioctl(self._fd, "VFIO_DEVICE_GET_IRQ_INFO", info)
        except OSError:
            return 0
        return int(info.count) if info.flags & lib.VFIO_IRQ_INFO_EVENTFD else 0

    def _open_interrupts(self) -> None:
        self._index = lib.VFIO_PCI_MSIX_IRQ_INDEX
        count = self._irqs(self._index)
        if count == 0:
            self._index = lib.VFIO_PCI_MSI_IRQ_INDEX
            count = self._irqs(self._index)
        if count == 0:
            self._index = lib.VFIO_PCI_INTX_IRQ_INDEX
            count = self._irqs(self._index)
        for _ in range(min(count, MOST_VECTORS)):
            self.interrupts.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        if self.interrupts and self._index == lib.VFIO_PCI_INTX_IRQ_INDEX:
            self._line = InterruptLine(self.interrupts[0], self._unmask)
        self._set_interrupts()
        if self._irqs(lib.VFIO_PCI_REQ_IRQ_INDEX):
            self.removal = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._set_irqs(lib.VFIO_PCI_REQ_IRQ_INDEX, [self.removal])

    def _set_interrupts(self) -> None:
        """Before a driver enables its device: some (QEMU 7.2's NVMe) do not notice later that MSI-X was."""
        if not self.interrupts: return
        while True:
            try:
                self._set_irqs(self._index, [self._line.trigger] if self._line is not None else self.interrupts)
                return
            except OSError as error:
                # The host has not so many vectors to give: half as many.
                if error.errno not in (errno.ENOSPC, errno.EINVAL) or len(self.interrupts) == 1: raise
                for fd in self.interrupts[len(self.interrupts) // 2 :]: os.close(fd)
                del self.interrupts[len(self.interrupts) // 2 :]

    def _set_irqs(self, index: int, eventfds: list[int]) -> None:
        flags = lib.VFIO_IRQ_SET_ACTION_TRIGGER
        flags |= lib.VFIO_IRQ_SET_DATA_EVENTFD if eventfds else lib.VFIO_IRQ_SET_DATA_NONE
        size = ffi.sizeof("struct vfio_irq_set") + 4 * len(eventfds)
        head = struct.pack("<IIIII", size, flags, index, 0, len(eventfds))
        ioctl(self._fd, "VFIO_DEVICE_SET_IRQS", bytearray(head + struct.pack(f"<{len(eventfds)}i", *eventfds)))

    def _unmask(self) -> None:
        """The line may interrupt again."""
        flags = lib.VFIO_IRQ_SET_ACTION_UNMASK | lib.VFIO_IRQ_SET_DATA_NONE
        head = struct.pack("<IIIII", ffi.sizeof("struct vfio_irq_set"), flags, lib.VFIO_PCI_INTX_IRQ_INDEX, 0, 1)
        with self._lock, contextlib.suppress(OSError):  # it may have been unplugged
            if self._fd >= 0: ioctl(self._fd, "VFIO_DEVICE_SET_IRQS", bytearray(head))

    # hv.device.Device

    def read(self, region: int, offset: int, size: int) -> int:
        try:
            data = os.pread(self._fd, size, self._offsets[region] + offset)
        except OSError:
            data = b""
        return int.from_bytes(data, "little") if len(data) == size else (1 << 8 * size) - 1

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, value.to_bytes(size, "little"), self._offsets[region] + offset)

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        self.iommu.map(iova, address, length, writable)

    def unmap(self, iova: int, length: int) -> None:
        self.iommu.unmap(iova, length)

    def reset(self) -> None:
        if not self._can_reset: raise OSError(errno.ENOTTY, f"{self.name} cannot be reset by itself")
        with self._lock:
            if self._fd < 0: raise OSError(errno.ENODEV, f"{self.name} is closed")
            self._reset()
            self._enable()
            self._set_interrupts()

    def _reset(self) -> None:
        ioctl(self._fd, "VFIO_DEVICE_RESET", 0)

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None: line.close()  # its thread may be waiting for the lock
        with self._lock:
            if self._fd >= 0:
                with contextlib.suppress(OSError):  # it may have been unplugged
                    if self.interrupts: self._set_irqs(self._index, [])
                os.close(self._fd)
                self._fd = -1
            for mapped in self._mapped:
                with contextlib.suppress(BufferError): mapped.close()
            self._mapped.clear()
            for fd in (*self.interrupts, self.removal):
                if fd >= 0: os.close(fd)
            self.interrupts, self.removal = [], -1
            self.iommu.close()


def _between(start: int, end: int, trapped: list[int]) -> Iterator[tuple[int, int]]:
    """What is left of a range without these pages."""
    for page in trapped:
        if start < page: yield start, page
        start = page + PAGE_SIZE
    if start < end: yield start, end


__all__ = ["VfioDevice"]
