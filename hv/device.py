"""What stands behind a kernel device object: real hardware (``hv.vfio``) or a model of it (``drivers``).

Whoever drives the device, a user program or Python, cannot tell which.  ``hv.devices`` shows its registers to programs,
tells it what memory it may reach, and passes its interrupts on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from abi.layout import PAGE_SIZE


@dataclass(frozen=True)
class Window:
    """A part of a region that is memory of this process: programs get it mapped, and reach it without an exit.

    ``offset`` in the region, ``length`` in bytes and host ``address`` are multiples of 4096 (ValueError).  It stays
    where it is until the device is closed; for a passed-through device it is the BAR itself, for a model pages that its
    engine polls.
    """

    offset: int
    length: int
    address: int

    def __post_init__(self) -> None:
        if (self.offset | self.length | self.address) % PAGE_SIZE or self.offset < 0 or self.length <= 0:
            raise ValueError(f"a window of {self.length} bytes at {self.offset:#x} is not made of pages")


@dataclass(frozen=True)
class Region:
    """A region of registers, in PCI's words a BAR: ``size`` bytes, 0 where the device has none of that number.

    What no window covers is trapped: each access leaves the guest and becomes ``Device.read`` or ``Device.write``.
    Raises ValueError for windows that overlap or lie outside.
    """

    size: int
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        end = 0
        for window in sorted(self.windows, key=lambda w: w.offset):
            if window.offset < end: raise ValueError(f"two windows overlap at {window.offset:#x}")
            end = window.offset + window.length
        if end > -(-self.size // PAGE_SIZE) * PAGE_SIZE: raise ValueError(f"a window ends beyond {self.size:#x}")

    @property
    def pages(self) -> int:
        """Pages of 4096 bytes that programs can map; the last one may lie partly beyond the region."""
        return -(-self.size // PAGE_SIZE)

    def host_address(self, offset: int) -> int:
        """Where in this process the page at ``offset`` is; 0: it is trapped."""
        for window in self.windows:
            if window.offset <= offset < window.offset + window.length: return window.address + offset - window.offset
        return 0


class Device(Protocol):
    """One device.  Methods may come from any thread, several at a time; none may wait for the machine's big lock, for
    some are called with it held."""

    name: str
    """For people: a PCI address, or what kind of model it is."""
    vendor_id: int
    device_id: int
    class_code: int
    """24 bits: class, subclass, programming interface; 0x010802 is NVMe, 0x020000 Ethernet."""
    removal: int
    """An eventfd that becomes readable when the device goes, or the host wants it back; -1: that cannot happen."""

    @property
    def regions(self) -> Sequence[Region]:
        """By number: BAR 0 first."""

    @property
    def interrupts(self) -> Sequence[int]:
        """By vector: an eventfd, to which the device adds 1 for each interrupt.  Non-blocking, owned by the device."""

    def read(self, region: int, offset: int, size: int) -> int:
        """A program loads ``size`` bytes (1, 2, 4 or 8) of registers; within the region, perhaps not aligned.  What a
        device does not know reads as 0, one that is gone as all ones.  Never raises for what a program did."""

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        """A program stores; as ``read``."""

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        """From now on DMA at ``iova`` reaches ``length`` bytes at host ``address`` (all multiples of 4096; a page of
        4 KiB or 2 MiB), where nothing is mapped.  Raises OSError where the device cannot: it maps nothing then."""

    def unmap(self, iova: int, length: int) -> None:
        """Nothing in this range is mapped any more; it cuts no mapping in two, and may have holes.  Returns when no
        DMA that is under way reaches it either."""

    def reset(self) -> None:
        """Registers become as at power-on, what is in progress is dropped, vectors are quiet.  Mappings stay.  Raises
        OSError where the hardware cannot."""

    def close(self) -> None:
        """Lets go of it: nothing is mapped, no interrupt comes, its windows are gone.  May be called again."""


__all__ = ["Device", "Region", "Window"]
