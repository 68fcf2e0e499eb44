"""Sizes of memory as a user writes them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str | int) -> int:
    """``"256M"`` -> 268435456.  Units K, M, G, T (powers of 1024, ``KiB`` and ``KB`` too); a plain number is bytes.
    Raises ValueError with a sentence for anything else."""
    if isinstance(text, int): return text
    number = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = number[-1:] if number[-1:].isalpha() else ""
    digits = number[: len(number) - len(unit)].rstrip()
    if unit not in _UNITS or not digits.isascii() or not digits.replace(".", "", 1).isdigit():
        raise ValueError(f"{text!r} is not a size: write a number with K, M or G, such as 256M")
    return int(float(digits) * _UNITS[unit])


__all__ = ["parse_size"]
