"""Causes, vectors, moderation; events are eventfds."""

from __future__ import annotations

import os
import time

import pytest

from tests.drivers.ixgbe import card as c
from tests.drivers.ixgbe.card import Card
from tests.drivers.ixgbe.packets import numbered

LSC = 1 << 20


def events(card: Card, vector: int = 0) -> int:
    """How many came since the last look."""
    try:
        return os.eventfd_read(card.nic.interrupts[vector])
    except BlockingIOError:
        return 0


@pytest.fixture
def quiet(card: Card) -> Card:
    """Queue 0 each way; nothing pending, all masked."""
    card.write(c.EIMC, 0x7FFF_FFFF)
    card.write(c.EICR, 0x7FFF_FFFF)
    card.receive_queue()
    card.transmit_queue()
    for vector in range(64): events(card, vector)
    return card


def test_one_event_tells_of_all_causes(quiet: Card) -> None:
    quiet.write(c.IVAR, 0x80 | 0x81 << 8)  # receive: bit 0, transmit: bit 1
    quiet.write(c.EIMS, 3)
    quiet.arrive(numbered(1))
    assert events(quiet) == 1
    assert quiet.read(c.EICR) == 1
    quiet.send(numbered(2))
    quiet.tell()
    assert events(quiet) == 1
    assert quiet.read(c.EICR) & 2


def test_reading_causes_clears_them(trapped: Card) -> None:
    trapped.nic.cause(LSC | 1)
    assert trapped.read(c.EICR) == LSC | 1
    assert trapped.read(c.EICR) == 0
    trapped.write(c.GPIE, 1 << 5)  # OCD: only the other causes
    trapped.nic.cause(LSC | 1)
    assert trapped.read(c.EICR) == LSC | 1
    assert trapped.read(c.EICR) == 1
    trapped.nic.cause(6)
    trapped.write(c.EICR, 2)
    assert trapped.read(c.EICR) == 5


def test_reading_causes_masks_what_eiam_says_where_there_is_one_vector(trapped: Card) -> None:
    """8.2.3.5.10; with MSI-X reading EICR masks nothing."""
    for msix, left in ((0, 1 << 20 | 4), (1 << 4, 1 << 20 | 7)):
        trapped.write(c.GPIE, msix)
        trapped.write(c.EIMC, 0x7FFF_FFFF)
        trapped.write(c.EIAM, 3)
        trapped.write(c.EIMS, 1 << 20 | 7)
        trapped.nic.cause(1)
        assert trapped.read(c.EICR) == 1
        assert trapped.read(c.EIMS) == left


def test_a_cause_that_comes_while_others_are_cleared(quiet: Card) -> None:
    quiet.nic.cause(LSC)
    quiet.poll()
    quiet.write_unseen(c.EICR, 0x7FFF_0000)
    quiet.nic.cause(1 << 3)
    quiet.poll()
    assert quiet.read(c.EICR) == 1 << 3


def test_masked_causes_wait(quiet: Card) -> None:
    quiet.write(c.IVAR, 0x80)
    quiet.arrive(numbered(1))
    assert events(quiet) == 0
    assert quiet.read(c.EIMS) & 1 == 0
    quiet.write(c.EIMS, 1)
    quiet.poll()
    assert events(quiet) == 1


def test_what_is_masked_and_unmasked_at_once_is_unmasked(quiet: Card) -> None:
    """Drivers mask all and unmask some, perhaps the same as before, without a pause."""
    quiet.write(c.GPIE, 1 << 4)
    quiet.write(c.IVAR, 0x80 | 0x81 << 8)
    quiet.write(c.EIAC, 3)
    for number, wanted in enumerate((3, 3, 1, 1, 2, 3)):
        quiet.write_unseen(c.EIMC, 0x7FFF_FFFF)
        quiet.write_unseen(c.EIMS, wanted)
        quiet.poll()
        assert quiet.read(c.EIMS) & 0x7FFF_FFFF == quiet.read(0xAA0) == wanted
        quiet.arrive(numbered(number))
        assert events(quiet, 0) == (wanted & 1)
        quiet.write(c.EICR, 0x7FFF_FFFF)
    quiet.write(c.EIMC, 0x7FFF_FFFF)
    assert quiet.read(c.EIMS) == quiet.read(0xAA0) == 0


def test_a_queue_without_a_valid_entry_is_silent(quiet: Card) -> None:
    quiet.write(c.IVAR, 0)
    quiet.write(c.EIMS, 0xFFFF)
    quiet.arrive(numbered(1))
    assert events(quiet) == 0


def test_each_queue_has_its_vector(quiet: Card) -> None:
    quiet.write(c.GPIE, 1 << 4)
    quiet.write(c.IVAR, 0x83 | 0xA8 << 8)  # receive: vector 3, transmit: vector 40
    quiet.write(c.EIMS, 1 << 3)
    quiet.write(0xAA4, 1 << 8)  # EIMS_EX(1): vectors 32 to 63
    quiet.arrive(numbered(1), numbered(2))
    quiet.send(numbered(2))
    quiet.tell()
    assert [vector for vector in range(64) if events(quiet, vector)] == [3, 40]


def test_vectors_clear_and_mask_themselves_if_told(quiet: Card) -> None:
    quiet.write(c.GPIE, 1 << 4 | 1 << 30)
    quiet.write(c.IVAR, 0x82)
    quiet.write(c.EIAC, 1 << 2)
    quiet.write(c.EIAM, 1 << 2)
    quiet.write(c.EIMS, 1 << 2)
    quiet.arrive(numbered(1))
    assert events(quiet, 2) == 1
    assert quiet.read(c.EIMS) & 1 << 2 == 0
    assert quiet.read(c.EICR) & 1 << 2 == 0
    quiet.arrive(numbered(2))
    assert events(quiet, 2) == 0
    quiet.write(c.EIMS, 1 << 2)
    quiet.poll()
    assert events(quiet, 2) == 1


@pytest.mark.parametrize("vector", [2, 20, 40])
def test_any_vector_masks_itself(quiet: Card, vector: int) -> None:
    """EIAM_EX and EIMS_EX have a bit for each of 64; the first 16 are those of EIAM and EIMS as well."""
    word, bit = vector // 32 * 4, 1 << vector % 32
    quiet.write(c.GPIE, 1 << 4 | 1 << 30)
    quiet.write(c.IVAR, 0x80 | vector)
    for i in range(2): quiet.write(0xAD0 + 4 * i, 0xFFFF_FFFF)
    assert quiet.read(c.EIAM) & 0xFFFF == 0xFFFF
    quiet.write(c.EIAC, 0xFFFF)
    for number in (1, 2):
        quiet.write(0xAA0 + word, bit)
        assert quiet.read(0xAA0 + word) & bit
        quiet.arrive(numbered(number), numbered(number + 10))
        assert events(quiet, vector) == 1
        assert not quiet.read(0xAA0 + word) & bit
        assert not quiet.read(c.EIMS) & 1 << vector
        quiet.poll()
        assert events(quiet, vector) == 0
        quiet.write(0xAA0 + word, bit)
        quiet.poll()
        assert events(quiet, vector) == 1  # for what came meanwhile
    quiet.write(c.EIAM, 0)
    assert quiet.read(0xAD0) == 0xFFFF_0000


def test_other_causes_mask_themselves(quiet: Card) -> None:
    quiet.write(c.GPIE, 1 << 4 | 1 << 30)
    quiet.write(c.IVAR_MISC, 0x85 << 8)
    quiet.write(c.EIAM, LSC)
    quiet.write(c.EIMS, LSC | 1 << 21)
    quiet.nic.link(0)
    quiet.poll()
    assert events(quiet, 5) >= 1
    assert quiet.read(c.EIMS) & (LSC | 1 << 21) == 1 << 21


@pytest.mark.parametrize("vector", [3, 20, 45])
def test_software_raises_any_vector(quiet: Card, vector: int) -> None:
    """EICS_EX: how drivers have a queue looked at again."""
    word, bit = vector // 32 * 4, 1 << vector % 32
    quiet.write(c.GPIE, 1 << 4)
    quiet.write(0xAA0 + word, bit)
    for _ in range(2):
        quiet.write(0xA90 + word, bit)
        quiet.poll()
        assert events(quiet, vector) == 1
        assert quiet.read(0xA90 + word) == 0


def test_events_come_at_most_so_often(quiet: Card) -> None:
    quiet.write(c.GPIE, 1 << 4)
    quiet.write(c.IVAR, 0x81)
    quiet.write(c.EITR + 4, 500 << 3)  # 1 ms
    quiet.write(c.EIAC, 2)
    quiet.write(c.EIMS, 2)
    start = time.monotonic()
    for i in range(25): quiet.arrive(numbered(i))
    came = events(quiet, 1)
    assert 1 <= came <= 1 + (time.monotonic() - start) / 1e-3
    time.sleep(0.002)
    quiet.arrive(numbered(26))
    assert events(quiet, 1) >= 1


def test_a_change_of_the_link_is_another_cause(quiet: Card) -> None:
    quiet.write(c.GPIE, 1 << 4)
    quiet.write(c.IVAR_MISC, 0x85 << 8)
    quiet.write(c.EIMS, LSC)
    quiet.nic.link(0)
    quiet.poll()
    assert events(quiet, 5) >= 1
    assert quiet.read(c.EICR) & LSC


def test_software_raises_causes(quiet: Card) -> None:
    quiet.write(c.GPIE, 1 << 4)
    quiet.write(c.EIMS, 1 << 7)
    quiet.write(c.EICS, 1 << 7)
    quiet.poll()
    assert events(quiet, 7) == 1
