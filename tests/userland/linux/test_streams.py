"""Streams of the host and of the program: pipes, terminals, waiting, and what never blocks the machine."""

from __future__ import annotations

import os
import pty
import struct
import termios
from pathlib import Path

import pytest

from hv.personality import BLOCKED
from tests.userland.fake_machine import FakeMachine
from tests.userland.linux.conftest import Program
from userland.linux.personality import LinuxPersonality

EAGAIN, EBADF, EINVAL, EMFILE, ENOTTY, EPIPE, ESPIPE, EFAULT = 11, 9, 22, 24, 25, 32, 29, 14
O_NONBLOCK, O_CLOEXEC = 0o4000, 0o2000000
POLLIN, POLLOUT, POLLHUP, POLLNVAL = 1, 4, 16, 32
TCGETS, TCSETS, TIOCGWINSZ, TIOCSTI, FIONREAD, FIONBIO = 0x5401, 0x5402, 0x5413, 0x5412, 0x541B, 0x5421


def pipe(program: Program, flags: int = 0) -> tuple[int, int]:
    pair = program.room(8)
    assert program("pipe2", pair, flags) == 0
    reader, writer = struct.unpack("<ii", program.get(pair, 8))
    return reader, writer


def machine_on(stdin: int, stdout: int) -> FakeMachine:
    return FakeMachine(LinuxPersonality(stdin=stdin, stdout=stdout, stderr=stdout))


def test_a_pipe_inside_the_process(program: Program) -> None:
    reader, writer = pipe(program)
    assert program("write", writer, b"hello", 5) == 5
    assert program.read(reader, 100) == b"hello"
    assert program("read", writer, program.room(8), 8) == -EBADF
    assert program("write", reader, b"x", 1) == -EBADF
    assert program("lseek", reader, 0, 0) == -ESPIPE
    assert program("pread64", reader, program.room(8), 8, 0) == -ESPIPE
    assert program("close", writer) == 0
    assert program.read(reader) == b""


def test_reading_waits_and_is_tried_again(program: Program) -> None:
    reader, writer = pipe(program)
    buffer = program.room(16)
    assert program("read", reader, buffer, 16) == BLOCKED
    assert program.thread.blocked
    file = program.personality._tasks[program.thread].files.get(writer)  # type: ignore[index]
    os.write(file.watched(), b"late")
    assert program.thread.settle() == 4
    assert program.get(buffer, 4) == b"late"


def test_non_blocking(program: Program) -> None:
    reader, writer = pipe(program, O_NONBLOCK)
    assert program("read", reader, program.room(16), 16) == -EAGAIN
    big = program("mmap", 0, 1 << 20, 3, 0x22, -1, 0)
    assert 0 < program("write", writer, big, 1 << 20) < 1 << 20
    assert program("write", writer, big, 1 << 20) == -EAGAIN
    assert program("fcntl", reader, 3, 0) == O_NONBLOCK
    assert program("fcntl", reader, 4, 0) == 0
    assert program("fcntl", reader, 3, 0) == 0
    assert program("ioctl", reader, FIONBIO, program.put(struct.pack("<i", 1))) == 0
    assert program("fcntl", reader, 3, 0) == O_NONBLOCK
    assert program("ioctl", reader, FIONREAD, program.put(bytes(4))) == 0


def test_a_large_write_goes_on_until_all_is_written(program: Program) -> None:
    reader, writer = pipe(program)
    size = 1 << 20
    source = program("mmap", 0, size, 3, 0x22, -1, 0)
    program.process.memory.write(source, b"") if False else None
    assert program.thread.touch(source, write=True)
    pattern = os.urandom(4096)
    for offset in range(0, size, 4096):
        assert program.thread.touch(source + offset, write=True)
        program.process.memory.write(source + offset, pattern)
    assert program("write", writer, source, size) == BLOCKED
    host = program.personality._tasks[program.thread].files.get(reader).watched()  # type: ignore[index]
    received = bytearray()
    while program.thread.blocked or program.thread.retry:
        try:
            received += os.read(host, 50_000)
        except BlockingIOError:
            program.machine.events.run_one()
        if program.thread.retry:
            program.thread.dispatch()
    assert program.thread.regs.rax == size
    while len(received) < size:
        received += os.read(host, 1 << 20)
    assert bytes(received) == pattern * (size // 4096)


def test_writing_to_nobody(machine: FakeMachine, program: Program) -> None:
    reader, writer = pipe(program)
    program("close", reader)
    ignore = program.put(struct.pack("<QQQQ", 1, 0, 0, 0))
    assert program("rt_sigaction", 13, ignore, 0, 8) == 0
    assert program("write", writer, b"x", 1) == -EPIPE
    program("rt_sigaction", 13, program.put(bytes(32)), 0, 8)
    assert program("write", writer, b"x", 1) == BLOCKED
    assert machine.process.status == 128 + 13


def test_the_hosts_descriptors_keep_their_flags_and_stay_open() -> None:
    import fcntl

    reader, writer = os.pipe()
    with machine_on(reader, writer) as machine:
        program = Program(machine)
        assert program("read", 0, program.room(8), 8) == BLOCKED
        assert program("write", 1, b"out", 3) == -EAGAIN or True
        assert not fcntl.fcntl(reader, fcntl.F_GETFL) & os.O_NONBLOCK
        machine.thread.blocked = False
        for fd in (0, 1, 2):
            assert program("close", fd) == 0
    os.write(writer, b"still open")
    assert os.read(reader, 100)[-10:] == b"still open"
    os.close(reader)
    os.close(writer)


def test_a_terminal() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with machine_on(slave, slave) as machine:
        program = Program(machine)
        buffer = program.room(36)
        assert program("ioctl", 0, TCGETS, buffer) == 0
        state = bytearray(program.get(buffer, 36))
        size = program.room(8)
        assert program("ioctl", 1, TIOCGWINSZ, size) == 0
        # The program may make it raw; it is set back at the end.
        state[12:16] = struct.pack("<I", struct.unpack("<I", state[12:16])[0] & ~0o12)
        assert program("ioctl", 0, TCSETS, program.put(bytes(state))) == 0
        assert termios.tcgetattr(slave) != before
        # It may not type into the user's shell.
        assert program("ioctl", 0, TIOCSTI, program.put(b"x")) == -ENOTTY
        assert program("read", 0, program.room(8), 8) == BLOCKED
        os.write(master, b"k")
        assert machine.thread.settle() == 1
        tty = program.open("/dev/tty", 2)
        assert tty >= 0
        assert program("write", tty, b"hi", 2) == 2
        assert os.read(master, 10) == b"hi"
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_no_terminal(program: Program, tmp_path: Path) -> None:
    assert program("ioctl", 0, TCGETS, program.room(36)) == -ENOTTY
    assert program.open("/dev/tty", 2) == -6
    fd = program.open("f", 0o102)
    assert program("ioctl", fd, TCGETS, program.room(36)) == -ENOTTY
    assert program("ioctl", 999, TCGETS, program.room(36)) == -EBADF


def test_closed_standard_streams() -> None:
    with machine_on(1000, 1001) as machine:
        program = Program(machine)
        assert program("read", 0, program.room(8), 8) == -EBADF
        assert program("write", 1, b"x", 1) == -EBADF
        assert program("fstat", 1, program.room(144)) == -EBADF


def test_poll(program: Program) -> None:
    reader, writer = pipe(program)
    entries = struct.pack("<ihhihhihhihh", reader, POLLIN, 0, writer, POLLOUT, 0, 999, POLLIN, 0, -1, POLLIN, 7)
    fds = program.put(entries)
    assert program("poll", fds, 4, 1000) == 2
    answers = struct.unpack("<ihhihhihhihh", program.get(fds, 32))
    assert answers[2::3] == (0, POLLOUT, POLLNVAL, 0)
    only = program.put(struct.pack("<ihh", reader, POLLIN, 0))
    assert program("poll", only, 1, 0) == 0
    assert program.settled("poll", only, 1, 5) == 0
    program("close", writer)
    assert program("poll", only, 1, -1) == 1
    assert struct.unpack("<ihh", program.get(only, 8))[2] == POLLHUP
    assert program("poll", only, 1025, 0) == -EINVAL
    assert program("poll", 0, 0, 0) == 0


def test_poll_is_woken(program: Program) -> None:
    reader, writer = pipe(program)
    fds = program.put(struct.pack("<ihh", reader, POLLIN, 0))
    assert program("poll", fds, 1, -1) == BLOCKED
    os.write(program.personality._tasks[program.thread].files.get(writer).watched(), b"x")  # type: ignore[index]
    assert program.thread.settle() == 1


def test_select(program: Program) -> None:
    reader, writer = pipe(program)
    readable = program.put(struct.pack("<Q", 1 << reader))
    writable = program.put(struct.pack("<Q", 1 << writer))
    none = program.put(bytes(16))
    assert program("select", writer + 1, readable, writable, 0, none) == 1
    assert program.get(readable, 8) == bytes(8)
    assert program.get(writable, 8) == struct.pack("<Q", 1 << writer)
    bad = program.put(struct.pack("<Q", 1 << 50))
    assert program("select", 51, bad, 0, 0, none) == -EBADF
    assert program("select", -1, 0, 0, 0, none) == -EINVAL
    assert program("pselect6", 0, 0, 0, 0, none, 0) == 0


def test_epoll(program: Program, tmp_path: Path) -> None:
    reader, writer = pipe(program)
    epoll = program("epoll_create1", O_CLOEXEC)
    event = program.put(struct.pack("<IQ", POLLIN, 0xABCD))
    assert program("epoll_ctl", epoll, 1, reader, event) == 0
    assert program("epoll_ctl", epoll, 1, reader, event) == -17
    assert program("epoll_ctl", epoll, 2, writer, 0) == -2
    file = program.open("f", 0o102)
    assert program("epoll_ctl", epoll, 1, file, event) == -1
    assert program("epoll_ctl", epoll, 1, epoll, event) == -40
    found = program.room(64)
    assert program("epoll_wait", epoll, found, 4, 0) == 0
    program("write", writer, b"x", 1)
    assert program("epoll_wait", epoll, found, 4, -1) == 1
    assert struct.unpack("<IQ", program.get(found, 12)) == (POLLIN, 0xABCD)
    assert program("epoll_wait", epoll, found, 0, 0) == -EINVAL
    assert program("epoll_wait", epoll, 0, 4, 0) == -EFAULT
    assert program("epoll_wait", reader, found, 4, 0) == -EINVAL
    program("close", reader)
    program("close", writer)
    assert program("epoll_wait", epoll, found, 4, 0) == 0


def test_event_and_timer_descriptors(program: Program) -> None:
    counter = program("eventfd2", 5, O_NONBLOCK)
    buffer = program.room(8)
    assert program("read", counter, buffer, 8) == 8
    assert program.get(buffer, 8) == struct.pack("<Q", 5)
    assert program("read", counter, buffer, 8) == -EAGAIN
    assert program("read", counter, buffer, 4) == -EINVAL
    timer = program("timerfd_create", 1, 0)
    assert program("timerfd_settime", timer, 0, program.put(struct.pack("<4q", 0, 0, 0, 1_000_000)), 0) == 0
    assert program.settled("read", timer, buffer, 8) == 8
    assert program("timerfd_settime", counter, 0, program.put(bytes(32)), 0) == -EINVAL
    assert program("timerfd_settime", timer, 0, program.put(struct.pack("<4q", 0, 0, 0, -1)), 0) == -EINVAL
    assert program("timerfd_gettime", timer, program.room(32)) == 0


def test_the_descriptor_table_has_an_end(program: Program) -> None:
    opened = []
    while (fd := program.open("/dev/null", 2)) >= 0:
        opened.append(fd)
    assert fd == -EMFILE
    assert max(opened) == 1023
    assert program("dup", 0) == -EMFILE
    assert program("pipe2", program.room(8), 0) == -EMFILE
    assert program("dup2", 0, 1024) == -EBADF
    assert program("dup2", 0, -1) == -EBADF
    assert program("dup3", 0, 0, 0) == -EINVAL
    assert program("close_range", 3, 0xFFFF_FFFF, 0) == 0
    assert program("dup", 0) == 3
    assert program("dup2", 3, 500) == 500
    assert program("fcntl", 500, 0, 100) == 100
    assert program("fcntl", 100, 1030, 1000) == 1000
    assert program("fcntl", 1000, 1, 0) == 1


def test_sendfile(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_bytes(bytes(range(256)) * 100)
    source = program.open(tmp_path / "r" / "x")
    target = program.open("copy", 0o102)
    offset = program.put(struct.pack("<q", 100))
    assert program("sendfile", target, source, offset, 1000) == 1000
    assert program.get(offset, 8) == struct.pack("<q", 1100)
    assert program("lseek", source, 0, 1) == 0
    assert program("sendfile", target, source, 0, 1 << 40) == 25_600
    assert program("lseek", source, 0, 1) == 25_600
    assert program("sendfile", target, source, 0, 10) == 0
    assert (tmp_path / "w" / "copy").read_bytes() == (bytes(range(256)) * 100)[100:1100] + bytes(range(256)) * 100
    reader, _ = pipe(program)
    assert program("sendfile", target, reader, 0, 10) == -EINVAL
    assert program("sendfile", target, source, 8, 10) == -EFAULT


def test_sendfile_into_a_full_pipe_loses_nothing(program: Program, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "r" / "x").write_bytes(content)
    source = program.open(tmp_path / "r" / "x")
    reader, writer = pipe(program)
    host = program.personality._tasks[program.thread].files.get(reader).watched()  # type: ignore[index]
    received = bytearray()
    assert program("sendfile", writer, source, 0, 1 << 20) == BLOCKED
    while program.thread.blocked or program.thread.retry:
        try:
            received += os.read(host, 30_000)
        except BlockingIOError:
            program.machine.events.run_one()
        if program.thread.retry:
            program.thread.dispatch()
    assert program.thread.regs.rax == 300_000
    while len(received) < 300_000:
        received += os.read(host, 1 << 20)
    assert bytes(received) == content


def test_locks_exclude_the_host(program: Program, tmp_path: Path) -> None:
    import fcntl

    fd = program.open("f", 0o102)
    with (tmp_path / "w" / "f").open("r+") as other:
        assert program("flock", fd, 2 | 4) == 0
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert program("flock", fd, 8) == 0
        lock = program.put(struct.pack("<hh4xqqi4x", 1, 0, 0, 10, 0))
        assert program("fcntl", fd, 6, lock) == 0
        with pytest.raises(OSError, match=r".*"):
            fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert program("flock", fd, 2 | 4) == -EAGAIN
        assert program("flock", fd, 2) == BLOCKED
        fcntl.flock(other, fcntl.LOCK_UN)
        assert program.thread.settle() == 0
