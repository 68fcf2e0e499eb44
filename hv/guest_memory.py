"""The guest's memory: data pages in one memory file, mapped once into this process, given to KVM as it is needed.

KVM does not see the host write a guest page table.  That a vCPU forgets a translation comes from here: dropping or
releasing the *data page* makes the host kernel's MMU notifier unmap it from every vCPU and flush, whether guest tables
are shadowed or walked by hardware, and also while vCPUs run.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from typing import Any, Final

from abi.layout import BLOCK_SIZE, DATA_BASE, DATA_LIMIT, PAGE_SIZE
from hv.kvm import Vm, check, ffi, lib

FIRST_CHUNK: Final = 16 << 20
LARGEST_CHUNK: Final = 1 << 30


class FileMapping:
    """``size`` bytes of a new memory file, shared-mapped at an address aligned to 2 MiB (else KVM maps no large pages).

    The mapping lies inside one that a Python ``mmap`` object owns, so that it lives as long as any view of it.
    """

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, size)
            self._owner = mmap.mmap(
                -1, size + BLOCK_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | lib.MAP_NORESERVE
            )
        except BaseException:
            os.close(self.fd)
            raise
        self.pointer: Any = ffi.from_buffer(self._owner)
        start = int(ffi.cast("uintptr_t", self.pointer))
        offset = -start % BLOCK_SIZE
        self.address = start + offset
        """Host address of its first byte."""
        mapped = lib.mmap(
            self.pointer + offset,
            size,
            lib.PROT_READ | lib.PROT_WRITE,
            lib.MAP_SHARED | lib.MAP_FIXED | lib.MAP_NORESERVE,
            self.fd,
            0,
        )
        if int(ffi.cast("uintptr_t", mapped)) != self.address:
            os.close(self.fd)
            raise OSError(ffi.errno, f"mmap of {size} bytes: {os.strerror(ffi.errno)}")
        self.pointer += offset
        self.view = memoryview(self._owner)[offset : offset + size]

    def advise(self, offset: int, length: int, advice: int) -> int:
        """``madvise`` on a part; 0 or -errno."""
        if lib.madvise(self.pointer + offset, length, advice):
            return -int(ffi.errno)
        return 0

    def punch(self, offset: int, length: int) -> None:
        """Zeroes a part and gives its host memory back."""
        mode = lib.FALLOC_FL_PUNCH_HOLE | lib.FALLOC_FL_KEEP_SIZE
        if lib.fallocate(self.fd, mode, offset, length):
            raise OSError(ffi.errno, f"fallocate(PUNCH_HOLE): {os.strerror(ffi.errno)}")

    def resident(self) -> int:
        """Bytes of host memory that the file takes."""
        return os.fstat(self.fd).st_blocks * 512

    def close(self) -> None:
        """Gives the memory back; may be called again.  Where someone still holds a part of the view, that is when it
        goes: memory must not vanish under a reader."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        self.pointer = None
        self.view.release()
        with contextlib.suppress(BufferError):
            self._owner.close()


class GuestMemory:
    """Data memory of a machine: guest-physical 0 .. limit_bytes; page number times 4096 is the address.

    ``limit_bytes`` is a multiple of 4096, at most 128 GiB (ValueError).  The limit costs address space only: memslots
    grow as ``ensure`` asks, the file takes memory as pages are touched.  Any thread may call any method but ``close``,
    also while vCPUs run.
    """

    def __init__(self, vm: Vm, limit_bytes: int) -> None:
        if limit_bytes <= 0 or limit_bytes % PAGE_SIZE or limit_bytes > DATA_LIMIT:
            raise ValueError(f"memory limit {limit_bytes}: not a positive multiple of {PAGE_SIZE} up to {DATA_LIMIT}")
        self.limit = limit_bytes
        self._vm = vm
        self._file = FileMapping("aerostat-memory", limit_bytes)
        self._lock = threading.Lock()
        self._covered = 0
        self._chunk = FIRST_CHUNK

    @property
    def view(self) -> memoryview:
        """All of the memory, byte by byte; the index is the guest-physical address."""
        return self._file.view

    @property
    def covered(self) -> int:
        """Bytes from 0 that KVM can reach so far."""
        return self._covered

    def ensure(self, page_number: int) -> None:
        """Makes the page reachable for vCPUs.  ValueError beyond the limit, OSError when KVM refuses."""
        if page_number * PAGE_SIZE < self._covered:
            return
        if not 0 <= page_number * PAGE_SIZE < self.limit:
            raise ValueError(f"page {page_number} is beyond the machine's {self.limit >> 12} pages")
        with self._lock:
            while page_number * PAGE_SIZE >= self._covered:
                size = min(self._chunk, self.limit - self._covered)
                self._vm.set_memslot(
                    self._vm.new_slot(), DATA_BASE + self._covered, size, self._file.address + self._covered
                )
                self._covered += size
                self._chunk = min(self._chunk * 2, LARGEST_CHUNK)

    def _check(self, first_page: int, count: int) -> None:
        if first_page < 0 or count <= 0 or (first_page + count) * PAGE_SIZE > self.limit:
            raise ValueError(f"pages {first_page}+{count} are not within the machine's {self.limit >> 12}")

    def drop(self, first_page: int, count: int = 1) -> None:
        """Every vCPU forgets its translations to these pages; what they hold is kept."""
        self._check(first_page, count)
        check(self._file.advise(first_page * PAGE_SIZE, count * PAGE_SIZE, lib.MADV_DONTNEED), "madvise(DONTNEED)")

    def release(self, first_page: int, count: int = 1) -> None:
        """The pages are free: zeroed, their host memory given back, translations to them forgotten."""
        self._check(first_page, count)
        self._file.punch(first_page * PAGE_SIZE, count * PAGE_SIZE)

    def huge(self, first_page: int) -> None:
        """The 2 MiB block from ``first_page`` (a multiple of 512) is going to be mapped as one: asks the host for a
        huge page behind it.  Only a hint; where the host has none to give, small pages serve."""
        self._check(first_page, BLOCK_SIZE // PAGE_SIZE)
        self._file.advise(first_page * PAGE_SIZE, BLOCK_SIZE, lib.MADV_HUGEPAGE)

    def resident(self) -> int:
        """Bytes of host memory that the guest's data takes now."""
        return self._file.resident()

    def close(self) -> None:
        """Gives the memory back; no vCPU may run.  May be called again."""
        self._file.close()
