"""The memory that a modelled device reaches: ``dma.h`` for Python."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from drivers._native import ffi, lib


class DmaFault(Exception):
    """The device's domain does not allow this address."""


class DmaMap:
    """What ``Device.map`` and ``Device.unmap`` of a model do.  Any thread may call; ``close`` only when no
    engine runs."""

    def __init__(self, advance: Callable[[], None] | None = None) -> None:
        """``advance`` gets data that is on its way on, where no thread of the model's own does that."""
        self.map: Any = lib.dma_map_make()
        if self.map == ffi.NULL: raise MemoryError("no memory for a device's map")
        self.advance = advance
        self._user: Any = lib.dma_user_make(self.map)
        self._lock = threading.Lock()  # of the one use that Python makes

    def add(self, iova: int, address: int, length: int, writable: bool) -> None:
        """Maps memory of this process.  OSError: EINVAL, EEXIST or ENOMEM, and nothing is changed."""
        if not 0 <= iova < 1 << 48 or not 0 < length < 1 << 48: raise OSError(22, "not a range of addresses")
        error = lib.dma_map_range(self.map, iova, ffi.cast("void *", address), length, writable)
        if error: raise OSError(-error, f"{length} bytes at IOVA {iova:#x}: {os.strerror(-error)}")

    def remove(self, iova: int, length: int) -> None:
        """Takes memory away; returns when nobody uses it any more.  OSError: EINVAL or ENOMEM."""
        error = lib.dma_unmap_range(self.map, iova, length)
        if error: raise OSError(-error, f"{length} bytes at IOVA {iova:#x}: {os.strerror(-error)}")
        wait = 0.0
        while not lib.dma_quiet(self.map):
            if self.advance is not None: self.advance()
            time.sleep(wait)
            wait = min(wait + 1e-5, 1e-3)

    @property
    def pages(self) -> int:
        """Pages of 4096 bytes that the device reaches."""
        return int(lib.dma_pages(self.map))

    def read(self, iova: int, length: int) -> bytes:
        """What the device would read there.  Raises DmaFault."""
        into = ffi.new("uint8_t[]", length)
        with self._lock:
            lib.dma_enter(self._user)
            done = lib.dma_read(self._user, iova, into, length)
            lib.dma_leave(self._user)
        if not done: raise DmaFault(f"read of {length} bytes at IOVA {iova:#x}")
        return bytes(ffi.buffer(into))

    def write(self, iova: int, data: bytes) -> None:
        """As the device would write.  Raises DmaFault; then part may be written."""
        with self._lock:
            lib.dma_enter(self._user)
            done = lib.dma_write(self._user, iova, ffi.from_buffer(data), len(data))
            lib.dma_leave(self._user)
        if not done: raise DmaFault(f"write of {len(data)} bytes at IOVA {iova:#x}")

    def close(self) -> None:
        """Frees it.  May be called again."""
        lib.dma_map_end(self.map)
        self.map = ffi.NULL


__all__ = ["DmaFault", "DmaMap"]
