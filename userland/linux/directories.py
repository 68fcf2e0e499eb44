"""Open directories: of a grant, or of the tree of names that leads to the grants."""

from __future__ import annotations

import os
import stat
import struct
from typing import Final

from userland.linux.errors import EINVAL, EISDIR, LinuxError
from userland.linux.open_file import SEEK_CUR, SEEK_SET, OpenFile, synthetic_status
from userland.linux.paths import Place
from userland.linux.policy import Node
from userland.linux.task import Task

_DT_UNKNOWN: Final = 0
_DT_DIR: Final = 4
_DT_REG: Final = 8
_DT_LNK: Final = 10
_DIRENT: Final = struct.Struct("<QqHB")
"""struct linux_dirent64 up to the name: ino, off, reclen, type (getdents(2))."""


class Directory(OpenFile):
    """An open directory.  Its entries are those it had when the reading began (or was rewound)."""

    def __init__(self, place: Place, flags: int, path: bytes) -> None:
        super().__init__(flags, path)
        self.place = place
        self._entries: list[tuple[bytes, int, int]] = []
        self._position = 0

    def read(self, task: Task, views: list[memoryview]) -> int:
        raise LinuxError(EISDIR)

    def read_at(self, views: list[memoryview], offset: int) -> int:
        raise LinuxError(EISDIR)

    def seek(self, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self._position
        elif whence != SEEK_SET:
            raise LinuxError(EINVAL)
        if offset < 0:
            raise LinuxError(EINVAL)
        self._position = offset
        return offset

    def status(self) -> os.stat_result:
        if self.place.fd >= 0:
            return os.fstat(self.place.fd)
        assert self.place.node is not None
        return node_status(self.place.node)

    def synchronize(self) -> None:
        if self.place.fd >= 0:
            os.fsync(self.place.fd)

    def entries(self, limit: int) -> bytes:
        """The next entries as ``struct linux_dirent64``, ``limit`` bytes at most; EINVAL if not one fits."""
        if self._position == 0:
            self._entries = self._list()
        records: list[bytes] = []
        size = 0
        for name, number, kind in self._entries[self._position :]:
            length = (_DIRENT.size + len(name) + 8) & -8
            if size + length > limit:
                if not records:
                    raise LinuxError(EINVAL)
                break
            self._position += 1
            header = _DIRENT.pack(number, self._position, length, kind)
            records.append((header + name).ljust(length, b"\0"))
            size += length
        return b"".join(records)

    def _list(self) -> list[tuple[bytes, int, int]]:
        own = self.status().st_ino
        found: dict[bytes, tuple[int, int]] = {b".": (own, _DT_DIR), b"..": (own, _DT_DIR)}
        if self.place.fd >= 0:
            with os.scandir(self.place.fd) as scan:
                for entry in scan:
                    found[os.fsencode(entry.name)] = (entry.inode(), _kind(entry))
        if self.place.node is not None:
            for name, node in self.place.node.children.items():
                found[name] = (node.number, _DT_DIR if node.is_directory else _DT_UNKNOWN)
        return [(name, number, kind) for name, (number, kind) in found.items()]

    def host_fd(self) -> int:
        return self.place.fd

    def close(self) -> None:
        self.place.close()


def _kind(entry: os.DirEntry[str]) -> int:
    try:
        if entry.is_symlink():
            return _DT_LNK
        if entry.is_dir(follow_symlinks=False):
            return _DT_DIR
        if entry.is_file(follow_symlinks=False):
            return _DT_REG
    except OSError:
        # It was removed meanwhile.
        return _DT_UNKNOWN
    return _DT_UNKNOWN


def node_status(node: Node) -> os.stat_result:
    """The status of a name that only the tree has."""
    if node.is_directory:
        return synthetic_status(stat.S_IFDIR | 0o555, node.number)
    if node.link is not None:
        return synthetic_status(stat.S_IFLNK | 0o777, node.number)
    return synthetic_status(node.mode or stat.S_IFREG | 0o444, node.number, device=node.device)


__all__ = ["Directory", "node_status"]
