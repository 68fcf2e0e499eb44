"""Reading and writing a program's memory on behalf of its system calls.

Every pointer a program passes may be hostile: null, unmapped, of the kernel's half, wrapping, longer than memory.  All
accesses go through here and end in UserFault, which the dispatcher answers with EFAULT.  A page that the program could
touch but has not touched yet is given memory first, as the page fault would have done.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from abi.layout import PAGE_SIZE, READ, USER_END, WRITE
from hv.personality import UserFault
from userland.linux.errors import EFAULT, EINVAL, ENAMETOOLONG, LinuxError

if TYPE_CHECKING:
    from userland.linux.hypervisor import Process
    from userland.linux.memory import AddressSpace

PATH_MAX: Final = 4096
"""Bytes of a path with its terminating NUL (linux/limits.h)."""
IOV_MAX: Final = 1024
TRANSFER_MAX: Final = 64 << 20
"""Bytes one read or write moves at most: the big lock is held meanwhile."""


class UserAccess:
    """The memory of one process as its system calls see it."""

    __slots__ = ("_memory", "_space")

    def __init__(self, process: Process, space: AddressSpace) -> None:
        self._memory = process.memory
        self._space = space

    def read(self, va: int, length: int) -> bytes:
        """``length`` bytes at ``va``; UserFault if the program could not read them."""
        if not 0 <= length <= USER_END - va:
            raise UserFault(va)
        try:
            return self._memory.read(va, length)
        except UserFault:
            if not self._space.populate(va, length, READ):
                raise
            return self._memory.read(va, length)

    def write(self, va: int, data: bytes) -> None:
        """Writes ``data`` at ``va``; UserFault, and nothing written, if the program could not write all of it."""
        if len(data) > USER_END - va:
            raise UserFault(va)
        try:
            self._memory.write(va, data)
        except UserFault:
            if not self._space.populate(va, len(data), WRITE):
                raise
            self._memory.write(va, data)

    def views(self, va: int, length: int, *, write: bool) -> list[memoryview]:
        """The bytes themselves, as host views in address order, for scatter/gather calls: no copy.

        The leading accessible part when the tail is not; UserFault when there is none.  Not to be kept beyond the
        call: the pages may get another owner.
        """
        if length == 0:
            return []
        if not 0 < length <= USER_END - va:
            if not 0 <= va < USER_END:
                raise UserFault(va)
            length = USER_END - va
        try:
            return self._memory.views(va, length, write=write)
        except UserFault as fault:
            accessible = fault.address - va
            if self._space.populate(va, length, WRITE if write else READ):
                return self._again(va, length, write)
            if not 0 < accessible < length:
                raise
            return self._memory.views(va, accessible, write=write)

    def _again(self, va: int, length: int, write: bool) -> list[memoryview]:
        try:
            return self._memory.views(va, length, write=write)
        except UserFault as fault:
            accessible = fault.address - va
            if not 0 < accessible < length:
                raise
        return self._memory.views(va, accessible, write=write)

    def vector(self, va: int, count: int, *, write: bool) -> list[memoryview]:
        """The views of a ``struct iovec[count]`` at ``va``.

        EINVAL for a count outside [0, 1024], a negative length or a sum above 2^63-1; EFAULT for a bad array or base.
        """
        if not 0 <= count <= IOV_MAX:
            raise LinuxError(EINVAL)
        parts = struct.unpack(f"<{2 * count}Q", self.read(va, 16 * count))
        if sum(parts[1::2]) >= 1 << 63:
            raise LinuxError(EINVAL)
        views: list[memoryview] = []
        left = TRANSFER_MAX
        for base, length in zip(parts[::2], parts[1::2], strict=True):
            if length == 0:
                continue
            wanted = min(length, left)
            try:
                found = self.views(base, wanted, write=write)
            except UserFault:
                if not views:
                    raise
                break
            views += found
            left -= wanted
            if left == 0 or sum(map(len, found)) < wanted:
                break
        return views

    def string(self, va: int, limit: int = PATH_MAX) -> bytes:
        """The bytes up to the NUL at ``va``; ENAMETOOLONG when there is none within ``limit`` bytes."""
        parts: list[bytes] = []
        while limit > 0:
            size = min(limit, PAGE_SIZE - va % PAGE_SIZE)
            part = self.read(va, size)
            end = part.find(b"\0")
            if end >= 0:
                parts.append(part[:end])
                return b"".join(parts)
            parts.append(part)
            va += size
            limit -= size
        raise LinuxError(ENAMETOOLONG)

    def strings(self, va: int, limit: int) -> list[bytes]:
        """A NULL-terminated array of strings, ``limit`` at most (EFAULT beyond)."""
        found: list[bytes] = []
        while len(found) < limit:
            pointer = self.read_u64(va + 8 * len(found))
            if pointer == 0:
                return found
            found.append(self.string(pointer))
        raise LinuxError(EFAULT)

    def read_u32(self, va: int) -> int:
        return int.from_bytes(self.read(va, 4), "little")

    def read_u64(self, va: int) -> int:
        return int.from_bytes(self.read(va, 8), "little")

    def write_u32(self, va: int, value: int) -> None:
        self.write(va, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def write_u64(self, va: int, value: int) -> None:
        self.write(va, (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))


__all__ = ["IOV_MAX", "PATH_MAX", "TRANSFER_MAX", "UserAccess"]
