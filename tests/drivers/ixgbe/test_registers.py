"""Registers by themselves: reset, EEPROM, link, counters, and what a driver must not do."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable

import pytest

from drivers.ixgbe.model import Mode
from tests.drivers.ixgbe import card as c
from tests.drivers.ixgbe.card import BASE, Card, rx, tx
from tests.drivers.ixgbe.packets import US, numbered


def test_what_a_driver_finds_after_power_on(make: Callable[..., Card]) -> None:
    card = make()
    assert card.read(c.EEC) >> 8 & 3 == 3  # present, auto-read done
    assert card.read(c.RDRXCTL) >> 3 & 1  # DMA initialisation done
    assert card.read(0x42B0) >> 16 & 15  # an autonegotiation state
    assert card.read(c.STATUS) >> 19 & 1  # GIO master enabled
    assert card.read(c.STATUS) >> 7 & 1 == 0
    assert card.read(c.LINKS) >> 30 & 1 == 0
    assert struct.pack("<II", card.read(c.RAL), card.read(c.RAH))[:6] == US
    assert card.read(c.RAH) >> 31
    assert (card.read(0x8804) & 1, card.read(0x8D04) & 1) == (1, 1)
    assert card.read(rx(0) + 0x14) & 0x3F1F == 0x402
    assert (card.nic.vendor_id, card.nic.device_id) == (0x8086, 0x10FB)


def test_ctrl_rst_clears_itself_and_restores_everything(card: Card) -> None:
    card.receive_queue()
    card.transmit_queue()
    card.write(c.FCTRL, 0x702)
    card.write(c.CTRL, 1 << 26)
    assert card.read(c.CTRL) & 1 << 26 == 0
    assert card.read(c.FCTRL) == 0
    assert card.read(rx(0) + 0x28) >> 25 & 1 == 0
    assert card.read(tx(0) + 0x28) >> 25 & 1 == 0
    assert card.read(c.LINKS) >> 30 & 1 == 0
    assert card.read(c.RAH) >> 31
    card.up()
    card.receive_queue()
    card.arrive(numbered(1))
    assert card.received(0) == numbered(1)


def test_registers_during_a_reset(trapped: Card) -> None:
    trapped.nic.reset_time = 0.05
    trapped.write(c.CTRL, 1 << 26)
    assert trapped.read(c.CTRL) & 1 << 26
    trapped.write(c.FCTRL, 0x700)
    assert trapped.nic.errors == {"IN_RESET": 1}
    time.sleep(0.06)
    assert trapped.read(c.CTRL) & 1 << 26 == 0
    assert trapped.read(c.FCTRL) == 0


def test_a_reset_that_never_ends(make: Callable[..., Card]) -> None:
    card = make(reset_time=None)
    card.write(c.CTRL, 1 << 26)
    card.poll(5)
    assert card.read(c.CTRL) & 1 << 26


def test_a_reset_while_descriptors_are_left_is_reported(card: Card) -> None:
    card.transmit_queue()
    card.send(numbered(1))
    card.write(tx(0) + 0x18, card.tails[0])
    card.write(c.CTRL, 1 << 26)
    if card.mode is not Mode.MEMORY:  # there rings stop before anybody can look
        assert card.nic.errors == {"RESET_BUSY": 1}
    card.poll()
    assert card.sent() == []


def test_the_gio_master_stops_when_asked(trapped: Card) -> None:
    trapped.up()
    trapped.transmit_queue()
    trapped.send(numbered(1))
    trapped.write(tx(0) + 0x18, 1)
    trapped.write(c.CTRL, 4)
    assert trapped.read(c.STATUS) >> 19 & 1
    trapped.poll()
    assert trapped.read(c.STATUS) >> 19 & 1 == 0
    trapped.write(c.CTRL, 0)
    assert trapped.read(c.STATUS) >> 19 & 1


def test_the_link_comes_up_after_a_restart_of_autonegotiation(make: Callable[..., Card]) -> None:
    card = make(link_delay=0.02)
    card.poll()
    assert card.read(c.LINKS) >> 30 & 1 == 0
    card.write(c.AUTOC, 3 << 13 | 1 << 12)
    assert card.read(c.AUTOC) == 3 << 13
    assert card.read(c.LINKS) >> 30 & 1 == 0
    time.sleep(0.03)
    card.poll()
    assert card.read(c.LINKS) >> 28 & 7 == 7  # up, 10 Gb/s
    assert card.read(c.STATUS) >> 7 & 1
    card.nic.link(None)
    assert card.read(c.LINKS) >> 30 & 1 == 0


def test_a_link_that_never_comes(make: Callable[..., Card]) -> None:
    card = make(link_delay=None)
    card.write(c.AUTOC, 3 << 13 | 1 << 12)
    card.poll(3)
    assert card.read(c.LINKS) >> 30 & 1 == 0


def test_nothing_is_sent_or_received_without_a_link(card: Card) -> None:
    card.receive_queue()
    card.transmit_queue()
    card.nic.link(None)
    card.arrive(numbered(1))
    card.send(numbered(2))
    card.tell()
    assert not card.written(0).done
    assert card.sent() == []
    card.nic.link(0)
    card.poll()
    assert card.sent() == [numbered(2)]


def test_the_eeprom_adds_up(make: Callable[..., Card]) -> None:
    card = make()
    total = 0
    for word in range(0x40):
        card.write(c.EERD, word << 2 | 1)
        value = card.read(c.EERD)
        assert value >> 1 & 1
        total += value >> 16
    assert total & 0xFFFF == 0xBABA
    for word in range(3, 15):  # no section that would have to be added
        card.write(c.EERD, word << 2 | 1)
        assert card.read(c.EERD) >> 16 in (0, 0xFFFF)


def test_the_semaphore_is_taken_by_reading_it(trapped: Card) -> None:
    assert trapped.read(0x10140) & 1 == 0
    assert trapped.read(0x10140) & 1 == 1
    trapped.write(0x10140, 0)
    assert trapped.read(0x10140) & 1 == 0


def test_bits_that_are_reserved_keep_their_value(make: Callable[..., Card]) -> None:
    card = make()
    for offset, written, kept in ((c.FCTRL, 0xFFFF_FFFF, 0x702), (c.RXCTRL, 0xFFFF_FFFF, 1),
                                  (c.RXPBSIZE, 0xFFFF_FFFF, 0xF_FC00),
                                  (rx(0), 0xFFFF_FFFF, 0xFFFF_FF80), (tx(5) + 8, 0xFFFF_FFFF, 0xF_FF80),
                                  (c.EEC, 0, 0x3F00), (0x42B0, 0, 0x4_0000)):  # fmt: skip
        card.write(offset, written)
        assert card.read(offset) == kept, hex(offset)


def test_arrays_that_are_at_two_places_are_one(make: Callable[..., Card]) -> None:
    card = make()
    for one, other in ((c.RAL + 8 * 5, 0xA200 + 8 * 5), (0x2100 + 4 * 3, rx(3) + 0x14), (0x2200 + 4 * 9, rx(9) + 0xC)):
        card.write(one, 0x0200_0408)
        assert card.read(other) == 0x0200_0408
        card.write(other, 0)
        assert card.read(one) == 0


def test_what_is_no_register_reads_as_zero(make: Callable[..., Card]) -> None:
    card = make()
    card.write(0x1FFF0, 0x1234)
    assert card.read(0x1FFF0) == 0
    assert card.nic.errors == {"UNKNOWN_REGISTER": 1}


def test_registers_are_32_aligned_bits(trapped: Card) -> None:
    before = trapped.read(c.FCTRL)
    for offset, size in ((c.FCTRL, 1), (c.FCTRL, 2), (c.FCTRL, 8), (c.FCTRL + 2, 4)):
        trapped.nic.write(0, offset, size, 0x700)
        assert trapped.nic.read(0, offset, size) == 0
    assert trapped.read(c.FCTRL) == before
    assert trapped.nic.errors == {"ACCESS": 8}
    for offset in (-4, 128 << 10, 1 << 40):
        trapped.nic.write(0, offset, 4, 1)
        trapped.nic.write(3, offset, 4, 1)
        assert trapped.nic.read(0, offset, 4) == trapped.nic.read(5, offset, 4) == 0


def test_a_command_of_the_flow_director_is_written_at_once_and_ends(trapped: Card) -> None:
    """FDIRHASH and FDIRCMD lie in 64 bits that drivers write together; CMD (1:0) is 0 when it has been done."""
    trapped.nic.write(0, 0xEE28, 8, 0x0123_4561 << 32 | 0x89AB_CDEF)
    assert (trapped.read(0xEE28), trapped.read(0xEE2C)) == (0x89AB_CDEF, 0x0123_4560)
    assert trapped.nic.errors == {}
    trapped.nic.write(0, 0xEE24, 8, 0)
    assert trapped.nic.errors == {"ACCESS": 1}


def test_counters_clear_when_they_are_read_and_only_then(trapped: Card) -> None:
    trapped.up()
    trapped.receive_queue()
    trapped.transmit_queue()
    for i in range(3): trapped.arrive(numbered(i))
    trapped.arrive(numbered(9, 100))
    trapped.send(numbered(1))
    trapped.tell()
    trapped.write(c.GPRC, 77)  # no effect
    expected = {c.GPRC: 4, c.TPR: 4, c.GPTC: 1, c.QPRC: 4, c.QPTC: 1, c.PRC64: 3, c.PRC127: 1}
    assert {at: trapped.read(at) for at in expected} == expected
    assert {at: trapped.read(at) for at in expected} == dict.fromkeys(expected, 0)
    trapped.arrive(numbered(5))
    assert trapped.read(c.GPRC) == 1
    octets = 3 * 64 + 104 + 64
    assert (trapped.read(c.GORCL), trapped.read(c.GORCL)) == (octets, octets)
    assert trapped.read(c.GORCH) == 0
    assert trapped.read(c.GORCL) == 0
    assert trapped.read(c.GOTCL) == 64


@pytest.mark.parametrize("stripped", [True, False])
def test_octets_of_a_queue_are_those_that_reach_memory(trapped: Card, stripped: bool) -> None:
    """QBRC, unlike GORC, is without a check sequence that is taken off."""
    trapped.up()
    if not stripped:
        trapped.write(c.HLREG0, trapped.read(c.HLREG0) & ~2)
        trapped.write(c.RDRXCTL, trapped.read(c.RDRXCTL) & ~2)
    trapped.receive_queue()
    for i in range(3): trapped.arrive(numbered(i, 100))
    assert trapped.written(0).length == (100 if stripped else 104)
    assert trapped.read(c.QPRC + 4) == 3 * trapped.written(0).length
    assert trapped.read(c.GORCL) == 3 * 104


def test_queues_share_sixteen_counters(trapped: Card) -> None:
    trapped.up()
    trapped.transmit_queue(0)
    trapped.transmit_queue(5)
    trapped.write(0x8600 + 4, 7 << 8)  # TQSM: queue 5 has counter 7
    for queue in (0, 5):
        trapped.send(numbered(1), queue)
        trapped.tell(queue)
    assert (trapped.read(c.QPTC), trapped.read(c.QPTC + 0x40 * 7)) == (1, 1)


def test_counters_stay_at_their_highest(trapped: Card) -> None:
    trapped.up()
    trapped.receive_queue()
    trapped.nic._put(c.GPRC, 0xFFFF_FFFF)
    trapped.arrive(numbered(1))
    assert trapped.read(c.GPRC) == 0xFFFF_FFFF


def test_the_head_of_an_enabled_ring_is_not_the_drivers(trapped: Card) -> None:
    trapped.up()
    trapped.receive_queue()
    trapped.arrive(numbered(1))
    trapped.write(rx(0) + 0x10, 1)  # what it is: drivers do that
    assert trapped.nic.errors == {}
    trapped.write(rx(0) + 0x10, 9)
    assert trapped.read(rx(0) + 0x10) == 1
    assert trapped.nic.errors == {"HEAD_WRITTEN": 1}


@pytest.mark.parametrize("offset", [0, 4, 8])
def test_an_enabled_ring_does_not_move(card: Card, offset: int) -> None:
    card.receive_queue()
    before = card.read(rx(0) + offset)
    card.write(rx(0) + offset, before + 128)
    assert card.read(rx(0) + offset) == before
    assert card.nic.errors == {"RING_CHANGED": 1}


@pytest.mark.parametrize(("offset", "value"), [(0, BASE + 64), (8, 100)])
def test_bases_and_lengths_are_multiples_of_128(card: Card, offset: int, value: int) -> None:
    card.write(tx(0) + offset, value)
    assert card.read(tx(0) + offset) == value & ~127
    assert card.nic.errors == {"RING_SIZE": 1}


@pytest.mark.parametrize("at", [rx(0), tx(0)], ids=["receive", "transmit"])
def test_a_ring_whose_head_is_beyond_it_is_not_enabled(card: Card, at: int) -> None:
    card.write(at, BASE)
    card.write(at + 8, 512)
    if at == rx(0): card.write(at + 0x14, 1 << 25 | 2)
    card.write(at + 0x10, 32)
    card.write(at + 0x28, 1 << 25)
    assert card.read(at + 0x28) >> 25 & 1 == 0
    assert card.nic.errors == {"TAIL_BEYOND": 1}
    card.write(at + 0x10, 31)
    card.write(at + 0x28, 1 << 25)
    assert card.read(at + 0x28) >> 25 & 1 == 1


def test_a_ring_without_length_is_not_enabled(card: Card) -> None:
    card.write(tx(0) + 0x28, 1 << 25)
    assert card.read(tx(0) + 0x28) >> 25 & 1 == 0
    assert card.nic.errors == {"RING_SIZE": 1}


@pytest.mark.parametrize(("split", "error"), [(7 << 25 | 2, "DESCRIPTOR_TYPE"), (1 << 25, "BUFFER_SIZE")])
def test_a_receive_queue_needs_a_valid_srrctl(card: Card, split: int, error: str) -> None:
    card.write(rx(0), card.ring(False, 0))
    card.write(rx(0) + 8, 512)
    card.write(rx(0) + 0x14, split)
    card.write(rx(0) + 0x28, 1 << 25)
    assert card.read(rx(0) + 0x28) >> 25 & 1 == 0
    assert card.nic.errors == {error: 1}


@pytest.mark.parametrize("at", [0x2100, 0x1014])
def test_a_receive_queue_is_as_srrctl_was_before_it_was_enabled(card: Card, at: int) -> None:
    """At either of its places; where registers are memory the device may see several writes at once, of more pages."""
    card.receive_queue(kind=0)
    card.write(rx(0) + 0x28, 0)
    for i in range(c.Card.COUNT): card.refill(0, i)
    for offset, value in ((at, 1 << 25 | 1), (rx(0) + 0x18, 0), (rx(0) + 0x28, 1 << 25), (rx(0) + 0x18, 8)):
        card.write_unseen(offset, value)
    card.poll()
    assert card.read(0x2100) == card.read(0x1014) == 1 << 25 | 1
    card.arrive(numbered(1, 1100))
    found = card.written(0)
    assert (found.done, found.end, found.length) == (True, False, 1024)  # an advanced descriptor, buffers of 1 KiB
    assert card.written(1).length == 76


def test_only_whether_a_queue_drops_changes_while_it_is_enabled(card: Card) -> None:
    card.receive_queue(descriptors=0)
    card.arrive(numbered(1))
    assert card.read(c.QPRDC) == 0  # in the packet buffer
    card.receive_queue(1, descriptors=0)
    card.write(0x2100, 1 << 28 | 1 << 25 | 2)
    assert card.nic.errors == {}
    card.write(rx(0) + 0x18, 1)
    card.poll()
    card.arrive(numbered(2))
    assert card.read(c.QPRDC) == 1
    card.write(0x2100, 1 << 28 | 1 << 25 | 4)
    assert set(card.nic.errors) == {"RING_CHANGED"}


def test_stripping_the_check_sequence_is_said_twice(card: Card) -> None:
    card.write(c.RDRXCTL, card.read(c.RDRXCTL) & ~2)
    card.receive_queue()
    assert card.nic.errors == {"CRC_STRIP": 1}


def test_a_device_that_was_pulled_out(card: Card) -> None:
    card.transmit_queue()
    card.send(numbered(1))
    card.nic.remove()
    assert card.read(c.STATUS) == card.read(c.EICR) == card.read(tx(0) + 0x10) == 0xFFFF_FFFF
    card.write(tx(0) + 0x18, 1)
    card.poll()
    assert card.sent() == []
    assert os.eventfd_read(card.nic.removal) == 1
