"""A device for tests, the counterpart of tests/programs/devices.c: registers that are trapped and registers that are
memory, stores and loads by DMA, two interrupt vectors, and an IOMMU with little room."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Callable

from hv.device import Region, Window

IDENTITY, SCRATCH, ADDRESS, VALUE, COMMAND, FAULTS, INTERRUPT, ACCESSES = range(0, 0x40, 8)
BOARD = 0x626F617264
MOST_MAPPED = 8
HOLE = range(0xFEE0_0000, 0xFEF0_0000)
ALL_ONES = (1 << 64) - 1


class Board:
    """The board; ``registers`` are those of page 0, ``memory`` that of region 0's pages 1 and 2."""

    def __init__(self, most_mapped: int = MOST_MAPPED) -> None:
        self.most_mapped = most_mapped
        self.mapping: Callable[[], object] = lambda: None
        """Called before each mapping."""
        self.resetting: Callable[[], object] = lambda: None
        """Called at each reset."""
        self.name = "board"
        self.vendor_id, self.device_id, self.class_code = 0xABCD, 0x5678, 0xFF0000
        self.memory = mmap.mmap(-1, (2 + 65) * 4096)
        self._export = (ctypes.c_char * len(self.memory)).from_buffer(self.memory)
        address = ctypes.addressof(self._export)
        self.regions = (
            Region(0x3800, (Window(0x1000, 0x2000, address),)), Region(0),
            Region(65 << 12, (Window(0, 65 << 12, address + 0x2000),)),
        )  # fmt: skip
        self.interrupts = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2)]
        self.removal = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.mapped: dict[int, tuple[int, int, bool]] = {}
        """By IOVA: host address, length, whether it may store there."""
        self.resets = 0
        self.closed = False
        self.raises: Exception | None = None
        """What the next access to a register raises: a bug in a model."""
        self._lock = threading.Lock()
        self._power_on()

    def _power_on(self) -> None:
        self.registers = {IDENTITY: BOARD}
        self.memory[0:8] = (0x5EED).to_bytes(8, "little")

    # hv.device.Device

    def read(self, region: int, offset: int, size: int) -> int:
        self._access(region)
        if region != 0 or offset >= 0x1000: return 0
        value = self.registers.get(offset & ~7, 0) >> 8 * (offset & 7)
        return value & ((1 << 8 * size) - 1)

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        self._access(region)
        if region != 0 or offset >= 0x1000: return
        shift, mask = 8 * (offset & 7), (1 << 8 * size) - 1
        before = self.registers.get(offset & ~7, 0)
        self.registers[offset & ~7] = (before & ~(mask << shift) | (value & mask) << shift) & ALL_ONES
        if offset == COMMAND: self._dma(value)
        if offset == INTERRUPT: os.eventfd_write(self.interrupts[value], 1)

    def _access(self, region: int) -> None:
        assert not self.closed, "an access to a closed device"
        self.registers[ACCESSES] = self.registers.get(ACCESSES, 0) + 1
        if self.raises is not None: raise self.raises

    def _dma(self, command: int) -> None:
        length = 4096 if command == 3 else 8
        address = self.host_address(self.registers.get(ADDRESS, 0), length, command != 2)
        if address == 0: self.registers[FAULTS] = self.registers.get(FAULTS, 0) + 1
        elif command == 1: ctypes.c_uint64.from_address(address).value = self.registers.get(VALUE, 0)
        elif command == 2: self.registers[VALUE] = ctypes.c_uint64.from_address(address).value
        elif command == 3: ctypes.memset(address, self.registers.get(VALUE, 0) & 255, length)

    def host_address(self, iova: int, length: int, write: bool) -> int:
        """Where DMA to these bytes goes; 0: it is a fault."""
        for start, (address, size, writable) in self.mapped.items():
            if start <= iova and iova + length <= start + size and (writable or not write):
                return address + iova - start
        return 0

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        assert not self.closed
        self.mapping()
        assert not any(start < iova + length and iova < start + size for start, (_, size, _) in self.mapped.items())
        if iova in HOLE: raise OSError(errno.EINVAL, "reserved for interrupts")
        if len(self.mapped) == self.most_mapped: raise OSError(errno.ENOSPC, "all entries are used")
        self.mapped[iova] = (address, length, writable)

    def unmap(self, iova: int, length: int) -> None:
        for start, (_, size, _) in list(self.mapped.items()):
            if not (start < iova + length and iova < start + size): continue
            assert iova <= start, "a mapping is cut in two"
            assert start + size <= iova + length, "a mapping is cut in two"
            del self.mapped[start]

    def reset(self) -> None:
        if self.registers.get(SCRATCH) == 0xDEAD: raise OSError(errno.ENOTTY, "no reset")
        self.resetting()
        self.resets += 1
        self._power_on()

    def close(self) -> None:
        if self.closed: return
        self.closed = True
        self.mapped.clear()
        for fd in (*self.interrupts, self.removal): os.close(fd)


__all__ = ["ADDRESS", "BOARD", "Board"]
