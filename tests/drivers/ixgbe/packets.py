"""Frames to send and receive, with checksums by the RFCs' own words."""

from __future__ import annotations

import struct

US = b"\x02\x82\x59\x90\x00\x01"
"""The model's MAC address, unless it is told another."""
THEM = b"\x02\x00\x00\x00\x00\x07"


def ones_complement(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16: total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(payload: bytes, *, to: bytes = US, kind: int = 0x0800, tag: int | None = None) -> bytes:
    """Padded to 60 bytes; no FCS."""
    vlan = b"" if tag is None else struct.pack(">HH", 0x8100, tag)
    return (to + THEM + vlan + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def ipv4(payload: bytes, protocol: int, *, source: str = "10.0.0.1", to: str = "10.0.0.2", fragment: int = 0,
         identity: int = 0, checksum: int | None = None) -> bytes:  # fmt: skip
    addresses = bytes(map(int, source.split("."))) + bytes(map(int, to.split(".")))
    def header(sum_: int) -> bytes:
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), identity, fragment, 64, protocol, sum_) + addresses

    return header(ones_complement(header(0)) if checksum is None else checksum) + payload


def pseudo(protocol: int, length: int, source: str = "10.0.0.1", to: str = "10.0.0.2") -> bytes:
    addresses = bytes(map(int, source.split("."))) + bytes(map(int, to.split(".")))
    return addresses + struct.pack(">BBH", 0, protocol, length)


def udp(payload: bytes, *, ports: tuple[int, int] = (1000, 2000), checksum: int | None = None,
        source: str = "10.0.0.1", to: str = "10.0.0.2") -> bytes:  # fmt: skip
    length = 8 + len(payload)
    def header(sum_: int) -> bytes:
        return struct.pack(">HHHH", *ports, length, sum_)

    real = ones_complement(pseudo(17, length, source, to) + header(0) + payload) or 0xFFFF
    return header(real if checksum is None else checksum) + payload


def tcp(payload: bytes, *, ports: tuple[int, int] = (1000, 2000), sequence: int = 1, flags: int = 0x18,
        checksum: int | None = None) -> bytes:  # fmt: skip
    def header(sum_: int) -> bytes:
        return struct.pack(">HHIIBBHHH", *ports, sequence, 9, 5 << 4, flags, 4096, sum_, 0)

    real = ones_complement(pseudo(6, 20 + len(payload)) + header(0) + payload)
    return header(real if checksum is None else checksum) + payload


def numbered(number: int, length: int = 60) -> bytes:
    """A frame that is like no other."""
    return (US + THEM + b"\x88\xb5" + struct.pack(">I", number)).ljust(length, bytes([number % 251]))
