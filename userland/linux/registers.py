"""Arguments as they come in registers: unsigned 64-bit values that stand for C's signed and narrow types."""

from __future__ import annotations


def signed32(value: int) -> int:
    """A register as C ``int``."""
    value &= 0xFFFF_FFFF
    return value - 0x1_0000_0000 if value & 0x8000_0000 else value


def signed64(value: int) -> int:
    """A register as C ``long``."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - 0x1_0000_0000_0000_0000 if value >> 63 else value


__all__ = ["signed32", "signed64"]
