"""Faults to inject, as people say them: ``Faults(seed=3, late=0.01)``, or ``seed=3,late=0.01`` on a command line."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from drivers._native import ffi, lib


@dataclass(frozen=True)
class Faults:
    """How often each goes wrong, of all commands (or packets), as a probability from 0 to 1."""

    seed: int = 1
    late: float = 0.0
    """Done, but told ``late_ms`` later."""
    lost: float = 0.0
    """Done, and never told."""
    duplicated: float = 0.0
    """Told twice."""
    error: float = 0.0
    """Not done, told with an error."""
    late_ms: float = 10.0
    removal: int = 0
    """The device is gone after so many commands; 0: never."""

    def __post_init__(self) -> None:
        rates = (self.late, self.lost, self.duplicated, self.error)
        if any(not 0 <= rate <= 1 for rate in rates) or sum(rates) > 1:
            raise ValueError("probabilities of faults are 0 to 1, and 1 at most together")
        if self.late_ms < 0 or self.removal < 0: raise ValueError("a fault's time or count is not negative")

    @classmethod
    def parse(cls, text: str) -> Faults:
        """From ``name=value`` pairs with commas between them.  Raises ValueError, which says what is wrong."""
        known = {field.name: int if field.name in ("seed", "removal") else float for field in fields(cls)}
        values: dict[str, Any] = {}
        for pair in text.split(","):
            name, equals, value = pair.strip().partition("=")
            if not equals or name not in known:
                raise ValueError(f"faults: {pair.strip()!r} is not NAME=VALUE with a NAME of {', '.join(known)}")
            try:
                values[name] = known[name](value)
            except ValueError:
                raise ValueError(f"faults: {name} is a number, not {value!r}") from None
        return cls(**values)

    def fill(self, faults: Any) -> None:
        """Into a ``struct faults`` of an engine."""
        ffi.memmove(faults, bytes(ffi.sizeof("struct faults")), ffi.sizeof("struct faults"))
        # Seeds that are near each other are to give draws that are not: one step of splitmix64.
        mixed = (self.seed + 1) * 0x9E3779B97F4A7C15 % 2**64
        faults.state = (mixed ^ mixed >> 31) or 1
        rates = ((lib.FAULT_LATE, self.late), (lib.FAULT_LOST, self.lost),
                 (lib.FAULT_DUPLICATED, self.duplicated), (lib.FAULT_ERROR, self.error))  # fmt: skip
        for kind, rate in rates:
            faults.per_million[kind] = round(rate * 1_000_000)
        faults.late_ns = round(self.late_ms * 1e6)
        faults.removal_after = self.removal


__all__ = ["Faults"]
