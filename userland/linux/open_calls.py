"""System calls that turn paths into descriptors, and the working directory."""

from __future__ import annotations

import os
import stat
import struct
from typing import Final

from userland.linux.directories import Directory
from userland.linux.errors import (
    E2BIG,
    EACCES,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    EOPNOTSUPP,
    ERANGE,
    EROFS,
    LinuxError,
)
from userland.linux.open_file import (
    O_ACCMODE,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECT,
    O_DIRECTORY,
    O_DSYNC,
    O_EXCL,
    O_LARGEFILE,
    O_NOCTTY,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_SYNC,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    HostFile,
    OpenFile,
    PathHandle,
)
from userland.linux.paths import Found, Place, Resolver, guest_path
from userland.linux.registers import signed32
from userland.linux.task import Task

AT_FDCWD: Final = -100
_O_NOATIME: Final = 0o1000000
_KNOWN: Final = (
    O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_DIRECT | O_LARGEFILE
    | O_DIRECTORY | O_NOFOLLOW | _O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE
)  # fmt: skip
_PASSED_ON: Final = O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC
"""Flags of a guest's open that the host's open gets; what is not here is decided in this module."""
_ALWAYS: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_PERMISSION_BITS: Final = 0o1777
"""Mode bits a program may give a host file: no set-user-id, no set-group-id."""


def resolver(task: Task) -> Resolver:
    """The resolver of the task's personality."""
    return task.process.personality.resolver


def working_place(task: Task) -> Place:
    """The working directory."""
    process = task.process
    if process.cwd is None:
        names = resolver(task)
        try:
            process.cwd = names.directory(names.root_place(), process.personality.cwd)
        except (OSError, LinuxError):
            process.cwd = names.root_place()
    return process.cwd


def base_place(task: Task, dirfd: int, path: bytes) -> Place:
    """Where an ``…at`` call resolves ``path`` from; EBADF and ENOTDIR only for relative paths, as on Linux."""
    if path.startswith(b"/"):
        return resolver(task).root_place()
    if signed32(dirfd) == AT_FDCWD:
        return working_place(task)
    return place_of(task.files.get(dirfd))


def place_of(file: OpenFile) -> Place:
    """The place of an open directory; ENOTDIR."""
    if isinstance(file, Directory):
        return file.place
    if isinstance(file, PathHandle) and stat.S_ISDIR(os.fstat(file.fd).st_mode):
        return Place(None, file.grant, file.fd, owned=False)
    raise LinuxError(ENOTDIR)


def creation_mode(task: Task, mode: int) -> int:
    """``mode`` of a creating call as the host gets it."""
    return mode & _PERMISSION_BITS & ~task.process.umask


def open_file(task: Task, dirfd: int, path: bytes, flags: int, mode: int) -> OpenFile:
    """The description that open gives."""
    if flags & O_TMPFILE == O_TMPFILE:
        raise LinuxError(EOPNOTSUPP)
    if flags & O_PATH:
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
    names = resolver(task)
    base = base_place(task, dirfd, path)
    follow = not flags & O_NOFOLLOW and flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL
    try:
        found = names.find(base, path, follow=follow)
    except (OSError, LinuxError) as error:
        if error.errno != ENOENT or not flags & O_CREAT or not path:
            raise
        return _create(task, names, base, path, flags, mode)
    with found:
        if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL:
            raise LinuxError(EEXIST)
        return _open_found(task, found, path, flags)


def _create(task: Task, names: Resolver, base: Place, path: bytes, flags: int, mode: int) -> OpenFile:
    host_flags = flags & (_PASSED_ON | O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW) | _ALWAYS
    wanted = creation_mode(task, mode)
    fd, grant = names.create(base, path, host_flags, wanted)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            # Made by another between the look and the creation.
            raise LinuxError(EACCES)
        if wanted & task.process.personality.umask:
            # The host's own mask took these; the program's decides.
            os.fchmod(fd, wanted)
        return HostFile(fd, flags, guest_path(fd, grant), grant)
    except BaseException:
        os.close(fd)
        raise


def _open_found(task: Task, found: Found, path: bytes, flags: int) -> OpenFile:
    node = found.node
    if node is not None and node.opener is not None and not flags & O_PATH:
        if flags & O_DIRECTORY:
            raise LinuxError(ENOTDIR)
        return node.opener(task, flags)
    if node is not None and node.is_directory:
        _refuse_writing_directory(flags)
        opened = _reopen(found.fd, os.O_RDONLY | os.O_DIRECTORY) if found.fd >= 0 else -1
        return Directory(Place(node, found.grant, opened, owned=opened >= 0), flags, node.path)
    if found.grant is None or found.fd < 0:
        raise LinuxError(ELOOP if node is not None and node.link is not None else EACCES)
    mode = os.fstat(found.fd).st_mode
    shown = guest_path(found.fd, found.grant) if node is None else node.path
    if flags & O_PATH:
        if flags & O_DIRECTORY and not stat.S_ISDIR(mode):
            raise LinuxError(ENOTDIR)
        return PathHandle(found.take(), flags, shown, found.grant)
    if stat.S_ISLNK(mode):
        raise LinuxError(ELOOP)
    if stat.S_ISDIR(mode):
        _refuse_writing_directory(flags)
        opened = _reopen(found.fd, os.O_RDONLY | os.O_DIRECTORY)
        return Directory(Place(None, found.grant, opened, owned=True), flags, shown)
    if flags & O_DIRECTORY:
        raise LinuxError(ENOTDIR)
    if not stat.S_ISREG(mode):
        # A FIFO or a device could block the machine, or reach beyond the grant.
        raise LinuxError(EACCES)
    # O_TRUNC truncates without write access too.
    if (flags & O_ACCMODE != O_RDONLY or flags & O_TRUNC) and not found.grant.writable:
        raise LinuxError(EROFS)
    return HostFile(_reopen(found.fd, flags & (_PASSED_ON | O_TRUNC)), flags, shown, found.grant)


def _refuse_writing_directory(flags: int) -> None:
    if flags & O_ACCMODE != O_RDONLY or flags & O_CREAT:
        raise LinuxError(EISDIR)


def _reopen(fd: int, flags: int) -> int:
    """A descriptor with access to what an O_PATH one names: the very same file, whatever its name is now."""
    return os.open(f"/proc/self/fd/{fd}", flags | _ALWAYS)


def sys_openat(task: Task, dirfd: int, path: int, flags: int, mode: int) -> int:
    # As Linux: unknown flags are ignored.
    flags &= _KNOWN
    if flags & O_ACCMODE == O_ACCMODE:
        return -EINVAL
    file = open_file(task, dirfd, task.memory.string(path), flags, mode)
    return task.files.add(file, close_on_exec=bool(flags & O_CLOEXEC))


def sys_open(task: Task, path: int, flags: int, mode: int) -> int:
    return sys_openat(task, AT_FDCWD, path, flags, mode)


def sys_creat(task: Task, path: int, mode: int) -> int:
    return sys_openat(task, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode)


def sys_openat2(task: Task, dirfd: int, path: int, how: int, size: int) -> int:
    if size < 24:
        return -EINVAL
    if size > 4096:
        return -E2BIG
    flags, mode, resolve = struct.unpack("<QQQ", task.memory.read(how, 24))
    if any(task.memory.read(how + 24, size - 24)):
        return -E2BIG
    if resolve or flags & ~_KNOWN or mode & ~0o7777:
        # The RESOLVE_ restrictions are not offered.
        return -EINVAL
    return sys_openat(task, dirfd, path, flags, mode)


def sys_getcwd(task: Task, buffer: int, size: int) -> int:
    path = working_place(task).path() + b"\0"
    if len(path) > size:
        return -ERANGE
    task.memory.write(buffer, path)
    return len(path)


def sys_chdir(task: Task, path: int) -> int:
    place = resolver(task).directory(working_place(task), task.memory.string(path))
    _enter(task, place)
    return 0


def sys_fchdir(task: Task, fd: int) -> int:
    place = place_of(task.files.get(fd))
    if place.fd >= 0:
        place = Place(place.node, place.grant, os.dup(place.fd), owned=True)
    _enter(task, place)
    return 0


def _enter(task: Task, place: Place) -> None:
    old = task.process.cwd
    task.process.cwd = place
    if old is not None:
        old.close()


def sys_getdents64(task: Task, fd: int, buffer: int, size: int) -> int:
    file = task.files.get(fd)
    if not isinstance(file, Directory):
        return -ENOTDIR
    data = file.entries(min(size & 0xFFFF_FFFF, 1 << 20))
    task.memory.write(buffer, data)
    return len(data)


def sys_umask(task: Task, mask: int) -> int:
    old = task.process.umask
    task.process.umask = mask & 0o777
    return old
