"""A card to test: the model, memory that it reaches, and what a driver does by hand with registers and descriptors.

Offsets and bits are those of the 82599 datasheet, written down here and not taken from the model or the driver.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from dataclasses import dataclass
from typing import Any

from drivers._native import ffi, lib
from drivers.ixgbe.model import Ixgbe, Mode

CTRL, STATUS, CTRL_EXT, EEC, EERD = 0x0, 0x8, 0x18, 0x10010, 0x10014
EICR, EICS, EIMS, EIMC, EIAC, EIAM, GPIE = 0x800, 0x808, 0x880, 0x888, 0x810, 0x890, 0x898
IVAR, IVAR_MISC, EITR = 0x900, 0xA00, 0x820
FCTRL, VLNCTRL, MCSTCTRL, RXCSUM, MTA, RAL, RAH, VFTA = 0x5080, 0x5088, 0x5090, 0x5000, 0x5200, 0x5400, 0x5404, 0xA000
MRQC, RETA, RSSRK = 0x5818, 0x5C00, 0x5C80
RXCTRL, RXPBSIZE, RDRXCTL, HLREG0, MAXFRS = 0x3000, 0x3C00, 0x2F00, 0x4240, 0x4268
AUTOC, LINKS, DMATXCTL, RTTDCS = 0x42A0, 0x42A4, 0x4A80, 0x4900
GPRC, GPTC, GORCL, GORCH, GOTCL, TPR, MPC, CRCERRS = 0x4074, 0x4080, 0x4088, 0x408C, 0x4090, 0x40D0, 0x3FA0, 0x4000
RUC, ROC, BPRC, MPRC, PRC64, PRC127 = 0x40A4, 0x40AC, 0x4078, 0x407C, 0x405C, 0x4060
QPRC, QPRDC, QPTC, RQSMR = 0x1030, 0x1430, 0x6030, 0x2300
BASE = 0x10_0000
"""The IOVA of the memory."""


def rx(queue: int) -> int:
    """The registers of a receive queue: RDBAL 0, RDBAH 4, RDLEN 8, RDH 10, SRRCTL 14, RDT 18, RXDCTL 28."""
    return 0x1000 + 0x40 * queue if queue < 64 else 0xD000 + 0x40 * (queue - 64)


def tx(queue: int) -> int:
    """As rx: TDBAL 0, TDBAH 4, TDLEN 8, TDH 10, TDT 18, TXDCTL 28, TDWBAL 38, TDWBAH 3C."""
    return 0x6000 + 0x40 * queue


@dataclass
class Written:
    """A receive descriptor as the device left it (advanced write-back)."""

    first: int
    second: int

    @property
    def done(self) -> bool: return bool(self.second & 1)
    @property
    def end(self) -> bool: return bool(self.second & 2)
    @property
    def status(self) -> int: return self.second & 0xF_FFFF
    @property
    def errors(self) -> int: return self.second & 0xFFF0_0000
    @property
    def length(self) -> int: return self.second >> 32 & 0xFFFF
    @property
    def vlan(self) -> int: return self.second >> 48
    @property
    def type(self) -> int: return self.first >> 4 & 0x1FFF
    @property
    def rss_type(self) -> int: return self.first & 15
    @property
    def hash(self) -> int: return self.first >> 32  # fmt: skip


class Card:
    """The model with 1 MiB of memory at IOVA ``BASE``; ring n of either side and its buffers have a place in it."""

    SIZE = 1 << 20
    COUNT = 32
    """Descriptors of a ring."""

    def __init__(self, mode: Mode, **options: Any) -> None:
        self.mode = mode
        self.nic = Ixgbe(mode, **options)
        self.memory = mmap.mmap(-1, self.SIZE)
        self.host = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.nic.map(BASE, self.host, self.SIZE, True)
        self.tails: dict[int, int] = {}
        lib.ixgbe_capture(self.nic.engine, True)

    def close(self) -> None:
        self.nic.close()

    # Registers, as a driver reaches them in each mode.

    def _window(self, offset: int) -> Any:
        at = self.nic.regions[0].host_address(offset & ~0xFFF)
        return ctypes.c_uint32.from_address(at + offset % 4096) if at else None

    def read(self, offset: int) -> int:
        word = self._window(offset)
        return int(word.value) if word is not None else self.nic.read(0, offset, 4)

    def write(self, offset: int, value: int) -> None:
        word = self._window(offset)
        if word is None:
            self.nic.write(0, offset, 4, value)
        else:
            word.value = value
            self.poll(0)

    def write_unseen(self, offset: int, value: int) -> None:
        """As ``write``; where the register is memory the model has not looked yet."""
        word = self._window(offset)
        if word is None: self.nic.write(0, offset, 4, value)
        else: word.value = value

    def poll(self, times: int = 1) -> None:
        """Lets the model see what was written, and act ``times``."""
        if times: self.nic.poll(times)
        else: self.see()

    def see(self) -> None:
        engine = self.nic.engine
        lib.ixgbe_lock(engine)
        lib.ixgbe_scan(engine)
        lib.ixgbe_unlock(engine)
        while self.nic._next_change(0): pass

    # Memory.

    def put(self, iova: int, data: bytes) -> None:
        self.memory[iova - BASE : iova - BASE + len(data)] = data

    def get(self, iova: int, length: int) -> bytes:
        return self.memory[iova - BASE : iova - BASE + length]

    def ring(self, transmit: bool, queue: int) -> int:
        """Where a ring is: 512 bytes each."""
        return BASE + (0x8000 if transmit else 0) + queue * 512

    def buffer(self, transmit: bool, index: int, queue: int = 0) -> int:
        """Where a buffer is: 2048 bytes each."""
        return BASE + 0x10000 + (0x80000 if transmit else 0) + (queue % 4 * self.COUNT + index) * 2048

    # What a driver does.

    def up_anyhow(self) -> None:
        """As ``up`` and a queue each way, whatever state the device is in."""
        try:
            self.up()
            self.receive_queue()
            self.transmit_queue()
        except AssertionError:
            self.write(CTRL, 1 << 26)

    def up(self, *, promiscuous: bool = True) -> None:
        """The MAC and the link: frames may come and go, no queue is there yet."""
        self.write(CTRL, 1 << 26)
        self.write(AUTOC, 3 << 13 | 1 << 12)
        assert self.read(LINKS) >> 30 & 1
        self.write(HLREG0, self.read(HLREG0) | 1 << 10 | 3)
        self.write(RDRXCTL, self.read(RDRXCTL) | 2)
        self.write(FCTRL, 1 << 10 | (3 << 8 if promiscuous else 0))
        self.write(RXPBSIZE, 0x20000)
        self.write(DMATXCTL, self.read(DMATXCTL) | 1)
        self.write(RXCTRL, 1)

    def receive_queue(self, queue: int = 0, *, count: int = COUNT, descriptors: int | None = None,
                      kind: int = 1, kib: int = 2, drop: bool = False) -> None:  # fmt: skip
        """Enables a receive queue and gives it descriptors: all but one, or ``descriptors``."""
        at = rx(queue)
        for i in range(count): self.refill(queue, i)
        self.write(at, self.ring(False, queue))
        self.write(at + 4, 0)
        self.write(at + 8, count * 16)
        self.write(at + 0x14, kind << 25 | kib | (1 << 28 if drop else 0))
        self.write(at + 0x28, 1 << 25)
        assert self.read(at + 0x28) >> 25 & 1
        self.write(at + 0x10, 0)
        self.write(at + 0x18, count - 1 if descriptors is None else descriptors)

    def refill(self, queue: int, index: int) -> None:
        self.put(self.ring(False, queue) + index * 16, struct.pack("<QQ", self.buffer(False, index, queue), 0))

    def transmit_queue(self, queue: int = 0, *, count: int = COUNT, threshold: int = 0) -> None:
        at = tx(queue)
        self.put(self.ring(True, queue), bytes(16 * count))
        self.write(at, self.ring(True, queue))
        self.write(at + 4, 0)
        self.write(at + 8, count * 16)
        self.write(at + 0x10, 0)
        self.write(at + 0x18, 0)
        self.write(at + 0x28, 1 << 25 | threshold << 16 | 8 << 8 | 36)
        assert self.read(at + 0x28) >> 25 & 1
        self.tails[queue] = 0

    def descriptor(self, queue: int, first: int, low: int, high: int) -> int:
        """Puts one at the tail, which is not told yet; its index."""
        index = self.tails[queue]
        self.put(self.ring(True, queue) + 16 * index, struct.pack("<QII", first, low, high))
        self.tails[queue] = (index + 1) % self.COUNT
        return index

    def data(self, queue: int, address: int, length: int, *, payload: int | None = None, low: int = 0x0B00_0000,
             high: int = 0) -> int:  # fmt: skip
        """An advanced data descriptor; ``low``: EOP 24, IFCS 25, RS 27."""
        payload = length if payload is None else payload
        return self.descriptor(queue, address, low | 1 << 29 | 3 << 20 | length, high | payload << 14)

    def send(self, frame: bytes, queue: int = 0, **bits: int) -> int:
        """One frame in one descriptor; its index."""
        at = self.buffer(True, self.tails[queue], queue)
        self.put(at, frame)
        return self.data(queue, at, len(frame), **bits)

    def tell(self, queue: int = 0) -> None:
        """Writes TDT and lets the device act."""
        self.write(tx(queue) + 0x18, self.tails[queue])
        self.poll()

    def told(self, index: int, queue: int = 0) -> bool:
        """Whether the transmit descriptor has DD."""
        return bool(self.get(self.ring(True, queue) + 16 * index + 12, 4)[0] & 1)

    def written(self, index: int, queue: int = 0) -> Written:
        return Written(*struct.unpack("<QQ", self.get(self.ring(False, queue) + 16 * index, 16)))

    def received(self, index: int, queue: int = 0) -> bytes:
        """The frame that a receive descriptor tells of."""
        return self.get(self.buffer(False, index, queue), self.written(index, queue).length)

    # The other side of the wire.

    def arrive(self, *frames: bytes, damaged: bool = False) -> None:
        for frame in frames:
            lib.ixgbe_arrive(self.nic.engine, frame, len(frame), damaged)
            self.poll()

    def sent(self) -> list[bytes]:
        into = ffi.new("uint8_t[]", 16384)
        found = []
        while length := lib.ixgbe_sent(self.nic.engine, into, 16384):
            found.append(bytes(ffi.buffer(into, length)))
        return found
