"""cpio archives in the "newc" form, which Linux unpacks its first file system from.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux source. Archives may follow one another
in a file: later members add to earlier ones.
"""

import stat
from typing import BinaryIO

__all__ = ["CpioWriter"]

_TRAILER = "TRAILER!!!"


class CpioWriter:
    """Writes one archive to `out`, every member owned by root and dated 1970: no file is older than another."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._inode = 0

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory. Its parent must have been added before it (`path` is taken from the root)."""
        self._member(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file (below 4 GiB)."""
        self._member(path, stat.S_IFREG | mode, data)

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link at `path` that says `target`."""
        self._member(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device node."""
        self._member(path, stat.S_IFCHR | mode, b"", device=(major, minor))

    def finish(self) -> None:
        """Write the trailer, padded so that another archive may follow. The file stays open."""
        self._member(_TRAILER, 0, b"")
        self._pad(512)

    def _member(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        name = path.strip("/").encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        # magic, then: inode mode uid gid links mtime size, device of the archive (2), of the node (2), name size, check
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        self._pad(4)
        self._out.write(data)
        self._pad(4)

    def _pad(self, alignment: int) -> None:
        self._out.write(bytes(-self._out.tell() % alignment))
