"""The driver (``driver.c``) outside a machine: in this process, on the registers and memory of a model."""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import dataclass
from typing import Any

from drivers._native import ffi, lib
from drivers.ixgbe.model import Ixgbe

IOVA: int = 0x1_0000_0000
"""Where the device finds the memory."""


@dataclass
class Packet:
    """A packet that was received, or is to be sent."""

    data: bytes
    flags: int = 0
    tag: int = 0


class Port:
    """A model whose registers are memory (``Mode.MEMORY``), which runs, with the driver on it.

    Options are those of ``struct nic_options``.  Raises OSError if the device cannot be brought up.
    """

    def __init__(self, model: Ixgbe, *, memory: int = 16 << 20, interrupts: bool = False, **options: int) -> None:
        self.model = model
        self._memory = mmap.mmap(-1, memory)
        self._at: Any = ffi.from_buffer(self._memory)
        self._counts: Any = ffi.new("uint32_t[]", 128) if interrupts else ffi.NULL
        if interrupts: lib.ixgbe_events(model.engine, ffi.NULL, self._counts)
        model.map(IOVA, int(ffi.cast("uintptr_t", self._at)), memory, True)
        registers = ffi.cast("void *", model.regions[0].windows[0].address)
        error = ffi.new("int *")
        chosen = ffi.new("struct nic_options *", {"interrupts": interrupts, **options})
        self.nic: Any = lib.nic_shared_open(registers, self._at, memory, IOVA, self._counts, chosen, error)
        if self.nic == ffi.NULL:
            raise OSError(-error[0], f"the port cannot be brought up: {os.strerror(-error[0])}")
        self._packets: Any = ffi.new("struct nic_packet[64]")

    def receive(self, queue: int = 0, most: int = 64) -> list[Packet]:
        """What has come, copied; the buffers are given back."""
        count = lib.nic_receive(self.nic, queue, self._packets, most)
        found = [Packet(bytes(ffi.buffer(p.data, p.length)), p.flags, p.tag) for p in self._packets[0:count]]
        lib.nic_free(self.nic, self._packets, count)
        return found

    def send(self, *packets: Packet | bytes, queue: int = 0) -> int:
        """Hands packets to the device; how many it took.  MemoryError: no buffers."""
        for i, packet in enumerate(packets):
            what = packet if isinstance(packet, Packet) else Packet(packet)
            if not lib.nic_make(self.nic, ffi.addressof(self._packets, i)):
                lib.nic_free(self.nic, self._packets, i)
                raise MemoryError("the pool of packets is empty")
            into = self._packets[i]
            ffi.memmove(into.data, what.data, len(what.data))
            into.length, into.flags, into.tag = len(what.data), what.flags, what.tag
        sent: int = lib.nic_send(self.nic, queue, self._packets, len(packets))
        if sent < len(packets): lib.nic_free(self.nic, ffi.addressof(self._packets, sent), len(packets) - sent)
        return sent

    def wait(self, seconds: float) -> int:
        """Until something has come or ``seconds`` are over; how many interrupts there were."""
        result: int = lib.nic_wait(self.nic, round(seconds * 1e9))
        if result < 0: raise OSError(-result, os.strerror(-result))
        return result

    def wait_for_link(self, seconds: float = 10.0) -> None:
        """Raises TimeoutError, or OSError for a device that is gone."""
        error = lib.nic_wait_for_link(self.nic, round(seconds * 1e3))
        if error == -errno.ETIMEDOUT: raise TimeoutError(f"no link for {seconds} s")
        if error: raise OSError(-error, os.strerror(-error))

    @property
    def speed(self) -> int:
        """Mb/s; 0: no link."""
        return int(lib.nic_link(self.nic))

    def statistics(self) -> dict[str, int]:
        """Totals (``struct nic_statistics``); those that are not 0.  OSError: the device is gone."""
        into = ffi.new("struct nic_statistics *")
        error = lib.nic_read_statistics(self.nic, into)
        if error: raise OSError(-error, os.strerror(-error))
        values = {name: int(getattr(into, name)) for name, _ in ffi.typeof("struct nic_statistics").fields}
        return {name: value for name, value in values.items() if value}

    def close(self) -> None:
        """Stops the device.  The model stays the caller's."""
        if self.nic != ffi.NULL: lib.nic_shared_close(self.nic)
        self.nic = ffi.NULL


__all__ = ["IOVA", "Packet", "Port"]
