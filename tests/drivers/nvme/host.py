"""The host's side of an NVMe controller, as the specification has it, for tests: registers, memory and rings by hand.

It knows nothing of the project's driver.  Register accesses go where the model has them: to ``read`` and ``write``, or
to memory where a window says so.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

from drivers._native import ffi
from drivers.nvme.model import NvmeModel

PAGE = 4096
IOVA = 0x7_0000_0000
"""Far from addresses of this process and from 0, so that neither works by chance."""


@dataclass
class Completion:
    """A completion queue entry."""

    result: int
    sqhd: int
    sqid: int
    cid: int
    phase: int
    status: int
    """Type in bits 10:8, code in bits 7:0."""
    dnr: bool


class Bar:
    """BAR 0."""

    def __init__(self, model: NvmeModel) -> None:
        self.model = model

    def _memory(self, offset: int) -> int:
        address = self.model.regions[0].host_address(offset & ~0xFFF)
        return address + offset % PAGE if address else 0

    def read32(self, offset: int) -> int:
        at = self._memory(offset)
        return int(ffi.cast("uint32_t *", at)[0]) if at else self.model.read(0, offset, 4)

    def write32(self, offset: int, value: int) -> None:
        at = self._memory(offset)
        if at: ffi.cast("uint32_t *", at)[0] = value
        else: self.model.write(0, offset, 4, value)

    def read64(self, offset: int) -> int:
        return self.read32(offset) | self.read32(offset + 4) << 32

    def write64(self, offset: int, value: int) -> None:
        self.write32(offset, value & 0xFFFFFFFF)
        self.write32(offset + 4, value >> 32)


class Queue:
    """A pair of rings, one entry after the other."""

    def __init__(self, host: Host, number: int, sq: int, cq: int, sq_size: int, cq_size: int) -> None:
        self.host, self.number, self.sq, self.cq, self.sq_size, self.cq_size = host, number, sq, cq, sq_size, cq_size
        self.tail = self.head = 0
        self.phase = 1
        self.next_cid = 1

    def put(
        self, opcode: int, *, cid: int | None = None, nsid: int = 0, prp1: int = 0, prp2: int = 0, flags: int = 0,
        dw10: int = 0, dw11: int = 0, dw12: int = 0,
    ) -> int:  # fmt: skip
        """Writes a submission queue entry, without the doorbell; its command identifier."""
        if cid is None:
            cid = self.next_cid
            self.next_cid = self.next_cid % 0xFFFF + 1
        entry = struct.pack("<BBHIQQQQ6I", opcode, flags, cid, nsid, 0, 0, prp1, prp2, dw10, dw11, dw12, 0, 0, 0)
        self.host.store(self.sq + 64 * self.tail, entry)
        self.tail = (self.tail + 1) % self.sq_size
        return cid

    def ring(self) -> None:
        """The tail doorbell."""
        self.host.bar.write32(0x1000 + 8 * self.number, self.tail)

    def peek(self) -> Completion | None:
        """The next completion, if it is there."""
        entry = self.host.load(self.cq + 16 * self.head, 16)
        result, _, sqhd, sqid, cid, status = struct.unpack("<IIHHHH", entry)
        if status & 1 != self.phase: return None
        return Completion(result, sqhd, sqid, cid, status & 1, status >> 1 & 0x7FF, bool(status >> 15))

    def take(self, *, ring: bool = True) -> list[Completion]:
        """All that are there, in order."""
        found = []
        while (completion := self.peek()) is not None:
            found.append(completion)
            self.head += 1
            if self.head == self.cq_size:
                self.head = 0
                self.phase ^= 1
        if found and ring: self.host.bar.write32(0x1004 + 8 * self.number, self.head)
        return found


class Host:
    """Memory, a controller, and its admin queue."""

    def __init__(self, model: NvmeModel, pages: int = 1024) -> None:
        self.model, self.bar = model, Bar(model)
        self.memory = mmap.mmap(-1, pages * PAGE)
        self.pages = pages
        self._next = IOVA
        self.address = int(ffi.cast("uintptr_t", ffi.from_buffer(self.memory)))
        model.map(IOVA, self.address, pages * PAGE, True)
        self.queues: dict[int, Queue] = {}

    def page(self, count: int = 1) -> int:
        """The IOVA of fresh pages."""
        at = self._next
        self._next += count * PAGE
        assert self._next <= IOVA + self.pages * PAGE, "the test's memory is used up"
        return at

    def load(self, iova: int, length: int) -> bytes:
        return self.memory[iova - IOVA : iova - IOVA + length]

    def store(self, iova: int, data: bytes) -> None:
        self.memory[iova - IOVA : iova - IOVA + len(data)] = data

    def enable(self, entries: int = 32, *, cc: int = 1 | 6 << 16 | 4 << 20) -> Queue:
        """Brings the controller up; its admin queue."""
        sq, cq = self.page(), self.page()
        self.store(sq, bytes(PAGE))
        self.store(cq, bytes(PAGE))
        self.bar.write32(0x24, (entries - 1) | (entries - 1) << 16)
        self.bar.write64(0x28, sq)
        self.bar.write64(0x30, cq)
        self.bar.write32(0x14, cc)
        self.queues = {0: Queue(self, 0, sq, cq, entries, entries)}
        return self.queues[0]

    @property
    def admin(self) -> Queue:
        return self.queues[0]

    def run(self, queue: Queue, opcode: int, **fields: int) -> Completion:
        """One command, to its end."""
        cid = queue.put(opcode, **fields)
        queue.ring()
        self.model.poll()
        (completion,) = queue.take()
        assert completion.cid == cid
        assert completion.sqid == queue.number
        assert completion.sqhd == queue.tail
        return completion

    def queue(self, number: int = 1, entries: int = 32, *, vector: int = 0, cq_entries: int | None = None) -> Queue:
        """Creates a pair of I/O queues."""
        cq_entries = cq_entries or entries
        sq, cq = self.page(-(-entries * 64 // PAGE)), self.page(-(-cq_entries * 16 // PAGE))
        done = self.run(self.admin, 0x05, prp1=cq, dw10=number | (cq_entries - 1) << 16, dw11=vector << 16 | 3)
        assert done.status == 0
        done = self.run(self.admin, 0x01, prp1=sq, dw10=number | (entries - 1) << 16, dw11=number << 16 | 1)
        assert done.status == 0
        self.queues[number] = Queue(self, number, sq, cq, entries, cq_entries)
        return self.queues[number]

    def read(self, queue: Queue, lba: int, blocks: int, prp1: int, prp2: int = 0, **fields: int) -> Completion:
        return self.run(queue, 2, nsid=1, prp1=prp1, prp2=prp2, dw10=lba & 0xFFFFFFFF, dw11=lba >> 32,
                        dw12=blocks - 1, **fields)  # fmt: skip

    def write(
        self, queue: Queue, lba: int, blocks: int, prp1: int, prp2: int = 0, *, fua: bool = False, **fields: int
    ) -> Completion:
        return self.run(queue, 1, nsid=1, prp1=prp1, prp2=prp2, dw10=lba & 0xFFFFFFFF, dw11=lba >> 32,
                        dw12=blocks - 1 | fua << 30, **fields)  # fmt: skip
