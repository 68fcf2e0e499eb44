"""What a modelled namespace is kept in: memory, or a file, around the page cache where the file system allows it."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Any

from drivers._native import ffi, lib

DEPTH = 256
"""Operations on a file that are in progress at once, at most."""


class Backing:
    """``storage`` for the engine, and what belongs to it."""

    def __init__(self, storage: Any, size: int, file: int, memory: mmap.mmap | None, direct: bool) -> None:
        if storage == ffi.NULL: raise MemoryError("no memory for a namespace")
        self.storage = storage
        self.size = size
        self.direct = direct
        """Whether a file is read and written around the page cache."""
        self.memory = memory
        self._file = file

    @property
    def asynchronous(self) -> bool:
        """Whether several operations are in progress at once, by io_uring."""
        return bool(lib.storage_is_asynchronous(self.storage))

    def close(self) -> None:
        """Waits for what is in progress.  May be called again."""
        lib.storage_end(self.storage)
        self.storage = ffi.NULL
        if self._file >= 0: os.close(self._file)
        self._file = -1


def in_memory(size: int) -> Backing:
    """``size`` bytes of zeroes; ``Backing.memory`` is where they are."""
    memory = mmap.mmap(-1, size)
    address = ffi.cast("void *", ffi.from_buffer(memory))
    return Backing(lib.storage_in_memory(address, size), size, -1, memory, False)


def in_file(path: str | Path, size: int | None = None, *, direct: bool | None = None, depth: int = DEPTH) -> Backing:
    """A file or block device that exists, or with ``size`` one that is made that long if it is shorter.

    ``direct``: O_DIRECT; None: where the file system has it.  ``depth`` 0: operations one by one, without io_uring.
    Raises OSError, and ValueError for a file that is empty.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if size else 0)
    try:
        file = os.open(path, flags | (0 if direct is False else os.O_DIRECT), 0o644)
        through = direct is not False
    except OSError as error:
        if direct is True or error.errno != errno.EINVAL: raise
        file = os.open(path, flags, 0o644)
        through = False
    try:
        there = os.lseek(file, 0, os.SEEK_END)
        if size is not None and there < size:
            os.ftruncate(file, size)
            there = size
        if not (size or there): raise ValueError(f"{path}: an empty file; give the namespace a size")
        length = size or there
        return Backing(lib.storage_in_file(file, length, through, depth), length, file, None, through)
    except BaseException:
        os.close(file)
        raise


__all__ = ["Backing", "in_file", "in_memory"]
