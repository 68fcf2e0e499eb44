"""A model of the Intel 82599 10 GbE controller: what reading and writing its registers does.

The registers are memory that the engine (``engine.c``) reads and writes as well; here is what a datasheet says about
them beyond keeping bits.  The rings, filters, counters and interrupts are the engine's.  Section numbers are those of
the Intel 82599 10 GbE Controller Datasheet.

There are three ways for a driver to reach the registers:

- ``Mode.TRAPPED`` (conformance): each access is a call of ``read`` or ``write``.  All that the datasheet says holds.
- ``Mode.FAST``: the pages of the rings' registers (0x1000 and 0x6000) are memory, which the engine polls; the rest is
  trapped.  Reading a counter in those pages does not clear it, and writes take effect when they are seen.
- ``Mode.MEMORY``: all registers are memory, for a driver in another process.  No read is noticed: no counter, nor EICR,
  is cleared by one (a write of ones clears EICR), and a semaphore is not taken by reading it.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, NamedTuple

from drivers._native import ffi, lib
from drivers.ixgbe.eeprom import Eeprom
from drivers.ixgbe.module import CAGES, short_range
from drivers.ixgbe.registers import ALL, AT, BAR_SIZE, REGISTERS, Kind, address
from drivers.model.faults import Faults
from drivers.model.memory import DmaMap
from hv.device import Region, Window

PAGE: Final = 4096
HOT: Final = (0x1000, 0x6000)
"""The pages that are memory in fast mode: the registers of the first 64 rings each way."""
ERRORS: Final = (
    "DMA_FAULT", "TAIL_BEYOND", "HEAD_WRITTEN", "RING_CHANGED", "RING_SIZE", "ENABLE_ORDER", "BUFFER_SIZE",
    "DESCRIPTOR_TYPE", "CONTEXT_MISSING", "LENGTH", "PAYLEN", "NO_EOP", "ACCESS", "IN_RESET", "RESET_BUSY",
    "CRC_STRIP", "UNKNOWN_REGISTER",
)  # fmt: skip
"""Names of what a driver may do wrong; ``engine.h`` says what each means."""

_RESET, _LINK_RESET, _GIO_DISABLE = 1 << 26, 1 << 3, 1 << 2
_GIO_ENABLED = 1 << 19
_AN_RESTART = 1 << 12
_PIN_2, _PIN_2_IS_OUTPUT = 1 << 2, 1 << 10
_OTHER_CAUSES = 0x3FFF_0000
_LINK_MODE: Final = {0x10F7: 0xC001_8000}
"""AUTOC as the EEPROM of a card has it, by device: KX4, KX and KR by negotiation; others, 10 Gb/s serial."""
_PAIRS: Final = {
    high: low for low, high in (("GORCL", "GORCH"), ("GOTCL", "GOTCH"), ("TORL", "TORH"), ("QBRC_L", "QBRC_H"),
                                ("QBTC_L", "QBTC_H"))
}  # fmt: skip
"""Octet counters: reading the high word clears both, reading the low one neither."""


class Mode(Enum):
    """How registers are reached; see the module."""

    TRAPPED = "conformance"
    FAST = "fast"
    MEMORY = "memory"


class Report(NamedTuple):
    """What a driver did wrong: its kind, the queue or register offset it concerns, and a value."""

    kind: str
    where: int
    value: int


class Ixgbe:
    """One controller: a ``hv.device.Device``.

    ``mode``: how registers are reached.  ``mac``: 6 bytes.  ``link_delay``: seconds from a restart of
    autonegotiation until the link is up, None: never.  ``link_at_reset``: the link comes up after a reset by itself.
    ``reset_time``: seconds that CTRL.RST takes, None: for ever.  ``registers``: at least 128 KiB of memory that is to
    hold them.  ``interrupt_counts``: a page where interrupts are counted as well (``drivers/lib/outside.h``).
    ``faults``: what goes wrong, of the packets.  ``empty_cage``: there is no module where a card has a cage for one,
    and so no link ever.
    """

    def __init__(
        self, mode: Mode = Mode.TRAPPED, *, name: str = "ixgbe model", mac: bytes = b"\x02\x82\x59\x90\x00\x01",
        device_id: int = 0x10FB, link_delay: float | None = 0.0, link_at_reset: bool = False,
        reset_time: float | None = 0.0, registers: mmap.mmap | None = None,
        interrupt_counts: mmap.mmap | None = None, faults: Faults | None = None, empty_cage: bool = False,
    ) -> None:  # fmt: skip
        if len(mac) != 6: raise ValueError(f"a MAC address has 6 bytes, not {len(mac)}")
        self.name = name
        self.vendor_id, self.device_id, self.class_code = 0x8086, device_id, 0x020000
        self.mode = mode
        self.eeprom = Eeprom(mac)
        self.module = short_range() if device_id in CAGES and not empty_cage else b""
        self.empty_cage = device_id in CAGES and not self.module
        self.link_delay, self.link_at_reset, self.reset_time = link_delay, link_at_reset, reset_time
        self.dma = DmaMap()
        self.interrupts: Sequence[int] = tuple(_eventfd() for _ in range(lib.IXGBE_VECTORS))
        self.removal = _eventfd()
        self._memory = registers if registers is not None else mmap.mmap(-1, BAR_SIZE)
        self._counts: Any = ffi.NULL if interrupt_counts is None else ffi.from_buffer(interrupt_counts)
        self.disconnects: list[Callable[[], None]] = []
        """Called when it is closed, before the engine ends."""
        self.closes: list[Callable[[], None]] = []
        """Called when it is closed, after the engine has ended."""
        self._words = memoryview(self._memory).cast("I")
        self._at: Any = ffi.from_buffer(self._memory)
        self._faults: Any = ffi.new("struct faults *")
        (faults or Faults()).fill(self._faults)
        self._engine: Any = lib.ixgbe_make(self.dma.map, self._at, self._faults)
        if self._engine == ffi.NULL: raise MemoryError("no memory for a model of the 82599")
        lib.ixgbe_events(self._engine, ffi.new("int[]", list(self.interrupts)),
                         ffi.cast("uint32_t *", self._counts))  # fmt: skip
        lib.ixgbe_removal(self._engine, self.removal)
        self._serial_memory: Any = ffi.from_buffer("uint16_t[]", self.eeprom.words), ffi.from_buffer(self.module)
        lib.ixgbe_serial(self._engine, self._serial_memory[0], len(self.eeprom.words),
                         self._serial_memory[1] if self.module else ffi.NULL)  # fmt: skip
        self._reset_until = 0.0
        self._as_memory = False  # what is being decided was found in memory
        self._follower: threading.Thread | None = None
        self._closing = False
        self._actions = self._what_writes_do()
        self._reads = self._what_reads_do()
        host = int(ffi.cast("uintptr_t", self._at))
        pages = {Mode.TRAPPED: (), Mode.FAST: HOT, Mode.MEMORY: tuple(range(0, BAR_SIZE, PAGE))}[mode]
        self._watched = sum(1 << page // PAGE for page in pages)
        self.regions: Sequence[Region] = (
            Region(BAR_SIZE, tuple(Window(page, PAGE, host + page) for page in pages)),
        )
        with self._locked():
            self._to_defaults()
            if self._watched:
                own = bytearray(_OWN)
                if reset_time is None: own[0] = 1  # CTRL.RST stays
                lib.ixgbe_watch(self._engine, self._watched, ffi.from_buffer(own))

    # What stands behind a device object (hv.device.Device).

    def read(self, region: int, offset: int, size: int) -> int:
        """A load of registers; what is not 32 aligned bits is an error of the driver, and reads as 0."""
        ones: int = (1 << 8 * size) - 1
        if region != 0 or not 0 <= offset <= BAR_SIZE - size: return 0
        with self._locked():
            if lib.ixgbe_removed(self._engine): return ones
            if size != 4 or offset % 4:
                self._error(lib.IXGBE_ACCESS, offset, size)
                return 0
            found = AT.get(offset)
            if found is None: return 0
            register, index = found
            action = self._reads.get(register.name)
            if action is not None: return action(index) & ALL
            value = self._get(offset)
            if register.kind is Kind.COUNTER: self._read_counter(register.name, index)
            return value

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        """A store; what is not 32 aligned bits is an error of the driver, and does nothing."""
        if region != 0 or not 0 <= offset <= BAR_SIZE - size: return
        with self._locked():
            if lib.ixgbe_removed(self._engine): return
            both = size == 8 and offset == address("FDIRHASH")  # with FDIRCMD: a filter and its command at once
            if (size != 4 or offset % 4) and not both:
                self._error(lib.IXGBE_ACCESS, offset, size)
            elif self._resetting:
                self._error(lib.IXGBE_IN_RESET, offset, value)
            else:
                self._written(offset, self._get(offset), value & ALL)
                if both: self._written(offset + 4, self._get(offset + 4), value >> 32)

    def map(self, iova: int, address: int, length: int, writable: bool) -> None:
        """DMA at ``iova`` reaches this memory from now on.  OSError: it cannot be mapped."""
        self.dma.add(iova, address, length, writable)

    def unmap(self, iova: int, length: int) -> None:
        """No DMA reaches these addresses when this returns."""
        self.dma.remove(iova, length)

    def reset(self) -> None:
        """As after power-on; mappings stay."""
        with self._locked():
            if not lib.ixgbe_removed(self._engine): self._to_defaults()

    def close(self) -> None:
        """Ends its threads and frees everything.  May be called again."""
        if self._engine == ffi.NULL: return
        for disconnect in tuple(self.disconnects): disconnect()
        self._closing = True
        lib.ixgbe_halt(self._engine)
        if self._follower is not None: self._follower.join()
        lib.ixgbe_end(self._engine)
        self._engine = ffi.NULL
        for close in self.closes: close()
        self.dma.close()
        for fd in (*self.interrupts, self.removal):
            os.close(fd)
        self._words.release()
        ffi.release(self._at)
        self._memory.close()

    def __enter__(self) -> Ixgbe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Running.

    def start(self, *, idle: float = 50e-6) -> None:
        """The engine polls on a thread of its own from now on, and sleeps ``idle`` seconds at a time when there has
        been nothing to do for a while; 0: never."""
        error = lib.ixgbe_run(self._engine, round(idle * 1e9))
        if error: raise OSError(error, "no thread for the engine of a modelled 82599")
        if self._watched and self._follower is None:
            self._follower = threading.Thread(target=self._follow, name=self.name, daemon=True)
            self._follower.start()

    def poll(self, times: int = 1) -> int:
        """Does what there is to do, once for each of ``times``, where no thread does; how many frames moved."""
        moved = 0
        for _ in range(times):
            if self._watched:
                with self._locked():
                    lib.ixgbe_scan(self._engine)
                while self._next_change(0): pass
            with self._locked():
                moved += lib.ixgbe_poll(self._engine)
        return moved

    def _follow(self) -> None:
        while not self._closing:
            self._next_change(50_000_000)

    def _next_change(self, timeout: int) -> bool:
        """Decides what the next word means that a driver wrote into memory, waiting for one ``timeout`` ns at most."""
        offset, before, value = ffi.new("uint32_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
        if not lib.ixgbe_changed(self._engine, offset, before, value, timeout): return False
        with self._locked():
            if lib.ixgbe_removed(self._engine): return True
            self._as_memory = True
            try:
                if self._resetting:
                    self._error(lib.IXGBE_IN_RESET, offset[0], value[0])
                    lib.ixgbe_settle(self._engine, offset[0], value[0], before[0])
                else:
                    self._written(offset[0], before[0], value[0])
            finally:
                self._as_memory = False
        return True

    # Registers.

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lib.ixgbe_lock(self._engine)
        try:
            yield
        finally:
            lib.ixgbe_unlock(self._engine)

    def _get(self, offset: int) -> int:
        return self._words[offset // 4]

    def _put(self, offset: int, value: int) -> None:
        lib.ixgbe_put(self._engine, offset, value)

    def _error(self, kind: int, where: int, value: int) -> None:
        lib.ixgbe_error(self._engine, kind, where, value)

    def _written(self, offset: int, before: int, value: int) -> None:
        """The driver wrote ``value`` where ``before`` was."""
        found = AT.get(offset)
        if found is None:
            self._error(lib.IXGBE_UNKNOWN_REGISTER, offset, value)
            if self._as_memory: lib.ixgbe_settle(self._engine, offset, value, 0)
            return
        register, index = found
        action = self._actions.get(register.name)
        if action is not None:
            now = action(index, before, value)
        elif register.kind in (Kind.COUNTER, Kind.STATUS):
            return
        else:
            now = before & ~register.writable | value & register.writable
        if self._as_memory: lib.ixgbe_settle(self._engine, offset, value, now)
        else: self._put(offset, now)
        for other in register.addresses(index):
            if other != offset: self._put(other, now)
        if register.name in ("GPIE", "EIMS", "EIMS_EX", "EICS", "EICS_EX", "IVAR_MISC"): lib.ixgbe_tick(self._engine)

        if register.name in ("ETQF", "FTQF"): lib.ixgbe_steer(self._engine)

    def _read_counter(self, name: str, index: int) -> None:
        if name in _PAIRS: self._put(address(_PAIRS[name], index), 0)
        elif name in _PAIRS.values(): return
        self._put(address(name, index), 0)

    def _what_reads_do(self) -> dict[str, Callable[[int], int]]:
        return {
            "CTRL": lambda _: self._get(0) | (_RESET if self._resetting else 0),
            "STATUS": self._read_status, "LINKS": self._read_links, "EICR": self._read_causes,
            "SWSM": self._read_semaphore, "EICS": lambda _: 0, "EIMC": lambda _: 0, "EICS_EX": lambda _: 0,
            "EIMC_EX": lambda _: 0,
        }  # fmt: skip

    def _what_writes_do(self) -> dict[str, Callable[[int, int, int], int]]:
        actions: dict[str, Callable[[int, int, int], int]] = {
            "CTRL": self._write_control, "EICR": self._write_causes, "EICS": self._set_causes,
            "EIMS": lambda _, b, v: int(lib.ixgbe_mask(self._engine, v, 0)), "EIMC": self._mask,
            "EICS_EX": self._set_vectors, "EIMS_EX": self._unmask_vectors, "EIMC_EX": self._mask_vectors,
            "EIAM": self._masking, "EIAM_EX": self._vectors_masking,
            "EEC": self._serial("EEC"), "I2CCTL": self._serial("I2CCTL"), "ESDP": self._write_pins,
            "EERD": self._read_eeprom, "EEWR": self._write_eeprom, "SWSM": lambda _, b, v: v & 7,
            "FDIRCTRL": lambda _, b, v: v | 8,
            "FDIRCMD": lambda _, b, v: v & ~3, "AUTOC": self._write_autoc, "MSCA": self._write_mdio,
        }  # fmt: skip
        for name in ("RDBAL", "RDBAH", "RDLEN", "RDH", "SRRCTL", "RXDCTL", "TDBAL", "TDBAH", "TDLEN", "TDH", "TXDCTL"):
            for array in (name, f"{name}_MORE") if not name.startswith("T") else (name,):
                actions[array] = self._ring(array)
        return actions

    # Reset and link (4.2.1.6, 3.7).

    @property
    def _resetting(self) -> bool:
        return time.monotonic() < self._reset_until

    def _to_defaults(self) -> None:
        """What a reset leaves: the first receive address comes from the EEPROM."""
        words, mac = memoryview(bytearray(_DEFAULTS)).cast("I"), self.eeprom.mac
        for low, high in ((0xA200, 0xA204), (0x5400, 0x5404)):
            words[low // 4] = int.from_bytes(mac[:4], "little")
            words[high // 4] = int.from_bytes(mac[4:], "little") | 1 << 31
        words[address("ESDP") // 4] = _PIN_2 if self.module else 0
        words[address("AUTOC") // 4] = _LINK_MODE.get(self.device_id, 3 << 13)
        delay = self._delay if self.link_at_reset else -1
        lib.ixgbe_defaults(self._engine, ffi.from_buffer(words), delay)
        lib.ixgbe_reset(self._engine)

    @property
    def _delay(self) -> int:
        """Nanoseconds from a restart to the link; negative: for ever."""
        return -1 if self.link_delay is None or self.empty_cage else round(self.link_delay * 1e9)

    def _link_restart(self) -> None:
        lib.ixgbe_link(self._engine, self._delay)

    def _write_control(self, _: int, before: int, value: int) -> int:
        if value & (_RESET | _LINK_RESET):
            if lib.ixgbe_busy(self._engine) and self._get(8) & _GIO_ENABLED:
                self._error(lib.IXGBE_RESET_BUSY, 0, value)
            self._to_defaults()
            if self.reset_time != 0:
                now = time.monotonic()
                self._reset_until = now + self.reset_time if self.reset_time is not None else float("inf")
            return 0
        return value & _GIO_DISABLE

    def _read_status(self, _: int) -> int:
        lib.ixgbe_tick(self._engine)
        quiet = self._get(0) & _GIO_DISABLE and not lib.ixgbe_busy(self._engine)
        value = self._get(8) & ~_GIO_ENABLED | (0 if quiet else _GIO_ENABLED)
        self._put(8, value)
        return value

    def _read_links(self, _: int) -> int:
        lib.ixgbe_tick(self._engine)
        return self._get(address("LINKS"))

    def _write_autoc(self, _: int, before: int, value: int) -> int:
        if value & _AN_RESTART: self._link_restart()
        return value & ~_AN_RESTART

    # Pins: the EEPROM and the module on theirs, what stands around the card (8.2.3.1, 8.2.3.2, 8.2.3.22.9).

    def _serial(self, name: str) -> Callable[[int, int, int], int]:
        def write(index: int, before: int, value: int) -> int:
            return int(lib.ixgbe_serial_write(self._engine, address(name), before, value))

        return write

    def _write_pins(self, _: int, before: int, value: int) -> int:
        """SDP2, where it is an input, says whether there is a module in the cage."""
        if value & _PIN_2_IS_OUTPUT: return value
        return value & ~_PIN_2 | (_PIN_2 if self.module else 0)

    def _write_mdio(self, _: int, before: int, value: int) -> int:
        """No PHY answers: the line stays high."""
        if value >> 26 & 3 >= 2: self._put(address("MSRWD"), self._get(address("MSRWD")) | 0xFFFF_0000)
        return value & ~(1 << 30)

    # EEPROM and semaphore (8.2.3.2, 10.5.4).

    def _read_eeprom(self, _: int, before: int, value: int) -> int:
        if not value & 1: return value & ~2
        return self.eeprom.read(value >> 2 & 0x3FFF) << 16 | value & 0xFFFC | 2

    def _write_eeprom(self, _: int, before: int, value: int) -> int:
        if value & 1: self.eeprom.write(value >> 2 & 0x3FFF, value >> 16)
        return value & ~1 | 2

    def _read_semaphore(self, _: int) -> int:
        value = self._get(address("SWSM"))
        self._put(address("SWSM"), value | 1)
        return value

    # Interrupts (8.2.3.5).

    def _read_causes(self, _: int) -> int:
        lib.ixgbe_tick(self._engine)
        gpie = self._get(address("GPIE"))
        bits = _OTHER_CAUSES if gpie & 1 << 5 else ALL  # OCD: reading clears the other causes alone
        causes = self._get(address("EICR"))
        lib.ixgbe_clear_causes(self._engine, bits)
        if not gpie & 1 << 4: lib.ixgbe_mask(self._engine, 0, self._get(address("EIAM")))
        return causes

    def _write_causes(self, _: int, before: int, value: int) -> int:
        return int(lib.ixgbe_clear_causes(self._engine, value))

    def _set_causes(self, _: int, before: int, value: int) -> int:
        lib.ixgbe_cause(self._engine, value & 0x7FFF_FFFF)
        return 0

    def _mask(self, _: int, before: int, value: int) -> int:
        lib.ixgbe_mask(self._engine, 0, value)
        return 0

    def _set_vectors(self, index: int, before: int, value: int) -> int:
        lib.ixgbe_raise(self._engine, 32 * index, value)
        return 0

    def _unmask_vectors(self, index: int, before: int, value: int) -> int:
        return int(lib.ixgbe_mask_vectors(self._engine, 32 * index, value, 0))

    def _mask_vectors(self, index: int, before: int, value: int) -> int:
        lib.ixgbe_mask_vectors(self._engine, 32 * index, 0, value)
        return 0

    def _masking(self, _: int, before: int, value: int) -> int:
        """EIAM: its lower 16 bits are also those of EIAM_EX(0)."""
        self._put(address("EIAM_EX"), self._get(address("EIAM_EX")) & 0xFFFF_0000 | value & 0xFFFF)
        return value & 0x7FFF_FFFF

    def _vectors_masking(self, index: int, before: int, value: int) -> int:
        if index == 0: self._put(address("EIAM"), self._get(address("EIAM")) & ~0xFFFF | value & 0xFFFF)
        return value

    # Rings (8.2.3.8, 8.2.3.9).

    def _ring(self, name: str) -> Callable[[int, int, int], int]:
        def write(index: int, before: int, value: int) -> int:
            return int(lib.ixgbe_ring_write(self._engine, address(name, index), before, value))

        return write

    # What goes wrong.

    @property
    def errors(self) -> dict[str, int]:
        """How often the driver did what, by name (``ERRORS``); what did not happen is not there."""
        with self._locked():
            counts = [lib.ixgbe_error_count(self._engine, kind) for kind in range(lib.IXGBE_ERRORS)]
        return {name: count for name, count in zip(ERRORS, counts, strict=True) if count}

    @property
    def reports(self) -> list[Report]:
        """The last 64 of these, oldest first."""
        into = ffi.new("struct ixgbe_report[64]")
        with self._locked():
            count = lib.ixgbe_reports(self._engine, into, 64)
        return [Report(ERRORS[one.kind], one.queue, one.value) for one in into[0:count]]

    def cause(self, bits: int) -> None:
        """Raises causes in EICR that nothing has caused."""
        with self._locked():
            lib.ixgbe_cause(self._engine, bits)
            lib.ixgbe_tick(self._engine)

    def link(self, delay: float | None) -> None:
        """The link goes down, and comes up after so many seconds; None: it stays down."""
        with self._locked():
            lib.ixgbe_link(self._engine, -1 if delay is None else round(delay * 1e9))

    def remove(self) -> None:
        """Surprise removal: all registers read as all ones from now on."""
        with self._locked():
            lib.ixgbe_remove(self._engine)

    @contextmanager
    def stopped(self) -> Iterator[Any]:
        """The engine (``engine.h``), which does nothing meanwhile."""
        with self._locked(): yield self._engine

    @property
    def engine(self) -> Any:
        """The engine, for back ends and benchmarks (``engine.h``)."""
        return self._engine


def _eventfd() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def _defaults() -> bytes:
    words = [0] * (BAR_SIZE // 4)
    for register in REGISTERS:
        for index in range(register.count):
            for at in register.addresses(index):
                words[at // 4] = register.reset
    return b"".join(word.to_bytes(4, "little") for word in words)


def _own() -> bytes:
    """By word: 1 where the device writes, or the engine reads what the driver writes, as it does with tails."""
    own = bytearray(BAR_SIZE // 4)
    tails = ("RDT", "RDT_MORE", "TDT", "RDH", "RDH_MORE", "TDH")
    for register in REGISTERS:
        if register.kind in (Kind.COUNTER, Kind.STATUS) or register.name in tails:
            for index in range(register.count):
                for at in register.addresses(index):
                    own[at // 4] = 1
    return bytes(own)


_DEFAULTS: Final = _defaults()
_OWN: Final = _own()

__all__ = ["ERRORS", "HOT", "Ixgbe", "Mode", "Report"]
