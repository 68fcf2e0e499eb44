"""The driver on the model, outside a machine."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drivers._native import ffi, lib
from drivers.ixgbe.model import Ixgbe, Mode
from drivers.ixgbe.outside import IOVA, Packet, Port
from drivers.model.faults import Faults
from tests.drivers.ixgbe.card import TPR
from tests.drivers.ixgbe.packets import ethernet, ipv4, numbered, tcp, udp
from tests.drivers.waiting import until


@contextmanager
def ports(options: dict[str, Any] | None = None, **model: Any) -> Iterator[Port]:
    """A port of a model that runs."""
    with Ixgbe(Mode.MEMORY, **model) as nic:
        nic.start()
        lib.ixgbe_capture(nic.engine, True)
        port = Port(nic, **(options or {}))
        try:
            yield port
        finally:
            port.close()


def arrive(port: Port, *frames: bytes) -> None:
    for frame in frames:
        lib.ixgbe_lock(port.model.engine)
        lib.ixgbe_arrive(port.model.engine, frame, len(frame), False)
        lib.ixgbe_unlock(port.model.engine)


def sent(port: Port, count: int) -> list[bytes]:
    """The next ``count`` frames that leave."""
    into = ffi.new("uint8_t[]", 16384)
    found: list[bytes] = []

    def one() -> bool:
        lib.ixgbe_lock(port.model.engine)
        length = lib.ixgbe_sent(port.model.engine, into, 16384)
        lib.ixgbe_unlock(port.model.engine)
        if length: found.append(bytes(ffi.buffer(into, length)))
        return len(found) >= count

    until(one)
    return found


def received(port: Port, count: int, queue: int = 0) -> list[Packet]:
    found: list[Packet] = []
    until(lambda: found.extend(port.receive(queue)) or len(found) >= count)
    return found


def test_a_port_comes_up_receives_and_sends() -> None:
    with ports() as port:
        port.wait_for_link()
        assert port.speed == 10000
        for first in range(0, 3000, 50):  # rings wrap several times
            frames = [numbered(i, 60 + i % 1000) for i in range(first, first + 50)]
            arrive(port, *frames)
            assert [packet.data for packet in received(port, 50)] == frames
            assert port.send(*frames) == 50
            assert sent(port, 50) == frames
        assert port.model.errors == {}


def test_statistics_are_totals() -> None:
    with ports() as port:
        port.wait_for_link()
        arrive(port, *(numbered(i) for i in range(7)))
        received(port, 7)
        assert port.send(numbered(1), numbered(2, 100)) == 2
        sent(port, 2)
        totals = port.statistics()
        assert (totals["received"], totals["received_bytes"]) == (7, 7 * 64)
        assert (totals["sent"], totals["sent_bytes"]) == (2, 64 + 104)


def test_queues_share_what_comes() -> None:
    with ports({"receive_queues": 4, "transmit_queues": 4}) as port:
        port.wait_for_link()
        frames = [ethernet(ipv4(udp(b"", ports=(i, 5)), 17)) for i in range(64)]
        arrive(port, *frames)
        counts = [0] * 4
        found: list[bytes] = []

        def all_of_them() -> bool:
            for queue in range(4):
                packets = port.receive(queue)
                counts[queue] += len(packets)
                found.extend(packet.data for packet in packets)
            return len(found) == 64

        until(all_of_them)
        assert sorted(found) == sorted(frames)
        assert all(counts)
        for queue in range(4): assert port.send(numbered(queue), queue=queue) == 1
        assert sorted(sent(port, 4)) == [numbered(queue) for queue in range(4)]


def test_a_queue_that_nobody_empties_holds_up_no_other() -> None:
    with ports({"receive_queues": 2, "descriptors": 64, "buffers": 1024}) as port:
        port.wait_for_link()
        flows: dict[int, bytes] = {}
        for number in range(64):
            arrive(port, frame := ethernet(ipv4(udp(b"", ports=(number, 5)), 17)))
            until(lambda: any(flows.setdefault(queue, frame) for queue in (0, 1) if port.receive(queue)))
            if len(flows) == 2: break
        arrive(port, *[flows[0]] * 200)  # more than its ring, and than nobody takes
        for _ in range(20):
            arrive(port, *[flows[1]] * 10)
            assert [packet.data for packet in received(port, 10, 1)] == [flows[1]] * 10
        assert port.statistics()["dropped"] == 200 - 63


def test_checksums_are_told_and_filled_in() -> None:
    good_udp, good_tcp = ethernet(ipv4(udp(b"x" * 30), 17)), ethernet(ipv4(tcp(b"y" * 30), 6))
    blank_udp = ethernet(ipv4(udp(b"x" * 30, checksum=0), 17, checksum=0))
    blank_tcp = ethernet(ipv4(tcp(b"y" * 30, checksum=0), 6, checksum=0))
    wrong = ethernet(ipv4(udp(b"x" * 30, checksum=1), 17))
    with ports() as port:
        port.wait_for_link()
        sums = lib.NIC_SUM_IP | lib.NIC_SUM_L4
        for _ in range(50):  # a context stays for those that need the same
            assert port.send(Packet(blank_udp, sums), Packet(blank_tcp, sums), numbered(1)) == 3
            assert sent(port, 3) == [good_udp, good_tcp, numbered(1)]
        arrive(port, good_udp, wrong, numbered(2))
        checked = lib.NIC_IP_CHECKED | lib.NIC_L4_CHECKED
        flags = [packet.flags & (checked | lib.NIC_L4_WRONG) for packet in received(port, 3)]
        assert flags == [checked, checked | lib.NIC_L4_WRONG, 0]
        assert port.model.errors == {}


def test_tags_are_taken_off_and_put_on() -> None:
    with ports({"strip_tags": 1}) as port:
        port.wait_for_link()
        arrive(port, ethernet(b"z" * 60, tag=77))
        (packet,) = received(port, 1)
        assert (packet.data, packet.tag, packet.flags & lib.NIC_TAGGED) == (ethernet(b"z" * 60), 77, lib.NIC_TAGGED)
        assert port.send(Packet(packet.data, lib.NIC_PUT_TAG, 99)) == 1
        assert sent(port, 1) == [ethernet(b"z" * 60, tag=99)]


def test_waiting_for_interrupts() -> None:
    with Ixgbe(Mode.MEMORY) as nic:
        nic.start()
        port = Port(nic, interrupts=True)
        port.wait_for_link()
        told = [port.wait(0.02) for _ in range(20)]
        assert told[-1] == 0, "that the link has changed is told of once"
        for i in range(5):
            arrive(port, numbered(i))
            until(lambda: port.wait(1) or True)
            assert received(port, 1)[0].data == numbered(i)
        port.close()


def test_only_what_is_addressed_to_it() -> None:
    with ports({"addressed": 1}) as port:
        port.wait_for_link()
        arrive(port, ethernet(b"no", to=b"\x02\0\0\0\0\x63"), ethernet(b"yes"))
        assert [packet.data for packet in received(port, 1)] == [ethernet(b"yes")]


def test_a_full_ring_takes_no_more_and_loses_nothing() -> None:
    with ports({"descriptors": 64}) as port:
        port.wait_for_link()
        port.model.link(None)
        taken = sum(port.send(*(numbered(i) for i in range(first, first + 20))) for first in range(0, 100, 20))
        assert 40 <= taken <= 63
        port.model.link(0)
        assert len(sent(port, taken)) == taken
        assert port.send(numbered(1)) == 1


def test_a_device_that_does_not_reset_is_refused() -> None:
    with Ixgbe(Mode.MEMORY, reset_time=None) as nic:
        nic.start()
        with pytest.raises(OSError, match="brought up") as error: Port(nic)
        assert error.value.errno == errno.ETIMEDOUT


def test_a_link_that_never_comes_is_told() -> None:
    with ports(link_delay=None) as port:
        with pytest.raises(TimeoutError): port.wait_for_link(0.05)
        assert port.speed == 0


def test_a_device_that_is_pulled_out() -> None:
    with ports() as port:
        port.wait_for_link()
        port.model.remove()
        assert port.speed == 0
        with pytest.raises(OSError, match="No such device"): port.statistics()
        with pytest.raises(OSError, match="No such device"): port.wait_for_link()
        assert port.receive() == []
    with Ixgbe(Mode.MEMORY) as nic:
        nic.remove()
        with pytest.raises(OSError, match="No such device"): Port(nic)


def delivered(port: Port, total: int) -> list[bytes]:
    """What the driver hands out of ``total`` frames that arrive, and of what the device makes of them."""
    found: list[bytes] = []
    for first in range(0, total, 20):
        arrive(port, *(numbered(i) for i in range(first, first + 20)))
        found += [packet.data for packet in port.receive()]
    # When all have come, one more, with which nothing goes wrong.
    came = ctypes.c_uint32.from_address(port.model.regions[0].host_address(TPR & ~0xFFF) + TPR % 0x1000)
    until(lambda: came.value == total)
    with port.model.stopped(): Faults().fill(port.model._faults)
    arrive(port, numbered(total))

    def last() -> bool:
        found.extend(packet.data for packet in port.receive())
        return found[-1:] == [numbered(total)]

    until(last)
    return found[:-1]


def test_frames_that_come_late_twice_or_not_at_all() -> None:
    frames = [numbered(i) for i in range(400)]
    with ports(faults=Faults(seed=7, late=0.1, late_ms=0.2)) as port:
        port.wait_for_link()
        assert delivered(port, 400) == frames, "late, and in order"
    with ports(faults=Faults(seed=7, lost=0.2)) as port:
        port.wait_for_link()
        found = delivered(port, 400)
        assert 200 < len(found) < 390
        assert found == [frame for frame in frames if frame in found]
    with ports(faults=Faults(seed=7, duplicated=0.2)) as port:
        port.wait_for_link()
        found = delivered(port, 400)
        assert 420 < len(found) < 600
        assert sorted(found) == found
        assert set(found) == set(frames)


def test_descriptors_with_an_error_are_counted_and_not_handed_out() -> None:
    frames = [numbered(i) for i in range(400)]
    with ports(faults=Faults(seed=7, error=0.2)) as port:
        port.wait_for_link()
        found = delivered(port, 400)
        assert found == [frame for frame in frames if frame in found]
        assert 40 < port.statistics()["broken"] == 400 - len(found) < 160


@pytest.mark.parametrize(("faults", "low", "high"), [
    (Faults(seed=3, late=0.02, late_ms=0.2), 1.0, 1.0), (Faults(seed=3, lost=0.3), 1.0, 1.0),
    (Faults(seed=3, duplicated=0.2), 1.1, 1.3), (Faults(seed=3, error=0.2), 0.7, 0.9),
], ids=["late", "lost", "duplicated", "error"])  # fmt: skip
def test_sending_goes_on_whatever_is_reported(faults: Faults, low: float, high: float) -> None:
    """Among other things, reports of what was sent that never come: later ones do."""
    with ports({"descriptors": 64}, faults=faults) as port:
        port.wait_for_link()
        lib.ixgbe_capture(port.model.engine, False)
        sent = 0

        def more() -> bool:
            nonlocal sent
            sent += port.send(*(numbered(i) for i in range(sent, min(sent + 30, 3000))))
            return sent == 3000

        until(more, 30)
        until(lambda: lib.nic_drained(port.nic, 0))
        assert low <= port.statistics()["sent"] / 3000 <= high
        assert port.model.errors == {}


@pytest.mark.parametrize(
    "options", [{"receive_queues": 17}, {"descriptors": 100}, {"descriptors": 8192}, {"buffers": 64}]
)
def test_options_that_cannot_be(options: dict[str, int]) -> None:
    with Ixgbe(Mode.MEMORY) as nic, pytest.raises(OSError, match="Invalid argument"): Port(nic, **options)


def test_more_than_there_is_memory() -> None:
    with Ixgbe(Mode.MEMORY) as nic:
        nic.start()
        with pytest.raises(OSError, match="memory"): Port(nic, memory=1 << 20)


def test_a_port_that_was_closed_is_opened_again() -> None:
    with Ixgbe(Mode.MEMORY) as nic:
        nic.start()
        for i in range(3):
            port = Port(nic)
            port.wait_for_link()
            arrive(port, numbered(i))
            assert received(port, 1)[0].data == numbered(i)
            port.close()
            nic.unmap(IOVA, 16 << 20)
