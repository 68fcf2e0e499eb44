"""The data structures that admin commands return: identify, log pages (NVM Express 1.4, sections 5.14 and 5.15)."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from abi.layout import PAGE_SIZE

VENDOR = 0x1B36
"""Red Hat's, whose identifier QEMU's NVMe has as well; the device number is another."""
DEVICE = 0xAE50
VERSION = 0x00010400
FIRMWARE = "1"
MODEL = "aerostat NVMe model"
ABORTS = 3
"""Abort commands at once, less one."""
ASYNCHRONOUS_EVENTS = 3
"""Asynchronous event requests at once, less one."""
ERROR_ENTRIES = 63
"""Of the error log, less one."""
DOORBELL_BUFFERS = 1 << 8


@dataclass(frozen=True)
class Namespace:
    """What identify says of the namespace."""

    blocks: int
    block: int
    serial: str

    @property
    def identity(self) -> uuid.UUID:
        """The same for the same serial number."""
        return uuid.uuid5(uuid.NAMESPACE_OID, f"aerostat-nvme-{self.serial}")


def _text(page: bytearray, at: int, text: str, length: int) -> None:
    page[at : at + length] = text.encode("ascii", "replace")[:length].ljust(length)


def controller(namespace: Namespace, mdts: int, write_cache: bool) -> bytes:
    """Identify, CNS 1 (5.15.2.2)."""
    page = bytearray(PAGE_SIZE)
    struct.pack_into("<HH", page, 0, VENDOR, VENDOR)
    _text(page, 4, namespace.serial, 20)
    _text(page, 24, MODEL, 40)
    _text(page, 64, FIRMWARE, 8)
    page[72] = 6  # recommended arbitration burst: 64
    page[77] = mdts
    struct.pack_into("<HI", page, 78, 1, VERSION)
    struct.pack_into("<I", page, 92, 0)  # OAES: no notices
    page[111] = 1  # an I/O controller
    struct.pack_into("<H", page, 256, DOORBELL_BUFFERS)
    page[258], page[259] = ABORTS, ASYNCHRONOUS_EVENTS
    page[260] = 0b11  # one firmware slot, read only
    page[261] = 0b0110  # log pages: commands supported and effects, offsets
    page[262] = ERROR_ENTRIES
    struct.pack_into("<HH", page, 266, 343, 353)  # warning and critical temperature, kelvins
    struct.pack_into("<QQ", page, 280, namespace.blocks * namespace.block, 0)  # total capacity
    page[512], page[513] = 0x66, 0x44
    struct.pack_into("<H", page, 514, 0)  # outstanding commands: not limited
    struct.pack_into("<I", page, 516, 1)
    struct.pack_into("<H", page, 520, 0b1100)  # dataset management, write zeroes
    page[525] = int(write_cache) | 0b110  # flush of all namespaces is possible
    name = f"nqn.2014-08.org.nvmexpress:uuid:{namespace.identity}".encode()
    page[768 : 768 + len(name)] = name
    struct.pack_into("<H", page, 2048, 500)  # power state 0: 5 W
    return bytes(page)


def of_namespace(namespace: Namespace) -> bytes:
    """Identify, CNS 0 (5.15.2.1)."""
    page = bytearray(PAGE_SIZE)
    struct.pack_into("<QQQ", page, 0, *[namespace.blocks] * 3)
    page[33] = 0b1001  # DLFEAT: write zeroes may deallocate, what is deallocated reads as zeroes
    page[104:120] = namespace.identity.bytes
    struct.pack_into("<I", page, 128, (namespace.block.bit_length() - 1) << 16)
    return bytes(page)


def descriptors(namespace: Namespace) -> bytes:
    """Identify, CNS 3: namespace identification descriptors (5.15.2.4)."""
    identity = namespace.identity.bytes
    return (struct.pack("<BBH", 2, 16, 0) + identity + struct.pack("<BBH", 3, 16, 0) + identity).ljust(PAGE_SIZE, b"\0")


def active_list(above: int) -> bytes:
    """Identify, CNS 2: the namespaces whose numbers are above this one."""
    return (struct.pack("<I", 1) if above < 1 else b"").ljust(PAGE_SIZE, b"\0")


@dataclass(frozen=True)
class Failure:
    """An entry of the error log (5.14.1.1)."""

    count: int
    queue: int
    cid: int
    status: int
    lba: int
    namespace: int

    def packed(self) -> bytes:
        """Its 64 bytes; the status field has the phase bit's place in front."""
        return struct.pack(
            "<QHHHHQIBB", self.count, self.queue, self.cid, self.status << 1 & 0xFFFF, 0xFFFF, self.lba, self.namespace,
            0, 0,
        ).ljust(64, b"\0")  # fmt: skip


def health(counts: dict[str, int], failures: int, hours: int, unsafe: int) -> bytes:
    """The SMART / health log page (5.14.1.2), 512 bytes; counts are the engine's."""
    page = bytearray(512)
    struct.pack_into("<BHBBB", page, 0, 0, 303, 100, 10, 0)

    def put(at: int, value: int) -> None:
        page[at : at + 16] = value.to_bytes(16, "little")

    put(32, -(-counts["read_sectors"] // 1000))
    put(48, -(-counts["written_sectors"] // 1000))
    put(64, counts["reads"])
    put(80, counts["writes"])
    put(112, 1)
    put(128, hours)
    put(144, unsafe)
    put(176, failures)
    return bytes(page)


def firmware_slots() -> bytes:
    """The firmware slot log page (5.14.1.3), 512 bytes."""
    page = bytearray(512)
    page[0] = 1
    _text(page, 8, FIRMWARE, 8)
    return bytes(page)


def effects(admin: tuple[int, ...], io: tuple[int, ...], changing: tuple[int, ...]) -> bytes:
    """Commands supported and effects (5.14.1.5)."""
    page = bytearray(PAGE_SIZE)
    for opcode in admin:
        struct.pack_into("<I", page, 4 * opcode, 1)
    for opcode in io:
        struct.pack_into("<I", page, 1024 + 4 * opcode, 0b11 if opcode in changing else 1)
    return bytes(page)


__all__ = [
    "ABORTS", "ASYNCHRONOUS_EVENTS", "DEVICE", "ERROR_ENTRIES", "VENDOR", "VERSION", "Failure", "Namespace",
    "active_list", "controller", "descriptors", "effects", "firmware_slots", "health", "of_namespace",
]  # fmt: skip
