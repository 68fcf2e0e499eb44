"""A module in the SFP+ cage: what it says of itself, as SFF-8472 has it (the page at 0xA0)."""

from __future__ import annotations

from typing import Final

CAGES: Final = frozenset({0x10FB, 0x1529, 0x154D})
"""Devices with a cage (SFP+); what the others are connected by, is soldered."""


def short_range() -> bytes:
    """256 bytes of a module for 10GBASE-SR."""
    page = bytearray(256)
    page[0:3] = 0x03, 0x04, 0x07  # an SFP, told by its two-wire interface; LC
    page[3] = 0x10  # 10GBASE-SR
    page[11:13] = 0x06, 103  # 64B/66B, 10.3 Gb/s
    page[16:20] = 8, 3, 0, 30  # metres by fibre, in tens: OM2, OM1, copper (none), OM3
    page[20:36] = b"AEROSTAT".ljust(16)
    page[40:60] = b"MODEL-SR".ljust(16) + b"1   "
    page[60:62] = 850 .to_bytes(2, "big")  # nm
    page[65] = 0x1A  # says when it has lost its signal, failed; can be told not to send
    page[68:84] = b"0001".ljust(16)
    page[84:92] = b"260101  "
    page[63], page[95] = sum(page[0:63]) % 256, sum(page[64:95]) % 256
    return bytes(page)


__all__ = ["CAGES", "short_range"]
