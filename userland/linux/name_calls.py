"""System calls that make, remove, rename and link names.

Each grant is a mount of its own: links and renames between two get EXDEV, its root and the personality's own files
EBUSY.  Everything happens relative to a directory that is held, on one plain name, and follows no link at its end.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import Final

from userland.linux.errors import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
    EXDEV,
    LinuxError,
)
from userland.linux.open_calls import AT_FDCWD, base_place, creation_mode, resolver
from userland.linux.paths import Entry
from userland.linux.status_calls import AT_EMPTY_PATH
from userland.linux.task import Task

_AT_REMOVEDIR: Final = 0x200
_AT_SYMLINK_FOLLOW: Final = 0x400
_RENAME_NOREPLACE: Final = 1
_HERE: Final = AT_FDCWD & 0xFFFF_FFFF


def _entry(task: Task, dirfd: int, path: int) -> Entry:
    name = task.memory.string(path)
    return resolver(task).entry(base_place(task, dirfd, name), name)


def _exists(entry: Entry) -> bool:
    if entry.special or (entry.node is not None and (entry.node.grant is None or entry.node.grant.name is None)):
        return True
    try:
        if entry.node is not None and entry.node.grant is not None and entry.node.grant.name is not None:
            os.lstat(entry.node.grant.name, dir_fd=entry.node.grant.fd)
        else:
            os.lstat(entry.name, dir_fd=entry.place.fd)
    except FileNotFoundError:
        return False
    return True


def _for_creation(entry: Entry) -> None:
    """EEXIST before EROFS, as Linux has it."""
    if _exists(entry):
        raise LinuxError(EEXIST)
    if entry.node is not None:
        # A granted file that does not exist yet can only be opened with O_CREAT.
        raise LinuxError(EPERM)
    entry.place.writable_grant()


def _for_removal(entry: Entry) -> None:
    if entry.node is not None:
        raise LinuxError(EBUSY)
    if entry.place.grant is not None and not entry.place.grant.writable and not _exists(entry):
        raise LinuxError(ENOENT)
    entry.place.writable_grant()


def sys_mkdirat(task: Task, dirfd: int, path: int, mode: int) -> int:
    with _entry(task, dirfd, path) as entry:
        _for_creation(entry)
        wanted = creation_mode(task, mode)
        os.mkdir(entry.name, wanted, dir_fd=entry.place.fd)
        if wanted & task.process.personality.umask:
            # The host's own mask took these.  The new directory may have been replaced meanwhile: by descriptor.
            fd = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.place.fd)
            try:
                os.fchmod(fd, wanted)
            finally:
                os.close(fd)
    return 0


def sys_mkdir(task: Task, path: int, mode: int) -> int:
    return sys_mkdirat(task, _HERE, path, mode)


def sys_mknodat(task: Task, dirfd: int, path: int, mode: int, device: int) -> int:
    with _entry(task, dirfd, path) as entry:
        _for_creation(entry)
        if mode & 0o170000 not in (0, stat.S_IFREG):
            # No devices, no FIFOs and sockets on the host.
            return -EPERM
        if entry.directory_only:
            return -ENOENT
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(entry.name, flags, creation_mode(task, mode), dir_fd=entry.place.fd)
        try:
            os.fchmod(fd, creation_mode(task, mode))
        finally:
            os.close(fd)
    return 0


def sys_mknod(task: Task, path: int, mode: int, device: int) -> int:
    return sys_mknodat(task, _HERE, path, mode, device)


def sys_unlinkat(task: Task, dirfd: int, path: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~_AT_REMOVEDIR:
        return -EINVAL
    with _entry(task, dirfd, path) as entry:
        if flags & _AT_REMOVEDIR:
            if entry.special:
                return -(EBUSY if entry.node is not None else EINVAL if entry.name == b"." else ENOTEMPTY)
            _for_removal(entry)
            os.rmdir(entry.name, dir_fd=entry.place.fd)
            return 0
        if entry.special:
            return -EISDIR
        _for_removal(entry)
        if entry.directory_only:
            mode = os.lstat(entry.name, dir_fd=entry.place.fd).st_mode
            return -EISDIR if stat.S_ISDIR(mode) else -ENOTDIR
        os.unlink(entry.name, dir_fd=entry.place.fd)
    return 0


def sys_unlink(task: Task, path: int) -> int:
    return sys_unlinkat(task, _HERE, path, 0)


def sys_rmdir(task: Task, path: int) -> int:
    return sys_unlinkat(task, _HERE, path, _AT_REMOVEDIR)


def sys_renameat2(task: Task, old_dirfd: int, old_path: int, new_dirfd: int, new_path: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~_RENAME_NOREPLACE:
        return -EINVAL
    with ExitStack() as opened:
        old = opened.enter_context(_entry(task, old_dirfd, old_path))
        new = opened.enter_context(_entry(task, new_dirfd, new_path))
        if old.special or new.special or old.node is not None or new.node is not None:
            return -EBUSY
        if old.place.grant is not new.place.grant:
            # Across mounts Linux says so before it looks; mv then copies.
            return -EXDEV
        status = os.lstat(old.name, dir_fd=old.place.fd)
        old.place.writable_grant()
        if (old.directory_only or new.directory_only) and not stat.S_ISDIR(status.st_mode):
            return -ENOTDIR
        if flags & _RENAME_NOREPLACE:
            return _rename_to_new(old, new, status)
        os.rename(old.name, new.name, src_dir_fd=old.place.fd, dst_dir_fd=new.place.fd)
    return 0


def _rename_to_new(old: Entry, new: Entry, status: os.stat_result) -> int:
    """RENAME_NOREPLACE: for anything but a directory a hard link does it at once; EINVAL for directories, as file
    systems without the flag say."""
    if stat.S_ISDIR(status.st_mode):
        return -EEXIST if _exists(new) else -EINVAL
    os.link(old.name, new.name, src_dir_fd=old.place.fd, dst_dir_fd=new.place.fd, follow_symlinks=False)
    os.unlink(old.name, dir_fd=old.place.fd)
    return 0


def sys_renameat(task: Task, old_dirfd: int, old_path: int, new_dirfd: int, new_path: int) -> int:
    return sys_renameat2(task, old_dirfd, old_path, new_dirfd, new_path, 0)


def sys_rename(task: Task, old_path: int, new_path: int) -> int:
    return sys_renameat2(task, _HERE, old_path, _HERE, new_path, 0)


def sys_linkat(task: Task, old_dirfd: int, old_path: int, new_dirfd: int, new_path: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(_AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        return -EINVAL
    name = task.memory.string(old_path)
    if not name:
        # AT_EMPTY_PATH needs a capability that programs do not have.
        return -ENOENT
    base = base_place(task, old_dirfd, name)
    with ExitStack() as opened:
        found = opened.enter_context(resolver(task).find(base, name, follow=bool(flags & _AT_SYMLINK_FOLLOW)))
        new = opened.enter_context(_entry(task, new_dirfd, new_path))
        if _exists(new):
            return -EEXIST
        if found.node is not None or new.node is not None or found.grant is not new.place.grant:
            return -EXDEV
        if found.grant is None or not found.grant.writable:
            return -EROFS
        if stat.S_ISDIR(os.fstat(found.fd).st_mode):
            return -EPERM
        if new.directory_only:
            return -ENOENT
        # The link is made to the very file that was found, by its descriptor.
        os.link(f"/proc/self/fd/{found.fd}", new.name, dst_dir_fd=new.place.fd, follow_symlinks=True)
    return 0


def sys_link(task: Task, old_path: int, new_path: int) -> int:
    return sys_linkat(task, _HERE, old_path, _HERE, new_path, 0)


def sys_symlinkat(task: Task, target: int, dirfd: int, path: int) -> int:
    text = task.memory.string(target)
    if not text:
        return -ENOENT
    with _entry(task, dirfd, path) as entry:
        _for_creation(entry)
        if entry.directory_only:
            return -ENOENT
        # Only text: where it leads is decided, under the policy, when something follows it.
        os.symlink(text, entry.name, dir_fd=entry.place.fd)
    return 0


def sys_symlink(task: Task, target: int, path: int) -> int:
    return sys_symlinkat(task, target, _HERE, path)
