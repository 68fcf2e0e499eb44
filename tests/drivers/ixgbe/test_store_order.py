"""What another processor may see in the middle: of the model, that a descriptor's DD comes last, and its head after it;
of the driver, that descriptors are whole before the tail tells of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from drivers._native import ffi, lib
from drivers.ixgbe.model import Ixgbe, Mode
from drivers.ixgbe.outside import IOVA, Port
from tests.drivers.ixgbe.card import BASE, HLREG0, MAXFRS, Card, rx, tx
from tests.drivers.ixgbe.packets import ethernet, numbered
from tests.drivers.stores import PAGE, Seen, states

FRAMES = [numbered(i, 60 + i) for i in range(5)]


def engine_registers(card: Card, offset: int) -> int:
    """Where the model itself keeps a register."""
    return int(ffi.cast("uintptr_t", card.nic._at)) + offset


def word(seen: Seen, address: int) -> int:
    return int.from_bytes(seen(address, 4), "little")


def receive(card: Card, work: Callable[[], Any], count: int, length: int, *, status: int = 8) -> None:
    """Does ``work``, by which ``count`` descriptors are written, with so many bytes in each buffer at most; DD is in
    byte ``status`` of a descriptor."""
    ring, head = card.host + card.ring(False, 0) - BASE, engine_registers(card, rx(0) + 0x10)
    buffers = [card.host + card.buffer(False, i) - BASE for i in range(count)]
    told: list[int] = []
    for seen in states(work, (card.host, Card.SIZE), (head & -PAGE, PAGE)):
        done = [bool(seen(ring + 16 * i + status, 1)[0] & 1) for i in range(count)]
        for number in (i for i in range(count) if done[i]):
            now = ctypes.string_at(ring + 16 * number, 16)
            assert seen(ring + 16 * number, 16) == now, "the rest of the descriptor came later"
            assert seen(buffers[number], length) == ctypes.string_at(buffers[number], length), "data came later"
        assert done == sorted(done, reverse=True), "in order"
        assert word(seen, head) <= sum(done), "the head went on before the descriptor was written"
        told.append(sum(done))
    assert set(told) == set(range(count + 1)), "each of them was seen alone"
    assert card.read(rx(0) + 0x10) == count
    assert card.nic.errors == {}


@pytest.mark.parametrize("kind", [0, 1], ids=["legacy", "advanced"])
def test_a_frame_is_whole_when_its_descriptor_says_so(card: Card, kind: int) -> None:
    card.receive_queue(kind=kind)
    receive(card, lambda: card.arrive(*FRAMES), len(FRAMES), 64, status=8 if kind else 12)
    if kind: assert [card.received(i) for i in range(5)] == FRAMES


def test_a_frame_without_its_tag_is_whole_when_its_descriptor_says_so(card: Card) -> None:
    card.receive_queue()
    card.write(rx(0) + 0x28, card.read(rx(0) + 0x28) | 1 << 30)
    receive(card, lambda: card.arrive(*(ethernet(bytes([i]) * 60, tag=i) for i in range(3))), 3, 80)
    assert [card.written(i).vlan for i in range(3)] == [0, 1, 2]


def test_each_piece_of_a_frame_is_whole_when_its_descriptor_says_so(card: Card) -> None:
    card.write(HLREG0, card.read(HLREG0) | 4)
    card.write(MAXFRS, 9000 << 16)
    card.receive_queue(kib=1)
    frame = numbered(1) + bytes(i % 251 for i in range(3000))
    receive(card, lambda: card.arrive(frame), 3, 1024)
    assert b"".join(card.received(i) for i in range(3)) == frame


def test_the_same_frame_again_and_again_is_whole_each_time(card: Card) -> None:
    """A source of one frame has a way of its own through the model."""
    frame = numbered(9)
    card.receive_queue()
    lengths = ffi.new("uint32_t[]", [len(frame)])
    assert lib.ixgbe_feed(card.nic.engine, frame, lengths, 1, 20, lib.IXGBE_PATIENT)
    receive(card, card.poll, 20, 60)


@pytest.mark.parametrize("threshold", [0, 4])
def test_the_head_goes_on_when_it_was_told_what_is_sent(card: Card, threshold: int) -> None:
    card.transmit_queue(threshold=threshold)
    for frame in FRAMES: card.send(frame)
    ring, head = card.host + card.ring(True, 0) - BASE, engine_registers(card, tx(0) + 0x10)
    heads: list[int] = []
    for seen in states(card.tell, (card.host, Card.SIZE), (head & -PAGE, PAGE)):
        done = [bool(seen(ring + 16 * i + 12, 1)[0] & 1) for i in range(len(FRAMES))]
        heads.append(word(seen, head))
        assert all(done[: heads[-1]]), "the head went on first"
    assert (heads[0], heads[-1]) == (0, len(FRAMES))


def test_descriptors_are_whole_when_the_driver_tells_of_them() -> None:
    """Each way, and the tail is what it writes last."""
    with Ixgbe(Mode.MEMORY) as nic:
        nic.start()
        port = Port(nic)
        port.wait_for_link()
        lib.ixgbe_halt(nic.engine)
        bar = int(ffi.cast("uintptr_t", nic._at))
        memory = int(ffi.cast("uintptr_t", port._at))
        areas = ((memory, 16 << 20), (bar, 0x8000))

        def at(queue: int) -> int: return memory + int.from_bytes(ctypes.string_at(bar + queue, 8), "little") - IOVA
        ring, tails = at(tx(0)), list[int]()
        for seen in states(lambda: port.send(*FRAMES), *areas):
            tails.append(word(seen, bar + tx(0) + 0x18))
            assert seen(ring, 16 * tails[-1]) == ctypes.string_at(ring, 16 * tails[-1]), "a part came later"
            for number in range(tails[-1]):
                buffer = memory + int.from_bytes(seen(ring + 16 * number, 8), "little") - IOVA
                assert seen(buffer, len(FRAMES[number])) == FRAMES[number], "data came later"
        assert set(tails) == {0, 5}

        lib.ixgbe_lock(nic.engine)
        for frame in FRAMES: lib.ixgbe_arrive(nic.engine, frame, len(frame), False)
        lib.ixgbe_unlock(nic.engine)
        nic.poll(4)
        ring, count = at(rx(0)), int.from_bytes(ctypes.string_at(bar + rx(0) + 8, 4), "little") // 16
        used = [ctypes.string_at(ring + 16 * i, 16) for i in range(5)]
        assert all(descriptor[8] & 1 for descriptor in used)
        given: list[int] = []
        for seen in states(lambda: port.receive(), *areas):
            # One more than it says: the device's are those before the tail.
            given.append((word(seen, bar + rx(0) + 0x18) + 1) % count)
            for number in range(given[-1]):
                now = ctypes.string_at(ring + 16 * number, 16)
                assert seen(ring + 16 * number, 16) == now != used[number], "a part came later"
                assert now[8] & 1 == 0
        assert set(given) == {0, 5}
        nic.start()
        port.close()
