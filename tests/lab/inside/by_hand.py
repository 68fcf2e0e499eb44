"""An NVMe controller driven by hand, from Python."""

import struct
import time

from aerostat import DirectDevice
from hv.kvm import ffi

NVME = "0000:00:05.0"
CAP, VS, CC, CSTS, AQA, ASQ, ACQ, DOORBELLS = 0, 8, 0x14, 0x1C, 0x24, 0x28, 0x30, 0x1000
DEPTH = 16
PATIENCE = 30.0
READ, WRITE = 2, 1


class Nvme:
    """A queue pair of an NVMe controller, by hand; queue 0 is the admin queue."""

    def __init__(self, device: DirectDevice, number: int = 0) -> None:
        self.device, self.bar, self.number = device, device.bar[0], number
        self.submissions, self.completions = device.dma(4096), device.dma(4096)
        self.tail = self.head = 0
        self.phase = 1

    def enable(self) -> None:
        self.bar.write32(CC, 0)
        self._await_ready(0)
        self.bar.write32(AQA, (DEPTH - 1) << 16 | (DEPTH - 1))
        self.bar.write64(ASQ, self.submissions.iova)
        self.bar.write64(ACQ, self.completions.iova)
        self.bar.write32(CC, 4 << 20 | 6 << 16 | 1)
        self._await_ready(1)

    def _await_ready(self, ready: int) -> None:
        end = time.monotonic() + PATIENCE
        while self.bar.read32(CSTS) & 1 != ready: assert time.monotonic() < end

    def command(self, opcode: int, iova: int, namespace: int = 0, *dwords: int) -> int:
        """Makes a command; its status."""
        more = [*dwords, 0, 0, 0, 0, 0, 0][:6]
        entry = struct.pack("<II16xQQ6I", opcode | self.tail << 16, namespace, iova, 0, *more)
        self.submissions[64 * self.tail : 64 * self.tail + 64] = entry
        self.tail = (self.tail + 1) % DEPTH
        self.bar.write32(DOORBELLS + 8 * self.number, self.tail)
        end = time.monotonic() + PATIENCE
        while True:
            status = struct.unpack_from("<H", self.completions.view, 16 * self.head + 14)[0]
            if status & 1 == self.phase: break
            assert time.monotonic() < end, "no completion"
        self.head = (self.head + 1) % DEPTH
        if self.head == 0: self.phase ^= 1
        self.bar.write32(DOORBELLS + 8 * self.number + 4, self.head)
        return int(status) >> 1


def queues(nvme: DirectDevice) -> tuple[Nvme, Nvme]:
    """Enables a controller that was reset: its admin queue, and one for I/O."""
    admin, queue = Nvme(nvme), Nvme(nvme, 1)
    admin.enable()
    assert admin.command(5, queue.completions.iova, 0, (DEPTH - 1) << 16 | 1, 1) == 0
    assert admin.command(1, queue.submissions.iova, 0, (DEPTH - 1) << 16 | 1, 1 << 16 | 1) == 0
    return admin, queue


def host_address(memory: object) -> int:
    """Where a buffer is in this process."""
    return int(ffi.cast("uintptr_t", ffi.from_buffer(memory)))
