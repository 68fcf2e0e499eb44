"""System calls that ask about files and change what describes them: status, rights, times, links' targets."""

from __future__ import annotations

import os
import stat
import struct
import time
from typing import Final

from userland.linux.directories import node_status
from userland.linux.errors import (
    EACCES,
    EBADF,
    EINVAL,
    EISDIR,
    ENODATA,
    ENOENT,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    LinuxError,
)
from userland.linux.open_calls import AT_FDCWD, base_place, resolver
from userland.linux.open_file import O_ACCMODE, O_PATH, HostFile, OpenFile, PathHandle
from userland.linux.paths import Found
from userland.linux.policy import Node
from userland.linux.registers import signed32, signed64
from userland.linux.structs import TIMESPEC, pack_stat, pack_statfs, pack_statx
from userland.linux.task import Task

AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EACCESS: Final = 0x200
_AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_SYNC: Final = 0x6000
_STATX_RESERVED: Final = 0x8000_0000

_R_OK: Final = 4
_W_OK: Final = 2
_UTIME_NOW: Final = 0x3FFF_FFFF
_UTIME_OMIT: Final = 0x3FFF_FFFE
_NANO: Final = 1_000_000_000
_HERE: Final = AT_FDCWD & 0xFFFF_FFFF
_UNCHANGED: Final = 0xFFFF_FFFF


def _find(task: Task, dirfd: int, path: bytes, *, follow: bool) -> Found:
    return resolver(task).find(base_place(task, dirfd, path), path, follow=follow)


def _is_descriptor(task: Task, dirfd: int, path: bytes, flags: int) -> bool:
    """AT_EMPTY_PATH with an empty path: the call is about the descriptor itself."""
    return not path and bool(flags & AT_EMPTY_PATH) and signed32(dirfd) != AT_FDCWD


def _status_of_node(task: Task, node: Node, follow: bool) -> os.stat_result:
    if node.opener is None or (node.link is not None and not follow) or node.mode:
        return node_status(node)
    file = node.opener(task, 0)
    try:
        return file.status()
    finally:
        if file.references == 0:
            file.close()


def _status(task: Task, dirfd: int, path: bytes, flags: int) -> os.stat_result:
    if not path and flags & AT_EMPTY_PATH:
        if signed32(dirfd) != AT_FDCWD:
            return task.files.get(dirfd).status()
        path = b"."
    follow = not flags & AT_SYMLINK_NOFOLLOW
    with _find(task, dirfd, path, follow=follow) as found:
        if found.fd >= 0:
            return os.fstat(found.fd)
        assert found.node is not None
        return _status_of_node(task, found.node, follow)


def sys_newfstatat(task: Task, dirfd: int, path: int, buffer: int, flags: int) -> int:
    if flags & 0xFFFF_FFFF & ~(AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | AT_EMPTY_PATH):
        return -EINVAL
    task.memory.write(buffer, pack_stat(_status(task, dirfd, task.memory.string(path), flags)))
    return 0


def sys_stat(task: Task, path: int, buffer: int) -> int:
    return sys_newfstatat(task, _HERE, path, buffer, 0)


def sys_lstat(task: Task, path: int, buffer: int) -> int:
    return sys_newfstatat(task, _HERE, path, buffer, AT_SYMLINK_NOFOLLOW)


def sys_statx(task: Task, dirfd: int, path: int, flags: int, mask: int, buffer: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | AT_EMPTY_PATH | _AT_STATX_SYNC) or mask & _STATX_RESERVED:
        return -EINVAL
    if flags & _AT_STATX_SYNC == _AT_STATX_SYNC:
        return -EINVAL
    task.memory.write(buffer, pack_statx(_status(task, dirfd, task.memory.string(path), flags)))
    return 0


def sys_access(task: Task, path: int, mode: int) -> int:
    return sys_faccessat2(task, _HERE, path, mode, 0)


def sys_faccessat(task: Task, dirfd: int, path: int, mode: int) -> int:
    return sys_faccessat2(task, dirfd, path, mode, 0)


def sys_faccessat2(task: Task, dirfd: int, path: int, mode: int, flags: int) -> int:
    mode &= 0xFFFF_FFFF
    flags &= 0xFFFF_FFFF
    if mode & ~7 or flags & ~(AT_SYMLINK_NOFOLLOW | _AT_EACCESS | AT_EMPTY_PATH):
        return -EINVAL
    name = task.memory.string(path)
    if _is_descriptor(task, dirfd, name, flags):
        file = task.files.get(dirfd)
        return _access(file.host_fd(), mode, getattr(file, "grant", None) is None or file.writable)
    with _find(task, dirfd, name, follow=not flags & AT_SYMLINK_NOFOLLOW) as found:
        if found.fd < 0:
            assert found.node is not None
            return -EROFS if mode & _W_OK and found.node.is_directory else 0
        return _access(found.fd, mode, found.grant is None or found.grant.writable)


def _access(fd: int, mode: int, writable: bool) -> int:
    if mode & _W_OK and not writable:
        return -EROFS
    return 0 if fd < 0 or os.access(f"/proc/self/fd/{fd}", mode) else -EACCES


def sys_readlinkat(task: Task, dirfd: int, path: int, buffer: int, size: int) -> int:
    if signed32(size) <= 0:
        return -EINVAL
    name = task.memory.string(path)
    if not name:
        file = task.files.get(dirfd)
        if not isinstance(file, PathHandle):
            return -ENOENT
        target = os.readlink(b"", dir_fd=file.fd)
    else:
        with _find(task, dirfd, name, follow=False) as found:
            if found.node is not None and found.node.link is not None:
                target = found.node.link(task)
            elif found.fd < 0 or not stat.S_ISLNK(os.fstat(found.fd).st_mode):
                return -EINVAL
            else:
                target = os.readlink(b"", dir_fd=found.fd)
    target = target[: signed32(size)]
    task.memory.write(buffer, target)
    return len(target)


def sys_readlink(task: Task, path: int, buffer: int, size: int) -> int:
    return sys_readlinkat(task, _HERE, path, buffer, size)


# Changes.


def _changeable(found: Found) -> str:
    """A path by which the host changes exactly what was found; EROFS."""
    if found.grant is None or not found.grant.writable or found.fd < 0:
        raise LinuxError(EROFS)
    return f"/proc/self/fd/{found.fd}"


def _changeable_file(file: OpenFile) -> int:
    fd = file.host_fd()
    grant = getattr(file, "grant", None) or getattr(getattr(file, "place", None), "grant", None)
    if file.flags & O_PATH:
        raise LinuxError(EBADF)
    if fd < 0 or grant is None or not grant.writable:
        raise LinuxError(EROFS if grant is not None else EPERM)
    return fd


def _mode(mode: int) -> int:
    # No set-user-id and set-group-id on the host's files.
    return mode & 0o1777


def sys_fchmodat2(task: Task, dirfd: int, path: int, mode: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        return -EINVAL
    name = task.memory.string(path)
    if _is_descriptor(task, dirfd, name, flags):
        return sys_fchmod(task, dirfd, mode)
    with _find(task, dirfd, name, follow=not flags & AT_SYMLINK_NOFOLLOW) as found:
        target = _changeable(found)
        if stat.S_ISLNK(os.fstat(found.fd).st_mode):
            return -EOPNOTSUPP
        os.chmod(target, _mode(mode))
    return 0


def sys_fchmodat(task: Task, dirfd: int, path: int, mode: int) -> int:
    return sys_fchmodat2(task, dirfd, path, mode, 0)


def sys_chmod(task: Task, path: int, mode: int) -> int:
    return sys_fchmodat2(task, _HERE, path, mode, 0)


def sys_fchmod(task: Task, fd: int, mode: int) -> int:
    os.fchmod(_changeable_file(task.files.get(fd)), _mode(mode))
    return 0


def _check_owner(status: os.stat_result, uid: int, gid: int) -> int:
    """Files keep their owner: a change to what it is anyway succeeds, as tar and cp -p ask for."""
    uid, gid = uid & 0xFFFF_FFFF, gid & 0xFFFF_FFFF
    return 0 if uid in (_UNCHANGED, status.st_uid) and gid in (_UNCHANGED, status.st_gid) else -EPERM


def sys_fchownat(task: Task, dirfd: int, path: int, uid: int, gid: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        return -EINVAL
    name = task.memory.string(path)
    if _is_descriptor(task, dirfd, name, flags):
        return sys_fchown(task, dirfd, uid, gid)
    with _find(task, dirfd, name, follow=not flags & AT_SYMLINK_NOFOLLOW) as found:
        _changeable(found)
        return _check_owner(os.fstat(found.fd), uid, gid)


def sys_chown(task: Task, path: int, uid: int, gid: int) -> int:
    return sys_fchownat(task, _HERE, path, uid, gid, 0)


def sys_lchown(task: Task, path: int, uid: int, gid: int) -> int:
    return sys_fchownat(task, _HERE, path, uid, gid, AT_SYMLINK_NOFOLLOW)


def sys_fchown(task: Task, fd: int, uid: int, gid: int) -> int:
    return _check_owner(os.fstat(_changeable_file(task.files.get(fd))), uid, gid)


def _set_times(task: Task, dirfd: int, name: bytes | None, times: list[tuple[int, int]] | None, flags: int) -> int:
    """``times``: access and modification as (seconds, nanoseconds or UTIME_…), None for now."""
    found: Found | None = None
    if name is None or _is_descriptor(task, dirfd, name, flags):
        fd = _changeable_file(task.files.get(dirfd))
    else:
        found = _find(task, dirfd, name, follow=not flags & AT_SYMLINK_NOFOLLOW)
        fd = found.fd
    try:
        if found is not None:
            _changeable(found)
        status = os.fstat(fd)
        if times is None:
            times = [(0, _UTIME_NOW), (0, _UTIME_NOW)]
        now = time.time_ns()
        wanted: list[int] = []
        for (seconds, nanoseconds), kept in zip(times, (status.st_atime_ns, status.st_mtime_ns), strict=True):
            if nanoseconds == _UTIME_NOW:
                wanted.append(now)
            elif nanoseconds == _UTIME_OMIT:
                wanted.append(kept)
            else:
                wanted.append(seconds * _NANO + nanoseconds)
        if found is None:
            os.utime(fd, ns=(wanted[0], wanted[1]))
        elif stat.S_ISLNK(status.st_mode):
            return _set_link_times(task, dirfd, name or b"", wanted)
        else:
            os.utime(f"/proc/self/fd/{fd}", ns=(wanted[0], wanted[1]))
    finally:
        if found is not None:
            found.close()
    return 0


def _set_link_times(task: Task, dirfd: int, name: bytes, wanted: list[int]) -> int:
    # The host changes a link's own times only by its name.
    with resolver(task).entry(base_place(task, dirfd, name), name) as entry:
        entry.place.writable_grant()
        os.utime(entry.name, ns=(wanted[0], wanted[1]), dir_fd=entry.place.fd, follow_symlinks=False)
    return 0


def sys_utimensat(task: Task, dirfd: int, path: int, times: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        return -EINVAL
    values: list[tuple[int, int]] | None = None
    if times:
        data = task.memory.read(times, 32)
        values = [TIMESPEC.unpack(data[:16]), TIMESPEC.unpack(data[16:])]
        if any(not 0 <= part < _NANO and part not in (_UTIME_NOW, _UTIME_OMIT) for _, part in values):
            return -EINVAL
    return _set_times(task, dirfd, task.memory.string(path) if path else None, _clamped(values), flags)


def _clamped(values: list[tuple[int, int]] | None) -> list[tuple[int, int]] | None:
    """Seconds as far as the host's own calls take them, as Linux clamps them to the file system's range."""
    if values is None:
        return None
    return [(min(max(seconds, -(1 << 31)), 1 << 33), part) for seconds, part in values]


def sys_futimesat(task: Task, dirfd: int, path: int, times: int) -> int:
    values: list[tuple[int, int]] | None = None
    if times:
        first, first_part, second, second_part = struct.unpack("<4q", task.memory.read(times, 32))
        if not (0 <= first_part < 1_000_000 and 0 <= second_part < 1_000_000):
            return -EINVAL
        values = [(first, first_part * 1000), (second, second_part * 1000)]
    return _set_times(task, dirfd, task.memory.string(path) if path else None, _clamped(values), 0)


def sys_utimes(task: Task, path: int, times: int) -> int:
    return sys_futimesat(task, _HERE, path, times)


def sys_utime(task: Task, path: int, times: int) -> int:
    values: list[tuple[int, int]] | None = None
    if times:
        access, modification = struct.unpack("<2q", task.memory.read(times, 16))
        values = [(access, 0), (modification, 0)]
    return _set_times(task, _HERE, task.memory.string(path), _clamped(values), 0)


def sys_truncate(task: Task, path: int, length: int) -> int:
    size = signed64(length)
    if size < 0:
        return -EINVAL
    with _find(task, _HERE, task.memory.string(path), follow=True) as found:
        target = _changeable(found)
        mode = os.fstat(found.fd).st_mode
        if stat.S_ISDIR(mode):
            return -EISDIR
        if not stat.S_ISREG(mode):
            return -EINVAL
        os.truncate(target, size)
    return 0


def sys_ftruncate(task: Task, fd: int, length: int) -> int:
    size = signed64(length)
    file = task.files.get(fd)
    if size < 0 or not isinstance(file, HostFile) or file.flags & O_ACCMODE == 0:
        return -EINVAL
    file.truncate(size)
    return 0


def sys_statfs(task: Task, path: int, buffer: int) -> int:
    with _find(task, _HERE, task.memory.string(path), follow=True) as found:
        task.memory.write(buffer, pack_statfs(os.statvfs(f"/proc/self/fd/{found.fd}") if found.fd >= 0 else None))
    return 0


def sys_fstatfs(task: Task, fd: int, buffer: int) -> int:
    host = task.files.get(fd).host_fd()
    task.memory.write(buffer, pack_statfs(os.statvfs(host) if host >= 0 else None))
    return 0


# Extended attributes: none are shown or set.


def sys_getxattr(task: Task, path: int, name: int, value: int, size: int) -> int:
    return _no_attribute(task, path, name, follow=True)


def sys_lgetxattr(task: Task, path: int, name: int, value: int, size: int) -> int:
    return _no_attribute(task, path, name, follow=False)


def _no_attribute(task: Task, path: int, name: int, *, follow: bool) -> int:
    task.memory.string(name, 256)
    with _find(task, _HERE, task.memory.string(path), follow=follow):
        return -ENODATA


def sys_fgetxattr(task: Task, fd: int, name: int, value: int, size: int) -> int:
    task.files.get(fd)
    task.memory.string(name, 256)
    return -ENODATA


def sys_listxattr(task: Task, path: int, names: int, size: int) -> int:
    with _find(task, _HERE, task.memory.string(path), follow=True):
        return 0


def sys_llistxattr(task: Task, path: int, names: int, size: int) -> int:
    with _find(task, _HERE, task.memory.string(path), follow=False):
        return 0


def sys_flistxattr(task: Task, fd: int, names: int, size: int) -> int:
    task.files.get(fd)
    return 0


def sys_setxattr(task: Task, path: int, name: int, value: int, size: int, flags: int) -> int:
    return -EOPNOTSUPP


sys_lsetxattr = sys_fsetxattr = sys_setxattr
