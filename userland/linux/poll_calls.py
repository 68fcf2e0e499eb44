"""System calls that wait for descriptors: poll, select, epoll, and what makes eventfd and timerfd."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Final

from userland.linux.clock_calls import timespec
from userland.linux.descriptors import DESCRIPTORS_MAX
from userland.linux.errors import EINVAL, LinuxError
from userland.linux.event_files import EpollSet, EventCounter, TimerFile
from userland.linux.open_file import (
    O_CLOEXEC,
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    OpenFile,
)
from userland.linux.registers import signed32
from userland.linux.signal_calls import wait_with_mask
from userland.linux.task import Task

_POLLFD: Final = struct.Struct("<ihh")
_READ_EVENTS: Final = POLLIN | 0x40
_WRITE_EVENTS: Final = POLLOUT | 0x100
"""With RDNORM and WRNORM."""
_EPOLL_EVENT: Final = struct.Struct("<IQ")
"""struct epoll_event is packed on x86-64."""
_EPOLL_CTL_ADD: Final = 1
_EPOLL_CTL_DEL: Final = 2
_EPOLL_CTL_MOD: Final = 3
_EPOLL_MAX: Final = 1024
_FOREVER: Final = 1e9


def _wait(
    task: Task, wanted: list[tuple[OpenFile, int]], seconds: float | None, look: Callable[[], int]
) -> int:
    """``look`` until it finds something, at most for ``seconds`` (None: no limit)."""
    found = look()
    if found or seconds == 0 or (task.wait is not None and task.wait.expired):
        return found
    if task.wait is not None:
        deadline = task.wait.deadline
    else:
        deadline = None if seconds is None else time.monotonic() + min(seconds, _FOREVER)
    watches = []
    for file, events in wanted:
        fd = file.watched()
        if fd >= 0:
            if events & (_READ_EVENTS | POLLPRI) or not events & _WRITE_EVENTS:
                watches.append((fd, "r"))
            if events & _WRITE_EVENTS:
                watches.append((fd, "w"))
    return task.block_on(watches, deadline=deadline)


def _milliseconds(value: int) -> float | None:
    timeout = signed32(value)
    return None if timeout < 0 else timeout / 1000


def sys_poll(task: Task, fds: int, count: int, timeout: int) -> int:
    return _poll(task, fds, count, _milliseconds(timeout))


def sys_ppoll(task: Task, fds: int, count: int, timeout: int, mask: int, size: int) -> int:
    seconds = timespec(task, timeout) if timeout else None
    if mask:
        if size != 8:
            return -EINVAL
        wait_with_mask(task, mask)
    return _poll(task, fds, count, seconds)


def _poll(task: Task, fds: int, count: int, seconds: float | None) -> int:
    count &= 0xFFFF_FFFF
    if count > DESCRIPTORS_MAX:
        return -EINVAL
    entries = list(_POLLFD.iter_unpack(task.memory.read(fds, _POLLFD.size * count)))
    wanted: list[tuple[OpenFile, int]] = []
    files: list[OpenFile | None] = []
    for fd, events, _ in entries:
        file: OpenFile | None = None
        if fd >= 0:
            try:
                file = task.files.get(fd)
                wanted.append((file, events))
            except LinuxError:
                file = None
        files.append(file)

    def look() -> int:
        found = 0
        answer = bytearray()
        for (fd, events, _), file in zip(entries, files, strict=True):
            ready = 0
            if file is not None:
                ready = file.poll(events & 0xFFFF) & (events | POLLERR | POLLHUP)
            elif fd >= 0:
                ready = POLLNVAL
            found += ready != 0
            answer += _POLLFD.pack(fd, events, ready)
        if found or seconds == 0 or (task.wait is not None and task.wait.expired):
            task.memory.write(fds, bytes(answer))
        return found

    return _wait(task, wanted, seconds, look)


def sys_select(task: Task, count: int, readable: int, writable: int, exceptional: int, timeout: int) -> int:
    seconds: float | None = None
    if timeout:
        whole, part = struct.unpack("<qq", task.memory.read(timeout, 16))
        if whole < 0 or part < 0:
            return -EINVAL
        seconds = min(whole + part / 1_000_000, _FOREVER)
    return _select(task, count, readable, writable, exceptional, seconds)


def sys_pselect6(
    task: Task, count: int, readable: int, writable: int, exceptional: int, timeout: int, sigmask: int
) -> int:
    seconds = timespec(task, timeout) if timeout else None
    if sigmask:
        mask, size = struct.unpack("<QQ", task.memory.read(sigmask, 16))
        if mask:
            if size != 8:
                return -EINVAL
            wait_with_mask(task, mask)
    return _select(task, count, readable, writable, exceptional, seconds)


def _select(task: Task, count: int, readable: int, writable: int, exceptional: int, seconds: float | None) -> int:
    count = signed32(count)
    if count < 0:
        return -EINVAL
    count = min(count, DESCRIPTORS_MAX)
    size = (count + 63) // 64 * 8
    sets = [
        (address, events, int.from_bytes(task.memory.read(address, size), "little") & ((1 << count) - 1))
        for address, events in ((readable, POLLIN), (writable, POLLOUT), (exceptional, POLLPRI))
        if address
    ]
    wanted = [
        (task.files.get(fd), events) for _, events, bits in sets for fd in range(count) if bits >> fd & 1
    ]

    def look() -> int:
        found = 0
        answers: list[tuple[int, int]] = []
        for address, events, bits in sets:
            ready = 0
            for fd in range(count):
                if bits >> fd & 1:
                    state = task.files.get(fd).poll(events)
                    # select calls a hang-up readable and an error both.
                    also = (POLLHUP | POLLERR) if events == POLLIN else POLLERR if events == POLLOUT else 0
                    if state & (events | also):
                        ready |= 1 << fd
                        found += 1
            answers.append((address, ready))
        if found or seconds == 0 or (task.wait is not None and task.wait.expired):
            for address, ready in answers:
                task.memory.write(address, ready.to_bytes(size, "little"))
        return found

    return _wait(task, wanted, seconds, look)


def sys_epoll_create1(task: Task, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~O_CLOEXEC:
        return -EINVAL
    return task.files.add(EpollSet(), close_on_exec=bool(flags))


def sys_epoll_create(task: Task, size: int) -> int:
    return -EINVAL if signed32(size) <= 0 else sys_epoll_create1(task, 0)


def _epoll(task: Task, fd: int) -> EpollSet:
    file = task.files.get(fd)
    if not isinstance(file, EpollSet):
        raise LinuxError(EINVAL)
    return file


def sys_epoll_ctl(task: Task, epfd: int, operation: int, fd: int, event: int) -> int:
    operation &= 0xFFFF_FFFF
    file = task.files.get(fd)
    members = _epoll(task, epfd)
    number = signed32(fd)
    if operation == _EPOLL_CTL_DEL:
        members.remove(number)
        return 0
    if operation not in (_EPOLL_CTL_ADD, _EPOLL_CTL_MOD):
        return -EINVAL
    events, data = _EPOLL_EVENT.unpack(task.memory.read(event, _EPOLL_EVENT.size))
    if operation == _EPOLL_CTL_ADD:
        members.add(number, file, events, data)
    else:
        members.modify(number, events, data)
    return 0


def sys_epoll_wait(task: Task, epfd: int, events: int, count: int, timeout: int) -> int:
    return _epoll_wait(task, epfd, events, count, _milliseconds(timeout))


def sys_epoll_pwait(task: Task, epfd: int, events: int, count: int, timeout: int, mask: int) -> int:
    # The size of the mask would be a sixth argument; it can only be 8.
    if mask:
        wait_with_mask(task, mask)
    return _epoll_wait(task, epfd, events, count, _milliseconds(timeout))


def _epoll_wait(task: Task, epfd: int, events: int, count: int, seconds: float | None) -> int:
    members = _epoll(task, epfd)
    limit = signed32(count)
    if limit <= 0:
        return -EINVAL
    limit = min(limit, _EPOLL_MAX)
    # It must be writable before an edge is consumed.
    task.memory.views(events, _EPOLL_EVENT.size, write=True)

    def look() -> int:
        found = members.ready(limit)
        if found:
            task.memory.write(events, b"".join(_EPOLL_EVENT.pack(*pair) for pair in found))
        return len(found)

    return _wait(task, [(members, POLLIN)], seconds, look)


def sys_eventfd2(task: Task, value: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(O_CLOEXEC | O_NONBLOCK | 1):
        return -EINVAL
    return task.files.add(EventCounter(value & 0xFFFF_FFFF, flags), close_on_exec=bool(flags & O_CLOEXEC))


def sys_eventfd(task: Task, value: int) -> int:
    return sys_eventfd2(task, value, 0)


def sys_timerfd_create(task: Task, clock: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~(O_CLOEXEC | O_NONBLOCK) or signed32(clock) not in (0, 1, 7):
        return -EINVAL
    return task.files.add(TimerFile(signed32(clock), flags), close_on_exec=bool(flags & O_CLOEXEC))


def _timer(task: Task, fd: int) -> TimerFile:
    file = task.files.get(fd)
    if not isinstance(file, TimerFile):
        raise LinuxError(EINVAL)
    return file


def sys_timerfd_settime(task: Task, fd: int, flags: int, new: int, old: int) -> int:
    timer = _timer(task, fd)
    flags &= 0xFFFF_FFFF
    if flags & ~1:
        return -EINVAL
    value = task.memory.read(new, 32)
    if old:
        task.memory.write(old, timer.left())
    timer.set(flags, value)
    return 0


def sys_timerfd_gettime(task: Task, fd: int, result: int) -> int:
    task.memory.write(result, _timer(task, fd).left())
    return 0

