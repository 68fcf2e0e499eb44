"""Pipes, terminals, sockets and whatever else the host gave as standard input, output or error.

A read or write must never block the host thread: it holds the machine's big lock.  A stream is opened once more
through /proc/self/fd with O_NONBLOCK where the host allows that: a description of our own, so that the one the host
shares with its shell keeps its flags.  Elsewhere (sockets, other users' terminals) readiness is asked before each
transfer, and a write moves no more than a pipe surely takes.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from hv.personality import BLOCKED
from userland.linux.errors import EAGAIN, EBADF, ENOTTY, EPIPE, LinuxError
from userland.linux.open_file import (
    FIONBIO,
    FIONREAD,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    HostFile,
    OpenFile,
    first_bytes,
    skip,
)
from userland.linux.task import Task

PIPE_BUF: Final = 4096
"""What a pipe that poll calls writable takes without blocking (pipe(7))."""
_VIEWS_AT_ONCE: Final = 1024

SIGPIPE: Final = 13

_TCGETS: Final = 0x5401
_TCSETS: Final = (0x5402, 0x5403, 0x5404)
_TIOCGPGRP: Final = 0x540F
_TIOCSPGRP: Final = 0x5410
_TIOCOUTQ: Final = 0x5411
_TIOCGWINSZ: Final = 0x5413
_TERMIOS_SIZE: Final = 36
"""struct termios of the kernel: four flag words, line, c_cc[19]."""
_WINSIZE_SIZE: Final = 8


class HostStream(OpenFile):
    """One end of a host pipe, a terminal or a socket.  ``non_blocking``: the host descriptor itself never blocks."""

    def __init__(self, fd: int, flags: int, path: bytes, *, non_blocking: bool, owned: bool) -> None:
        super().__init__(flags, path)
        self.fd = fd
        self._non_blocking = non_blocking
        self._owned = owned

    def read(self, task: Task, views: list[memoryview]) -> int:
        if not views:
            return 0
        try:
            if self._non_blocking or self._ready(POLLIN):
                return os.readv(self.fd, views[:_VIEWS_AT_ONCE])
        except BlockingIOError:
            pass
        if self.flags & O_NONBLOCK:
            return -EAGAIN
        return task.block_on(((self.fd, "r"),))

    def write(self, task: Task, views: list[memoryview]) -> int:
        # A blocking write ends when all is written; what earlier tries wrote is kept with the wait.
        done = task.wait.progress if task.wait is not None else 0
        rest = skip(views, done)
        while rest:
            try:
                if self._non_blocking:
                    put = os.writev(self.fd, rest[:_VIEWS_AT_ONCE])
                elif self._ready(POLLOUT):
                    put = os.writev(self.fd, first_bytes(rest, PIPE_BUF)[:_VIEWS_AT_ONCE])
                else:
                    break
            except BlockingIOError:
                break
            except BrokenPipeError:
                if done:
                    return done
                task.send(SIGPIPE)
                return -EPIPE
            done += put
            rest = skip(rest, put)
        if not rest or (done and self.flags & O_NONBLOCK):
            return done
        if self.flags & O_NONBLOCK:
            return -EAGAIN
        result = task.block_on(((self.fd, "w"),))
        if result != BLOCKED or task.wait is None:
            return done or result
        task.wait.progress = done
        return BLOCKED

    def status(self) -> os.stat_result:
        return os.fstat(self.fd)

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self.fd, offset, whence)

    def _ready(self, event: int) -> bool:
        return bool(self.poll(event))

    def poll(self, events: int) -> int:
        import select

        poller = select.poll()
        poller.register(self.fd, events)
        found = poller.poll(0)
        return found[0][1] & (events | POLLERR | POLLHUP) if found else 0

    def watched(self) -> int:
        return self.fd

    def ioctl(self, task: Task, request: int, argument: int) -> int:
        import fcntl

        if request == FIONREAD:
            answer = fcntl.ioctl(self.fd, FIONREAD, bytes(4))
            task.memory.write(argument, answer)
            return 0
        if request == FIONBIO:
            wanted = task.memory.read_u32(argument) != 0
            self.set_status_flags(self.flags | O_NONBLOCK if wanted else self.flags & ~O_NONBLOCK)
            return 0
        if not os.isatty(self.fd):
            raise LinuxError(ENOTTY)
        if request == _TCGETS:
            task.memory.write(argument, fcntl.ioctl(self.fd, _TCGETS, bytes(_TERMIOS_SIZE)))
            return 0
        if request == _TIOCGWINSZ:
            task.memory.write(argument, fcntl.ioctl(self.fd, _TIOCGWINSZ, bytes(_WINSIZE_SIZE)))
            return 0
        if request in _TCSETS:
            wanted_state = task.memory.read(argument, _TERMIOS_SIZE)
            task.process.remember_terminal(self.fd)
            fcntl.ioctl(self.fd, request, wanted_state)
            return 0
        if request == _TIOCGPGRP:
            task.memory.write_u32(argument, task.process.pid)
            return 0
        if request == _TIOCSPGRP:
            return 0
        if request == _TIOCOUTQ:
            task.memory.write(argument, fcntl.ioctl(self.fd, _TIOCOUTQ, bytes(4)))
            return 0
        # TIOCSTI would type into the user's shell; nothing else is needed.
        raise LinuxError(ENOTTY)

    def close(self) -> None:
        if self._owned:
            os.close(self.fd)


class ClosedStream(OpenFile):
    """A standard stream that the host does not have."""

    def read(self, task: Task, views: list[memoryview]) -> int:
        raise LinuxError(EBADF)

    write = read


def standard_stream(fd: int, *, writable: bool) -> OpenFile:
    """The description of a host descriptor given as standard input, output or error; never closed for the host."""
    flags = O_WRONLY if writable else O_RDONLY
    try:
        status = os.fstat(fd)
    except OSError:
        return ClosedStream(flags)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return HostFile(fd, flags, b"", owned=False)
    if stat.S_ISCHR(mode) and os.isatty(fd):
        flags = O_RDWR
    path = b"/dev/tty" if flags == O_RDWR else b"pipe:[%d]" % fd
    if stat.S_ISFIFO(mode) or flags == O_RDWR:
        try:
            own = os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass
        else:
            return HostStream(own, flags, path, non_blocking=True, owned=True)
    # /dev/null and its like never block.
    memory = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == 1
    return HostStream(fd, flags, path, non_blocking=memory, owned=False)


def pipe_pair(flags: int) -> tuple[HostStream, HostStream]:
    """Both ends of a pipe inside the process: a host pipe."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    shown = flags & O_NONBLOCK
    return (
        HostStream(reader, O_RDONLY | shown, b"pipe:[%d]" % reader, non_blocking=True, owned=True),
        HostStream(writer, O_WRONLY | shown, b"pipe:[%d]" % reader, non_blocking=True, owned=True),
    )


__all__ = ["ClosedStream", "HostStream", "pipe_pair", "standard_stream"]
