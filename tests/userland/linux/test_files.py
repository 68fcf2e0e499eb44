"""Descriptors: reading, writing, seeking, and what a hostile program gets."""

from __future__ import annotations

import os
from pathlib import Path

from tests.userland.linux.conftest import Program

EBADF, EFAULT, EINVAL, ENOENT, EROFS, EISDIR = 9, 14, 22, 2, 30, 21
O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND = 2, 0o100, 0o200, 0o1000, 0o2000


def test_create_write_seek_read(program: Program, tmp_path: Path) -> None:
    fd = program.open(tmp_path / "w" / "a", O_RDWR | O_CREAT, 0o640)
    assert fd == 3
    assert program("write", fd, b"hello world", 11) == 11
    assert program("lseek", fd, 6, 0) == 6
    assert program.read(fd, 100) == b"world"
    assert (tmp_path / "w" / "a").read_bytes() == b"hello world"
    assert program("close", fd) == 0
    assert program("close", fd) == -EBADF


def test_reading_a_file_of_a_read_grant(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_text("content")
    fd = program.open(tmp_path / "r" / "x")
    assert program.read(fd) == b"content"
    assert program("write", fd, b"x", 1) == -EBADF
    assert program.open(tmp_path / "r" / "x", O_RDWR) == -EROFS
    assert program.open(tmp_path / "r" / "x", O_TRUNC) == -EROFS
    assert program.open(tmp_path / "r" / "new", O_RDWR | O_CREAT) == -EROFS
    assert program.open(tmp_path / "r" / "x", O_CREAT) >= 0


def test_what_is_not_granted_does_not_exist(program: Program, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    assert program.open(tmp_path / "secret") == -ENOENT
    assert program.open("/etc/passwd") == -ENOENT
    assert program.open(tmp_path, O_RDWR) == -EISDIR


def test_writev_gathers_and_readv_scatters(program: Program, tmp_path: Path) -> None:
    fd = program.open(tmp_path / "w" / "v", O_RDWR | O_CREAT)
    vector = program.iovec((program.put(b"abc"), 3), (0, 0), (program.put(b"defg"), 4))
    assert program("writev", fd, vector, 3) == 7
    first, second = program.room(2), program.room(8)
    assert program("preadv", fd, program.iovec((first, 2), (second, 8)), 2, 0) == 7
    assert program.get(first, 2) + program.get(second, 5) == b"abcdefg"


def test_a_buffer_that_is_mapped_only_in_part_is_used_as_far_as_it_goes(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_bytes(b"z" * 10000)
    fd = program.open(tmp_path / "r" / "x")
    from tests.userland.fake_machine import IMAGE_END

    assert program("read", fd, IMAGE_END - 100, 5000) == 100
    assert program("read", fd, IMAGE_END, 5000) == -EFAULT


def test_status_of_a_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_bytes(b"12345")
    fd = program.open(tmp_path / "r" / "x")
    buffer = program.room(144)
    assert program("fstat", fd, buffer) == 0
    real = os.stat(tmp_path / "r" / "x")
    status = program.get(buffer, 144)
    assert int.from_bytes(status[8:16], "little") == real.st_ino
    assert int.from_bytes(status[24:28], "little") == real.st_mode
    assert int.from_bytes(status[48:56], "little") == 5
