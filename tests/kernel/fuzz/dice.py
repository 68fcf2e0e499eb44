"""What a random choice is made by: a few bytes for each action, so that hypothesis can shrink them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

ROLLS: Final = 16
"""Bytes of an action: enough for the choices it takes."""


class Dice:
    """Choices made by given bytes, one byte each; 0, what bytes shrink to, is the first of what there is to choose
    from.  When the bytes are used up, all further ones are 0."""

    __slots__ = ("_bytes", "_next")

    def __init__(self, rolled: bytes) -> None:
        self._bytes = rolled
        self._next = 0

    def roll(self) -> int:
        """0 to 255."""
        n = self._next
        self._next = n + 1
        return self._bytes[n] if n < len(self._bytes) else 0

    def pick(self, things: Sequence[T]) -> T:
        """One of at most 65,536 things."""
        n = len(things)
        if n <= 256: return things[self.roll() % n]
        return things[(self.roll() << 8 | self.roll()) % n]

    def chance(self, of256: int) -> bool:
        """True in this many of 256 cases, but not for 0."""
        return self.roll() >= 256 - of256


__all__ = ["ROLLS", "Dice"]
