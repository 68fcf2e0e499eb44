"""Drivers that do wrong, programs that mean harm, and devices that fail: nothing reaches what it must not, all ends."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable

import pytest

from drivers.model.faults import Faults
from tests.drivers.ixgbe import card as c
from tests.drivers.ixgbe.card import BASE, Card, rx, tx
from tests.drivers.ixgbe.packets import numbered

NOWHERE = BASE + Card.SIZE
"""The first byte that is not mapped."""


def test_a_stray_receive_buffer_stops_the_queue(card: Card) -> None:
    card.receive_queue()
    card.put(card.ring(False, 0), struct.pack("<QQ", NOWHERE, 0))
    card.arrive(numbered(1))
    assert card.nic.errors == {"DMA_FAULT": 1}
    assert card.nic.reports[-1].value == NOWHERE
    assert card.read(c.EICR) & (1 << 18 | 1 << 29)
    card.arrive(numbered(2))
    assert not card.written(0).done
    assert not card.written(1).done


def test_a_buffer_that_ends_outside_is_a_fault(card: Card) -> None:
    card.receive_queue()
    card.put(card.ring(False, 0), struct.pack("<QQ", NOWHERE - 10, 0))
    card.arrive(numbered(1))
    assert card.nic.errors == {"DMA_FAULT": 1}


def test_a_stray_transmit_buffer_stops_the_queue_alone(card: Card) -> None:
    card.transmit_queue(0)
    card.transmit_queue(1)
    card.data(0, NOWHERE, 60)
    card.tell()
    card.send(numbered(1), 1)
    card.tell(1)
    assert card.nic.errors == {"DMA_FAULT": 1}
    assert card.sent() == [numbered(1)]
    assert not card.told(0)


@pytest.mark.parametrize("transmit", [False, True])
def test_a_stray_ring(card: Card, transmit: bool) -> None:
    at = (tx if transmit else rx)(0)
    card.write(at + 4, 0xFFFF)
    if not transmit: card.write(at + 0x14, 1 << 25 | 2)
    card.write(at + 8, 512)
    card.write(at + 0x28, 1 << 25)
    card.write(at + 0x18, 5)
    card.arrive(numbered(1))
    card.poll()
    assert card.nic.errors == {"DMA_FAULT": 1}


def test_what_may_only_be_read_is_not_written(card: Card) -> None:
    card.nic.unmap(BASE, Card.SIZE)
    card.nic.map(BASE, card.host, 0x10000, True)
    card.nic.map(BASE + 0x10000, card.host + 0x10000, Card.SIZE - 0x10000, False)
    card.receive_queue()
    card.transmit_queue()
    card.send(numbered(1))
    card.tell()
    assert card.sent() == [numbered(1)]
    card.arrive(numbered(2))
    assert card.nic.errors == {"DMA_FAULT": 1}
    assert card.get(card.buffer(False, 0), 60) == bytes(60)


def test_memory_that_is_taken_away_is_not_reached(card: Card) -> None:
    card.receive_queue()
    card.arrive(numbered(1))
    card.nic.unmap(BASE, Card.SIZE)
    before = card.memory[:]
    card.arrive(numbered(2), numbered(3))
    assert card.memory[:] == before


@pytest.mark.parametrize("transmit", [False, True])
def test_tails_beyond_the_ring_stop_the_queue(card: Card, transmit: bool) -> None:
    card.receive_queue()
    card.transmit_queue()
    card.write((tx if transmit else rx)(0) + 0x18, 32)
    card.arrive(numbered(1))
    card.poll()
    assert card.nic.errors == {"TAIL_BEYOND": 1}
    assert card.written(0).done == transmit  # the other side goes on


def test_a_payload_length_that_is_not_the_sum(card: Card) -> None:
    card.transmit_queue()
    card.send(numbered(1), payload=61)
    card.send(numbered(2))
    card.tell()
    assert card.nic.errors == {"PAYLEN": 1}
    assert card.sent() == [numbered(2)]


@pytest.mark.parametrize("length", [0, 16000])
def test_lengths_that_no_packet_has(card: Card, length: int) -> None:
    card.transmit_queue()
    card.data(0, card.buffer(True, 0), length)
    card.tell()
    assert card.nic.errors["LENGTH"] == 1
    assert card.sent() == []


@pytest.mark.parametrize("kind", [0, 1, 4, 15])
def test_descriptor_types_that_do_not_exist(card: Card, kind: int) -> None:
    card.transmit_queue()
    card.descriptor(0, card.buffer(True, 0), 0x0B00_0000 | 1 << 29 | kind << 20 | 60, 60 << 14)
    card.tell()
    assert card.nic.errors == {"DESCRIPTOR_TYPE": 1}
    assert card.sent() == []


def test_offloads_without_a_context(card: Card) -> None:
    card.transmit_queue()
    card.send(numbered(1), high=1 << 9)
    card.tell()
    assert card.nic.errors == {"CONTEXT_MISSING": 1}
    assert card.sent() == []


def test_a_packet_that_never_ends(card: Card) -> None:
    card.transmit_queue()
    for _ in range(31): card.data(0, card.buffer(True, 0), 10, payload=310, low=0x0200_0000)
    card.tell()
    assert card.nic.errors == {"NO_EOP": 1}


def test_a_frame_that_no_ring_can_hold(card: Card) -> None:
    card.write(c.HLREG0, card.read(c.HLREG0) | 4)
    card.write(c.MAXFRS, 15000 << 16)
    card.receive_queue(count=8, kib=1)
    card.arrive(numbered(1, 9000))
    assert card.nic.errors == {"BUFFER_SIZE": 1}
    card.arrive(numbered(2))
    assert card.written(0).done


def test_segmentation_into_bytes_is_refused(card: Card) -> None:
    """The work that one descriptor may ask for is bounded."""
    card.transmit_queue()
    for mss in (0, 1):
        card.descriptor(0, 14 << 9 | 20, 1 << 29 | 2 << 20 | 1 << 11 | 1 << 10, mss << 16 | 20 << 8)
        for i in range(17):
            low = 0x8000_0000 | (0x0B00_0000 if i == 16 else 0x0200_0000)
            card.data(0, card.buffer(True, 0), 15000, payload=255000 - 54 if i == 0 else 0, low=low)
        card.tell()
        card.poll()
        assert card.nic.errors["LENGTH"] == mss + 1
    assert card.sent() == []


@pytest.mark.parametrize("seed", range(8))
def test_any_registers_and_descriptors(make: Callable[..., Card], seed: int) -> None:
    """Random words everywhere: no exception, no end that does not come, not a byte outside the map."""
    dice = random.Random(seed)
    card = make()
    card.up()
    card.receive_queue()
    card.transmit_queue()
    guard = bytes(c.Card.SIZE // 2)
    card.nic.unmap(BASE + Card.SIZE // 2, Card.SIZE // 2)
    offsets = [rx(0), tx(0), rx(1), tx(1), 0x0, 0x800, 0x3000, 0x4240, 0x4A80, 0x5080, 0x4200, 0xD000, 0x10000]
    for _ in range(60):
        card.put(BASE + dice.randrange(0, 0x10000, 8), dice.randbytes(dice.choice((8, 16, 64))))
        if dice.random() < 0.3:
            for i in range(32):
                word = dice.choice((BASE, NOWHERE - 8, 0, 2**64 - 4)) + dice.randrange(0x100000)
                card.put(card.ring(bool(i % 2), 0) + 16 * i, struct.pack("<QQ", word % 2**64, dice.getrandbits(64)))
        offset = dice.choice(offsets) + dice.randrange(0, 0x60, 4)
        if offset % 4096 or dice.random() < 0.1: card.write(offset, dice.getrandbits(32))
        card.write(tx(0) + 0x18, dice.randrange(33))
        card.write(rx(0) + 0x18, dice.randrange(33))
        card.arrive(dice.randbytes(dice.randrange(14, 1600)))
        if dice.random() < 0.05:
            card.up_anyhow()
    assert card.memory[Card.SIZE // 2 :] == guard


def test_faults_are_those_of_the_seed(make: Callable[..., Card]) -> None:
    def what_came() -> tuple[list[bool], list[int]]:
        card = make(faults=Faults(seed=5, lost=0.2, duplicated=0.2, error=0.2))
        card.up()
        card.receive_queue()
        for i in range(20): card.arrive(numbered(i))
        written = [card.written(i) for i in range(31)]
        return [one.done for one in written], [one.errors for one in written]

    first, second = what_came(), what_came()
    assert first == second
    assert any(first[1])


def test_lost_and_duplicated_and_wrong(make: Callable[..., Card]) -> None:
    for name, received, sent in (("lost", 0, 4), ("duplicated", 8, 8), ("error", 4, 0)):
        card = make(faults=Faults(**{name: 1.0}))
        card.up()
        card.receive_queue()
        card.transmit_queue()
        for i in range(4): card.arrive(numbered(i))
        done = [i for i in range(31) if card.written(i).done]
        assert len(done) == received, name
        assert all(card.written(i).errors == (1 << 29 if name == "error" else 0) for i in done)
        indices = [card.send(numbered(i)) for i in range(4)]
        card.tell()
        assert len(card.sent()) == sent, name
        assert all(card.told(i) == (name != "lost") for i in indices)


def test_late_means_later(make: Callable[..., Card]) -> None:
    card = make(faults=Faults(late=1.0, late_ms=20))
    card.up()
    card.transmit_queue()
    index = card.send(numbered(1))
    card.tell()
    assert card.sent() == [numbered(1)]
    assert not card.told(index)
    time.sleep(0.03)
    card.poll()
    assert card.told(index)


def test_removal_after_so_many_packets(make: Callable[..., Card]) -> None:
    card = make(faults=Faults(removal=3))
    card.up()
    card.receive_queue()
    for i in range(6): card.arrive(numbered(i))
    assert [card.written(i).done for i in range(4)] == [True, True, True, False]
    assert card.read(c.STATUS) == 0xFFFF_FFFF


def test_spurious_causes_and_storms(card: Card) -> None:
    from drivers._native import ffi, lib

    card.receive_queue(descriptors=4, drop=True)
    frame = numbered(1)
    assert lib.ixgbe_feed(card.nic.engine, frame, ffi.new("uint32_t[]", [60]), 1, 1000, lib.IXGBE_STORM)
    card.poll(40)
    assert lib.ixgbe_fed(card.nic.engine)
    assert card.read(c.QPRDC) == 996
    card.nic.cause(1 << 20)
    assert card.read(c.EICR) >> 20 & 1
