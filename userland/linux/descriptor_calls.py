"""System calls that duplicate, lock, synchronize and connect descriptors."""

from __future__ import annotations

import os
import struct
import time
from typing import Final

from hv.personality import BLOCKED
from userland.linux.errors import EAGAIN, EBADF, EINVAL, EOPNOTSUPP, EPERM, ESPIPE, LinuxError
from userland.linux.open_file import O_APPEND, O_CLOEXEC, O_DIRECT, O_NONBLOCK, HostFile, OpenFile
from userland.linux.registers import signed32, signed64
from userland.linux.task import Task

_F_DUPFD: Final = 0
_F_GETFD: Final = 1
_F_SETFD: Final = 2
_F_GETFL: Final = 3
_F_SETFL: Final = 4
_F_GETLK: Final = 5
_F_SETLK: Final = 6
_F_SETLKW: Final = 7
_F_SETOWN: Final = 8
_F_GETOWN: Final = 9
_F_OFD_GETLK: Final = 36
_F_OFD_SETLK: Final = 37
_F_OFD_SETLKW: Final = 38
_F_DUPFD_CLOEXEC: Final = 1030
_F_SETPIPE_SZ: Final = 1031
_F_GETPIPE_SZ: Final = 1032
_FD_CLOEXEC: Final = 1
_FLOCK: Final = struct.Struct("<hh4xqqi4x")
"""struct flock: type whence start len pid."""
_PIPE_SIZE: Final = 65536

_LOCK_NB: Final = 4
_LOCK_RETRY_SECONDS: Final = 0.02
"""The host tells nobody when a lock becomes free: how often a waiting program looks."""
_CHUNK: Final = 1 << 20
"""Bytes one sendfile or copy_file_range moves at most."""


def sys_dup(task: Task, fd: int) -> int:
    return task.files.add(task.files.get(fd))


def sys_dup2(task: Task, old: int, new: int) -> int:
    file = task.files.get(old)
    number = signed32(new)
    if number != signed32(old):
        task.files.replace(number, file)
    return number


def sys_dup3(task: Task, old: int, new: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~O_CLOEXEC or signed32(old) == signed32(new):
        return -EINVAL
    file = task.files.get(old)
    task.files.replace(signed32(new), file, close_on_exec=bool(flags))
    return signed32(new)


def sys_close_range(task: Task, first: int, last: int, flags: int) -> int:
    first, last, flags = first & 0xFFFF_FFFF, last & 0xFFFF_FFFF, flags & 0xFFFF_FFFF
    if flags & ~6 or first > last:
        return -EINVAL
    if flags & 4:
        for fd in task.files.open_numbers():
            if first <= fd <= last:
                task.files.set_close_on_exec(fd, True)
        return 0
    task.files.close_range(first, last)
    return 0


def sys_pipe2(task: Task, pair: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        return -EINVAL
    from userland.linux.streams import pipe_pair

    close_on_exec = bool(flags & O_CLOEXEC)
    reader, writer = pipe_pair(flags)
    try:
        first = task.files.add(reader, close_on_exec=close_on_exec)
    except LinuxError:
        writer.close()
        raise
    second = -1
    try:
        second = task.files.add(writer, close_on_exec=close_on_exec)
        task.memory.write(pair, struct.pack("<ii", first, second))
    except Exception:
        task.files.close(first)
        if second >= 0:
            task.files.close(second)
        raise
    return 0


def sys_pipe(task: Task, pair: int) -> int:
    return sys_pipe2(task, pair, 0)


def sys_fcntl(task: Task, fd: int, command: int, argument: int) -> int:
    file = task.files.get(fd)
    fd &= 0xFFFF_FFFF
    command &= 0xFFFF_FFFF
    if command in (_F_DUPFD, _F_DUPFD_CLOEXEC):
        from userland.linux.descriptors import DESCRIPTORS_MAX

        if not 0 <= signed64(argument) < DESCRIPTORS_MAX:
            return -EINVAL
        return task.files.add(file, lowest=argument, close_on_exec=command == _F_DUPFD_CLOEXEC)
    if command == _F_GETFD:
        return int(task.files.close_on_exec(fd))
    if command == _F_SETFD:
        task.files.set_close_on_exec(fd, bool(argument & _FD_CLOEXEC))
        return 0
    if command == _F_GETFL:
        return file.flags
    if command == _F_SETFL:
        file.set_status_flags(argument & (O_APPEND | O_NONBLOCK))
        return 0
    if command in (_F_GETLK, _F_SETLK, _F_SETLKW, _F_OFD_GETLK, _F_OFD_SETLK, _F_OFD_SETLKW):
        return _record_lock(task, file, command, argument)
    if command == _F_GETPIPE_SZ:
        return _PIPE_SIZE if file.watched() >= 0 else -EBADF
    if command == _F_SETPIPE_SZ:
        return _PIPE_SIZE if file.watched() >= 0 and argument <= _PIPE_SIZE else -EPERM
    if command in (_F_SETOWN, _F_GETOWN):
        return 0
    return -EINVAL


def _record_lock(task: Task, file: OpenFile, command: int, argument: int) -> int:
    """Record locks exclude the host's other programs: they become locks of the host's open file description (one
    process can hold several against itself then, which POSIX locks would not)."""
    import fcntl

    kind, whence, start, length, _ = _FLOCK.unpack(task.memory.read(argument, _FLOCK.size))
    host = file.host_fd()
    if host < 0 or not isinstance(file, HostFile):
        return -EBADF
    wanted = _FLOCK.pack(kind, whence, start, length, 0)
    if command in (_F_GETLK, _F_OFD_GETLK):
        task.memory.write(argument, fcntl.fcntl(host, _F_OFD_GETLK, wanted))
        return 0
    try:
        fcntl.fcntl(host, _F_OFD_SETLK, wanted)
    except BlockingIOError:
        if command in (_F_SETLKW, _F_OFD_SETLKW):
            return task.block_on((), deadline=time.monotonic() + _LOCK_RETRY_SECONDS)
        return -EAGAIN
    return 0


def sys_flock(task: Task, fd: int, operation: int) -> int:
    import fcntl

    operation &= 0xFFFF_FFFF
    host = task.files.get(fd).host_fd()
    if operation & ~_LOCK_NB not in (1, 2, 8):
        return -EINVAL
    if host < 0:
        return 0
    try:
        fcntl.flock(host, operation | _LOCK_NB)
    except BlockingIOError:
        if operation & _LOCK_NB:
            return -EAGAIN
        return task.block_on((), deadline=time.monotonic() + _LOCK_RETRY_SECONDS)
    return 0


def sys_fsync(task: Task, fd: int) -> int:
    task.files.get(fd).synchronize()
    return 0


def sys_fdatasync(task: Task, fd: int) -> int:
    task.files.get(fd).synchronize()
    return 0


def sys_sync(task: Task) -> int:
    for fd in task.files.open_numbers():
        file = task.files.get(fd)
        if isinstance(file, HostFile) and file.writable and file.grant is not None:
            file.synchronize()
    return 0


def sys_syncfs(task: Task, fd: int) -> int:
    task.files.get(fd)
    return sys_sync(task)


def sys_sync_file_range(task: Task, fd: int, offset: int, length: int, flags: int) -> int:
    return sys_fsync(task, fd)


def sys_fadvise64(task: Task, fd: int, offset: int, length: int, advice: int) -> int:
    if task.files.get(fd).watched() >= 0:
        return -ESPIPE
    return 0 if advice & 0xFFFF_FFFF <= 5 and signed64(length) >= 0 else -EINVAL


def sys_readahead(task: Task, fd: int, offset: int, count: int) -> int:
    file = task.files.get(fd)
    if not file.readable:
        return -EBADF
    return 0 if isinstance(file, HostFile) else -EINVAL


def sys_fallocate(task: Task, fd: int, mode: int, offset: int, length: int) -> int:
    file = task.files.get(fd)
    if not file.writable:
        return -EBADF
    if signed64(offset) < 0 or signed64(length) <= 0:
        return -EINVAL
    if mode & 0xFFFF_FFFF or not isinstance(file, HostFile):
        # Holes and the like: programs do without.
        return -EOPNOTSUPP
    os.posix_fallocate(file.fd, offset, length)
    return 0


def sys_sendfile(task: Task, out: int, into: int, offset_address: int, count: int) -> int:
    source, target = task.files.get(into), task.files.get(out)
    if not source.readable or not target.writable:
        return -EBADF
    if signed64(count) < 0 or target.flags & O_APPEND:
        return -EINVAL
    if not isinstance(source, HostFile):
        # Programs fall back to read and write.
        return -EINVAL
    if offset_address:
        offset = signed64(task.memory.read_u64(offset_address))
        if offset < 0:
            return -EINVAL
        # It must be writable before anything is sent.
        task.memory.write_u64(offset_address, offset)
    else:
        offset = source.seek(0, os.SEEK_CUR)
    data = os.pread(source.fd, min(count, _CHUNK), offset)
    if not data:
        return 0
    sent = target.write(task, [memoryview(data)])
    if sent != BLOCKED and sent > 0:
        if offset_address:
            task.memory.write_u64(offset_address, offset + sent)
        else:
            source.seek(offset + sent, os.SEEK_SET)
    return sent


def sys_copy_file_range(
    task: Task, into: int, offset_in: int, out: int, offset_out: int, length: int, flags: int
) -> int:
    source, target = task.files.get(into), task.files.get(out)
    if not source.readable or not target.writable or target.flags & O_APPEND:
        return -EBADF
    if not isinstance(source, HostFile) or not isinstance(target, HostFile):
        return -EINVAL
    if flags & 0xFFFF_FFFF or signed64(length) < 0:
        return -EINVAL
    positions: list[int] = []
    for file, address in ((source, offset_in), (target, offset_out)):
        if address:
            position = signed64(task.memory.read_u64(address))
            if position < 0:
                return -EINVAL
            task.memory.write_u64(address, position)
        else:
            position = file.seek(0, os.SEEK_CUR)
        positions.append(position)
    if os.path.sameopenfile(source.fd, target.fd) and abs(positions[0] - positions[1]) < length:
        return -EINVAL
    data = os.pread(source.fd, min(length, _CHUNK), positions[0])
    done = os.pwrite(target.fd, data, positions[1]) if data else 0
    for file, address, position in zip((source, target), (offset_in, offset_out), positions, strict=True):
        if address:
            task.memory.write_u64(address, position + done)
        else:
            file.seek(position + done, os.SEEK_SET)
    return done

