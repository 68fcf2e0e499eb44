"""What a modelled device reaches: what is mapped, with its permission, and nothing that was taken away."""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Iterator

import pytest

from drivers._native import ffi, lib
from drivers.model.memory import DmaFault, DmaMap

PAGE = 4096
BLOCK = 2 << 20


@pytest.fixture
def memory() -> Iterator[DmaMap]:
    made = DmaMap()
    yield made
    made.close()


def pages(count: int) -> tuple[mmap.mmap, int]:
    area = mmap.mmap(-1, count * PAGE)
    return area, int(ffi.cast("uintptr_t", ffi.from_buffer(area)))


def test_what_is_mapped_is_reached_across_pages_that_lie_apart(memory: DmaMap) -> None:
    area, address = pages(3)
    memory.add(0x10000, address + 2 * PAGE, PAGE, True)
    memory.add(0x11000, address, PAGE, True)
    memory.write(0x10FFE, b"abcd")
    assert area[3 * PAGE - 2:] == b"ab"
    assert area[:2] == b"cd"
    assert memory.read(0x10FFE, 4) == b"abcd"
    assert memory.pages == 2


def test_nothing_beside_it_is_reached(memory: DmaMap) -> None:
    area, address = pages(3)
    memory.add(0x10000, address + PAGE, PAGE, True)
    for iova, length in ((0xFFFF, 1), (0x11000, 1), (0x10FFF, 2), (0, 8), (1 << 48, 1), (2**64 - 1, 8)):
        with pytest.raises(DmaFault): memory.read(iova, length)
        with pytest.raises(DmaFault): memory.write(iova, b"x" * length)
    assert area[:PAGE] == area[2 * PAGE:] == bytes(PAGE)


def test_what_is_for_reading_is_not_written(memory: DmaMap) -> None:
    area, address = pages(1)
    area[:4] = b"kept"
    memory.add(0x5000, address, PAGE, False)
    assert memory.read(0x5000, 4) == b"kept"
    with pytest.raises(DmaFault): memory.write(0x5000, b"gone")
    assert area[:4] == b"kept"


def test_what_was_taken_away_is_not_reached_even_if_just_used(memory: DmaMap) -> None:
    _, address = pages(2)
    memory.add(0x5000, address, 2 * PAGE, True)
    memory.write(0x5000, b"x" * 2 * PAGE)
    memory.remove(0x5000, PAGE)
    with pytest.raises(DmaFault): memory.read(0x5000, 1)
    assert memory.read(0x6000, 1) == b"x"
    memory.add(0x5000, address + PAGE, PAGE, True)
    assert memory.read(0x5000, 1) == b"x"
    memory.remove(0, 1 << 47)
    assert memory.pages == 0
    with pytest.raises(DmaFault): memory.read(0x6000, 1)


def test_mapping_is_refused_as_a_whole(memory: DmaMap) -> None:
    _, address = pages(4)
    memory.add(0x7000, address, PAGE, True)
    for iova, at, length in ((0x6000, address, 2 * PAGE), (0x6001, address, PAGE), (0x6000, address + 1, PAGE),
                             (0x6000, address, 100), (1 << 48, address, PAGE), ((1 << 48) - PAGE, address, 2 * PAGE),
                             (0x6000, 0, PAGE)):  # fmt: skip
        with pytest.raises(OSError, match=r"\[Errno"): memory.add(iova, at, length, True)
    assert memory.pages == 1
    with pytest.raises(DmaFault): memory.read(0x6000, 1)


def test_a_block_is_cut_and_what_is_left_of_it_stays(memory: DmaMap) -> None:
    area, address = pages(3 * BLOCK // PAGE)
    for at in range(0, len(area), PAGE):
        area[at:at + 4] = (at // PAGE).to_bytes(4, "little")
    memory.add(4 * BLOCK, address, 3 * BLOCK, True)
    assert memory.pages == 3 * BLOCK // PAGE
    memory.remove(5 * BLOCK - 2 * PAGE, 4 * PAGE)  # the end of one, the beginning of the next
    assert memory.pages == 3 * BLOCK // PAGE - 4
    for page in (0, 100, 509, 514, 1023, 1024, 1535):
        assert memory.read(4 * BLOCK + page * PAGE, 4) == page.to_bytes(4, "little")
    for page in (510, 511, 512, 513):
        with pytest.raises(DmaFault): memory.read(4 * BLOCK + page * PAGE, 4)
    memory.remove(4 * BLOCK + 5 * PAGE, 1 << 46)  # much more than is mapped, beginning within a block
    assert memory.pages == 5
    assert memory.read(4 * BLOCK + 4 * PAGE, 4) == (4).to_bytes(4, "little")


def test_much_is_taken_from_within_a_block(memory: DmaMap) -> None:
    _, address = pages(BLOCK // PAGE)
    memory.add(4 * BLOCK, address, BLOCK, True)
    memory.remove(4 * BLOCK + 100 * PAGE, 200 * PAGE)
    assert memory.pages == 312
    assert len(memory.read(4 * BLOCK + 99 * PAGE, PAGE)) == len(memory.read(4 * BLOCK + 300 * PAGE, PAGE)) == PAGE
    for page in (100, 200, 299):
        with pytest.raises(DmaFault): memory.read(4 * BLOCK + page * PAGE, 1)


def test_the_map_does_not_grow_with_where_pages_are_mapped(memory: DmaMap) -> None:
    """A program that maps a page here and there, again and again, must not use up the host's memory."""
    _, address = pages(1)
    for turn in range(20_000):
        iova = turn * 7919 * BLOCK % (1 << 47)
        memory.add(iova, address, PAGE, True)
        memory.remove(iova, PAGE)
    assert memory.pages == 0


def test_taking_away_waits_for_an_engine_that_is_inside(memory: DmaMap) -> None:
    area, address = pages(1)
    memory.add(0x5000, address, PAGE, True)
    user = lib.dma_user_make(memory.map)
    lib.dma_enter(user)
    assert lib.dma_write(user, 0x5000, b"1", 1)
    done = threading.Event()

    def remove() -> None:
        memory.remove(0x5000, PAGE)
        done.set()

    thread = threading.Thread(target=remove)
    thread.start()
    assert not done.wait(0.05)
    lib.dma_leave(user)
    assert done.wait(10)
    thread.join()
    lib.dma_enter(user)
    assert not lib.dma_write(user, 0x5000, b"2", 1)
    lib.dma_leave(user)
    assert area[:1] == b"1"


def test_an_engine_never_writes_what_was_taken_away(memory: DmaMap) -> None:
    """A thread writes as fast as it can through one IOVA, which is mapped to one page after the other."""
    area, address = pages(2)
    user = lib.dma_user_make(memory.map)
    stop = False
    wrote = 0

    def engine() -> None:
        nonlocal wrote
        while not stop:
            lib.dma_enter(user)
            wrote += lib.dma_write(user, 0x5000, b"\xff", 1)
            lib.dma_leave(user)

    thread = threading.Thread(target=engine)
    thread.start()
    try:
        end = time.monotonic() + 60
        turn = 0
        while (turn < 200 or wrote < 200) and time.monotonic() < end:
            at = turn % 2 * PAGE
            memory.add(0x5000, address + at, PAGE, True)
            time.sleep(1e-4)
            memory.remove(0x5000, PAGE)
            area[at] = 0
            time.sleep(1e-4)
            assert area[at] == 0
            turn += 1
    finally:
        stop = True
        thread.join()
    assert wrote >= 200
