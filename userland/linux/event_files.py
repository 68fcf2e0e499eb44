"""Descriptors made to be waited for: eventfd, timerfd, epoll.  Each is the host's own kind, never blocking."""

from __future__ import annotations

import os
import select
from typing import Any, Final

from userland.linux.errors import EEXIST, EINVAL, ELOOP, ENOENT, EPERM, LinuxError
from userland.linux.open_file import O_NONBLOCK, O_RDWR, POLLIN, OpenFile, synthetic_status
from userland.linux.streams import HostStream
from userland.linux.task import Task

_EFD_SEMAPHORE: Final = 1
_ITIMERSPEC_SIZE: Final = 32


class EventCounter(HostStream):
    """What eventfd gives: a counter to wait for."""

    def __init__(self, value: int, flags: int) -> None:
        fd = os.eventfd(value, flags & _EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        super().__init__(fd, O_RDWR | flags & O_NONBLOCK, b"anon_inode:[eventfd]", non_blocking=True, owned=True)


class TimerFile(HostStream):
    """What timerfd_create gives: readable when its time has come."""

    def __init__(self, clock: int, flags: int) -> None:
        self._host = _libc()
        fd = self._host.timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise LinuxError(EINVAL)
        super().__init__(fd, flags & O_NONBLOCK, b"anon_inode:[timerfd]", non_blocking=True, owned=True)

    def write(self, task: Task, views: list[memoryview]) -> int:
        raise LinuxError(EINVAL)

    def set(self, flags: int, value: bytes) -> bytes:
        """Sets the timer to a ``struct itimerspec``; what it was before."""
        old = bytes(_ITIMERSPEC_SIZE)
        if self._host.timerfd_settime(self.fd, flags, value, old) != 0:
            raise LinuxError(EINVAL)
        return old

    def left(self) -> bytes:
        """The time that is left, and the interval."""
        now = bytes(_ITIMERSPEC_SIZE)
        if self._host.timerfd_gettime(self.fd, now) != 0:
            raise LinuxError(EINVAL)
        return now


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


class EpollSet(OpenFile):
    """What epoll_create gives.  Registered descriptors are duplicates, so that the host's epoll keeps one a member."""

    def __init__(self) -> None:
        super().__init__(O_RDWR, b"anon_inode:[eventpoll]")
        self._host = select.epoll()
        self._members: dict[int, tuple[OpenFile, int, int]] = {}
        """Guest descriptor to description, duplicate host descriptor, user data."""

    def add(self, fd: int, file: OpenFile, events: int, data: int) -> None:
        if fd in self._members:
            raise LinuxError(EEXIST)
        if file is self:
            raise LinuxError(ELOOP if isinstance(file, EpollSet) else EINVAL)
        host = file.watched()
        if host < 0:
            raise LinuxError(EPERM)
        own = os.dup(host)
        try:
            self._host.register(own, events)
        except OSError:
            os.close(own)
            raise
        self._members[fd] = (file, own, data)

    def modify(self, fd: int, events: int, data: int) -> None:
        if fd not in self._members:
            raise LinuxError(ENOENT)
        file, own, _ = self._members[fd]
        self._host.modify(own, events)
        self._members[fd] = (file, own, data)

    def remove(self, fd: int) -> None:
        if fd not in self._members:
            raise LinuxError(ENOENT)
        _, own, _ = self._members.pop(fd)
        self._host.unregister(own)
        os.close(own)

    def ready(self, count: int) -> list[tuple[int, int]]:
        """Up to ``count`` pairs of events and user data."""
        for fd in [fd for fd, (file, _, _) in self._members.items() if file.references == 0]:
            self.remove(fd)
        by_host = {own: data for _, own, data in self._members.values()}
        return [(events, by_host[own]) for own, events in self._host.poll(0, count) if own in by_host]

    def poll(self, events: int) -> int:
        poller = select.poll()
        poller.register(self._host.fileno(), POLLIN)
        return events & POLLIN if poller.poll(0) else 0

    def watched(self) -> int:
        return self._host.fileno()

    def status(self) -> os.stat_result:
        return synthetic_status(0o600, 1)

    def close(self) -> None:
        for _, own, _ in self._members.values():
            os.close(own)
        self._members.clear()
        self._host.close()
