"""What reads a value of a C type out of guest memory: made once a type, since it runs at every exit."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from abi.c_types import (
    BOOLEAN,
    COMPLEX,
    FLOAT,
    SIGNED,
    Array,
    Enumeration,
    Function,
    Member,
    Number,
    Pointer,
    Structure,
    Type,
    Void,
)
from aerostat.invariants.space import Space
from aerostat.invariants.values import (
    ArrayView,
    FunctionView,
    Reader,
    Unreadable,
    expression,
    fill,
    new_pointer,
    new_structure,
    unreadable,
)
from hv.personality import UserFault

_CODES = {
    (SIGNED, 1): "b", (SIGNED, 2): "h", (SIGNED, 4): "i", (SIGNED, 8): "q",
    ("unsigned", 1): "B", ("unsigned", 2): "H", ("unsigned", 4): "I", ("unsigned", 8): "Q",
    (FLOAT, 2): "e", (FLOAT, 4): "f", (FLOAT, 8): "d", (BOOLEAN, 1): "?",
}  # fmt: skip


class EnumeratorValue(int):
    """A value of an enumeration: an integer that knows its name."""

    _names: dict[int, str] = {}  # noqa: RUF012  (each enumeration's own class has its own)

    @property
    def name(self) -> str | None:
        """The constant's name; None for a value that has none."""
        return self._names.get(int(self))

    def __repr__(self) -> str:
        return f"{self.name} ({int(self)})" if self.name else f"{int(self)}"


def reader_of(of: Type) -> Reader:
    """What reads values of this type."""
    if isinstance(of, Number):
        code = _CODES.get((of.encoding, of.size))
        if code is not None: return _plain(struct.Struct("<" + code), None)
        return _converted(of.size, _conversion(of))
    if isinstance(of, Enumeration):
        code = _CODES.get((SIGNED if of.signed else "unsigned", of.size))
        if code is not None: return _plain(struct.Struct("<" + code), enumeration_class(of))
    if isinstance(of, Pointer): return _pointer(of)
    if isinstance(of, Structure): return lambda space, address, parent, step: new_structure(
        space, address, of, parent, step)  # fmt: skip
    if isinstance(of, Array | Function): return _aggregate(ArrayView if isinstance(of, Array) else FunctionView, of)
    return _refusal(of.why if isinstance(of, Void) else f"values of type {of.name} cannot be read")


def enumeration_class(of: Enumeration) -> type[EnumeratorValue]:
    """The class of an enumeration's values."""
    return type(of.name, (EnumeratorValue,), {"_names": of.names})


def _plain(layout: struct.Struct, convert: Callable[[int], Any] | None) -> Reader:
    unpack, size = layout.unpack_from, layout.size

    def read(space: Space, address: int, parent: Any, step: Any) -> Any:
        try:
            at, contiguous = space.place(address)
            if contiguous >= size: value = unpack(space.ram, at)[0]
            else: value = unpack(space.observe(address, size))[0]
        except UserFault as fault:
            raise unreadable(fault, parent, step) from None
        if convert is not None: value = convert(value)
        space.reads.append((parent, step, value))
        return value

    return read


def _converted(size: int, convert: Callable[[bytes], Any]) -> Reader:
    def read(space: Space, address: int, parent: Any, step: Any) -> Any:
        value = convert(space.bytes_at(address, size, parent, step))
        space.reads.append((parent, step, value))
        return value

    return read


def _conversion(of: Number) -> Callable[[bytes], Any]:
    """From the bytes of a number that ``struct`` has no letter for."""
    if of.encoding == FLOAT: return extended
    if of.encoding == COMPLEX:
        part = {8: lambda raw: struct.unpack("<f", raw)[0], 16: lambda raw: struct.unpack("<d", raw)[0]}.get(of.size)
        half = of.size // 2
        number = part or extended
        return lambda raw: complex(number(raw[:half]), number(raw[half:]))
    if of.encoding == BOOLEAN: return any
    return lambda raw: int.from_bytes(raw, "little", signed=of.encoding == SIGNED)


def extended(raw: bytes) -> float:
    """An 80-bit extended float, the x86 ``long double``, rounded to Python's 64 bits."""
    mantissa, rest = int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:10], "little")
    sign, exponent = -1.0 if rest >> 15 else 1.0, rest & 0x7FFF
    if exponent == 0x7FFF: return sign * math.inf if mantissa == 1 << 63 else math.nan
    try:
        return sign * math.ldexp(float(mantissa), exponent - 16383 - 63)
    except OverflowError:
        return sign * math.inf


def _pointer(of: Pointer) -> Reader:
    unpack = struct.Struct("<Q").unpack_from

    def read(space: Space, address: int, parent: Any, step: Any) -> Any:
        try:
            at, contiguous = space.place(address)
            if contiguous >= 8: value = unpack(space.ram, at)[0]
            else: value = unpack(space.observe(address, 8))[0]
        except UserFault as fault:
            raise unreadable(fault, parent, step) from None
        view = new_pointer(space, address, of, parent, step, value)
        space.reads.append((parent, step, view))
        return view

    return read


def _aggregate(kind: type[ArrayView] | type[FunctionView], of: Type) -> Reader:
    def view(space: Space, address: int, parent: Any, step: Any) -> Any:
        made = kind.__new__(kind)
        fill(made, space, address, of, parent, step)
        return made

    return view


def _refusal(why: str) -> Reader:
    def refuse(space: Space, address: int, parent: Any, step: Any) -> Any:
        raise Unreadable(f"{expression(parent, step)}: {why}")

    return refuse


def bit_field_reader(member: Member) -> Reader:
    """What reads a bit field, given its structure's address."""
    first, bits, of = member.first_bit, member.bits, member.type
    start, end = first // 8, (first + bits + 7) // 8
    shift, mask, sign = first - start * 8, (1 << bits) - 1, 1 << bits - 1
    signed = of.signed if isinstance(of, Enumeration) else isinstance(of, Number) and of.encoding == SIGNED
    convert: Callable[[int], Any] | None = None
    if isinstance(of, Enumeration): convert = enumeration_class(of)
    elif isinstance(of, Number) and of.encoding == BOOLEAN: convert = bool

    def read(space: Space, address: int, parent: Any, step: Any) -> Any:
        raw = space.bytes_at(address + start, end - start, parent, step)
        value: Any = int.from_bytes(raw, "little") >> shift & mask
        if signed and value & sign: value -= mask + 1
        if convert is not None: value = convert(value)
        space.reads.append((parent, step, value))
        return value

    return read


__all__ = ["EnumeratorValue", "bit_field_reader", "enumeration_class", "extended", "reader_of"]
