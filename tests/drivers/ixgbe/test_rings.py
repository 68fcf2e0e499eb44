"""Descriptor rings, by hand: receive, transmit, wrap, write-back."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.drivers.ixgbe.card import (
    BASE,
    DMATXCTL,
    GPRC,
    GPTC,
    HLREG0,
    MAXFRS,
    MPC,
    QPRDC,
    RDRXCTL,
    RTTDCS,
    RXCTRL,
    RXPBSIZE,
    Card,
    rx,
    tx,
)  # fmt: skip
from tests.drivers.ixgbe.packets import THEM, US, numbered


def test_a_frame_lands_in_the_buffer_of_its_descriptor(card: Card) -> None:
    card.receive_queue()
    card.arrive(numbered(1))
    written = card.written(0)
    assert (written.done, written.end, written.length, written.errors) == (True, True, 60, 0)
    assert card.received(0) == numbered(1)
    assert not card.written(1).done
    assert card.read(rx(0) + 0x10) == 1
    assert card.nic.errors == {}


def test_frames_land_in_order_and_rings_wrap(card: Card) -> None:
    card.receive_queue()
    for i in range(100):
        card.arrive(numbered(i))
        assert card.received(i % 32) == numbered(i)
        card.refill(0, i % 32)
        card.write(rx(0) + 0x18, i % 32)
    assert card.read(rx(0) + 0x10) == 100 % 32
    assert card.read(GPRC) == 100


@pytest.mark.parametrize("queue", [0, 1, 17, 63, 64, 127])
def test_every_receive_queue_is_one(card: Card, queue: int) -> None:
    """Rings are enabled, have heads, and only queue 0 gets frames where nothing distributes them."""
    card.receive_queue(queue)
    card.arrive(numbered(1))
    assert card.written(0, queue).done == (queue == 0)


@pytest.mark.parametrize("queue", [0, 1, 17, 63, 64, 127])
def test_every_transmit_queue_sends(card: Card, queue: int) -> None:
    card.transmit_queue(queue)
    index = card.send(numbered(5), queue)
    card.tell(queue)
    assert card.sent() == [numbered(5)]
    assert card.told(index, queue)
    assert card.read(tx(queue) + 0x10) == 1


def test_only_descriptors_that_were_given_are_touched(card: Card) -> None:
    """[head, tail) is the device's; the head moves on after what it wrote."""
    card.receive_queue(descriptors=8, drop=True)
    card.transmit_queue()
    ours = slice(8 * 16, Card.COUNT * 16)
    before = card.get(card.ring(False, 0), 512)
    card.arrive(*map(numbered, range(12)))
    after = card.get(card.ring(False, 0), 512)
    assert after[ours] == before[ours]
    assert [card.written(i).done for i in range(9)] == [True] * 8 + [False]
    assert card.read(rx(0) + 0x10) == 8
    assert card.get(card.buffer(False, 8), 2048) == bytes(2048)
    for i in range(6): card.send(numbered(i))
    card.write(tx(0) + 0x18, 4)
    card.poll()
    assert [card.told(i) for i in range(6)] == [True] * 4 + [False] * 2
    assert card.read(tx(0) + 0x10) == 4
    assert card.sent() == [numbered(i) for i in range(4)]


def test_transmit_wraps_and_keeps_order(card: Card) -> None:
    card.transmit_queue()
    for first in range(0, 90, 9):
        indices = [card.send(numbered(i)) for i in range(first, first + 9)]
        card.tell()
        assert all(map(card.told, indices))
        assert card.sent() == [numbered(i) for i in range(first, first + 9)]
    assert card.read(GPTC) == 90


def test_done_is_written_only_where_a_report_was_asked_for(card: Card) -> None:
    card.transmit_queue()
    silent = [card.send(numbered(i), low=0x0300_0000) for i in range(3)]  # no RS
    asked = card.send(numbered(3))
    card.tell()
    assert [card.told(i) for i in (*silent, asked)] == [False, False, False, True]
    assert len(card.sent()) == 4


@pytest.mark.parametrize("threshold", [0, 4])
def test_done_is_not_written_of_what_came_in_pieces_or_is_told_by_threshold(card: Card, threshold: int) -> None:
    card.transmit_queue(threshold=threshold)
    silent = []
    for number in range(6):
        at = card.buffer(True, card.tails[0])
        card.put(at, numbered(number, 100))
        silent.append(card.data(0, at, 40, payload=100, low=0x0200_0000))
        silent.append(card.data(0, at + 40, 60, payload=100, low=0x0300_0000))  # EOP, no RS
    asked = card.send(numbered(9))
    card.tell()
    assert not any(map(card.told, silent))
    assert card.told(asked)
    assert card.sent() == [numbered(number, 100) for number in range(6)] + [numbered(9)]


def test_nothing_is_sent_while_the_arbiter_is_disabled(card: Card) -> None:
    card.transmit_queue()
    card.write(RTTDCS, 1 << 6)
    card.send(numbered(1))
    card.tell()
    assert (card.sent(), card.read(tx(0) + 0x10)) == ([], 0)
    card.write(RTTDCS, 0)
    card.poll()
    assert card.sent() == [numbered(1)]


def test_write_back_threshold_does_not_hold_back_what_is_last(card: Card) -> None:
    card.transmit_queue(threshold=4)
    indices = [card.send(numbered(i)) for i in range(6)]
    card.tell()
    assert all(map(card.told, indices))


def test_head_write_back_replaces_done(card: Card) -> None:
    where = BASE + 0xF000
    card.write(tx(0) + 0x38, where | 1)
    card.write(tx(0) + 0x3C, 0)
    card.transmit_queue()
    indices = [card.send(numbered(i)) for i in range(3)]
    card.tell()
    assert struct.unpack("<I", card.get(where, 4)) == (3,)
    assert not any(map(card.told, indices))


def test_several_descriptors_make_one_frame(card: Card) -> None:
    card.transmit_queue()
    frame = numbered(7, 300)
    for start, end, low in ((0, 14, 0x0200_0000), (14, 100, 0x0200_0000), (100, 300, 0x0B00_0000)):
        at = card.buffer(True, card.tails[0])
        card.put(at, frame[start:end])
        card.data(0, at, end - start, payload=300, low=low)
    card.tell()
    assert card.sent() == [frame]
    assert [card.told(i) for i in range(3)] == [False, False, True]


def test_a_packet_is_not_sent_before_its_end_is_there(card: Card) -> None:
    card.transmit_queue()
    at = card.buffer(True, 0)
    card.put(at, numbered(1, 100))
    card.data(0, at, 40, payload=100, low=0x0200_0000)
    card.tell()
    assert card.sent() == []
    assert card.read(tx(0) + 0x10) == 0
    card.data(0, at + 40, 60, payload=100)
    card.tell()
    assert card.sent() == [numbered(1, 100)]


def test_a_buffer_may_cross_pages(card: Card) -> None:
    card.transmit_queue()
    at = BASE + 0xC000 - 30
    card.put(at, numbered(9, 200))
    card.data(0, at, 200)
    card.tell()
    assert card.sent() == [numbered(9, 200)]


def test_short_frames_are_padded_only_if_told(card: Card) -> None:
    card.transmit_queue()
    short = numbered(1, 60)[:20]
    card.send(short)
    card.tell()
    assert card.sent() == [short.ljust(60, b"\0")]
    card.write(HLREG0, card.read(HLREG0) & ~(1 << 10))
    card.send(short)
    card.tell()
    assert card.sent() == [short]


def test_a_frame_that_brings_its_own_check_sequence(card: Card) -> None:
    """IFCS 0 and HLREG0.TXCRCEN 0: the last four bytes are the FCS; where they are wrong nobody takes the frame."""
    import zlib

    card.write(HLREG0, card.read(HLREG0) & ~1)
    card.transmit_queue()
    frame = numbered(1, 64)
    card.send(frame + struct.pack("<I", zlib.crc32(frame)), low=0x0900_0000)
    card.send(frame + b"xxxx", low=0x0900_0000)
    card.tell()
    assert card.sent() == [frame]


def test_legacy_transmit_descriptor(card: Card) -> None:
    card.transmit_queue()
    at = card.buffer(True, 0)
    card.put(at, numbered(3))
    index = card.descriptor(0, at, 60 | 1 << 24 | 1 << 25 | 1 << 27, 0)
    card.tell()
    assert card.sent() == [numbered(3)]
    assert card.told(index)


def test_legacy_receive_descriptor_keeps_its_address(card: Card) -> None:
    card.receive_queue(kind=0)
    card.arrive(numbered(3))
    first, second = struct.unpack("<QQ", card.get(card.ring(False, 0), 16))
    assert first == card.buffer(False, 0)
    assert second & 0xFFFF == 60
    assert second >> 32 & 3 == 3
    assert card.get(first, 60) == numbered(3)


def test_a_frame_longer_than_a_buffer_takes_several_descriptors(card: Card) -> None:
    card.write(HLREG0, card.read(HLREG0) | 4)
    card.write(MAXFRS, 9000 << 16)
    card.receive_queue()
    frame = numbered(1)[:14] + bytes(i % 256 for i in range(5000))
    card.arrive(frame)
    pieces = [card.written(i) for i in range(3)]
    assert [piece.length for piece in pieces] == [2048, 2048, 5014 - 4096]
    assert [piece.end for piece in pieces] == [False, False, True]
    assert all(piece.done for piece in pieces)
    assert b"".join(card.received(i) for i in range(3)) == frame


def test_without_descriptors_and_drop_enabled_frames_are_counted_as_dropped(card: Card) -> None:
    card.receive_queue(descriptors=2, drop=True)
    for i in range(5): card.arrive(numbered(i))
    assert [card.written(i).done for i in range(3)] == [True, True, False]
    assert card.read(QPRDC) == 3
    assert card.read(MPC) == 0


def test_without_descriptors_frames_wait_in_the_packet_buffer_and_then_are_missed(card: Card) -> None:
    card.write(RXPBSIZE, 0x400)  # 1 KiB
    card.receive_queue(descriptors=2)
    for i in range(40): card.arrive(numbered(i))
    assert card.read(QPRDC) == 0
    missed = card.read(MPC)
    assert 0 < missed < 38
    card.write(rx(0) + 0x18, 31)
    card.poll(2)
    kept = [i for i in range(32) if card.written(i).done]
    assert len(kept) == 40 - missed
    assert [card.received(i) for i in kept] == [numbered(i) for i in range(40 - missed)]


def test_the_check_sequence_follows_if_it_is_not_stripped(card: Card) -> None:
    import zlib

    card.write(HLREG0, card.read(HLREG0) & ~2)
    card.write(RDRXCTL, card.read(RDRXCTL) & ~2)
    card.receive_queue()
    card.arrive(numbered(1))
    assert card.received(0) == numbered(1) + struct.pack("<I", zlib.crc32(numbered(1)))


def test_nothing_is_received_while_receiving_is_disabled(card: Card) -> None:
    card.receive_queue()
    card.write(RXCTRL, 0)
    card.arrive(numbered(1))
    card.write(RXCTRL, 1)
    card.arrive(numbered(2))
    assert card.received(0) == numbered(2)


def test_a_disabled_queue_does_nothing(card: Card) -> None:
    card.receive_queue()
    card.transmit_queue()
    card.write(rx(0) + 0x28, 0)
    card.write(tx(0) + 0x28, 0)
    card.arrive(numbered(1))
    card.send(numbered(2))
    card.tell()
    assert not card.written(0).done
    assert card.sent() == []
    assert card.read(QPRDC) == 1


def test_loopback(card: Card) -> None:
    card.write(HLREG0, card.read(HLREG0) | 1 << 15)
    card.receive_queue()
    card.transmit_queue()
    card.send(numbered(4))
    card.tell()
    card.poll()
    assert card.received(0) == numbered(4)
    assert card.sent() == []


def test_transmission_needs_its_dma_enabled(make: Callable[..., Card]) -> None:
    card = make()
    card.up()
    card.write(DMATXCTL, card.read(DMATXCTL) & ~1)
    with pytest.raises(AssertionError): card.transmit_queue()
    assert card.nic.errors["ENABLE_ORDER"] == 1


def test_two_models_on_a_wire(make: Callable[..., Card]) -> None:
    from drivers._native import lib

    one, other = make(), make()
    for card in (one, other):
        card.up()
        card.receive_queue()
        card.transmit_queue()
    lib.ixgbe_wire(one.nic.engine, other.nic.engine)
    one.send(numbered(1))
    one.tell()
    other.poll()
    assert other.received(0) == numbered(1)
    other.send(THEM + US + bytes(46))
    other.tell()
    one.poll()
    assert one.received(0) == THEM + US + bytes(46) + bytes(2)
    assert not other.written(1).done
