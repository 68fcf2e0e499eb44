"""Where a program's bytes come from: a file, or memory.

A file is read by ``preadv`` straight into guest memory, not mapped: a mapped file that somebody shortens kills its
reader with SIGBUS, and its pages would count as the host process's own memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from errno import ESTALE
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap
    from typing import BinaryIO

    Buffer = bytes | bytearray | memoryview | mmap.mmap
    Path = str | os.PathLike[str]


class FileSource:
    """A regular file, by its descriptor."""

    # O_NONBLOCK: opening a FIFO must not wait for its writer; it has no effect on regular files.
    _FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

    def __init__(self, path: Path) -> None:
        self._path = os.path.abspath(path)
        self._descriptor = os.open(path, self._FLAGS)
        status = os.fstat(self._descriptor)
        self._identity = self._identify(status)
        self.regular = stat.S_ISREG(status.st_mode)
        self.directory = stat.S_ISDIR(status.st_mode)
        self.size = status.st_size

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on: fewer where it ends.  Raises OSError."""
        return os.pread(self._descriptor, size, offset)

    def read_into(self, offset: int, views: Sequence[memoryview]) -> None:
        """Fills the writable byte views in order.  Raises EOFError if it ends before, OSError."""
        pending = [view for view in views if len(view)]
        while pending:
            # 1024 is the kernel's limit on buffers a call; a call also stops at 2 GiB.
            got = os.preadv(self._descriptor, pending[:1024], offset)
            if got == 0:
                raise EOFError
            offset += got
            while pending and got >= len(pending[0]):
                got -= len(pending.pop(0))
            if got:
                pending[0] = pending[0][got:]

    @staticmethod
    def _identify(status: os.stat_result) -> tuple[int, ...]:
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def stream(self) -> BinaryIO:
        """A stream of its own, at the start.  Raises OSError, also if the path leads to another file by now."""
        if self._descriptor >= 0:
            return os.fdopen(os.dup(self._descriptor), "rb")
        stream = os.fdopen(os.open(self._path, self._FLAGS), "rb")
        if self._identify(os.fstat(stream.fileno())) != self._identity:
            stream.close()
            raise OSError(ESTALE, "it is another file now")
        return stream

    def let_go(self) -> None:
        """Closes the file; ``stream`` opens it again."""
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()


class MemorySource:
    """A program in memory."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")
        self.size = len(self._view)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on: fewer where it ends."""
        return bytes(self._view[offset : offset + size])

    def read_into(self, offset: int, views: Sequence[memoryview]) -> None:
        """Fills the writable byte views in order.  Raises EOFError if it ends before."""
        for view in views:
            part = self._view[offset : offset + len(view)]
            if len(part) < len(view):
                raise EOFError
            view[:] = part
            offset += len(view)

    def stream(self) -> BinaryIO:
        """A stream of its own, at the start."""
        from io import BytesIO

        return BytesIO(self._view)

    def let_go(self) -> None:
        """There is no file."""

    def close(self) -> None:
        """Lets the bytes go."""
        self._view.release()


Source = FileSource | MemorySource

__all__ = ["FileSource", "MemorySource", "Source"]
