"""An NVMe controller in software, as NVM Express 1.4 describes it: registers here, admin commands in ``admin``, the
queues and the data in ``engine.c``.  ``hv.device.Device`` says how a machine uses it.

Two modes, the same device: in *conformance* mode each access to a register is a call of ``read`` or ``write``; in
*fast* mode the page of doorbells is shared memory, which the engine polls: a driver rings without leaving the guest.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from abi.layout import PAGE_SIZE
from drivers._native import ffi, lib
from drivers.model.faults import Faults
from drivers.model.memory import DmaMap
from drivers.nvme import structures
from drivers.nvme.admin import ERROR_EVENT, ERROR_LOG, Admin
from drivers.nvme.backing import Backing
from hv.device import Region, Window

log = logging.getLogger(__name__)

CAP, VS, INTMS, INTMC, CC, CSTS, NSSR, AQA, ASQ, ACQ = 0x00, 0x08, 0x0C, 0x10, 0x14, 0x1C, 0x20, 0x24, 0x28, 0x30
DOORBELLS: Final = 0x1000
VECTOR_TABLE: Final = 0x2000
PENDING_BITS: Final = 0x3000
BAR_SIZE: Final = 0x4000
READY, FATAL, SUBSYSTEM_RESET = 1, 2, 16  # of CSTS
SHUTDOWN_COMPLETE: Final = 2 << 2
ENABLE: Final = 1  # of CC
NVME_MAGIC: Final = 0x4E564D65  # "NVMe", written to NSSR
TIMEOUT_UNITS: Final = 4
"""CAP.TO: how long enabling may take, in units of 500 ms."""
LONGEST_SLEEP: Final = 1_000_000
"""Nanoseconds that the engine sleeps at most where doorbells are polled."""


class NvmeModel:
    """One controller with one namespace."""

    def __init__(
        self, backing: Backing, *, name: str = "nvme-model", block: int = 512, queues: int = 16, entries: int = 1024,
        fast: bool = False, thread: bool = True, faults: Faults | None = None, power_cuts: bool = False,
        ready_ms: float = 0.0, serial: str = "AERO0001", registers: mmap.mmap | None = None,
        interrupt_counts: mmap.mmap | None = None,
    ) -> None:  # fmt: skip
        """``block``: bytes of a logical block, 512 or 4096; ``queues``: I/O queues of each kind, 1 to 64; ``entries``
        of a queue at most, 2 to 65536.

        ``thread`` False: nothing happens but in ``poll``, which the caller runs.  ``power_cuts``: unflushed writes can
        be lost by ``cut_power``.  ``ready_ms``: how long enabling takes; negative: for ever.  ``registers``: BAR 0 as
        memory that a driver outside shares, all of it polled; ``interrupt_counts``: a page where such a driver counts
        interrupts (``drivers/lib/outside.h``).

        Raises ValueError for what no controller is like.
        """
        if block not in (512, 4096): raise ValueError(f"a logical block of {block} bytes; it is 512 or 4096")
        if not 1 <= queues < lib.NVME_QUEUES: raise ValueError(f"{queues} I/O queues; 1 to {lib.NVME_QUEUES - 1}")
        if not 2 <= entries <= 65536: raise ValueError(f"queues of {entries} entries; 2 to 65536")
        if backing.size < block: raise ValueError(f"a namespace of {backing.size} bytes, less than a block")
        self.name = name
        self.vendor_id, self.device_id, self.class_code = structures.VENDOR, structures.DEVICE, 0x010802
        self.backing, self.fast, self.entries, self.ready_ms = backing, fast or registers is not None, entries, ready_ms
        self.lock = threading.RLock()
        self.memory = DmaMap(None if thread else self._advance)
        self._registers, self._interrupt_counts = registers, interrupt_counts  # they stay mapped
        self._page = mmap.mmap(-1, PAGE_SIZE)  # doorbells, where they are not in shared registers
        doorbells = ffi.cast("uint32_t *", self._address_of(registers) + DOORBELLS if registers else self._page_address)
        self.namespace = structures.Namespace(backing.size // block, block, serial)
        self.engine: Any = lib.nvme_make(self.memory.map, doorbells, backing.storage, self.namespace.blocks, block)
        if self.engine == ffi.NULL: raise MemoryError("no memory for a controller")
        if power_cuts and lib.storage_keep_undo(backing.storage, block): raise MemoryError("no memory for an undo log")
        if faults is not None: faults.fill(lib.nvme_faults(self.engine))
        vectors = min(queues + 1, lib.NVME_VECTORS)
        self.interrupts: Sequence[int] = [
            os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(vectors)
        ]  # fmt: skip
        fds = ffi.new("int[]", [*self.interrupts, *[-1] * (lib.NVME_VECTORS - vectors)])
        counts = ffi.NULL if interrupt_counts is None else ffi.cast("uint32_t *", self._address_of(interrupt_counts))
        lib.nvme_interrupts(self.engine, fds, counts)
        self.removal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        windows = (Window(DOORBELLS, PAGE_SIZE, self._page_address),) if fast and not registers else ()
        self.regions: Sequence[Region] = (Region(BAR_SIZE, windows),)
        self.admin = Admin(self.engine, self.namespace, queues, entries, vectors, write_cache=True)
        self.refused = 0
        """Register accesses that no driver should make."""
        self._vector_table = bytearray(16 * vectors)
        self.removed = self._closed = False
        self._ready_at: float | None = None
        self._power_on()
        self._seen: Any = ffi.new("uint32_t[]", lib.NVME_CONTROL_BYTES // 4)
        self._shared: Any = ffi.NULL
        if registers is not None:
            self._shared = ffi.cast("uint32_t *", self._address_of(registers))
            self._publish()
            lib.nvme_watch(self.engine, self._shared, self._seen)
        self._stopping = False
        self._thread: threading.Thread | None = None
        if thread: self._start_thread()

    @staticmethod
    def _address_of(area: mmap.mmap) -> int:
        return int(ffi.cast("uintptr_t", ffi.from_buffer(area)))

    @property
    def _page_address(self) -> int:
        return self._address_of(self._page)

    # hv.device.Device

    def read(self, region: int, offset: int, size: int) -> int:
        """See ``Device.read``.  Doorbells read as 0."""
        if self.removed: return (1 << 8 * size) - 1
        if region != 0 or offset < 0 or offset + size > BAR_SIZE: return 0
        with self.lock:
            self._when_ready()
            if offset < DOORBELLS: space = self._control()
            elif offset < VECTOR_TABLE: return 0
            elif offset < PENDING_BITS: space, offset = bytes(self._vector_table), offset - VECTOR_TABLE
            else: space, offset = int(lib.nvme_pending(self.engine)).to_bytes(8, "little"), offset - PENDING_BITS
            return int.from_bytes(space[offset : offset + size], "little")

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        """See ``Device.write``.  Registers are written by 4 bytes, or by 8 where they are 64 bits wide (3.1)."""
        if self.removed or region != 0 or offset < 0 or offset + size > BAR_SIZE: return
        if DOORBELLS <= offset < VECTOR_TABLE:
            lib.nvme_doorbell(self.engine, offset - DOORBELLS, size, value & 0xFFFFFFFF)
            return
        with self.lock:
            self._when_ready()
            value &= (1 << 8 * size) - 1
            if size not in (4, 8) or offset % size:
                self.refused += 1
            elif offset >= VECTOR_TABLE:
                self._write_vector_table(offset - VECTOR_TABLE, value.to_bytes(size, "little"))
            elif size == 8 and offset not in (CAP, ASQ, ACQ):
                self.refused += 1
            else:
                self._write_control(offset, value & 0xFFFFFFFF)
                if size == 8: self._write_control(offset + 4, value >> 32)

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        """See ``Device.map``."""
        self.memory.add(iova, address, length, writable)

    def unmap(self, iova: int, length: int) -> None:
        """See ``Device.unmap``: data of a file that is on its way is waited for."""
        self.memory.remove(iova, length)

    def reset(self) -> None:
        """See ``Device.reset``."""
        with self.lock:
            self._power_on()
            if self._shared: self._publish()

    def close(self) -> None:
        """See ``Device.close``.  The backing stays the caller's to close."""
        if self._closed: return
        self._closed = True
        self._stop_thread()
        lib.nvme_end(self.engine)
        self.memory.close()
        for fd in (*self.interrupts, self.removal):
            os.close(fd)

    # What the world does to it

    def remove(self) -> None:
        """Pulls it out: registers read as all ones, nothing is answered, no data moves."""
        lib.nvme_remove(self.engine)
        with self.lock:
            self.removed = True
            lib.nvme_stop(self.engine)
            for index in range(lib.NVME_CONTROL_BYTES // 4 if self._shared else 0):
                self._shared[index] = self._seen[index] = 0xFFFFFFFF
        os.eventfd_write(self.removal, 1)

    def cut_power(self, seed: int) -> int:
        """Power fails and comes back: of what was not flushed about half is lost, drawn from the seed, and registers
        are as at power-on.  How many blocks were lost.  ValueError for a model made without ``power_cuts``."""
        with self.lock:
            lib.nvme_stop(self.engine)
            lost = int(lib.storage_cut_power(self.backing.storage, seed))
            if lost < 0: raise ValueError("this model was made without power_cuts")
            self.admin.unsafe_shutdowns += 1
            self._power_on()
            if self._shared: self._publish()  # now: what a driver writes after this must not look like what was there
            return lost

    def counts(self) -> dict[str, int]:
        """What the engine counted: commands, reads, writes, flushes, errors, dma_faults, interrupts, ..."""
        into = ffi.new("struct nvme_counts *")
        lib.nvme_counts(self.engine, into)
        return {name: int(getattr(into, name)) for name, _ in ffi.typeof("struct nvme_counts").fields}

    def poll(self, passes: int = 64) -> int:
        """Without a thread: does what there is to do, in at most so many passes.  How many it took until all was
        quiet."""
        for done in range(1, passes + 1):
            why = lib.nvme_pass(self.engine)
            if why == lib.NVME_IDLE and not lib.nvme_look_everywhere(self.engine): return done
            if why != lib.NVME_BUSY: self._attend(why)
        return passes

    # The thread

    def _serve(self) -> None:
        while not self._stopping:
            if self._ready_at is not None:  # something is due that no driver causes
                time.sleep(5e-4)
                self._attend(lib.nvme_pass(self.engine))
                continue
            self._attend(lib.nvme_run(self.engine, LONGEST_SLEEP if self.fast else 10_000_000, self.fast))

    @contextlib.contextmanager
    def without_thread(self) -> Iterator[None]:
        """Meanwhile the model's thread does not run, and the caller does the engine's passes: for benchmarks on one
        core.  For models made with a thread."""
        self._stop_thread()
        try:
            yield
        finally:
            self._start_thread()

    def _start_thread(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
        self._thread.start()

    def _stop_thread(self) -> None:
        self._stopping = True
        while self._thread is not None and self._thread.is_alive():
            lib.nvme_interrupt_run(self.engine)
            self._thread.join(0.05)

    def _advance(self) -> None:
        lib.nvme_pass(self.engine)

    def _attend(self, why: int) -> None:
        with self.lock:
            self._when_ready()
            if why == lib.NVME_TOLD: self._events()
            elif why == lib.NVME_ADMIN: self.admin.serve()
            elif why == lib.NVME_CHANGED: self._look_at_shared()
            if self._shared: self._publish()

    def _events(self) -> None:
        event = ffi.new("struct nvme_event *")
        while lib.nvme_event_take(self.engine, event):
            if event.kind == lib.NVME_STATUS:
                self.admin.failed(event.queue, event.cid, event.status, event.lba)
            elif event.kind == lib.NVME_FATAL:
                log.warning("%s: queue %d cannot be reached: fatal", self.name, event.queue)
                self.csts |= FATAL
            elif event.kind == lib.NVME_REMOVED:
                self.remove()
            else:
                log.debug("%s: doorbell: queue %#x, value %d", self.name, event.queue, event.value)
                value = event.kind == lib.NVME_BAD_VALUE
                self.admin.failed(event.queue if value else 0xFFFF, 0xFFFF, 0, 0)
                if self.csts & READY: self.admin.happened(ERROR_EVENT, int(value), ERROR_LOG)

    # Registers (3.1)

    @property
    def cap(self) -> int:
        """Controller capabilities: queues are contiguous, no other arbitration than round robin, pages of 4 KiB."""
        return (self.entries - 1) | 1 << 16 | TIMEOUT_UNITS << 24 | 1 << 36 | 1 << 37

    def _power_on(self) -> None:
        self.aqa = self.asq = self.acq = self.intms = 0
        self.csts = 0
        self._vector_table[:] = bytes(len(self._vector_table))
        for vector in range(len(self.interrupts)):
            lib.nvme_vector_mask(self.engine, vector, False)
        self._reset_controller()

    def _reset_controller(self) -> None:
        """7.3.2: AQA, ASQ and ACQ stay."""
        lib.nvme_stop(self.engine)
        self.cc = 0
        self.csts &= SUBSYSTEM_RESET
        self._ready_at = None
        self.admin.reset()

    def _control(self) -> bytes:
        """The control registers as they read now."""
        page = bytearray(lib.NVME_CONTROL_BYTES)
        for offset, size, value in ((CAP, 8, self.cap), (VS, 4, structures.VERSION), (INTMS, 4, self.intms),
                                    (INTMC, 4, self.intms), (CC, 4, self.cc), (CSTS, 4, self.csts), (AQA, 4, self.aqa),
                                    (ASQ, 8, self.asq), (ACQ, 8, self.acq)):  # fmt: skip
            page[offset : offset + size] = value.to_bytes(size, "little")
        return bytes(page)

    def _write_control(self, offset: int, value: int) -> None:
        """32 bits of a register."""
        if offset == INTMS: self.intms |= value
        elif offset == INTMC: self.intms &= ~value
        elif offset == CC: self._configure(value)
        elif offset == CSTS: self.csts &= ~(value & SUBSYSTEM_RESET)
        elif offset == NSSR:
            if value == NVME_MAGIC:
                self.csts |= SUBSYSTEM_RESET
                self._reset_controller()
        elif offset in (AQA, ASQ, ASQ + 4, ACQ, ACQ + 4):
            if self.cc & ENABLE: self.refused += 1  # only while the controller is disabled
            elif offset == AQA: self.aqa = value & 0x0FFF0FFF
            elif offset == ASQ: self.asq = self.asq >> 32 << 32 | value & ~0xFFF
            elif offset == ASQ + 4: self.asq = self.asq & 0xFFFFFFFF | value << 32
            elif offset == ACQ: self.acq = self.acq >> 32 << 32 | value & ~0xFFF
            else: self.acq = self.acq & 0xFFFFFFFF | value << 32
        else: self.refused += 1  # read only, or reserved

    def _configure(self, value: int) -> None:
        was, value = self.cc, value & 0x00FFFFF1
        shutdown = value >> 14 & 3
        if not value & ENABLE:
            if was & ENABLE: self._reset_controller()
            self.cc = value
            return
        if not was & ENABLE:
            self.cc = value
            why = self._unfit()
            if why:
                log.warning("%s: not enabled: %s", self.name, why)
                self.csts |= FATAL
            elif self.ready_ms >= 0:
                self._ready_at = time.monotonic() + self.ready_ms / 1000
                self._when_ready()
        elif (value ^ was) & ~0xC000 & 0x3FF1:  # CSS, MPS and AMS may not change now
            self.refused += 1
            value = was & ~0xC000 | value & 0xC000
        self.cc = value
        if shutdown in (1, 2) and not was >> 14 & 3 and self.csts & READY:
            self.backing_flush()
            self.csts |= SHUTDOWN_COMPLETE
        elif shutdown == 0:
            self.csts &= ~0b1100

    def _unfit(self) -> str:
        """Why the controller cannot be enabled; empty if it can (7.6.1)."""
        submission, completion = (self.aqa & 0xFFF) + 1, (self.aqa >> 16) + 1
        if submission < 2 or completion < 2: return f"AQA is {self.aqa:#x}: queues of 2 entries at least"
        if not self.asq or not self.acq: return "ASQ or ACQ is 0"
        if self.cc >> 7 & 15: return "CC.MPS is not 0: pages are of 4 KiB"
        if self.cc >> 4 & 7: return "CC.CSS is not 0: the NVM command set"
        if self.cc >> 11 & 7: return "CC.AMS is not 0: round robin"
        if self.cc >> 16 & 15 != 6 or self.cc >> 20 & 15 != 4: return "CC.IOSQES is not 6, or CC.IOCQES not 4"
        return ""

    def _when_ready(self) -> None:
        if self._ready_at is None or time.monotonic() < self._ready_at: return
        self._ready_at = None
        started = lib.nvme_start(self.engine, self.asq, (self.aqa & 0xFFF) + 1, self.acq, (self.aqa >> 16) + 1)
        self.csts |= READY if started else FATAL

    def backing_flush(self) -> None:
        """What a shutdown does: all that was written stays without power."""
        lib.nvme_flush(self.engine)

    def _write_vector_table(self, offset: int, data: bytes) -> None:
        if offset + len(data) > len(self._vector_table): return
        self._vector_table[offset : offset + len(data)] = data
        vector = offset // 16
        lib.nvme_vector_mask(self.engine, vector, bool(self._vector_table[16 * vector + 12] & 1))

    # Registers as shared memory

    def _look_at_shared(self) -> None:
        """Takes what a driver outside wrote.  CC comes last: it is what the others are written for."""
        written = {
            4 * index: int(self._shared[index]) for index in range(lib.NVME_CONTROL_BYTES // 4)
            if self._shared[index] != self._seen[index]
        }  # fmt: skip
        for offset, value in written.items():
            self._seen[offset // 4] = value
        for offset in sorted(written, key=lambda offset: (offset == CC, offset)):
            self._write_control(offset, written[offset])

    def _publish(self) -> None:
        """Puts registers where a driver outside reads them.  Those that are right already are not touched: it may be
        writing them."""
        if self.removed: return
        now = self._control()
        for index in range(lib.NVME_CONTROL_BYTES // 4):
            value = int.from_bytes(now[4 * index : 4 * index + 4], "little")
            if self._seen[index] != value: self._shared[index] = self._seen[index] = value


__all__ = ["BAR_SIZE", "NvmeModel"]
