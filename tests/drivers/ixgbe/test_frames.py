"""What the device sees in frames: filters, checksums, hashes, tags; and what it puts into them."""

from __future__ import annotations

import struct

import pytest

from tests.drivers.ixgbe import card as c
from tests.drivers.ixgbe.card import Card, rx
from tests.drivers.ixgbe.packets import US, ethernet, ipv4, numbered, ones_complement, pseudo, tcp, udp

BROADCAST, GROUP, OTHER = b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x05", b"\x02\x00\x00\x00\x00\x09"
IPCS, L4CS, IPE, TCPE, RXE = 1 << 6, 1 << 5, 1 << 31, 1 << 30, 1 << 29


def passes(card: Card, frame: bytes) -> bool:
    """Whether a frame is received, by the head."""
    before = card.read(rx(0) + 0x10)
    card.arrive(frame)
    return card.read(rx(0) + 0x10) != before


@pytest.mark.parametrize(
    ("control", "to", "taken"),
    [(0, US, True), (0, OTHER, False), (0, BROADCAST, False), (0, GROUP, False), (1 << 9, OTHER, True),
     (1 << 9, GROUP, False), (1 << 8, GROUP, True), (1 << 8, OTHER, False), (1 << 8, BROADCAST, False),
     (1 << 10, BROADCAST, True), (1 << 10, GROUP, False)],
)  # fmt: skip
def test_addresses_are_filtered(card: Card, control: int, to: bytes, taken: bool) -> None:
    card.receive_queue()
    card.write(c.FCTRL, control)
    assert passes(card, ethernet(b"", to=to)) == taken
    assert card.read(c.GPRC) == taken
    assert card.read(c.TPR) == 1


def test_a_second_address(card: Card) -> None:
    card.receive_queue()
    card.write(c.FCTRL, 0)
    card.write(c.RAL + 8 * 3, int.from_bytes(OTHER[:4], "little"))
    card.write(c.RAH + 8 * 3, int.from_bytes(OTHER[4:], "little"))
    assert not passes(card, ethernet(b"", to=OTHER))
    card.write(c.RAH + 8 * 3, int.from_bytes(OTHER[4:], "little") | 1 << 31)
    assert passes(card, ethernet(b"", to=OTHER))


def test_multicasts_by_hash_are_marked_as_inexact(card: Card) -> None:
    card.receive_queue()
    bit = (GROUP[4] | GROUP[5] << 8) >> 4 & 0xFFF  # MCSTCTRL.MO 0: bits 47:36 of the address
    card.write(c.MTA + bit // 32 * 4, 1 << bit % 32)
    card.write(c.FCTRL, 0)
    assert not passes(card, ethernet(b"", to=GROUP))
    card.write(c.MCSTCTRL, 4)
    assert passes(card, ethernet(b"", to=GROUP))
    assert card.written(0).status >> 7 & 1
    assert not passes(card, ethernet(b"", to=b"\x01\x00\x5e\x00\x70\x05"))


def test_good_packets_are_those_that_pass_the_filters(card: Card) -> None:
    """TPR counts all of them, GPRC and its like what was wanted."""
    card.write(c.FCTRL, 0)
    card.receive_queue()
    for to in (US, b"\x02" + bytes(5), b"\xff" * 6, b"\x01" + bytes(5), US): card.arrive(ethernet(b"x", to=to))
    assert [card.written(i).done for i in range(3)] == [True, True, False]
    assert (card.read(c.TPR), card.read(c.GPRC), card.read(c.GORCL), card.read(c.PRC64)) == (5, 2, 128, 2)
    assert (card.read(c.BPRC), card.read(c.MPRC)) == (0, 0)


def test_broadcasts_are_counted_as_multicasts_too(card: Card) -> None:
    card.receive_queue()
    card.arrive(ethernet(b"", to=BROADCAST), ethernet(b"", to=GROUP), ethernet(b""))
    assert (card.read(c.BPRC), card.read(c.MPRC), card.read(c.GPRC)) == (1, 2, 3)


def test_vlans_are_filtered_and_stripped(card: Card) -> None:
    card.receive_queue()
    card.write(c.VLNCTRL, 1 << 30 | 0x8100)
    assert not passes(card, ethernet(b"x" * 50, tag=0x2000 | 77))
    card.write(c.VFTA + 77 // 32 * 4, 1 << 77 % 32)
    assert passes(card, ethernet(b"x" * 50, tag=0x2000 | 77))
    assert passes(card, ethernet(b"x" * 50))  # untagged
    assert card.received(0) == ethernet(b"x" * 50, tag=0x2000 | 77)
    card.write(rx(0) + 0x28, 1 << 25 | 1 << 30)  # VME
    card.arrive(ethernet(b"y" * 300, tag=0x2000 | 77))
    assert card.written(2).status >> 3 & 1
    assert card.written(2).vlan == 0x2000 | 77
    assert card.received(2) == ethernet(b"y" * 300)


def test_runts_giants_and_damaged_frames_are_counted_and_dropped(card: Card) -> None:
    card.receive_queue()
    card.arrive(numbered(1)[:30], numbered(1, 1515))
    card.arrive(numbered(2), damaged=True)
    assert card.read(rx(0) + 0x10) == 0
    assert [card.read(at) for at in (c.RUC, c.ROC, c.CRCERRS, c.GPRC, c.TPR)] == [1, 1, 1, 0, 3]
    card.arrive(numbered(3, 1514))
    assert card.written(0).length == 1514


def test_damaged_frames_are_stored_if_that_is_wanted(card: Card) -> None:
    card.receive_queue()
    card.write(c.FCTRL, 0x702)  # SBP
    card.arrive(numbered(2), damaged=True)
    assert card.written(0).errors == RXE
    assert card.read(c.GPRC) == 0


@pytest.mark.parametrize(
    ("packet", "status", "errors", "kind"),
    [
        (ipv4(udp(b"hello"), 17), IPCS | L4CS, 0, 1 | 32),
        (ipv4(tcp(b"hello"), 6), IPCS | L4CS, 0, 1 | 16),
        (ipv4(udp(b"hello"), 17, checksum=1), IPCS | L4CS, IPE, 1 | 32),
        (ipv4(udp(b"hello", checksum=1), 17), IPCS | L4CS, TCPE, 1 | 32),
        (ipv4(tcp(b"odd", checksum=1), 6), IPCS | L4CS, TCPE, 1 | 16),
        (ipv4(udp(b"none", checksum=0), 17), IPCS, 0, 1 | 32),
        (ipv4(udp(b"piece"), 17, fragment=0x2000), IPCS, 0, 1),
        (ipv4(b"?" * 20, 47), IPCS, 0, 1),
        (b"\x45" + b"\0" * 19, 0, 0, 0),
        (b"\x46\0\xff\xff", 0, 0, 0),
    ],
)  # fmt: skip
def test_checksums_of_what_comes_are_checked(card: Card, packet: bytes, status: int, errors: int, kind: int) -> None:
    card.receive_queue()
    card.arrive(ethernet(packet))
    written = card.written(0)
    assert (written.status & (IPCS | L4CS), written.errors, written.type) == (status, errors, kind)


def test_ipv6_checksums_are_checked(card: Card) -> None:
    card.receive_queue()
    source, to, payload = bytes(15) + b"\x01", bytes(15) + b"\x02", b"hello"
    for right in (True, False):
        head = struct.pack(">HHHH", 5, 6, 13, 0)
        real = ones_complement(source + to + struct.pack(">II", 13, 17) + head + payload)
        datagram = struct.pack(">HHHH", 5, 6, 13, real if right else real ^ 1) + payload
        card.arrive(ethernet(struct.pack(">IHBB", 6 << 28, 13, 17, 64) + source + to + datagram, kind=0x86DD))
    assert [card.written(i).errors for i in (0, 1)] == [0, TCPE]
    assert [card.written(i).type for i in (0, 1)] == [4 | 32] * 2


def test_fragments_tell_their_identity_and_sum(card: Card) -> None:
    card.receive_queue()
    payload = b"\x12\x34\x00\x01"
    card.arrive(ethernet(ipv4(payload, 17, fragment=0x2000, identity=0x4711)))
    assert card.written(0).hash & 0xFFFF == 0x4711
    assert card.written(0).hash >> 16 == struct.unpack("<H", b"\x12\x35")[0]


KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
"""Microsoft's verification suite for RSS."""


@pytest.mark.parametrize(
    ("source", "to", "ports", "with_ports", "without"),
    [("66.9.149.187", "161.142.100.80", (2794, 1766), 0x51CCC178, 0x323E8FC2),
     ("199.92.111.2", "65.69.140.83", (14230, 4739), 0xC626B0EA, 0xD718262A)],
)  # fmt: skip
def test_hashes_are_those_of_the_verification_suite(
    card: Card, source: str, to: str, ports: tuple[int, int], with_ports: int, without: int
) -> None:
    for i in range(10): card.write(c.RSSRK + 4 * i, int.from_bytes(KEY[4 * i : 4 * i + 4], "little"))
    card.write(c.RXCSUM, 1 << 13)
    card.write(c.MRQC, 1 | 1 << 16 | 1 << 17)
    card.receive_queue()
    segment = tcp(b"", ports=ports)
    card.arrive(ethernet(ipv4(segment, 6, source=source, to=to)))
    assert (card.written(0).hash, card.written(0).rss_type) == (with_ports, 1)
    card.write(c.MRQC, 1 | 1 << 17)
    card.arrive(ethernet(ipv4(segment, 6, source=source, to=to)))
    assert (card.written(1).hash, card.written(1).rss_type) == (without, 2)
    card.arrive(ethernet(b"", kind=0x88B5))
    assert (card.written(2).hash, card.written(2).rss_type) == (0, 0)


def test_flows_go_to_the_queues_that_the_table_says(card: Card) -> None:
    for i in range(10): card.write(c.RSSRK + 4 * i, int.from_bytes(KEY[4 * i : 4 * i + 4], "little"))
    for i in range(32): card.write(c.RETA + 4 * i, 0x03020100)
    card.write(c.MRQC, 1 | 1 << 22)
    for queue in range(4): card.receive_queue(queue)
    for port in range(20): card.arrive(ethernet(ipv4(udp(b"", ports=(port, 9)), 17)))
    heads = [card.read(rx(queue) + 0x10) for queue in range(4)]
    assert sum(heads) == 20
    assert all(heads)
    card.arrive(numbered(1))  # nothing to hash: queue 0
    assert card.read(rx(0) + 0x10) == heads[0] + 1


def test_ethertypes_choose_queues(card: Card) -> None:
    for queue in (0, 3): card.receive_queue(queue)
    card.write(0x5128 + 4 * 2, 1 << 31 | 0x88B5)  # ETQF(2)
    card.write(0xEC00 + 4 * 2, 1 << 31 | 3 << 16)  # ETQS(2)
    card.arrive(numbered(1), ethernet(b"", kind=0x88B6))
    assert card.received(0, 3) == numbered(1)
    assert (card.written(0, 3).type, card.written(0, 0).type) == (0x800 | 2, 0)
    assert not card.written(1, 3).done


def test_five_tuples_choose_queues_by_priority(card: Card) -> None:
    for queue in (0, 5, 6): card.receive_queue(queue)
    ports = int.from_bytes(struct.pack(">HH", 1000, 2000), "little")
    card.write(0xE000, int.from_bytes(bytes([10, 0, 0, 1]), "little"))  # SAQF(0)
    card.write(0xE200, int.from_bytes(bytes([10, 0, 0, 2]), "little"))  # DAQF(0)
    card.write(0xE400, ports)  # SDPQF(0)
    card.write(0xE800, 5 << 21)  # L34TIMIR(0)
    card.write(0xE600, 1 << 31 | 6 << 2 | 1)  # FTQF(0): UDP, priority 6
    card.write(0xE800 + 4, 6 << 21)
    card.write(0xE600 + 4, 1 << 31 | 0b01111 << 25 | 1 << 2)  # any TCP, priority 1
    card.write(0xE800 + 8, 6 << 21)
    card.write(0xE600 + 8, 1 << 31 | 0b11111 << 25 | 2 << 2)  # anything, priority 2
    card.arrive(ethernet(ipv4(udp(b"", ports=(1000, 2000)), 17)))
    assert card.written(0, 5).done
    card.write(0xE600 + 8, 0)
    card.arrive(ethernet(ipv4(tcp(b""), 6)), ethernet(ipv4(udp(b"", ports=(1000, 2001)), 17)),
                ethernet(ipv4(udp(b""), 17, source="10.0.0.9")))  # fmt: skip
    assert card.written(0, 6).done
    assert [card.written(i, 0).done for i in range(3)] == [True, True, False]


def context(card: Card, *, mac: int = 14, ip: int = 20, l4: int = 0, mss: int = 0, kind: int = 0, v4: bool = True,
            tag: int = 0) -> None:  # fmt: skip
    """An advanced context descriptor; kind: 0 UDP, 1 TCP."""
    card.descriptor(0, tag << 16 | mac << 9 | ip, 1 << 29 | 2 << 20 | kind << 11 | v4 << 10, mss << 16 | l4 << 8)


@pytest.mark.parametrize("length", [1, 5, 18, 100])
def test_udp_and_ip_checksums_are_inserted(card: Card, length: int) -> None:
    card.transmit_queue()
    payload = bytes(range(length))
    good = ethernet(ipv4(udp(payload), 17))
    half = ~ones_complement(pseudo(17, 8 + length)) & 0xFFFF  # the pseudo header's sum, as software puts it there
    frame = ethernet(ipv4(udp(payload, checksum=half), 17, checksum=0))[: 42 + length]
    context(card)
    card.send(frame, high=1 << 8 | 1 << 9)
    card.tell()
    assert card.sent() == [good]


def test_tcp_checksums_are_inserted(card: Card) -> None:
    card.transmit_queue()
    half = ~ones_complement(pseudo(6, 45)) & 0xFFFF
    context(card, kind=1)
    card.send(ethernet(ipv4(tcp(b"a" * 25, checksum=half), 6)), high=1 << 9)
    card.tell()
    assert card.sent() == [ethernet(ipv4(tcp(b"a" * 25), 6))]


def test_legacy_checksum_insertion(card: Card) -> None:
    """From CSS to the end of the packet, to CSO."""
    card.transmit_queue()
    frame = bytearray(ethernet(bytes(range(46))))
    frame[50:52] = b"\0\0"
    at = card.buffer(True, 0)
    card.put(at, bytes(frame))
    card.descriptor(0, at, 60 | 50 << 16 | 0b1111 << 24, 20 << 8)
    card.tell()
    (sent,) = card.sent()
    assert ones_complement(sent[20:]) == 0


def test_tags_are_inserted(card: Card) -> None:
    card.transmit_queue()
    context(card, tag=0x2123)
    card.send(ethernet(b"z" * 60), low=0x4B00_0000)
    card.tell()
    assert card.sent() == [ethernet(b"z" * 60, tag=0x2123)]


def test_tcp_segmentation(card: Card) -> None:
    card.transmit_queue()
    data = bytes(i % 256 for i in range(2500))
    # Software leaves the pseudo header's sum without the length.
    half = ~ones_complement(pseudo(6, 0)) & 0xFFFF
    whole = ethernet(ipv4(tcp(data, flags=0x19, checksum=half), 6, identity=7))
    at = card.buffer(True, 0)
    card.put(at, whole)
    context(card, kind=1, l4=20, mss=1000)
    card.data(0, at, len(whole), payload=2500, low=0x8B00_0000, high=1 << 8 | 1 << 9)
    card.tell()
    assert card.sent() == [
        ethernet(ipv4(tcp(data[first : first + 1000], sequence=1 + first, flags=0x19 if first == 2000 else 0x10), 6,
                      identity=7 + first // 1000))
        for first in (0, 1000, 2000)
    ]  # fmt: skip
