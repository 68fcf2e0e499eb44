"""A host file behind a mapping: what its pages hold at first, and what of a shared one goes back."""

from __future__ import annotations

import os
from typing import Final

from abi.layout import PAGE_SIZE

_VIEWS_AT_ONCE: Final = 1024
SHARED_LIMIT: Final = 256 << 20
"""Largest writable shared mapping, in bytes: the originals of its touched pages are kept to know what changed."""


class MappedFile:
    """One file, shared by the mappings that were cut from one mmap call; closed with the last of them.

    A writable shared mapping is not the host's page cache: pages are read at first touch, and pages the program
    changed are written back at msync, munmap and exit.
    """

    __slots__ = ("_originals", "fd", "identity", "references", "writable")

    def __init__(self, fd: int, *, writable: bool) -> None:
        """Takes a duplicate of ``fd``; ``writable``: pages that the program changes are to be written back."""
        self.fd = os.dup(fd)
        self.references = 1
        self.writable = writable
        status = os.fstat(self.fd)
        self.identity = (status.st_dev, status.st_ino)
        self._originals: dict[int, bytes] = {}

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self.fd).st_size

    def covers(self, offset: int, length: int) -> bool:
        """Whether every page of [offset, offset+length) has a byte of the file now."""
        return offset + length < self.size() + PAGE_SIZE

    def release(self) -> None:
        """One mapping fewer."""
        self.references -= 1
        if self.references == 0:
            os.close(self.fd)
            self._originals.clear()

    def fill(self, views: list[memoryview], offset: int) -> None:
        """Reads from ``offset`` into zeroed memory; what lies beyond the end of the file stays zero."""
        position = offset
        for first in range(0, len(views), _VIEWS_AT_ONCE):
            batch = views[first : first + _VIEWS_AT_ONCE]
            wanted = sum(map(len, batch))
            got = os.preadv(self.fd, batch, position)
            position += got
            if got < wanted:
                break
        if self.writable:
            content = b"".join(views)
            for start in range(0, len(content), PAGE_SIZE):
                self._originals[offset + start] = content[start : start + PAGE_SIZE]

    def write_back(self, offset: int, content: bytes) -> None:
        """Writes the pages of ``content`` (at file ``offset``) that differ from what was read; never grows the file."""
        size = self.size()
        for start in range(0, len(content), PAGE_SIZE):
            position = offset + start
            page = content[start : start + PAGE_SIZE]
            if position < size and self._originals.get(position) != page:
                os.pwrite(self.fd, page[: size - position], position)
                self._originals[position] = page


__all__ = ["SHARED_LIMIT", "MappedFile"]
