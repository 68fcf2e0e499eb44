"""Files that a model and a driver outside any machine share: registers, memory, counts of interrupts."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from abi.layout import PAGE_SIZE


def shared_file(path: str | Path, size: int) -> mmap.mmap:
    """The whole of a file, made or made longer if it is shorter than ``size``.  Raises OSError; ValueError for one that
    is not made of pages."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        there = os.fstat(file).st_size
        if there < size: os.ftruncate(file, size)
        length = max(there, size)
        if length % PAGE_SIZE: raise ValueError(f"{path}: {length} bytes, not a multiple of {PAGE_SIZE}")
        return mmap.mmap(file, length)
    finally:
        os.close(file)


@dataclass(frozen=True)
class SharedFiles:
    """What ``drivers/lib/outside.c`` opens by the name ``BAR:MEMORY[:INTERRUPTS]``."""

    registers: mmap.mmap
    memory: mmap.mmap
    interrupts: mmap.mmap | None

    @classmethod
    def open(
        cls, bar: str | Path, memory: str | Path, interrupts: str | Path | None, *, bar_size: int, memory_size: int
    ) -> SharedFiles:
        """Opens or makes them.  Raises OSError and ValueError as ``shared_file``."""
        return cls(
            shared_file(bar, bar_size), shared_file(memory, memory_size),
            None if interrupts is None else shared_file(interrupts, PAGE_SIZE),
        )  # fmt: skip


__all__ = ["SharedFiles", "shared_file"]
