"""The format of page-table entries, and the frames that tables live in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.layout import EXECUTE, PAGE_SIZE, READ, TABLES_BASE, WRITE
from hv.kvm import Kvm
from hv.page_tables import (
    ACCESSED,
    DIRTY,
    LARGE,
    NO_EXECUTE,
    PRESENT,
    USER,
    WRITABLE,
    Entry,
    TableFrames,
    decode_entry,
    encode_entry,
)

FRAME = st.integers(0, (1 << 40) - 1).map(lambda number: number * PAGE_SIZE)


def test_entries_as_the_manual_has_them() -> None:
    """SDM vol. 3, tables 4-18 to 4-20."""
    common = PRESENT | USER | ACCESSED
    assert encode_entry(0x5000, 0, table=True, large=False) == 0x5000 | common | WRITABLE
    assert encode_entry(0x5000, READ, table=False, large=False) == 0x5000 | common | DIRTY | NO_EXECUTE
    assert encode_entry(0x5000, READ | WRITE, table=False, large=False) == (
        0x5000 | common | DIRTY | WRITABLE | NO_EXECUTE
    )
    assert encode_entry(0x20_0000, READ | EXECUTE, table=False, large=True) == 0x20_0000 | common | DIRTY | LARGE
    assert encode_entry(0x5000, 0, table=False, large=False) == 0


@given(FRAME, st.integers(1, 7), st.booleans())
def test_decoding_gives_back_what_was_encoded(target: int, permissions: int, large: bool) -> None:
    entry = encode_entry(target, permissions, table=False, large=large)
    assert decode_entry(entry) == Entry(target, permissions | READ, large, True)
    assert 0 < entry < 1 << 64


@given(st.integers(0, (1 << 64) - 1))
def test_what_is_not_present_permits_nothing(entry: int) -> None:
    decoded = decode_entry(entry & ~PRESENT)
    assert decoded.permissions == 0
    assert not decoded.user


@pytest.fixture
def frames(kvm: Kvm) -> TableFrames:
    return TableFrames(kvm.vm(), 8 << 20, recycle_at=8)


@pytest.mark.kvm
def test_tables_get_zeroed_frames_of_their_own(frames: TableFrames) -> None:
    places = [frames.create(number) for number in range(600)]
    assert len(set(places)) == 600
    assert all(place >= TABLES_BASE and place % PAGE_SIZE == 0 for place in places)
    for number in (0, 255, 256, 599):
        assert frames.gpa(number) == places[number]
        assert frames.table_at(places[number]) == number
        assert all(frames.entry(number, index) == 0 for index in range(512))
    assert frames.table_at(TABLES_BASE + 700 * PAGE_SIZE) is None


@pytest.mark.kvm
def test_entries_are_kept_and_bounded(frames: TableFrames) -> None:
    frames.create(7)
    frames.create(8)
    frames.set_entry(7, 0, 1)
    frames.set_entry(7, 511, (1 << 64) - 1)
    assert (frames.entry(7, 0), frames.entry(7, 511), frames.entry(8, 0)) == (1, (1 << 64) - 1, 0)
    for index in (-1, 512):
        with pytest.raises(IndexError):
            frames.set_entry(7, index, 0)
        with pytest.raises(IndexError):
            frames.entry(7, index)
    with pytest.raises(KeyError):
        frames.create(7)
    with pytest.raises(KeyError):
        frames.set_entry(9, 0, 0)


@pytest.mark.kvm
def test_recycling_is_asked_for_when_it_pays(frames: TableFrames) -> None:
    for number in range(256):
        frames.create(number)
    assert not frames.recycle_needed()
    for number in range(7):
        frames.free(number)
    assert not frames.recycle_needed(), "few wait"
    for number in range(7, 20):
        frames.free(number)
    assert frames.recycle_needed(), "all are used, many wait"
    frames.recycle()
    assert not frames.recycle_needed()
    for number in range(20):
        assert frames.create(number) < TABLES_BASE + 256 * PAGE_SIZE
    assert frames.create(1000) == TABLES_BASE + 256 * PAGE_SIZE, "and grown when there is none left"


@pytest.mark.kvm
def test_there_are_only_so_many(kvm: Kvm) -> None:
    frames = TableFrames(kvm.vm(), 4 * PAGE_SIZE)
    for number in range(4):
        frames.create(number)
    with pytest.raises(MemoryError):
        frames.create(4)
    frames.free(0)
    with pytest.raises(MemoryError):
        frames.create(4)
    frames.recycle()
    frames.create(4)
    frames.close()
    frames.close()
