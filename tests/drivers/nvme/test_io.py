"""Reads, writes, flushes and the like, and where their data lies (NVM Express 1.4, section 4.3 and chapter 6)."""

from __future__ import annotations

import ctypes
import random
import struct
import time
from pathlib import Path

import pytest

from drivers._native import lib
from drivers.nvme.backing import Backing, in_file, in_memory

from .conftest import SIZE, MakeHost
from .host import IOVA, PAGE, Completion, Host, Queue

BLOCK = 512


def pattern(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def list_of(host: Host, pages: list[int], *, at: int | None = None) -> int:
    """A PRP list that is a page long or shorter."""
    at = host.page() if at is None else at
    host.store(at, struct.pack(f"<{len(pages)}Q", *pages))
    return at


def contents(host: Host, lba: int, length: int) -> bytes:
    memory = host.model.backing.memory
    assert memory is not None
    return memory[lba * BLOCK : lba * BLOCK + length]


@pytest.fixture
def queue(host: Host) -> Queue:
    return host.queue(1)


def test_a_block_is_written_and_read(host: Host, queue: Queue) -> None:
    at, back = host.page(), host.page()
    host.store(at, pattern(1, BLOCK))
    assert host.write(queue, 7, 1, at).status == 0
    assert contents(host, 7, BLOCK) == pattern(1, BLOCK)
    assert contents(host, 6, BLOCK) == contents(host, 8, BLOCK) == bytes(BLOCK)
    assert host.read(queue, 7, 1, back).status == 0
    assert host.load(back, PAGE) == pattern(1, BLOCK) + bytes(PAGE - BLOCK)


@pytest.mark.parametrize("offset", [0, 4, 512, 2048, 3584, 4092])
@pytest.mark.parametrize("pages", [1, 2, 3, 9])
def test_prps_with_an_offset(host: Host, queue: Queue, offset: int, pages: int) -> None:
    """One page, two by PRP2, more by a list; data that begins within a page."""
    length = pages * PAGE
    at = [host.page() for _ in range(pages + 1)]
    at = at[::-1]  # not in the order of addresses
    data = pattern(offset + pages, length)
    spread = bytes(offset) + data
    for index, page in enumerate(at):
        host.store(page, spread[index * PAGE : (index + 1) * PAGE])
    used = at[1 : -(-(offset + length) // PAGE)]
    prp2 = 0 if not used else used[0] if len(used) == 1 else list_of(host, used)
    assert host.write(queue, 100, length // BLOCK, at[0] + offset, prp2).status == 0
    assert contents(host, 100, length) == data


def test_a_list_that_begins_within_a_page_and_goes_on_in_others(host: Host, queue: Queue) -> None:
    """The last slot of a page of the list says where it goes on, if there is more; else it is an entry."""
    pages = [host.page() for _ in range(100)]
    first, second, third = host.page(), host.page(), host.page()
    data = pattern(3, 100 * PAGE)
    for index, page in enumerate(pages): host.store(page, data[index * PAGE : (index + 1) * PAGE])
    rest = pages[1:]
    list_of(host, [*rest[:2], second], at=first + PAGE - 24)
    list_of(host, rest[2:], at=second)
    assert host.write(queue, 0, 800, pages[0], first + PAGE - 24).status == 0
    assert contents(host, 0, 100 * PAGE) == data
    back = [host.page() for _ in range(4)]
    list_of(host, back[1:], at=third + PAGE - 24)  # fits to the last slot
    assert host.read(queue, 0, 32, back[0], third + PAGE - 24).status == 0
    assert b"".join(host.load(page, PAGE) for page in back) == data[: 4 * PAGE]


def test_prp2_is_ignored_where_one_page_is_enough(host: Host, queue: Queue) -> None:
    at = host.page()
    assert host.read(queue, 0, 8, at, 0x1234567).status == 0


def test_prps_that_are_not_valid(host: Host, queue: Queue) -> None:
    at, other, entries = host.page(), host.page(), host.page()
    for prp1, prp2, blocks in (
        (at + 2, 0, 1), (at + 1, 0, 8), (at, other + 8, 16), (at + 512, other + 4, 8), (at, entries + 4, 32),
    ):  # fmt: skip
        done = host.read(queue, 0, blocks, prp1, prp2)
        assert (done.status, done.dnr) == (0x13, True)
    list_of(host, [other, other + 512, other], at=entries)
    assert host.read(queue, 0, 32, at, entries).status == 0x13
    list_of(host, [other, entries + 8], at=entries + PAGE - 16)  # the list goes on at an offset
    assert host.read(queue, 0, 40, at, entries + PAGE - 16).status == 0x13


@pytest.mark.parametrize("write", [False, True])
def test_memory_that_the_device_does_not_reach(host: Host, queue: Queue, write: bool) -> None:
    move = host.write if write else host.read
    at, other = host.page(), host.page()
    beyond = IOVA + host.pages * PAGE
    assert move(queue, 0, 1, 0).status == 0x04
    assert move(queue, 0, 1, beyond).status == 0x04
    assert move(queue, 0, 16, at, beyond).status == 0x04
    assert move(queue, 0, 24, at, beyond).status == 0x04  # the list itself
    assert move(queue, 0, 24, at, list_of(host, [other, 0x5000])).status == 0x04
    assert move(queue, 0, 1, 2**64 - 4096).status == 0x04
    assert host.model.counts()["dma_faults"] == 6
    assert move(queue, 0, 1, at).status == 0


def test_memory_that_the_device_may_only_read(host: Host, queue: Queue) -> None:
    at, fixed = host.page(), host.page()
    host.store(fixed, pattern(4, PAGE))
    host.model.unmap(fixed, PAGE)
    host.model.map(fixed, host.address + fixed - IOVA, PAGE, False)
    assert host.write(queue, 0, 8, fixed).status == 0
    assert host.read(queue, 0, 8, fixed).status == 0x04
    assert host.load(fixed, PAGE) == pattern(4, PAGE) == contents(host, 0, PAGE)
    assert host.read(queue, 0, 8, at).status == 0


def test_blocks_beyond_the_namespace(host: Host, queue: Queue) -> None:
    last, at = SIZE // BLOCK - 1, host.page()
    assert host.read(queue, last, 1, at).status == 0
    for lba, blocks in ((last, 2), (last + 1, 1), (2**64 - 1, 1), (2**64 - 1, 2), (1 << 55, 1)):
        for move in (host.read, host.write):
            done = move(queue, lba, blocks, at)
            assert (done.status, done.dnr) == (0x80, True)


def test_more_than_a_command_moves(host: Host, queue: Queue) -> None:
    assert host.read(queue, 0, 1025, host.page(), host.page()).status == 0x02
    pages = [host.page() for _ in range(128)]
    assert host.read(queue, 0, 1024, pages[0], list_of(host, pages[1:])).status == 0


def test_namespaces_opcodes_and_flags(host: Host, queue: Queue) -> None:
    at = host.page()
    for nsid in (0, 2, 0xFFFFFFFF):
        assert host.run(queue, 2, nsid=nsid, prp1=at).status == 0x0B
    assert host.run(queue, 0, nsid=0xFFFFFFFF).status == 0  # flush of all
    assert host.run(queue, 0, nsid=1).status == 0
    assert host.run(queue, 0, nsid=3).status == 0x0B
    for opcode in (3, 0x0A, 0x20, 0x80, 0xFF):
        assert host.run(queue, opcode, nsid=1, prp1=at).status == 0x01
    for flags in (0x40, 0x80, 0xC0, 1, 2):
        assert host.run(queue, 2, nsid=1, prp1=at, flags=flags).status == 0x02


def zeroes(host: Host, queue: Queue, lba: int, blocks: int) -> Completion:
    return host.run(queue, 8, nsid=1, dw10=lba & 0xFFFFFFFF, dw11=lba >> 32, dw12=blocks - 1)


def test_write_zeroes(host: Host, queue: Queue) -> None:
    at = host.page()
    host.store(at, pattern(5, PAGE))
    host.write(queue, 10, 8, at)
    assert zeroes(host, queue, 12, 3).status == 0
    data = pattern(5, PAGE)
    assert contents(host, 10, PAGE) == data[:1024] + bytes(1536) + data[2560:]
    assert zeroes(host, queue, SIZE // BLOCK - 1, 2).status == 0x80
    assert zeroes(host, queue, 0, 32768).status == 0  # all of it: no limit of data
    assert host.model.backing.memory is not None
    assert not any(host.model.backing.memory[:])


def test_deallocated_blocks_read_as_zeroes(host: Host, queue: Queue) -> None:
    at, ranges = host.page(), host.page()
    host.store(at, pattern(6, PAGE))
    host.write(queue, 0, 8, at)
    host.store(ranges, struct.pack("<IIQIIQ", 0, 1, 2, 0, 2, 5))
    assert host.run(queue, 9, nsid=1, prp1=ranges, dw10=1, dw11=4).status == 0
    data = pattern(6, PAGE)
    assert contents(host, 0, PAGE) == data[:1024] + bytes(512) + data[1536:2560] + bytes(1024) + data[3584:]
    assert host.run(queue, 9, nsid=1, prp1=ranges, dw10=0, dw11=0).status == 0  # a hint, nothing to do
    assert contents(host, 0, 1024) == data[:1024]
    host.store(ranges, struct.pack("<IIQIIQ", 0, 1, 0, 0, 1, SIZE // BLOCK))
    assert host.run(queue, 9, nsid=1, prp1=ranges, dw10=1, dw11=4).status == 0x80
    assert contents(host, 0, 1024) == data[:1024]
    assert host.run(queue, 9, nsid=1, prp1=0x1000, dw10=0, dw11=4).status == 0x04


def test_large_blocks(make_host: MakeHost) -> None:
    host = make_host(block=4096)
    host.enable()
    queue, at = host.queue(1), host.page()
    host.store(at, pattern(7, PAGE))
    assert host.write(queue, 3, 1, at).status == 0
    assert host.model.backing.memory is not None
    assert host.model.backing.memory[3 * PAGE : 4 * PAGE] == pattern(7, PAGE)
    assert host.read(queue, SIZE // PAGE, 1, at).status == 0x80


# What survives without power.


def test_power_cut_loses_some_of_what_was_not_flushed_and_nothing_else(make_host: MakeHost) -> None:
    host = make_host(power_cuts=True)
    host.enable()
    queue, at = host.queue(1), host.page()
    for lba in range(64):
        host.store(at, bytes([lba + 1]) * BLOCK)
        assert host.write(queue, lba, 1, at).status == 0
    assert host.run(queue, 0, nsid=1).status == 0
    for lba in range(32, 96):
        host.store(at, bytes([lba + 101]) * BLOCK)
        assert host.write(queue, lba, 1, at).status == 0
    host.store(at, b"\xff" * BLOCK)
    assert host.write(queue, 40, 1, at, fua=True).status == 0
    lost = host.model.cut_power(5)
    assert host.bar.read32(0x1C) == 0
    assert 10 < lost < 54
    now = [contents(host, lba, BLOCK) for lba in range(96)]
    assert now[:32] == [bytes([lba + 1]) * BLOCK for lba in range(32)]
    assert now[40] == b"\xff" * BLOCK
    before = {lba: bytes([lba + 1 if lba < 64 else 0]) * BLOCK for lba in range(32, 96) if lba != 40}
    kept = [lba for lba in before if now[lba] == bytes([lba + 101]) * BLOCK]
    assert len(kept) + lost == len(before)
    assert all(now[lba] == before[lba] for lba in before if lba not in kept)
    host.enable()
    again = host.queue(1)
    assert host.read(again, 0, 1, at).status == 0
    assert host.load(at, BLOCK) == now[0]
    assert host.model.cut_power(6) == 0


def test_zeroes_that_were_not_flushed_are_lost_as_well(make_host: MakeHost) -> None:
    host = make_host(power_cuts=True)
    host.enable()
    queue, at = host.queue(1), host.page()
    host.store(at, pattern(4, PAGE))
    for lba in range(0, 64, 8): assert host.write(queue, lba, 8, at).status == 0
    assert host.run(queue, 0, nsid=1).status == 0
    assert zeroes(host, queue, 0, 64).status == 0
    lost = host.model.cut_power(3)
    assert 10 < lost < 54
    now = [contents(host, lba, BLOCK) for lba in range(64)]
    assert now.count(bytes(BLOCK)) == 64 - lost
    assert all(block in (bytes(BLOCK), pattern(4, PAGE)[lba % 8 * BLOCK :][:BLOCK]) for lba, block in enumerate(now))


def test_power_is_cut_of_a_namespace_in_a_file(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(in_file(tmp_path / "disk", SIZE), power_cuts=True)
    host.enable()
    queue, at = host.queue(1), host.page()
    for flushed in (True, False):
        for lba in range(64):
            host.store(at, bytes([lba + 1 + 100 * (not flushed)]) * BLOCK)
            assert host.write(queue, lba, 1, at).status == 0
        if flushed: assert host.run(queue, 0, nsid=1).status == 0
    lost = host.model.cut_power(5)
    assert 10 < lost < 54
    there = (tmp_path / "disk").read_bytes()
    old = [lba for lba in range(64) if there[lba * BLOCK : (lba + 1) * BLOCK] == bytes([lba + 1]) * BLOCK]
    new = [lba for lba in range(64) if there[lba * BLOCK : (lba + 1) * BLOCK] == bytes([lba + 101]) * BLOCK]
    assert len(old) == lost
    assert sorted(old + new) == list(range(64))


def test_nothing_is_lost_without_a_write_cache_or_after_a_shutdown(make_host: MakeHost) -> None:
    for shutdown in (False, True):
        host = make_host(power_cuts=True)
        host.enable()
        if not shutdown: assert host.run(host.admin, 0x09, dw10=6, dw11=0).status == 0
        queue, at = host.queue(1), host.page()
        host.store(at, pattern(8, PAGE))
        assert host.write(queue, 0, 8, at).status == 0
        assert zeroes(host, queue, 1, 1).status == 0
        if shutdown: host.bar.write32(0x14, 1 | 6 << 16 | 4 << 20 | 1 << 14)
        assert host.model.cut_power(1) == 0
        assert contents(host, 0, PAGE) == pattern(8, BLOCK) + bytes(BLOCK) + pattern(8, PAGE)[2 * BLOCK :]


# Files.


def not_on_disk(path: Path) -> int:
    """How many pages of a file the host has in its cache alone (cachestat of Linux 6.5)."""
    cachestat = 451
    libc = ctypes.CDLL(None, use_errno=True)
    counts = (ctypes.c_uint64 * 5)()
    with path.open("rb+") as file:
        if libc.syscall(cachestat, file.fileno(), (ctypes.c_uint64 * 2)(0, 0), counts, 0):
            pytest.skip("this host does not tell what is in its cache")
    return counts[1] + counts[2]  # dirty, and being written


@pytest.mark.parametrize("depth", [0, 64])
def test_what_was_flushed_is_on_the_disk(make_host: MakeHost, tmp_path: Path, depth: int) -> None:
    """Not in the host's cache alone, lost with its power: after a flush, a write with FUA, a shutdown."""
    path = tmp_path / "disk"
    host, queue = on_file(make_host, path, depth=depth, direct=False)
    at = host.page()

    def write(lba: int, *, fua: bool = False) -> None:
        queue.put(1, nsid=1, prp1=at, dw10=lba, dw12=7 | fua << 30)
        queue.ring()
        assert [done.status for done in settle(host, queue, 1)] == [0]

    write(0)
    if not not_on_disk(path): pytest.skip("this host keeps no writes in its cache")
    queue.put(0, nsid=1)
    queue.ring()
    assert [done.status for done in settle(host, queue, 1)] == [0]
    assert not_on_disk(path) == 0
    write(800, fua=True)
    assert not_on_disk(path) == 0
    assert host.run(host.admin, 0x09, dw10=6, dw11=0).status == 0  # no write cache: as if all had FUA
    write(1600)
    assert not_on_disk(path) == 0
    assert host.run(host.admin, 0x09, dw10=6, dw11=1).status == 0
    write(2400)
    assert not_on_disk(path) > 0
    host.bar.write32(0x14, 1 | 6 << 16 | 4 << 20 | 1 << 14)
    assert host.bar.read32(0x1C) >> 2 & 3 == 2
    assert not_on_disk(path) == 0


def on_file(make_host: MakeHost, path: Path, **how: int) -> tuple[Host, Queue]:
    host = make_host(in_file(path, SIZE, **how))  # type: ignore[arg-type]
    host.enable()
    host.model.poll()
    return host, host.queue(1, 256)


def settle(host: Host, queue: Queue, count: int) -> list[Completion]:
    """Waits for completions of what a file does in its own time."""
    done: list[Completion] = []
    deadline = time.monotonic() + 60
    while len(done) < count and time.monotonic() < deadline:
        host.model.poll()
        done += queue.take()
    return done


@pytest.mark.parametrize("depth", [0, 64])
@pytest.mark.parametrize("direct", [None, False])
def test_a_namespace_in_a_file(make_host: MakeHost, tmp_path: Path, depth: int, direct: bool | None) -> None:
    path = tmp_path / "disk"
    host, queue = on_file(make_host, path, depth=depth, direct=direct)  # type: ignore[arg-type]
    pages = [host.page() for _ in range(40)]
    for index, page in enumerate(pages):
        host.store(page, pattern(index, PAGE))
        queue.put(1, nsid=1, prp1=page, dw10=8 * index, dw12=7)
    queue.ring()
    assert [done.status for done in settle(host, queue, 40)] == [0] * 40
    queue.put(0, nsid=1)
    queue.ring()
    assert [done.status for done in settle(host, queue, 1)] == [0]
    assert path.read_bytes()[: 40 * PAGE] == b"".join(pattern(index, PAGE) for index in range(40))
    odd = host.page(3)
    queue.put(2, nsid=1, prp1=odd + 4, prp2=odd + PAGE, dw10=1, dw12=7)  # memory that O_DIRECT would refuse
    queue.ring()
    assert [done.status for done in settle(host, queue, 1)] == [0]
    assert host.load(odd + 4, PAGE) == path.read_bytes()[BLOCK : BLOCK + PAGE]
    queue.put(8, nsid=1, dw10=4, dw12=3)
    queue.put(1, nsid=1, prp1=odd + 4, prp2=odd + PAGE, dw10=400, dw12=7 | 1 << 30)
    queue.ring()
    assert [done.status for done in settle(host, queue, 2)] == [0] * 2
    assert path.read_bytes()[4 * BLOCK : 8 * BLOCK] == bytes(4 * BLOCK)
    assert path.read_bytes()[400 * BLOCK : 408 * BLOCK] == host.load(odd + 4, PAGE)


def test_memory_is_taken_away_while_a_file_is_read_and_written(make_host: MakeHost, tmp_path: Path) -> None:
    """When unmap returns, data that was on its way is there, and no more comes."""
    (tmp_path / "disk").write_bytes(random.Random(1).randbytes(128 * PAGE))  # holes would be read at once
    host, queue = on_file(make_host, tmp_path / "disk")
    at = host.page(128)
    host.store(at, b"\xee" * 128 * PAGE)
    for index in range(128):
        queue.put(2, nsid=1, prp1=at + index * PAGE, dw10=8 * index, dw12=7)
    queue.ring()
    host.model.poll(1)
    host.model.unmap(at, 128 * PAGE)
    seen = host.load(at, 128 * PAGE)
    time.sleep(0.01)
    assert host.load(at, 128 * PAGE) == seen
    done = settle(host, queue, 128)
    assert len(done) == 128
    assert {one.status for one in done} <= {0, 0x04}
    assert host.load(at, 128 * PAGE) == seen


def test_no_data_moves_after_a_queue_was_deleted(make_host: MakeHost, tmp_path: Path) -> None:
    host, queue = on_file(make_host, tmp_path / "disk")
    at = host.page(64)
    for turn in range(5):
        host.store(at, b"\xee" * 64 * PAGE)
        for index in range(64):
            queue.put(2, nsid=1, prp1=at + index * PAGE, dw10=8 * index, dw12=7)
        queue.ring()
        host.model.poll(1)
        host.store(at, b"\xdd" * 0)
        assert host.run(host.admin, 0x00, dw10=1).status == 0
        seen, told = host.load(at, 64 * PAGE), host.load(queue.cq, PAGE)
        host.model.poll()
        assert host.load(at, 64 * PAGE) == seen
        assert host.load(queue.cq, PAGE) == told
        assert host.run(host.admin, 0x04, dw10=1).status == 0
        queue = host.queue(1, 64 + turn)


def test_the_end_of_a_queue_waits_for_its_data(make_host: MakeHost, tmp_path: Path) -> None:
    """On a disk that is asked for much at once something is under way when it begins; nothing is when it returns."""
    (tmp_path / "disk").write_bytes(random.Random(1).randbytes(128 * PAGE))
    host, queue = on_file(make_host, tmp_path / "disk")
    at, moved = host.page(128), False
    for _ in range(5):
        host.store(at, b"\xee" * 128 * PAGE)
        for index in range(128):
            queue.put(2, nsid=1, prp1=at + index * PAGE, dw10=8 * index, dw12=7)
        queue.ring()
        lib.nvme_pass(host.model.engine)
        before = host.load(at, 128 * PAGE)
        lib.nvme_sq_end(host.model.engine, 1)
        seen = host.load(at, 128 * PAGE)
        time.sleep(0.01)
        assert host.load(at, 128 * PAGE) == seen
        moved = moved or seen != before
        lib.nvme_cq_end(host.model.engine, 1)
        queue = host.queue(1, 256)
    if not moved: pytest.skip("this disk has read everything before one can ask")


def test_a_file_of_no_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty"): in_file(tmp_path / "empty")
    with pytest.raises(OSError, match="disk"): in_file(tmp_path / "disk")


def test_backings_can_be_closed_twice() -> None:
    backing: Backing = in_memory(PAGE)
    backing.close()
    backing.close()
