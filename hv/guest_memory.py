"""The guest's memory: data pages, reserved once in this process, given to KVM as they are needed.

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

from abi.layout import BLOCK_PAGES, BLOCK_SIZE, DATA_BASE, DATA_LIMIT, PAGE_SIZE
from hv.kvm import Vm, ffi, lib

FIRST_CHUNK: Final = 16 << 20
LARGEST_CHUNK: Final = 1 << 30


class HostMemory:
    """``size`` bytes of this process's memory for a guest, at an address aligned to 2 MiB (else KVM maps no large
    pages).  They take host memory as they are touched, and are not passed to forked children.

    Private anonymous memory, not a file: transparent huge pages are nearly everywhere to be had for it and nearly
    nowhere for files, and behind 2 MiB pages first touch costs a sixteenth (0.2 against 3.3 us a page, measured under
    shadow paging).  The price is that dropping translations without losing content takes 10 us a call, not 1.3.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        # Owned by a Python mmap object, so that the memory lives as long as any view of it.
        self._owner = mmap.mmap(-1, size + BLOCK_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | lib.MAP_NORESERVE)
        start = ffi.from_buffer(self._owner)
        offset = -int(ffi.cast("uintptr_t", start)) % BLOCK_SIZE
        self._pointer: Any = start + offset
        self.address = int(ffi.cast("uintptr_t", self._pointer))
        """Host address of its first byte."""
        self.view = memoryview(self._owner)[offset : offset + size]
        self._advise(0, size, lib.MADV_DONTFORK)

    def _advise(self, offset: int, length: int, advice: int) -> None:
        if lib.madvise(self._pointer + offset, length, advice):
            raise OSError(ffi.errno, f"madvise({advice}): {os.strerror(ffi.errno)}")

    def prefer_huge_pages(self) -> None:
        """Asks for transparent huge pages; hosts without them serve small ones."""
        with contextlib.suppress(OSError):
            self._advise(0, self.size, lib.MADV_HUGEPAGE)

    def drop_translations(self, offset: int, length: int) -> None:
        """Has the MMU notifier unmap this part from all vCPUs; content stays.

        A change of protection does that, whichever it is.  PROT_EXEC changes nothing for a vCPU that faults on the
        page in between (without PROT_WRITE its KVM_RUN would fail, as it does for a moment where a security policy
        refuses executable memory and PROT_READ has to do; ``aero_run`` tries again then).
        """
        writable = lib.PROT_READ | lib.PROT_WRITE
        start = self._pointer + offset
        if lib.mprotect(start, length, writable | lib.PROT_EXEC) and lib.mprotect(start, length, lib.PROT_READ):
            raise OSError(ffi.errno, f"mprotect: {os.strerror(ffi.errno)}")
        if lib.mprotect(start, length, writable):
            raise OSError(ffi.errno, f"mprotect: {os.strerror(ffi.errno)}")

    def discard(self, offset: int, length: int) -> None:
        """Zeroes a part, gives its host memory back, and has it unmapped from all vCPUs."""
        self._advise(offset, length, lib.MADV_DONTNEED)

    def renew(self, offset: int, length: int) -> None:
        """Makes 2 MiB blocks that are empty like ones never touched.

        Once a block was touched in pieces its host page table stays, and with it small pages for whatever comes
        later; a mapping put in its place has none.  Does nothing if a page of them is in use after all."""
        start = self._pointer + offset
        pages = ffi.new("unsigned char[]", length // PAGE_SIZE)
        if lib.mincore(start, length, pages) or bytes(ffi.buffer(pages)).strip(b"\0"):
            return
        flags = lib.MAP_PRIVATE | lib.MAP_ANONYMOUS | lib.MAP_NORESERVE | lib.MAP_FIXED
        if lib.mmap(start, length, lib.PROT_READ | lib.PROT_WRITE, flags, -1, 0) != start:
            raise OSError(ffi.errno, f"mmap: {os.strerror(ffi.errno)}")
        self._advise(offset, length, lib.MADV_DONTFORK)
        with contextlib.suppress(OSError):
            self._advise(offset, length, lib.MADV_HUGEPAGE)

    def resident(self) -> int:
        """Bytes of host memory it takes; reads /proc, milliseconds."""
        total, inside = 0, False
        with open("/proc/self/smaps") as maps:
            for line in maps:
                if line[0] in "0123456789abcdef":
                    first, _, last = line.split(" ", 1)[0].partition("-")
                    inside = int(first, 16) < self.address + self.size and int(last, 16) > self.address
                elif inside and line.startswith("Rss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def close(self) -> None:
        """Gives the memory back; may be called again.  Where someone still holds a part of the view, that is when it
        goes: memory must not vanish under a reader."""
        self._pointer = None
        self.view.release()
        with contextlib.suppress(BufferError):
            self._owner.close()


class GuestMemory:
    """Data memory of a machine: guest-physical 0 .. limit_bytes; page number times 4096 is the address.

    ``limit_bytes`` is a multiple of 4096, at most 128 GiB (ValueError).  The limit costs address space only: memslots
    grow as ``ensure`` asks, host memory is taken as pages are touched, 2 MiB at a time where the host has huge pages.
    Any thread may call any method but ``close``, also while vCPUs run.
    """

    def __init__(self, vm: Vm, limit_bytes: int) -> None:
        if limit_bytes <= 0 or limit_bytes % PAGE_SIZE or limit_bytes > DATA_LIMIT:
            raise ValueError(f"memory limit {limit_bytes}: not a positive multiple of {PAGE_SIZE} up to {DATA_LIMIT}")
        self.limit = limit_bytes
        self._vm = vm
        self._host = HostMemory(limit_bytes)
        self._host.prefer_huge_pages()
        self._lock = threading.Lock()
        self._covered = 0
        self._in_pieces: set[int] = set()
        self._chunk = FIRST_CHUNK

    @property
    def view(self) -> memoryview:
        """All of the memory, byte by byte; the index is the guest-physical address."""
        return self._host.view

    def host_address(self, page_number: int) -> int:
        """Where in this process the page's first byte is."""
        return self._host.address + page_number * PAGE_SIZE

    @property
    def covered(self) -> int:
        """Bytes from 0 that KVM can reach so far."""
        return self._covered

    def ensure(self, page_number: int) -> None:
        """Makes the page reachable for vCPUs.  ValueError beyond the limit, OSError when KVM refuses."""
        if 0 <= page_number * PAGE_SIZE < self._covered:
            return
        if not 0 <= page_number * PAGE_SIZE < self.limit:
            raise ValueError(f"page {page_number} is beyond the machine's {self.limit >> 12} pages")
        with self._lock:
            while page_number * PAGE_SIZE >= self._covered:
                size = min(self._chunk, self.limit - self._covered)
                self._vm.set_memslot(
                    self._vm.new_slot(), DATA_BASE + self._covered, size, self._host.address + self._covered
                )
                self._covered += size
                self._chunk = min(self._chunk * 2, LARGEST_CHUNK)

    def _check(self, first_page: int, count: int) -> None:
        if first_page < 0 or count <= 0 or (first_page + count) * PAGE_SIZE > self.limit:
            raise ValueError(f"pages {first_page}+{count} are not within the machine's {self.limit >> 12}")

    def drop(self, first_page: int, count: int = 1) -> None:
        """Every vCPU forgets its translations to these pages; what they hold is kept."""
        self._check(first_page, count)
        self._note_pieces(first_page, count)
        self._host.drop_translations(first_page * PAGE_SIZE, count * PAGE_SIZE)

    def release(self, first_page: int, count: int = 1) -> None:
        """The pages are free: zeroed, their host memory given back, translations to them forgotten."""
        self._check(first_page, count)
        self._note_pieces(first_page, count)
        self._host.discard(first_page * PAGE_SIZE, count * PAGE_SIZE)

    def huge(self, first_page: int, count: int = BLOCK_PAGES) -> None:
        """The 2 MiB blocks from ``first_page`` on (both multiples of 512), free until now, are going to be mapped as
        one: sees to it that huge pages can back them.  Only a hint; where the host has none to give, small pages
        serve."""
        self._check(first_page, count)
        first = first_page // BLOCK_PAGES
        pieces = [block for block in range(first, first + count // BLOCK_PAGES) if block in self._in_pieces]
        if not pieces: return
        self._host.renew(pieces[0] * BLOCK_SIZE, (pieces[-1] + 1 - pieces[0]) * BLOCK_SIZE)
        self._in_pieces.difference_update(pieces)

    def _note_pieces(self, first_page: int, count: int) -> None:
        """Blocks of which these pages are only a part are no huge pages any more."""
        end = first_page + count
        if first_page % BLOCK_PAGES:
            self._in_pieces.add(first_page // BLOCK_PAGES)
        if end % BLOCK_PAGES:
            self._in_pieces.add(end // BLOCK_PAGES)

    def resident(self) -> int:
        """Bytes of host memory that the guest's data takes now."""
        return self._host.resident()

    def close(self) -> None:
        """Gives the memory back; no vCPU may run.  May be called again."""
        self._host.close()
