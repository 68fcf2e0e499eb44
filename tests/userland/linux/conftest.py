"""A fake machine with a Linux personality, and a program to play."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.userland.fake_machine import IMAGE_START, FakeMachine, FakeThread
from userland.linux.numbers import NUMBERS
from userland.linux.personality import LinuxPersonality
from userland.linux.policy import FilePolicy

SCRATCH = IMAGE_START + 0x8000
"""Memory of the program where tests put arguments: 32 KiB."""


class Program:
    """Plays a program: makes calls by name, with bytes arguments put into its memory."""

    def __init__(self, machine: FakeMachine, thread: FakeThread | None = None) -> None:
        self.machine = machine
        self.personality = machine.personality
        self.process = machine.process
        self.thread = thread or machine.thread
        self._next = SCRATCH

    def put(self, data: bytes) -> int:
        """Stores bytes in the program's memory and returns where."""
        if self._next + len(data) > SCRATCH + 0x7000:
            self._next = SCRATCH
        address = self._next
        self.process.memory.write(address, data)
        self._next += (len(data) + 16) & -16
        return address

    def room(self, size: int) -> int:
        """The address of ``size`` bytes of 0xEE."""
        return self.put(b"\xee" * size)

    def get(self, address: int, size: int) -> bytes:
        return self.process.memory.read(address, size)

    def __call__(self, name: str, *arguments: int | bytes) -> int:
        """Makes a call; bytes become pointers to a NUL-terminated copy.  Returns the result or BLOCKED."""
        values = [self.put(a + b"\0") if isinstance(a, bytes) else a for a in arguments]
        return self.thread.call(NUMBERS[name], *values)

    def settled(self, name: str, *arguments: int | bytes) -> int:
        """Makes a call and waits for its result."""
        self(name, *arguments)
        return self.thread.settle()

    def open(self, path: str | os.PathLike[str], flags: int = 0, mode: int = 0o666) -> int:
        return self("open", os.fsencode(path), flags, mode)

    def read(self, fd: int, size: int = 4096) -> bytes | int:
        buffer = self.room(size)
        count = self("read", fd, buffer, size)
        return self.get(buffer, count) if count >= 0 else count

    def iovec(self, *parts: tuple[int, int]) -> int:
        return self.put(b"".join(struct.pack("<QQ", *part) for part in parts))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FakeMachine]:
    """A machine whose program may write ``tmp_path/w`` and read ``tmp_path/r``."""
    (tmp_path / "w").mkdir()
    (tmp_path / "r").mkdir()
    with FilePolicy(allow_read=[tmp_path / "r"], allow_write=[tmp_path / "w"]) as files:
        null = os.open(os.devnull, os.O_RDWR)
        personality = LinuxPersonality(files=files, stdin=null, stdout=null, stderr=null, cwd=str(tmp_path / "w"))
        with FakeMachine(personality) as made:
            yield made
            assert not personality.internal_errors
        os.close(null)


@pytest.fixture
def program(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setattr(machine.personality, "_debug", True)
    return Program(machine)
