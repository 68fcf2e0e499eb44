"""What another processor may see in the middle: of the model, that a completion's phase comes last; of the driver, that
a command is whole before it is told of."""

from __future__ import annotations

import ctypes
import mmap
import struct

import pytest

from drivers._native import ffi, lib
from drivers.nvme.backing import in_memory
from drivers.nvme.model import BAR_SIZE, NvmeModel
from tests.drivers.nvme.conftest import SIZE, MakeHost
from tests.drivers.nvme.host import IOVA, PAGE
from tests.drivers.nvme.pattern import blocks
from tests.drivers.stores import states


@pytest.mark.parametrize("passes", [0, 1], ids=["phase 1", "phase 0"])
def test_a_completion_and_its_data_are_whole_when_the_phase_says_so(make_host: MakeHost, passes: int) -> None:
    backing = in_memory(SIZE)
    assert backing.memory is not None
    backing.memory[: 8 * 512] = blocks(1, 0, 8)
    counts = mmap.mmap(-1, PAGE)
    host = make_host(backing, interrupt_counts=counts)
    host.enable()
    queue = host.queue(1, 16, vector=2)
    pages = [host.page() for _ in range(8)]
    for _ in range(16 * passes): assert host.read(queue, 0, 1, pages[0]).status == 0
    for page in pages: host.store(page, bytes(PAGE))
    for number, page in enumerate(pages): queue.put(2, nsid=1, prp1=page, dw10=number)
    queue.ring()

    def at(iova: int) -> int: return host.address + iova - IOVA
    told_at = ctypes.addressof(ctypes.c_char.from_buffer(counts))
    told_before = counts[8:12]
    areas = ((host.address, host.pages * PAGE), (told_at, PAGE))
    told: list[int] = []
    for seen in states(host.model.poll, *areas):
        done = [bool(seen(at(queue.cq) + 16 * i + 14, 1)[0] & 1) == (queue.phase == 1) for i in range(8)]
        for number in (i for i in range(8) if done[i]):
            entry = seen(at(queue.cq) + 16 * number, 16)
            assert entry == host.load(queue.cq + 16 * number, 16), "the rest of the completion came later"
            assert seen(at(pages[number]), 512) == blocks(1, number, 1), "data came later"
        assert done == sorted(done, reverse=True), "in order"
        if seen(told_at + 8, 4) != told_before: assert all(done), "the interrupt came before what it tells of"
        told.append(sum(done))
    assert set(told) == set(range(9)), "each of them was seen alone"
    assert [one.cid for one in queue.take()] == list(range(queue.next_cid - 8, queue.next_cid))
    assert counts[8:12] != told_before


def test_the_result_of_an_admin_command_is_there_when_the_phase_says_so(make_host: MakeHost) -> None:
    """It is in the other half of a completion, which the store of the phase does not reach."""
    host = make_host()
    host.enable()
    host.model.poll()
    for _ in range(3): host.admin.put(0x0A, dw10=7)  # Get Features: how many queues
    host.admin.ring()
    at = host.address + host.admin.cq - IOVA
    told: list[int] = []
    for seen in states(host.model.poll, (host.address, host.pages * PAGE)):
        done = [number for number in range(3) if seen(at + 16 * number + 14, 1)[0] & 1]
        for number in done:
            assert seen(at + 16 * number, 16) == host.load(host.admin.cq + 16 * number, 16), "a part came later"
        told.append(len(done))
    assert set(told) == set(range(4)), "each of them was seen alone"
    assert {one.result for one in host.admin.take()} == {15 << 16 | 15}


def admin_commands(registers: mmap.mmap, memory: mmap.mmap, iova: int) -> dict[int, int]:
    """What PRP1 was of the admin commands that a driver has given, by opcode."""
    (at,), (entries,) = struct.unpack_from("<Q", registers, 0x28), struct.unpack_from("<H", registers, 0x24)
    start = at - iova
    commands = [memory[start + 64 * i : start + 64 * i + 64] for i in range((entries & 0xFFF) + 1)]
    return {command[0]: struct.unpack_from("<Q", command, 24)[0] for command in commands}


@pytest.mark.parametrize("shadow", [True, False])
def test_a_command_is_whole_when_it_is_told_of(shadow: bool) -> None:
    """By the doorbell, or its shadow in memory."""
    iova, size = 1 << 32, 16 << 20
    registers, memory = mmap.mmap(-1, BAR_SIZE), mmap.mmap(-1, size)
    address, bar = (ctypes.addressof(ctypes.c_char.from_buffer(area)) for area in (memory, registers))
    backing = in_memory(1 << 20)
    model = NvmeModel(backing, registers=registers)
    model.map(iova, address, size, True)
    error = ffi.new("int *")
    options = ffi.new("struct disk_options *", {"no_shadow": not shadow})
    disk = lib.linked_disk_open(ffi.cast("void *", bar), BAR_SIZE, ffi.cast("void *", address), size, iova, options,
                                error)  # fmt: skip
    assert disk != ffi.NULL, error[0]
    try:
        with model.without_thread():
            timing = ffi.new("struct nvme_timing *")

            def work() -> None:
                assert lib.linked_disk_in_turns(disk, model.engine, False, 8, 1, timing) == 0

            where = admin_commands(registers, memory, iova)
            queue = address + where[0x01] - iova  # Create I/O Submission Queue
            tail = address + where[0x7C] - iova + 8 if shadow else bar + 0x1008  # Doorbell Buffer Config
            tails: list[int] = []
            for seen in states(work, (address, size), (bar, BAR_SIZE)):
                tails.append(int.from_bytes(seen(tail, 4), "little"))
                assert seen(queue, 64 * tails[-1]) == ctypes.string_at(queue, 64 * tails[-1]), "a part came later"
        assert set(tails) == {0, 8}
        assert ctypes.string_at(queue, 64 * 8)[::64] == b"\x02" * 8, "they are reads"
    finally:
        lib.linked_disk_close(disk)
        model.close()
        backing.close()
