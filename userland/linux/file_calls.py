"""System calls on open descriptors: reading, writing, seeking, duplicating, closing."""

from __future__ import annotations

from typing import Final

from userland.linux.errors import EBADF, EINVAL, LinuxError
from userland.linux.open_file import OpenFile
from userland.linux.registers import signed64
from userland.linux.structs import pack_stat
from userland.linux.task import Task
from userland.linux.user_access import TRANSFER_MAX

_SEEK_HOLE: Final = 4
"""The last of SET, CUR, END, DATA, HOLE."""


def _reader(task: Task, fd: int) -> OpenFile:
    file = task.files.get(fd)
    if not file.readable:
        raise LinuxError(EBADF)
    return file


def _writer(task: Task, fd: int) -> OpenFile:
    file = task.files.get(fd)
    if not file.writable:
        raise LinuxError(EBADF)
    return file


def _count(count: int) -> int:
    if count >> 63:
        raise LinuxError(EINVAL)
    return min(count, TRANSFER_MAX)


def _offset(offset: int) -> int:
    if offset >> 63:
        raise LinuxError(EINVAL)
    return offset


def sys_read(task: Task, fd: int, buffer: int, count: int) -> int:
    file = _reader(task, fd)
    return file.read(task, task.memory.views(buffer, _count(count), write=True))


def sys_write(task: Task, fd: int, buffer: int, count: int) -> int:
    file = _writer(task, fd)
    return file.write(task, task.memory.views(buffer, _count(count), write=False))


def sys_readv(task: Task, fd: int, vector: int, count: int) -> int:
    file = _reader(task, fd)
    return file.read(task, task.memory.vector(vector, count, write=True))


def sys_writev(task: Task, fd: int, vector: int, count: int) -> int:
    file = _writer(task, fd)
    return file.write(task, task.memory.vector(vector, count, write=False))


def sys_pread64(task: Task, fd: int, buffer: int, count: int, offset: int) -> int:
    file = _reader(task, fd)
    return file.read_at(task.memory.views(buffer, _count(count), write=True), _offset(offset))


def sys_pwrite64(task: Task, fd: int, buffer: int, count: int, offset: int) -> int:
    file = _writer(task, fd)
    return file.write_at(task.memory.views(buffer, _count(count), write=False), _offset(offset))


def sys_preadv(task: Task, fd: int, vector: int, count: int, offset: int) -> int:
    file = _reader(task, fd)
    return file.read_at(task.memory.vector(vector, count, write=True), _offset(offset))


def sys_pwritev(task: Task, fd: int, vector: int, count: int, offset: int) -> int:
    file = _writer(task, fd)
    return file.write_at(task.memory.vector(vector, count, write=False), _offset(offset))


def sys_lseek(task: Task, fd: int, offset: int, whence: int) -> int:
    file = task.files.get(fd)
    whence &= 0xFFFF_FFFF
    return file.seek(signed64(offset), whence) if whence <= _SEEK_HOLE else -EINVAL


def sys_close(task: Task, fd: int) -> int:
    task.files.close(fd)
    return 0


def sys_fstat(task: Task, fd: int, buffer: int) -> int:
    task.memory.write(buffer, pack_stat(task.files.get(fd).status()))
    return 0


def sys_ioctl(task: Task, fd: int, request: int, argument: int) -> int:
    file = task.files.get(fd)
    request &= 0xFFFF_FFFF
    if request in (_FIOCLEX, _FIONCLEX):
        task.files.set_close_on_exec(fd, request == _FIOCLEX)
        return 0
    return file.ioctl(task, request, argument)


_FIOCLEX: Final = 0x5451
_FIONCLEX: Final = 0x5450
