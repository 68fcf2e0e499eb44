"""The pattern that the driver's program writes, computed again."""

from __future__ import annotations

import struct

_MASK = 2**64 - 1


def _mixed(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31


def block(seed: int, lba: int, size: int = 512) -> bytes:
    """A block's bytes."""
    start = _mixed(seed) ^ _mixed(lba)
    return struct.pack(f"<{size // 8}Q", *(_mixed(start ^ place) for place in range(0, size, 8)))


def blocks(seed: int, lba: int, count: int, size: int = 512) -> bytes:
    """Several of them."""
    return b"".join(block(seed, lba + index, size) for index in range(count))
