"""The pages of a process that have memory, and what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abi.layout import BLOCK_SIZE, PAGE_SIZE
from userland.linux.errors import EINVAL, ENOMEM, LinuxError
from userland.linux.extents import Extents
from userland.linux.memory_work import Work, ended

if TYPE_CHECKING:
    from userland.linux.hypervisor import Process

CLEARED: Final = 256 << 10
"""Bytes that are cleared in one step."""


class PresentPages:
    """Which addresses of a process have memory, and changes of it.  What takes steps is named by what it is doing."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.present = Extents()

    def taking(self, start: int, end: int) -> Work:
        """Takes the memory of pages that all have some."""
        self.expect((yield from ended(self.process.begin_unmap(start, end - start))))
        self.present.remove(start, end)
        return 0

    def allowing(self, start: int, end: int, permissions: int) -> Work:
        """Changes the permissions of pages that all have memory."""
        self.expect((yield from ended(self.process.begin_protect(start, end - start, permissions))))
        return 0

    def clearing(self, start: int, end: int) -> Work:
        """Zeroes pages that all have memory."""
        while start < end:
            stop = min(start + CLEARED, end)
            for view in self.process.memory.loader_views(start, stop - start):
                view[:] = bytes(len(view))
            start = stop
            yield None
        return 0

    # Content of pages whatever the program may do with them.

    def content(self, start: int, length: int) -> bytes:
        """What present pages hold."""
        return b"".join(self.process.memory.loader_views(start, length))

    def set_content(self, start: int, content: bytes) -> None:
        """Fills present pages."""
        for view in self.process.memory.loader_views(start, len(content)):
            view[:] = content[: len(view)]
            content = content[len(view) :]

    # 2 MiB pages: the machine refuses to cut one, so it is replaced by 4 KiB pages first.

    def cut_blocks(self, start: int, end: int) -> Work:
        """Replaces a 2 MiB page that contains, and does not begin with, one of these addresses."""
        for edge in (start, end):
            block = edge & -BLOCK_SIZE
            if edge == block or self.present.within(block, block + BLOCK_SIZE) != [(block, block + BLOCK_SIZE)]:
                continue
            permissions = self.process.permissions(edge) or 0
            # Asking for the rights a page has changes nothing, and tells whether it is part of a 2 MiB page.
            if self.process.protect(edge, PAGE_SIZE, permissions) == -EINVAL:
                yield from self._demoting(block, permissions)
        return 0

    def _demoting(self, block: int, permissions: int) -> Work:
        content = self.content(block, BLOCK_SIZE)
        half = BLOCK_SIZE // 2
        # In one step: nobody else is to get the memory between its return and its use.
        self.expect(self.process.unmap(block, BLOCK_SIZE))
        result = self.process.map(block, half, 0)
        if result == 0:
            result = self.process.map(block + half, half, 0)
            if result != 0:
                self.expect(self.process.unmap(block, half))
        if result != 0:
            self.expect(self.process.map(block, BLOCK_SIZE, 0))
        self.set_content(block, content)
        yield None
        yield from self.allowing(block, block + BLOCK_SIZE, permissions)
        if result != 0:
            raise LinuxError(ENOMEM)
        return 0

    def expect(self, result: int) -> None:
        """LinuxError for a result that is none: only a program that also makes native calls can have unmapped what was
        mapped here."""
        if result != 0:
            raise LinuxError(-result)


__all__ = ["PresentPages"]
