"""1 GiB mappings, tried from inside the guest: by one entry where vCPUs know it, elsewhere by a table in its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from abi.layout import BLOCK_SIZE, GIANT_PAGES, GIANT_SIZE, PAGE_SIZE, READ, WRITE
from hv.kvm import Kvm
from hv.page_tables import LARGE, WRITABLE, decode_entry
from tests.hv.guest import Guest
from tests.hv.test_translations import accessor, counting

pytestmark = pytest.mark.kvm

GIANT = 5 * GIANT_SIZE
"""Where tests map 1 GiB."""
PLACES = (0, 8, BLOCK_SIZE - 8, 3 * BLOCK_SIZE + 0x5000, GIANT_SIZE // 2, GIANT_SIZE - 8)


@pytest.fixture(params=["entry", "stand-in"])
def guest(request: pytest.FixtureRequest, kvm: Kvm, new_guest: Callable[..., Guest]) -> Guest:
    """A machine of 3 GiB that maps 1 GiB in one way or the other."""
    if request.param == "entry" and not kvm.giant_pages: pytest.skip("vCPUs here know no 1 GiB entries")
    return new_guest(3 << 30, giant_entries=request.param == "entry")


def new_giant(guest: Guest) -> int:
    """The first page of the second GiB."""
    guest.memory.ensure(2 * GIANT_PAGES - 1)
    guest.memory.huge(GIANT_PAGES, GIANT_PAGES)
    return GIANT_PAGES


def test_all_of_a_giant_is_reached_and_nothing_beside_it(guest: Guest) -> None:
    program = accessor(guest)
    giant = new_giant(guest)
    program.space.map_giant(GIANT, giant)
    for offset in PLACES:
        assert program.load(GIANT + offset) == 0
        assert program.store(GIANT + offset, offset + 1) == "syscall"
    for offset in PLACES:
        assert program.load(GIANT + offset) == offset + 1
        at = giant * PAGE_SIZE + offset
        assert int.from_bytes(guest.memory.view[at : at + 8], "little") == offset + 1
        found = program.vcpu.translate(GIANT + offset)
        assert found.valid
        assert found.physical == at
    assert program.load(GIANT + GIANT_SIZE) == "fault 14 0x4"
    assert program.load(GIANT - 8) == "fault 14 0x4"


def test_a_giant_costs_what_is_touched(guest: Guest) -> None:
    program = accessor(guest)
    program.space.map_giant(GIANT, new_giant(guest))
    before = guest.memory.resident()
    for offset in PLACES:
        program.store(GIANT + offset, 1)
    assert guest.memory.resident() - before <= len(PLACES) * BLOCK_SIZE


def test_a_giant_is_protected_and_unmapped(guest: Guest) -> None:
    program = accessor(guest)
    giant = new_giant(guest)
    program.space.map_giant(GIANT, giant)
    for offset in PLACES:
        assert program.store(GIANT + offset, offset + 1) == "syscall"
    program.space.map_giant(GIANT, giant, READ)
    guest.memory.drop(giant, GIANT_PAGES)
    for offset in PLACES:
        assert program.store(GIANT + offset, 9) == "fault 14 0x7"
        assert program.load(GIANT + offset) == offset + 1
    program.space.map_giant(GIANT, giant, READ | WRITE)
    guest.memory.drop(giant, GIANT_PAGES)
    for offset in PLACES:
        assert program.store(GIANT + offset, 7) == "syscall"
    program.space.map_giant(GIANT, giant, 0)
    guest.memory.release(giant, GIANT_PAGES)
    for offset in PLACES:
        assert program.load(GIANT + offset) == "fault 14 0x4"
    # The next owner finds nothing of what was there.
    program.space.map_giant(GIANT + GIANT_SIZE, giant)
    for offset in PLACES:
        assert program.load(GIANT + GIANT_SIZE + offset) == 0
        assert program.load(GIANT + offset) == "fault 14 0x4"


def test_a_vcpu_that_is_on_a_giant_loses_it_at_once(guest: Guest) -> None:
    program = accessor(guest)
    giant = new_giant(guest)
    place = GIANT + GIANT_SIZE // 2
    program.space.map_giant(GIANT, giant)
    with counting(guest, program.space, place, giant + GIANT_PAGES // 2) as counter:
        program.space.map_giant(GIANT, giant, READ)
        guest.memory.drop(giant, GIANT_PAGES)
        assert counter.wait() == "fault 14"
        assert counter.vcpu.error_code == 7


def test_a_stand_in_says_what_the_entry_would(kvm: Kvm, new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(3 << 30, giant_entries=False)
    program = accessor(guest)
    giant, frames = new_giant(guest), guest.frames
    program.space.map_giant(GIANT, giant, READ)
    table, index = program.space.table(GIANT, 3), GIANT >> 30 & 511
    assert decode_entry(frames.mapping(table, index)) == (giant * PAGE_SIZE, READ, True, True)
    assert not frames.entry(table, index) & LARGE
    found = frames.stand_in(table, index)
    assert found is not None
    address, entries = found
    assert decode_entry(frames.entry(table, index)).target == address
    assert [decode_entry(entry).target for entry in entries] == [
        giant * PAGE_SIZE + n * BLOCK_SIZE for n in range(512)
    ]
    assert {decode_entry(entry)[1:] for entry in entries} == {(READ, True, True)}
    # The table is the same while the mapping is, and goes with it.
    program.space.map_giant(GIANT, giant)
    assert frames.stand_in(table, index) == (address, [entry | WRITABLE for entry in entries])
    program.space.map_giant(GIANT, giant, 0)
    assert (frames.stand_in(table, index), frames.entry(table, index), frames.mapping(table, index)) == (None, 0, 0)
