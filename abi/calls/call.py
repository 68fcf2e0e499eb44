"""What the table of native calls says of a call, and arguments that many calls have."""

from __future__ import annotations

from typing import NamedTuple

from abi.errors import EINVAL


class Argument(NamedTuple):
    """One argument: its name, its C type, and what it means with unit and range."""

    name: str
    c_type: str
    meaning: str


class Call(NamedTuple):
    """One native system call.  ``name`` is the name of the transition, of the spec and of ``aero_<name>`` in C."""

    number: int
    name: str
    arguments: tuple[Argument, ...]
    result: str
    errors: tuple[tuple[int, str], ...]
    summary: str
    returns: bool = True
    words: str = ""
    """A message's words go "in", come "out", or "both"; registers as ``MESSAGE_WORDS`` says."""


def u64(name: str, meaning: str) -> Argument:
    """An argument of 64 bits."""
    return Argument(name, "uint64_t", meaning)


def pointer(name: str, meaning: str) -> Argument:
    """An argument that is an address to read from."""
    return Argument(name, "const void *", meaning)


ADDRESS = u64("address", "first address, a multiple of 4096")
LENGTH = u64("length", "bytes, a positive multiple of 4096")
PROTECTION = u64("protection", "AERO_READ | AERO_WRITE | AERO_EXECUTE; WRITE and EXECUTE imply READ; 0 for none")
HANDLE = u64("handle", "a handle of the calling process")
RANGE_ERROR = (EINVAL, "not page aligned, empty, or outside 0x10000 .. 0x7f7fffffffff")

__all__ = ["Argument", "Call", "u64", "pointer", "ADDRESS", "LENGTH", "PROTECTION", "HANDLE", "RANGE_ERROR"]
