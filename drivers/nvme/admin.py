"""The admin commands of the NVMe model (NVM Express 1.4, chapter 5).  Data and completions go through the engine."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from drivers._native import ffi, lib
from drivers.nvme import structures
from drivers.nvme.structures import Failure, Namespace

DNR: Final = lib.NVME_DNR
INVALID_OPCODE: Final = 0x01 | DNR
INVALID_FIELD: Final = 0x02 | DNR
ABORTED: Final = 0x07
INVALID_NAMESPACE: Final = 0x0B | DNR
SEQUENCE_ERROR: Final = 0x0C | DNR
INVALID_PRP_OFFSET: Final = 0x13 | DNR
DATA_TRANSFER_ERROR: Final = 0x04
INTERNAL_ERROR: Final = 0x06
COMPLETION_QUEUE_INVALID: Final = 0x100 | DNR
INVALID_QUEUE: Final = 0x101 | DNR
INVALID_SIZE: Final = 0x102 | DNR
TOO_MANY_ABORTS: Final = 0x103
TOO_MANY_EVENTS: Final = 0x105
INVALID_VECTOR: Final = 0x108 | DNR
INVALID_LOG_PAGE: Final = 0x109 | DNR
INVALID_DELETION: Final = 0x10C | DNR
NOT_SAVEABLE: Final = 0x10D | DNR
NOT_CHANGEABLE: Final = 0x10E | DNR

ERROR_EVENT: Final = 0
ERROR_LOG: Final = 1
_IO = (0, 1, 2, 8, 9)
_DEFAULTS: Final = {1: 6, 2: 0, 4: 343, 5: 0, 6: 1, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0}
"""Features, by identifier: dword 11 as it is after reset."""

Outcome = tuple[int, int] | None
"""Status and dword 0 of the completion; None: it is not complete yet."""


class Command:
    """A submission queue entry, as 4.2 has it."""

    def __init__(self, entry: bytes) -> None:
        (self.opcode, self.flags, self.cid, self.nsid, self.prp1, self.prp2) = struct.unpack_from("<BBHI16xQQ", entry)
        self.dw10, self.dw11, self.dw12, self.dw13, self.dw14, self.dw15 = struct.unpack_from("<6I", entry, 40)


class Admin:
    """What a controller remembers between admin commands, until it is reset."""

    def __init__(
        self, engine: Any, namespace: Namespace, queues: int, entries: int, vectors: int, write_cache: bool
    ) -> None:
        """``queues``: I/O queues of each kind; ``entries`` of a queue at most."""
        self.engine, self.namespace = engine, namespace
        self.queues, self.entries, self.vectors, self.write_cache = queues, entries, vectors, write_cache
        self.failures: deque[Failure] = deque(maxlen=structures.ERROR_ENTRIES + 1)
        self.failure_count = 0
        self.born = time.monotonic()
        self.unsafe_shutdowns = 0
        self.commands: dict[int, Callable[[Command], Outcome]] = {
            0x00: self.delete_sq, 0x01: self.create_sq, 0x02: self.get_log_page, 0x04: self.delete_cq,
            0x05: self.create_cq, 0x06: self.identify, 0x08: self.abort, 0x09: self.set_features,
            0x0A: self.get_features, 0x0C: self.event_request, 0x7C: self.doorbell_buffers,
        }  # fmt: skip
        self.reset()

    def reset(self) -> None:
        """As after a controller reset; the error log stays."""
        self.features = dict(_DEFAULTS)
        self.vector_settings: dict[int, int] = {}
        self.requests: list[int] = []  # command identifiers of asynchronous event requests
        self.events: deque[tuple[int, int, int]] = deque(maxlen=64)  # type, information, log page
        self.silent: set[int] = set()  # types told of, whose log page was not read since
        lib.nvme_write_cache(self.engine, True)

    def serve(self) -> bool:
        """Does all commands that wait; whether there were any."""
        entry = ffi.new("uint8_t[64]")
        waiting = []
        while lib.nvme_admin_take(self.engine, entry):
            waiting.append(Command(bytes(ffi.buffer(entry))))
        aborts = 0
        for command in waiting:
            aborts += command.opcode == 0x08
            if command.opcode == 0x08 and aborts > structures.ABORTS + 1:
                outcome: Outcome = (TOO_MANY_ABORTS, 0)
            else:
                outcome = self.execute(command)
            if outcome is not None: self.complete(command.cid, *outcome)
        return bool(waiting)

    def complete(self, cid: int, status: int, result: int) -> None:
        """Posts a completion on the admin queue."""
        if status and status != ABORTED: self.failed(0, cid, status, 0)
        lib.nvme_admin_done(self.engine, cid, status, result)

    def failed(self, queue: int, cid: int, status: int, lba: int) -> None:
        """Notes a failure in the error log."""
        self.failure_count += 1
        self.failures.appendleft(Failure(self.failure_count, queue, cid, status, lba, int(queue != 0)))

    def execute(self, command: Command) -> Outcome:
        """One command's outcome."""
        known = self.commands.get(command.opcode)
        if known is None: return INVALID_OPCODE, 0
        if command.flags: return INVALID_FIELD, 0  # PSDT: admin commands take PRPs; FUSE: not fused
        return known(command)

    def transfer(self, command: Command, data: bytes) -> Outcome:
        """Moves data to the host."""
        into = ffi.from_buffer("uint8_t[]", bytearray(data))
        status = lib.nvme_transfer(self.engine, command.prp1, command.prp2, into, len(data), True)
        return status, 0

    # Queues (5.3 to 5.6).

    def create_cq(self, command: Command) -> Outcome:
        queue, size = command.dw10 & 0xFFFF, (command.dw10 >> 16) + 1
        vector = command.dw11 >> 16
        if not 0 < queue <= self.queues or lib.nvme_cq_exists(self.engine, queue): return INVALID_QUEUE, 0
        if not 2 <= size <= self.entries: return INVALID_SIZE, 0
        if command.prp1 % 4096 or command.prp1 == 0: return INVALID_PRP_OFFSET, 0
        if not command.dw11 & 1: return INVALID_FIELD, 0
        if vector >= self.vectors: return INVALID_VECTOR, 0
        lib.nvme_cq_make(self.engine, queue, command.prp1, size, vector, bool(command.dw11 & 2))
        return 0, 0

    def create_sq(self, command: Command) -> Outcome:
        queue, size = command.dw10 & 0xFFFF, (command.dw10 >> 16) + 1
        completions = command.dw11 >> 16
        if not 0 < queue <= self.queues or lib.nvme_sq_exists(self.engine, queue): return INVALID_QUEUE, 0
        if not 0 < completions <= self.queues: return INVALID_QUEUE, 0
        if not lib.nvme_cq_exists(self.engine, completions): return COMPLETION_QUEUE_INVALID, 0
        if not 2 <= size <= self.entries: return INVALID_SIZE, 0
        if command.prp1 % 4096 or command.prp1 == 0: return INVALID_PRP_OFFSET, 0
        if not command.dw11 & 1: return INVALID_FIELD, 0
        if not lib.nvme_sq_make(self.engine, queue, command.prp1, size, completions): return INTERNAL_ERROR, 0
        return 0, 0

    def delete_sq(self, command: Command) -> Outcome:
        queue = command.dw10 & 0xFFFF
        if queue == 0 or not lib.nvme_sq_exists(self.engine, queue): return INVALID_QUEUE, 0
        lib.nvme_sq_end(self.engine, queue)
        return 0, 0

    def delete_cq(self, command: Command) -> Outcome:
        queue = command.dw10 & 0xFFFF
        if queue == 0 or not lib.nvme_cq_exists(self.engine, queue): return INVALID_QUEUE, 0
        if lib.nvme_cq_users(self.engine, queue): return INVALID_DELETION, 0
        lib.nvme_cq_end(self.engine, queue)
        return 0, 0

    def doorbell_buffers(self, command: Command) -> Outcome:
        if command.prp1 % 4096 or command.prp2 % 4096: return INVALID_PRP_OFFSET, 0
        if command.prp1 == command.prp2 or not command.prp1 or not command.prp2: return INVALID_FIELD, 0
        reached = lib.nvme_shadow(self.engine, command.prp1, command.prp2)
        return 0 if reached else DATA_TRANSFER_ERROR, 0

    # What the controller is (5.15), and logs (5.14).

    def identify(self, command: Command) -> Outcome:
        what = command.dw10 & 0xFF
        if what == 0x01:
            return self.transfer(command, structures.controller(self.namespace, lib.NVME_MDTS, self.write_cache))
        if what == 0x02:
            if command.nsid >= 0xFFFFFFFE: return INVALID_NAMESPACE, 0
            return self.transfer(command, structures.active_list(command.nsid))
        if what not in (0x00, 0x03): return INVALID_FIELD, 0
        if command.nsid != 1: return INVALID_NAMESPACE, 0
        page = structures.of_namespace if what == 0 else structures.descriptors
        return self.transfer(command, page(self.namespace))

    def log(self, page: int) -> bytes | None:
        """A log page as it is now."""
        if page == ERROR_LOG:
            return b"".join(failure.packed() for failure in self.failures).ljust(64 * self.failures.maxlen, b"\0")  # type: ignore[operator]
        if page == 2:
            counts = ffi.new("struct nvme_counts *")
            lib.nvme_counts(self.engine, counts)
            sectors = self.namespace.block // 512
            return structures.health(
                {"reads": counts.reads, "writes": counts.writes, "read_sectors": counts.read_blocks * sectors,
                 "written_sectors": counts.written_blocks * sectors},
                self.failure_count, int(time.monotonic() - self.born) // 3600, self.unsafe_shutdowns,
            )  # fmt: skip
        if page == 3: return structures.firmware_slots()
        if page == 5: return structures.effects(tuple(self.commands), _IO, (1, 8, 9))
        return None

    def get_log_page(self, command: Command) -> Outcome:
        page = command.dw10 & 0xFF
        length = ((command.dw10 >> 16 | (command.dw11 & 0xFFFF) << 16) + 1) * 4
        offset = command.dw12 | command.dw13 << 32
        if command.nsid not in (0, 0xFFFFFFFF): return INVALID_FIELD, 0
        data = self.log(page)
        if data is None: return INVALID_LOG_PAGE, 0
        if offset % 4 or offset > len(data) or length > 4096 << lib.NVME_MDTS: return INVALID_FIELD, 0
        outcome = self.transfer(command, data[offset : offset + length].ljust(length, b"\0"))
        if outcome == (0, 0) and not command.dw10 >> 15 & 1:  # RAE: the event stays
            if page == ERROR_LOG: self.silent.discard(ERROR_EVENT)
            self.tell()
        return outcome

    # Features (5.13, 5.21).

    def get_features(self, command: Command) -> Outcome:
        feature, select = command.dw10 & 0xFF, command.dw10 >> 8 & 7
        if feature not in self.features or select > 3: return INVALID_FIELD, 0
        if select == 3: return 0, 0b100  # changeable, not saveable
        if feature == 7: return 0, (self.queues - 1) * 0x10001
        if feature == 9:
            vector = command.dw11 & 0xFFFF
            if vector >= self.vectors: return INVALID_FIELD, 0
            return 0, vector | (self.vector_settings.get(vector, 0) if select == 0 else 0)
        return 0, self.features[feature] if select == 0 else _DEFAULTS[feature]

    def set_features(self, command: Command) -> Outcome:
        feature, value = command.dw10 & 0xFF, command.dw11
        if feature not in self.features: return INVALID_FIELD, 0
        if command.dw10 >> 31: return NOT_SAVEABLE, 0
        if feature == 7:
            if value & 0xFFFF == 0xFFFF or value >> 16 == 0xFFFF: return INVALID_FIELD, 0
            made = any(lib.nvme_cq_exists(self.engine, queue) for queue in range(1, self.queues + 1))
            if made: return SEQUENCE_ERROR, 0
            return 0, min(value & 0xFFFF, self.queues - 1) | min(value >> 16, self.queues - 1) << 16
        if feature == 9:
            if value & 0xFFFF >= self.vectors: return INVALID_FIELD, 0
            self.vector_settings[value & 0xFFFF] = value & 0x10000
            return 0, 0
        if feature == 2 and value & 0x1F: return INVALID_FIELD, 0  # there is one power state
        if feature == 6: lib.nvme_write_cache(self.engine, bool(value & 1))
        self.features[feature] = value
        return 0, 0

    # Abort (5.1), asynchronous events (5.2).

    def abort(self, command: Command) -> Outcome:
        queue, cid = command.dw10 & 0xFFFF, command.dw10 >> 16
        if queue == 0 and cid in self.requests:
            self.requests.remove(cid)
            self.complete(cid, ABORTED, 0)
            return 0, 0
        if queue and not lib.nvme_sq_exists(self.engine, queue): return INVALID_FIELD, 0
        return 0, 0 if queue and lib.nvme_abort(self.engine, queue, cid) else 1

    def event_request(self, command: Command) -> Outcome:
        if len(self.requests) > structures.ASYNCHRONOUS_EVENTS: return TOO_MANY_EVENTS, 0
        self.requests.append(command.cid)
        self.tell()
        return None

    def happened(self, kind: int, information: int, page: int) -> None:
        """An asynchronous event: told once of each kind until its log page is read."""
        self.events.append((kind, information, page))
        self.tell()

    def tell(self) -> None:
        """Completes requests by events that wait."""
        for event in list(self.events):
            kind, information, page = event
            if not self.requests: return
            if kind in self.silent: continue
            self.silent.add(kind)
            self.events.remove(event)
            self.complete(self.requests.pop(0), 0, kind | information << 8 | page << 16)


__all__ = ["ERROR_EVENT", "ERROR_LOG", "Admin", "Command"]
