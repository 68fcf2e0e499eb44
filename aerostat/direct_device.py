"""A device in the hands of Python: registers, memory that it reaches, interrupts; without a machine or a driver.

    with aerostat.open_device("0000:05:00.0") as nvme:
        print(hex(nvme.bar[0].read32(0x8)))

A passed-through device and a model look the same.
"""

from __future__ import annotations

import mmap
import os
import select
from types import TracebackType
from typing import Any, Final, Self

from abi.layout import PAGE_SIZE
from hv.device import Device
from hv.kvm import ffi

FIRST_IOVA: Final = 0x1000_0000
"""Where buffers begin for the device; 0xfee00000, where PCs have interrupts, is left out."""
LAST_IOVA: Final = 0xF000_0000
_TYPES: Final = {1: "volatile uint8_t *", 2: "volatile uint16_t *", 4: "volatile uint32_t *", 8: "volatile uint64_t *"}


class Bar:
    """A region of registers.  Offsets are aligned to the access; IndexError for others and beyond ``size``."""

    def __init__(self, device: Device, number: int) -> None:
        self._device, self._number = device, number
        self._region = device.regions[number]

    @property
    def size(self) -> int:
        """Bytes; 0 where the device has no region of this number."""
        return self._region.size

    def __repr__(self) -> str:
        return f"<BAR {self._number} of {self._device.name}, {self.size:#x} bytes>"

    def _place(self, offset: int, size: int) -> int:
        if offset % size or not 0 <= offset <= self.size - size:
            raise IndexError(f"no register of {size} bytes at {offset:#x} of {self!r}")
        page = self._region.host_address(offset & ~(PAGE_SIZE - 1))
        return page + offset % PAGE_SIZE if page else 0

    def read(self, offset: int, size: int) -> int:
        """Loads 1, 2, 4 or 8 bytes, at once."""
        place = self._place(offset, size)
        if place: return int(ffi.cast(_TYPES[size], place)[0])
        return self._device.read(self._number, offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Stores 1, 2, 4 or 8 bytes, at once."""
        place = self._place(offset, size)
        if place: ffi.cast(_TYPES[size], place)[0] = value
        else: self._device.write(self._number, offset, size, value)

    def read8(self, offset: int) -> int:
        return self.read(offset, 1)

    def read16(self, offset: int) -> int:
        return self.read(offset, 2)

    def read32(self, offset: int) -> int:
        return self.read(offset, 4)

    def read64(self, offset: int) -> int:
        return self.read(offset, 8)

    def write8(self, offset: int, value: int) -> None:
        self.write(offset, 1, value)

    def write16(self, offset: int, value: int) -> None:
        self.write(offset, 2, value)

    def write32(self, offset: int, value: int) -> None:
        self.write(offset, 4, value)

    def write64(self, offset: int, value: int) -> None:
        self.write(offset, 8, value)


class DmaBuffer:
    """Memory for Python and a device: ``view`` is its bytes, ``iova`` the address that the device knows them by."""

    def __init__(self, device: Device, iova: int, size: int, writable: bool) -> None:
        self._device = device
        self.iova, self.size = iova, size
        self._memory: Any = mmap.mmap(-1, size)
        self.view = memoryview(self._memory)
        self._mapped: list[tuple[int, int]] = []
        start = int(ffi.cast("uintptr_t", ffi.from_buffer(self._memory)))
        try:
            for offset in range(0, size, PAGE_SIZE):
                device.map(iova + offset, start + offset, PAGE_SIZE, writable)
                self._mapped.append((iova + offset, PAGE_SIZE))
        except BaseException:
            self.close()
            raise

    def __getitem__(self, index: Any) -> Any:
        return self.view[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.view[index] = value

    def __len__(self) -> int:
        return self.size

    def close(self) -> None:
        """The device reaches it no more; what was in it stays readable.  May be called again."""
        mapped, self._mapped = self._mapped, []
        if mapped: self._device.unmap(mapped[0][0], len(mapped) * PAGE_SIZE)


class Interrupt:
    """One vector of a device."""

    def __init__(self, eventfd: int) -> None:
        self._eventfd = eventfd

    def wait(self, timeout: float | None = None) -> int:
        """How many have come since the last call; waits for one, ``timeout`` seconds at most (0 then)."""
        if not select.select([self._eventfd], [], [], timeout)[0]: return 0
        return os.eventfd_read(self._eventfd)


class DirectDevice:
    """A device, opened: what ``aerostat.open_device`` returns."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.bar = [Bar(device, number) for number in range(len(device.regions))]
        self.interrupts = [Interrupt(eventfd) for eventfd in device.interrupts]
        self._buffers: list[DmaBuffer] = []
        self._next_iova = FIRST_IOVA

    def __repr__(self) -> str:
        what = self.device
        return f"<device {what.name} {what.vendor_id:04x}:{what.device_id:04x}, class {what.class_code:06x}>"

    def dma(self, size: int, *, writable: bool = True) -> DmaBuffer:
        """A buffer of ``size`` bytes, rounded up to pages, all zero; unless ``writable`` the device can only read it.
        Raises OSError where the device's IOMMU has no room (`ulimit -l` bounds what one user may have locked)."""
        length = -(-size // PAGE_SIZE) * PAGE_SIZE
        if size <= 0 or self._next_iova + length > LAST_IOVA: raise ValueError(f"a buffer of {size} bytes")
        made = DmaBuffer(self.device, self._next_iova, length, writable)
        self._next_iova += length
        self._buffers.append(made)
        return made

    def reset(self) -> None:
        """As at power-on.  Buffers stay.  Raises OSError where the hardware cannot."""
        self.device.reset()

    def close(self) -> None:
        """Lets go of it.  May be called again."""
        for buffer in self._buffers: buffer.close()
        self._buffers.clear()
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_device(what: str | Device) -> DirectDevice:
    """Opens a device for Python: by a PCI address, a model's name and options (``aerostat.device_kinds``), or one that
    was made.  Raises DeviceUnavailable (``hv.pci``), which says what to do, and ValueError for what names none."""
    if not isinstance(what, str): return DirectDevice(what)
    from aerostat.device_kinds import open_named

    return DirectDevice(open_named(what))


__all__ = ["Bar", "DirectDevice", "DmaBuffer", "Interrupt", "open_device"]
