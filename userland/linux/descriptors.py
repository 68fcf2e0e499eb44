"""The descriptor table of a process: small numbers to open file descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from userland.linux.errors import EBADF, EINVAL, EMFILE, LinuxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from userland.linux.open_file import OpenFile

DESCRIPTORS_MAX: Final = 1024
"""RLIMIT_NOFILE of a process, soft and hard."""


class DescriptorTable:
    """Descriptors 0 to 1023; a description is closed with its last descriptor."""

    __slots__ = ("_close_on_exec", "_files")

    def __init__(self) -> None:
        self._files: list[OpenFile | None] = [None] * 8
        self._close_on_exec: set[int] = set()

    def get(self, fd: int) -> OpenFile:
        """The description behind ``fd`` (a register: its low 32 bits count); EBADF."""
        fd &= 0xFFFF_FFFF
        if fd < len(self._files):
            file = self._files[fd]
            if file is not None:
                return file
        raise LinuxError(EBADF)

    def open_numbers(self) -> Iterator[int]:
        """The descriptors in use, ascending."""
        return (fd for fd, file in enumerate(self._files) if file is not None)

    def _reach(self, fd: int) -> None:
        if fd >= len(self._files):
            self._files += [None] * (min(max(2 * len(self._files), fd + 1), DESCRIPTORS_MAX) - len(self._files))

    def add(self, file: OpenFile, *, lowest: int = 0, close_on_exec: bool = False) -> int:
        """The lowest free descriptor from ``lowest`` on now refers to ``file``.  EMFILE: a new ``file`` is closed."""
        fd = lowest
        while fd < len(self._files) and self._files[fd] is not None:
            fd += 1
        if fd >= DESCRIPTORS_MAX:
            if file.references == 0:
                file.close()
            raise LinuxError(EMFILE)
        self._place(fd, file, close_on_exec)
        return fd

    def replace(self, fd: int, file: OpenFile, *, close_on_exec: bool = False) -> None:
        """``fd`` refers to ``file`` from now on; what it referred to before is closed.  EBADF for a bad number."""
        if not 0 <= fd < DESCRIPTORS_MAX:
            raise LinuxError(EBADF)
        file.references += 1
        if fd < len(self._files) and self._files[fd] is not None:
            self.close(fd)
        file.references -= 1
        self._place(fd, file, close_on_exec)

    def _place(self, fd: int, file: OpenFile, close_on_exec: bool) -> None:
        self._reach(fd)
        self._files[fd] = file
        file.references += 1
        self.set_close_on_exec(fd, close_on_exec)

    def close(self, fd: int) -> None:
        """Frees the descriptor, whatever closing the description says; EBADF."""
        file = self.get(fd)
        fd &= 0xFFFF_FFFF
        self._files[fd] = None
        self._close_on_exec.discard(fd)
        file.references -= 1
        if file.references == 0:
            file.close()

    def close_range(self, first: int, last: int) -> None:
        """Closes every descriptor in [first, last]."""
        if first > last:
            raise LinuxError(EINVAL)
        for fd in range(first, min(last + 1, len(self._files))):
            if self._files[fd] is not None:
                self.close(fd)

    def close_all(self) -> None:
        """The process has ended."""
        for fd, file in enumerate(self._files):
            if file is not None:
                try:
                    self.close(fd)
                except OSError:
                    continue

    def close_on_exec(self, fd: int) -> bool:
        return fd in self._close_on_exec

    def set_close_on_exec(self, fd: int, wanted: bool) -> None:
        if wanted:
            self._close_on_exec.add(fd)
        else:
            self._close_on_exec.discard(fd)


__all__ = ["DESCRIPTORS_MAX", "DescriptorTable"]
