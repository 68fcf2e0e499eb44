"""Page tables in guest memory: frames for them, and the format of an entry (Intel SDM vol. 3, 4.5).

The kernel names a table by the page it is charged for; here each gets a frame in memslots that hold nothing else.
A KVM with shadow page tables keeps, for each frame, a shadow of what it once read there and does not see the host write
new contents: a frame that was a table once is used again only after its memslot was deleted and made anew, with every
vCPU out of KVM_RUN (``recycle``).  The same step flushes what hardware caches of upper-level entries.

Not every vCPU knows entries that map 1 GiB; where it does not, a table of 512 entries of 2 MiB stands in for one.  The
kernel knows nothing of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from abi.layout import BLOCK_SIZE, EXECUTE, PAGE_SIZE, READ, TABLE_ENTRIES, TABLES_BASE, WRITE
from hv.guest_memory import HostMemory
from hv.kvm import Vm

PRESENT: Final = 1 << 0
WRITABLE: Final = 1 << 1
USER: Final = 1 << 2
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
LARGE: Final = 1 << 7
NO_EXECUTE: Final = 1 << 63
ADDRESS_MASK: Final = 0x000F_FFFF_FFFF_F000

FIRST_CHUNK: Final = 256
LARGEST_CHUNK: Final = 16384
RECYCLE_AT: Final = 256
"""Frames in quarantine that make a recycling worth its cost."""


class Entry(NamedTuple):
    """What an entry says.  ``permissions`` is 0 for one that is not present."""

    target: int
    permissions: int
    large: bool
    user: bool


def encode_entry(target_gpa: int, permissions: int, *, table: bool, large: bool) -> int:
    """The 64-bit entry that leads to ``target_gpa``: to a lower table (which restricts nothing), to a 2 MiB or
    1 GiB page (``large``) or to a 4 KiB page.  No permissions: not present, 0.

    ACCESSED and DIRTY are set from the start: hardware and shadow MMUs then never write into a table, so that what
    the kernel wrote is what an audit reads."""
    if table:
        return target_gpa | PRESENT | WRITABLE | USER | ACCESSED
    if not permissions:
        return 0
    entry = target_gpa | PRESENT | USER | ACCESSED | DIRTY
    if permissions & WRITE:
        entry |= WRITABLE
    if not permissions & EXECUTE:
        entry |= NO_EXECUTE
    if large:
        entry |= LARGE
    return entry


def decode_entry(entry: int) -> Entry:
    """What the CPU takes an entry for, whoever wrote it."""
    if not entry & PRESENT:
        return Entry(0, 0, large=False, user=False)
    permissions = READ
    if entry & WRITABLE:
        permissions |= WRITE
    if not entry & NO_EXECUTE:
        permissions |= EXECUTE
    return Entry(entry & ADDRESS_MASK, permissions, bool(entry & LARGE), bool(entry & USER))


class TableFrames:
    """Frames for the page tables of one machine, by table id.

    ``limit_bytes`` bounds what all tables together can take (address space only).  ``giant_entries``: the vCPUs know
    entries that map 1 GiB.  Calls come from one thread at a time; vCPUs may run, except during ``recycle``.
    """

    def __init__(
        self, vm: Vm, limit_bytes: int, *, giant_entries: bool = True, recycle_at: int = RECYCLE_AT
    ) -> None:
        self._vm = vm
        self._limit = limit_bytes // PAGE_SIZE
        self._host = HostMemory(limit_bytes)
        self._words = self._host.view.cast("Q")
        self._slots: list[tuple[int, int, int]] = []
        """slot number, first frame, frames"""
        self._covered = 0
        self._chunk = FIRST_CHUNK
        self._fresh = 0
        """The first frame never used."""
        self._recycled: list[int] = []
        self._quarantine: list[int] = []
        self._recycle_at = recycle_at
        self._frames: dict[int, int] = {}
        self._giant_entries = giant_entries
        self.stand_ins: dict[tuple[int, int], int] = {}
        """The frame of the table that stands in for a 1 GiB entry, by table id and index of that."""

    def create(self, table_id: int) -> int:
        """A zeroed frame for a new table; returns its guest-physical address.  KeyError if the id has one already,
        MemoryError at the limit."""
        if table_id in self._frames:
            raise KeyError(f"table {table_id} exists")
        frame = self._frames[table_id] = self._take()
        return TABLES_BASE + frame * PAGE_SIZE

    def _take(self) -> int:
        """A zeroed frame that no vCPU remembers."""
        if self._recycled: return self._recycled.pop()
        if self._fresh == self._covered: self._grow()
        self._fresh += 1
        return self._fresh - 1

    def _grow(self) -> None:
        count = min(self._chunk, self._limit - self._covered)
        if count <= 0:
            raise MemoryError(f"no room for more than {self._limit} page tables")
        slot = self._vm.new_slot()
        self._set_slot(slot, self._covered, count)
        self._slots.append((slot, self._covered, count))
        self._covered += count
        self._chunk = min(self._chunk * 2, LARGEST_CHUNK)

    def _set_slot(self, slot: int, first: int, count: int) -> None:
        self._vm.set_memslot(
            slot, TABLES_BASE + first * PAGE_SIZE, count * PAGE_SIZE, self._host.address + first * PAGE_SIZE
        )

    def free(self, table_id: int) -> None:
        """The table is gone; its frame is zeroed and waits in quarantine for ``recycle``."""
        self._retire(self._frames.pop(table_id))

    def _retire(self, frame: int) -> None:
        self._host.view[frame * PAGE_SIZE : (frame + 1) * PAGE_SIZE] = bytes(PAGE_SIZE)
        self._quarantine.append(frame)

    def gpa(self, table_id: int) -> int:
        """Guest-physical address of the table's frame; what CR3 or the entry above it holds."""
        return TABLES_BASE + self._frames[table_id] * PAGE_SIZE

    def set_entry(self, table_id: int, index: int, value: int) -> None:
        """Writes one entry, in one 64-bit store, as a CPU walking the table at this moment needs it."""
        if not 0 <= index < TABLE_ENTRIES:
            raise IndexError(f"page-table index {index}")
        self._words[self._frames[table_id] * TABLE_ENTRIES + index] = value

    def exchange_entry(self, table_id: int, index: int, value: int) -> int:
        """Writes one entry as ``set_entry`` does, unless it is there; returns what stood there."""
        if not 0 <= index < TABLE_ENTRIES:
            raise IndexError(f"page-table index {index}")
        words, place = self._words, self._frames[table_id] * TABLE_ENTRIES + index
        before = words[place]
        if before != value: words[place] = value
        return before

    def entry(self, table_id: int, index: int) -> int:
        """The entry as it stands in guest memory."""
        if not 0 <= index < TABLE_ENTRIES:
            raise IndexError(f"page-table index {index}")
        return self._words[self._frames[table_id] * TABLE_ENTRIES + index]

    def set_giant(self, table_id: int, index: int, value: int) -> None:
        """Writes a level-3 entry that maps 1 GiB, or takes it away (0); by a table of 2 MiB entries where vCPUs know
        none of that size."""
        frame = self.stand_ins.get((table_id, index))
        if value == 0 or self._giant_entries:
            self.set_entry(table_id, index, value)
            if frame is not None:
                del self.stand_ins[table_id, index]
                self._retire(frame)
            return
        if frame is None: frame = self.stand_ins[table_id, index] = self._take()
        first = frame * TABLE_ENTRIES
        for n in range(TABLE_ENTRIES):  # one by one: vCPUs may be walking the table
            self._words[first + n] = value + n * BLOCK_SIZE
        above = encode_entry(TABLES_BASE + frame * PAGE_SIZE, 0, table=True, large=False)
        self.set_entry(table_id, index, above)

    def mapping(self, table_id: int, index: int) -> int:
        """The entry, as if the vCPUs knew entries that map 1 GiB."""
        frame = self.stand_ins.get((table_id, index))
        return self.entry(table_id, index) if frame is None else self._words[frame * TABLE_ENTRIES]

    def stand_in(self, table_id: int, index: int) -> tuple[int, list[int]] | None:
        """Guest-physical address and all entries of the table that stands in for a 1 GiB entry, for audits; None where
        there is none."""
        frame = self.stand_ins.get((table_id, index))
        if frame is None: return None
        first = frame * TABLE_ENTRIES
        return TABLES_BASE + frame * PAGE_SIZE, self._words[first : first + TABLE_ENTRIES].tolist()

    def entries(self, table_id: int) -> list[int]:
        """All 512 entries of a table as they stand in guest memory."""
        first = self._frames[table_id] * TABLE_ENTRIES
        return self._words[first : first + TABLE_ENTRIES].tolist()

    def table_at(self, gpa: int) -> int | None:
        """Which table has the frame at this guest-physical address, for audits; slow."""
        frame = (gpa - TABLES_BASE) // PAGE_SIZE
        return next((table for table, its in self._frames.items() if its == frame), None)

    def recycle_needed(self) -> bool:
        """Whether enough frames wait for a recycling, and fewer than that are left without one."""
        waiting = len(self._quarantine)
        return waiting >= self._recycle_at and len(self._recycled) + self._covered - self._fresh < waiting

    def recycle(self) -> None:
        """Frames in quarantine can be used again.  Every vCPU of the machine has to be out of KVM_RUN: one that runs
        while its tables' memslot is away shuts down."""
        for slot, first, count in self._slots:
            if not any(first <= frame < first + count for frame in self._quarantine):
                continue
            self._vm.set_memslot(slot, TABLES_BASE + first * PAGE_SIZE, 0, self._host.address + first * PAGE_SIZE)
            self._set_slot(slot, first, count)
        for frame in self._quarantine:
            self._host.discard(frame * PAGE_SIZE, PAGE_SIZE)
        self._recycled += self._quarantine
        self._quarantine = []

    def close(self) -> None:
        """Gives the memory back; no vCPU may run.  May be called again."""
        self._words.release()
        self._host.close()
