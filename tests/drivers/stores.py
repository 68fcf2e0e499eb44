"""What another processor may see of memory that a device, or a driver, writes: the state after each of its stores.

A thread on another core would see some of these states by chance; here are all, on any machine (``stores.c``).
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PAGE = 4096


class _Area(ctypes.Structure):
    _fields_ = (("at", ctypes.c_uint64), ("size", ctypes.c_uint64))


class _Store(ctypes.Structure):
    _fields_ = (("address", ctypes.c_uint64), ("length", ctypes.c_uint64), ("bytes", ctypes.c_uint8 * (2 * PAGE)))


@functools.cache
def _library() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "stores.so"
        options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *options, Path(__file__).with_suffix(".c"), "-o", made], check=True)
        library = ctypes.CDLL(str(made))
    library.stores_end.restype = ctypes.c_uint64
    return library


class Seen:
    """The areas as they were at one moment."""

    def __init__(self, areas: Sequence[tuple[int, int]]) -> None:
        self._areas = [(at, bytearray(ctypes.string_at(at, size))) for at, size in areas]

    def _place(self, address: int) -> tuple[int, bytearray]:
        return next((at, memory) for at, memory in self._areas if at <= address < at + len(memory))

    def __call__(self, address: int, length: int) -> bytes:
        """The bytes at an address of this process."""
        at, memory = self._place(address)
        return bytes(memory[address - at : address - at + length])

    def store(self, address: int, data: bytes) -> None:
        """Makes it what it is after this store."""
        at, memory = self._place(address)
        memory[address - at : address - at + len(data)] = data


def states(work: Callable[[], object], *areas: tuple[int, int], most: int = 20_000) -> Iterator[Seen]:
    """Does ``work``, in which this thread alone writes to these areas (address and size, whole pages), and gives the
    areas as they were before the first store and after each: the same object, changed.  AssertionError for more than
    ``most`` stores."""
    given = (_Area * len(areas))(*areas)
    room = mmap.mmap(-1, most * ctypes.sizeof(_Store))
    found = (_Store * most).from_buffer(room)
    seen, library = Seen(areas), _library()
    assert library.stores_begin(given, len(areas), found, ctypes.c_uint64(most)) == 0
    try:
        work()
    finally:
        count = library.stores_end()
    assert 0 < count <= most
    yield seen
    for store in found[:count]:
        seen.store(store.address, bytes(store.bytes[: store.length]))
        yield seen
    assert all(seen(at, size) == ctypes.string_at(at, size) for at, size in areas), "a store was missed"


__all__ = ["PAGE", "Seen", "states"]
