"""Bringing the controller up and down, by registers (NVM Express 1.4, sections 3.1, 7.3 and 7.6)."""

from __future__ import annotations

import mmap
import os
import time

import pytest

from drivers.nvme.backing import in_memory
from drivers.nvme.model import NvmeModel

from .conftest import MakeHost
from .host import IOVA, PAGE, Host

CC_ENABLE = 1 | 6 << 16 | 4 << 20


def test_capabilities(host: Host) -> None:
    cap = host.bar.read64(0)
    assert cap & 0xFFFF == 1023
    assert cap >> 16 & 1 == 1  # queues are contiguous
    assert cap >> 32 & 15 == 0  # doorbells are 4 bytes apart
    assert cap >> 37 & 1 == 1  # the NVM command set
    assert cap >> 48 & 15 == 0  # pages of 4 KiB
    assert cap >> 24 & 0xFF > 0
    assert host.bar.read32(8) == 0x00010400
    assert host.model.read(0, 0, 8) == cap
    assert host.model.class_code == 0x010802


def test_enabled_and_disabled(make_host: MakeHost) -> None:
    host = make_host()
    assert host.bar.read32(0x1C) == 0
    host.enable()
    assert host.bar.read32(0x1C) == 1
    host.bar.write32(0x14, 0)
    assert host.bar.read32(0x1C) == 0
    aqa, asq = host.bar.read32(0x24), host.bar.read64(0x28)
    assert (aqa, asq) == (31 | 31 << 16, IOVA)  # a controller reset keeps these


def test_enabling_takes_its_time(make_host: MakeHost) -> None:
    host = make_host(ready_ms=30)
    host.enable()
    assert host.bar.read32(0x1C) & 1 == 0
    deadline = time.monotonic() + 10
    while not host.bar.read32(0x1C) & 1 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert host.bar.read32(0x1C) == 1
    never = make_host(ready_ms=-1)
    never.enable()
    time.sleep(0.01)
    assert never.bar.read32(0x1C) & 1 == 0


@pytest.mark.parametrize("change", [
    {0x24: 0}, {0x24: 31}, {0x24: 31 << 16}, {0x28: 0}, {0x30: 0}, {0x14: CC_ENABLE | 1 << 7},
    {0x14: CC_ENABLE | 1 << 4}, {0x14: CC_ENABLE | 1 << 11}, {0x14: 1 | 4 << 20},
    {0x14: 1 | 6 << 16}, {0x14: 1 | 5 << 16 | 4 << 20},
])  # fmt: skip
def test_not_enabled_with_what_is_not_valid(make_host: MakeHost, change: dict[int, int]) -> None:
    """Admin queues of one entry or at 0, page size, command set, arbitration, entry sizes."""
    host = make_host()
    sq, cq = host.page(), host.page()
    values = {0x24: 31 | 31 << 16, 0x28: sq, 0x2C: sq >> 32, 0x30: cq, 0x34: cq >> 32, 0x14: CC_ENABLE}
    if change.get(0x28) == 0: values[0x2C] = 0
    if change.get(0x30) == 0: values[0x34] = 0
    for offset, value in {**values, **change}.items():
        if offset != 0x14: host.bar.write32(offset, value & 0xFFFFFFFF)
    host.bar.write32(0x14, change.get(0x14, CC_ENABLE))
    assert host.bar.read32(0x1C) & 3 == 2  # fatal, not ready
    host.bar.write32(0x14, 0)
    assert host.bar.read32(0x1C) == 0
    host.enable()
    assert host.bar.read32(0x1C) == 1


def test_low_bits_of_queue_addresses_are_0(make_host: MakeHost) -> None:
    host = make_host()
    host.bar.write64(0x28, 0x12345678_9ABCDEF1)
    assert host.bar.read64(0x28) == 0x12345678_9ABCD000


def test_admin_queue_registers_stay_while_enabled(host: Host) -> None:
    before = host.bar.read64(0x28)
    host.bar.write64(0x28, 0x5000)
    host.bar.write32(0x24, 0)
    assert (host.bar.read64(0x28), host.bar.read32(0x24)) == (before, 31 | 31 << 16)


def test_interrupt_mask_set_and_clear(host: Host) -> None:
    host.bar.write32(0x0C, 0b1101)
    host.bar.write32(0x10, 0b0100)
    assert host.bar.read32(0x0C) == host.bar.read32(0x10) == 0b1001


def test_shutdown(host: Host) -> None:
    host.bar.write32(0x14, CC_ENABLE | 1 << 14)
    assert host.bar.read32(0x1C) == 1 | 2 << 2
    host.bar.write32(0x14, 0)
    assert host.bar.read32(0x1C) == 0
    host.enable()
    assert host.bar.read32(0x1C) == 1


def test_subsystem_reset_is_noted_until_cleared(host: Host) -> None:
    host.bar.write32(0x20, 0x12345678)
    assert host.bar.read32(0x1C) == 1
    host.bar.write32(0x20, 0x4E564D65)
    assert host.bar.read32(0x1C) == 1 << 4
    assert host.bar.read32(0x14) == 0
    host.bar.write32(0x1C, 1 << 4)
    assert host.bar.read32(0x1C) == 0


def test_a_queue_that_cannot_be_reached_is_fatal_and_a_reset_helps(make_host: MakeHost) -> None:
    host = make_host()
    host.enable()
    host.model.unmap(host.admin.cq, PAGE)
    host.admin.put(0x06, prp1=host.page(), dw10=1)
    host.admin.ring()
    host.model.poll()
    assert host.bar.read32(0x1C) & 2
    assert host.model.counts()["dma_faults"] == 1
    host.bar.write32(0x14, 0)
    assert host.bar.read32(0x1C) == 0
    host.enable()
    assert host.run(host.admin, 0x06, prp1=host.page(), dw10=1).status == 0


def test_nothing_is_told_after_a_reset(host: Host) -> None:
    host.admin.put(0x06, prp1=host.page(), dw10=1)
    host.admin.ring()
    host.bar.write32(0x14, 0)
    host.model.poll()
    assert host.admin.peek() is None
    host.admin.ring()  # of a queue that is not there any more
    host.model.poll()
    assert host.admin.peek() is None


def test_odd_accesses_change_nothing_and_raise_nothing(host: Host) -> None:
    before = [host.model.read(0, offset, 4) for offset in range(0, 0x40, 4)]
    for offset in (*range(0x48), 0xFF0, 0xFFF, 0x2001, 0x2FFC, 0x3000, 0x3FFF, 0x4000, 1 << 40):
        for size in (1, 2, 4, 8):
            host.model.read(0, offset, size)
            host.model.read(1, offset, size)
            if size < 4 or offset % 4 or offset in (0, 8, 0x18, 0x38, 0x3C) or offset >= 0x2000:
                host.model.write(0, offset, size, 2 ** (8 * size) - 1)
                host.model.write(3, offset, size, 1)
    assert [host.model.read(0, offset, 4) for offset in range(0, 0x40, 4)] == before


def test_pulled_out_it_reads_as_all_ones_and_answers_nothing(host: Host) -> None:
    host.admin.put(0x06, prp1=host.page(), dw10=1)
    host.model.remove()
    host.admin.ring()
    host.model.poll()
    assert host.model.read(0, 0x1C, 4) == 0xFFFFFFFF
    assert host.model.read(0, 0, 8) == 2**64 - 1
    assert host.admin.peek() is None
    assert os.eventfd_read(host.model.removal) == 1


def test_registers_in_a_file_that_a_driver_outside_shares() -> None:
    registers, backing = mmap.mmap(-1, 0x4000), in_memory(1 << 20)
    model = NvmeModel(backing, registers=registers, thread=False)
    host = Host(model)

    def read32(offset: int) -> int:
        return int.from_bytes(registers[offset : offset + 4], "little")

    def write32(offset: int, value: int) -> None:
        registers[offset : offset + 4] = value.to_bytes(4, "little")

    host.bar.read32, host.bar.write32 = read32, write32  # type: ignore[method-assign]
    assert read32(8) == 0x00010400
    host.enable()
    model.poll()
    assert read32(0x1C) == 1
    page = host.page()
    assert host.run(host.admin, 0x06, prp1=page, dw10=1).status == 0
    assert host.load(page + 24, 8) == b"aerostat"
    write32(0x14, 0)
    model.poll()
    assert read32(0x1C) == 0
    model.remove()
    assert read32(0x1C) == 0xFFFFFFFF
    model.close()
    backing.close()
