"""A program's memory as its own system calls may use it: through its address space, with its permissions.

Addresses and lengths come from the program and may be anything; what it could not access itself raises UserFault.
The address space is the kernel's abstract map, which the page tables refine.
"""

from __future__ import annotations

import struct

from abi.layout import PAGE_SHIFT, PAGE_SIZE, READ, USER_END, WRITE
from hv.guest_memory import GuestMemory
from hv.personality import UserFault
from kernel.calls.ranges import mapping_around
from kernel.objects import PAGES_OF, Kernel


class UserMemory:
    """The memory of process ``s``.  Hold the big lock: views and addresses are good only as long as it is held."""

    def __init__(self, k: Kernel, memory: GuestMemory, s: int) -> None:
        self._k = k
        self._bytes = memory.view
        self._s = s

    def _physical(self, va: int, need: int) -> tuple[int, int]:
        """Guest-physical address of ``va``, and how many bytes from there are contiguous."""
        k = self._k
        S = k.process[self._s]
        v = mapping_around(k, self._s, va >> PAGE_SHIFT)
        if v < 0 or S.map_permission[v] & need != need:
            raise UserFault(va)
        p = S.map_page[v]
        offset = va - (v << PAGE_SHIFT)
        return (p << PAGE_SHIFT) + offset, (PAGES_OF[k.page[p].kind] << PAGE_SHIFT) - offset

    def _extents(self, va: int, length: int, need: int) -> list[tuple[int, int]]:
        """The physical pieces of a range, neighbours joined."""
        if va < 0 or length < 0 or va + length > USER_END:
            raise UserFault(va)
        pieces: list[tuple[int, int]] = []
        end = va + length
        while va < end:
            start, contiguous = self._physical(va, need)
            count = min(contiguous, end - va)
            if pieces and pieces[-1][0] + pieces[-1][1] == start:
                pieces[-1] = (pieces[-1][0], pieces[-1][1] + count)
            else:
                pieces.append((start, count))
            va += count
        return pieces

    def views(self, va: int, length: int, *, write: bool) -> list[memoryview]:
        """The bytes themselves, piece by piece, for readv and writev.  UserFault where the program itself could not
        read (or write) them."""
        view = self._bytes
        return [view[start : start + n] for start, n in self._extents(va, length, WRITE if write else READ)]

    def loader_views(self, va: int, length: int) -> list[memoryview]:
        """As ``views``, whatever the permissions: for the host, which fills a program's read-only pages."""
        view = self._bytes
        return [view[start : start + n] for start, n in self._extents(va, length, 0)]

    def place(self, va: int) -> tuple[int, int]:
        """For observers: where the byte at ``va`` is in ``ram``, and how many from there are contiguous, whatever the
        permissions.  UserFault where nothing is mapped."""
        if not 0 <= va < USER_END: raise UserFault(va)
        return self._physical(va, 0)

    def observe(self, va: int, length: int) -> bytes:
        """For observers: as ``read``, whatever the permissions."""
        return b"".join(self.loader_views(va, length))

    @property
    def ram(self) -> memoryview:
        """The machine's memory, which ``place`` is an index into."""
        return self._bytes

    def read(self, va: int, length: int) -> bytes:
        """``length`` bytes at ``va``."""
        return b"".join(self.views(va, length, write=False))

    def write(self, va: int, data: bytes | bytearray | memoryview) -> None:
        """Stores the bytes; all or, when part of the range cannot be written, none."""
        source = memoryview(data)
        for piece in self.views(va, len(source), write=True):
            piece[:] = source[: len(piece)]
            source = source[len(piece) :]

    def read_cstring(self, va: int, limit: int = 4096) -> bytes:
        """The bytes up to the first zero byte, without it; at most ``limit``, and then no end was found."""
        found = b""
        while len(found) < limit:
            if va < 0 or va >= USER_END:
                raise UserFault(va)
            start, contiguous = self._physical(va, READ)
            piece = bytes(self._bytes[start : start + min(contiguous, PAGE_SIZE, limit - len(found))])
            zero = piece.find(0)
            if zero >= 0:
                return found + piece[:zero]
            found += piece
            va += len(piece)
        return found

    def read_u64(self, va: int) -> int:
        """A 64-bit little-endian value."""
        return int.from_bytes(self.read(va, 8), "little")

    def write_u64(self, va: int, value: int) -> None:
        """Stores a 64-bit little-endian value."""
        self.write(va, struct.pack("<Q", value & 0xFFFF_FFFF_FFFF_FFFF))

    def read_u32(self, va: int) -> int:
        """A 32-bit little-endian value."""
        return int.from_bytes(self.read(va, 4), "little")

    def write_u32(self, va: int, value: int) -> None:
        """Stores a 32-bit little-endian value."""
        self.write(va, struct.pack("<I", value & 0xFFFF_FFFF))


__all__ = ["UserMemory"]
