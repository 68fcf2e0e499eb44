"""Open file descriptions: what a guest descriptor refers to, whichever kind it is.

Guest descriptors are the personality's own numbers; a host descriptor is only ever held inside one of these objects,
close-on-exec.  ``read`` and ``write`` move bytes straight between the host and guest memory, given as host views.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final

from userland.linux.errors import EBADF, EINVAL, ENOTTY, ESPIPE, LinuxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from userland.linux.policy import Grant
    from userland.linux.task import Task

O_ACCMODE: Final = 3
O_RDONLY: Final = 0
O_WRONLY: Final = 1
O_RDWR: Final = 2
O_CREAT: Final = 0o100
O_EXCL: Final = 0o200
O_NOCTTY: Final = 0o400
O_TRUNC: Final = 0o1000
O_APPEND: Final = 0o2000
O_NONBLOCK: Final = 0o4000
O_DSYNC: Final = 0o10000
O_DIRECT: Final = 0o40000
O_LARGEFILE: Final = 0o100000
O_DIRECTORY: Final = 0o200000
O_NOFOLLOW: Final = 0o400000
O_CLOEXEC: Final = 0o2000000
O_SYNC: Final = 0o4010000
O_PATH: Final = 0o10000000
O_TMPFILE: Final = 0o20200000
STATUS_FLAGS: Final = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DIRECTORY | O_PATH | O_NOFOLLOW | O_LARGEFILE
"""What F_GETFL shows of the flags of open."""

POLLIN: Final = 1
POLLPRI: Final = 2
POLLOUT: Final = 4
POLLERR: Final = 8
POLLHUP: Final = 16
POLLNVAL: Final = 32

SEEK_SET: Final = 0
SEEK_CUR: Final = 1
SEEK_END: Final = 2

FIONREAD: Final = 0x541B
FIONBIO: Final = 0x5421

_VIEWS_AT_ONCE: Final = 1024
"""UIO_MAXIOV: views the host takes in one call."""


class OpenFile:
    """A description: position, status flags, and the operations its kind has.

    The defaults refuse as Linux does.  Each operation returns its result, ``-errno`` or BLOCKED, or raises LinuxError
    or OSError.
    """

    seekable = False

    def __init__(self, flags: int, path: bytes = b"") -> None:
        """``flags`` as for open; ``path``: the guest's name of it, for /proc/self/fd."""
        self.flags = flags & STATUS_FLAGS
        self.path = path
        self.references = 0

    @property
    def readable(self) -> bool:
        return self.flags & (O_ACCMODE | O_PATH) in (O_RDONLY, O_RDWR)

    @property
    def writable(self) -> bool:
        return self.flags & (O_ACCMODE | O_PATH) in (O_WRONLY, O_RDWR)

    def read(self, task: Task, views: list[memoryview]) -> int:
        raise LinuxError(EINVAL)

    def write(self, task: Task, views: list[memoryview]) -> int:
        raise LinuxError(EINVAL)

    def read_at(self, views: list[memoryview], offset: int) -> int:
        raise LinuxError(ESPIPE)

    def write_at(self, views: list[memoryview], offset: int) -> int:
        raise LinuxError(ESPIPE)

    def seek(self, offset: int, whence: int) -> int:
        raise LinuxError(ESPIPE)

    def status(self) -> os.stat_result:
        raise LinuxError(EBADF)

    def truncate(self, length: int) -> None:
        raise LinuxError(EINVAL)

    def synchronize(self) -> None:
        raise LinuxError(EINVAL)

    def ioctl(self, task: Task, request: int, argument: int) -> int:
        raise LinuxError(ENOTTY)

    def poll(self, events: int) -> int:
        """Which of ``events`` (POLL bits) would not block now, with POLLERR and POLLHUP as they are."""
        return events & (POLLIN | POLLOUT)

    def watched(self) -> int:
        """The host descriptor that becomes ready when ``poll`` would say so; -1 for kinds that are always ready."""
        return -1

    def host_fd(self) -> int:
        """The host descriptor of a regular file or directory; -1 for other kinds."""
        return -1

    def set_status_flags(self, flags: int) -> None:
        """F_SETFL: only these may change."""
        changing = O_APPEND | O_NONBLOCK
        self.flags = self.flags & ~changing | flags & changing

    def close(self) -> None:
        """The last descriptor is gone."""


class HostFile(OpenFile):
    """A regular file of a grant, or a regular file given as a standard stream."""

    seekable = True

    def __init__(
        self, fd: int, flags: int, path: bytes = b"", grant: Grant | None = None, *, owned: bool = True
    ) -> None:
        super().__init__(flags, path)
        self.fd = fd
        self.grant = grant
        self._owned = owned

    def read(self, task: Task, views: list[memoryview]) -> int:
        done = 0
        for first in range(0, len(views), _VIEWS_AT_ONCE):
            batch = views[first : first + _VIEWS_AT_ONCE]
            got = os.readv(self.fd, batch)
            done += got
            if got < total(batch):
                break
        return done

    def write(self, task: Task, views: list[memoryview]) -> int:
        done = 0
        for first in range(0, len(views), _VIEWS_AT_ONCE):
            batch = views[first : first + _VIEWS_AT_ONCE]
            put = os.writev(self.fd, batch)
            done += put
            if put < total(batch):
                break
        return done

    def read_at(self, views: list[memoryview], offset: int) -> int:
        done = 0
        for first in range(0, len(views), _VIEWS_AT_ONCE):
            batch = views[first : first + _VIEWS_AT_ONCE]
            got = os.preadv(self.fd, batch, offset + done)
            done += got
            if got < total(batch):
                break
        return done

    def write_at(self, views: list[memoryview], offset: int) -> int:
        done = 0
        for first in range(0, len(views), _VIEWS_AT_ONCE):
            batch = views[first : first + _VIEWS_AT_ONCE]
            put = os.pwritev(self.fd, batch, offset + done)
            done += put
            if put < total(batch):
                break
        return done

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self.fd, offset, whence)

    def status(self) -> os.stat_result:
        return os.fstat(self.fd)

    def truncate(self, length: int) -> None:
        os.ftruncate(self.fd, length)

    def synchronize(self) -> None:
        os.fsync(self.fd)

    def ioctl(self, task: Task, request: int, argument: int) -> int:
        if request == FIONREAD:
            left = os.fstat(self.fd).st_size - os.lseek(self.fd, 0, os.SEEK_CUR)
            task.memory.write_u32(argument, max(left, 0))
            return 0
        raise LinuxError(ENOTTY)

    def host_fd(self) -> int:
        return self.fd

    def set_status_flags(self, flags: int) -> None:
        super().set_status_flags(flags)
        if self._owned:
            import fcntl

            fcntl.fcntl(self.fd, fcntl.F_SETFL, flags & O_APPEND)

    def close(self) -> None:
        if self._owned:
            os.close(self.fd)


class PathHandle(OpenFile):
    """What open with O_PATH gives: a place, without the right to its content."""

    def __init__(self, fd: int, flags: int, path: bytes, grant: Grant) -> None:
        super().__init__(flags, path)
        self.fd = fd
        self.grant = grant

    def read(self, task: Task, views: list[memoryview]) -> int:
        raise LinuxError(EBADF)

    write = read

    def seek(self, offset: int, whence: int) -> int:
        raise LinuxError(EBADF)

    def ioctl(self, task: Task, request: int, argument: int) -> int:
        raise LinuxError(EBADF)

    def status(self) -> os.stat_result:
        return os.fstat(self.fd)

    def host_fd(self) -> int:
        return self.fd

    def close(self) -> None:
        os.close(self.fd)


def total(views: Sequence[memoryview]) -> int:
    """Bytes in all views."""
    return sum(map(len, views))


def scatter(views: Sequence[memoryview], data: bytes) -> int:
    """Copies ``data`` into the views, as far as both reach; how many bytes."""
    position = 0
    for view in views:
        part = data[position : position + len(view)]
        if not part:
            break
        view[: len(part)] = part
        position += len(part)
    return position


def skip(views: Sequence[memoryview], count: int) -> list[memoryview]:
    """The views without their first ``count`` bytes."""
    rest: list[memoryview] = []
    for view in views:
        if count >= len(view):
            count -= len(view)
        else:
            rest.append(view[count:])
            count = 0
    return rest


def first_bytes(views: Sequence[memoryview], count: int) -> list[memoryview]:
    """The first ``count`` bytes of the views."""
    head: list[memoryview] = []
    for view in views:
        if count <= 0:
            break
        head.append(view[:count])
        count -= len(head[-1])
    return head


def synthetic_status(kind: int, number: int, *, size: int = 0, device: int = 0) -> os.stat_result:
    """The status of a file that no host has: ``kind`` is S_IF… with permission bits, ``number`` its inode."""
    now = int(_STARTED)
    nanoseconds = now * 1_000_000_000
    links = 2 if stat.S_ISDIR(kind) else 1
    return os.stat_result(
        (kind, number, _DEVICE, links, 0, 0, size, now, now, now),
        {
            "st_atime_ns": nanoseconds,
            "st_mtime_ns": nanoseconds,
            "st_ctime_ns": nanoseconds,
            "st_blksize": 4096,
            "st_blocks": 0,
            "st_rdev": device,
        },
    )


_STARTED: Final = time.time()
_DEVICE: Final = 0xAE00
"""st_dev of the personality's own files."""
