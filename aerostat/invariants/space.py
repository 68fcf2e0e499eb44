"""A program's memory as values are read from it: how its types are read, and all that was, for a report to say what was
seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from abi.c_types import Member, Structure, Type
from aerostat.invariants.values import Read, Reader, Unreadable, unreadable
from hv.personality import UserFault


class Memory(Protocol):
    """Bytes by address (``hv.user_memory.UserMemory``).  Both raise UserFault where nothing is."""

    @property
    def ram(self) -> memoryview:
        """What ``place`` is an index into."""

    def place(self, va: int, /) -> tuple[int, int]:
        """Where an address is, and how many bytes from there are contiguous."""

    def observe(self, va: int, length: int, /) -> bytes:
        """Bytes from an address on."""


class Space:
    """One program's memory, as views read it."""

    __slots__ = ("classes", "layouts", "observe", "place", "ram", "readers", "reads", "symbolize")

    def __init__(self, memory: Memory, symbolize: Callable[[int], str | None]) -> None:
        self.place = memory.place
        self.observe = memory.observe
        self.ram = memory.ram
        self.symbolize = symbolize
        """The name of what lies at an address."""
        self.reads: list[Read] = []
        """All reads since whoever looks at it last emptied it."""
        self.readers: dict[Type, Reader] = {}
        self.layouts: dict[Type, dict[str, tuple[Reader, int]]] = {}
        self.classes: dict[Type, Any] = {}
        """By structure, and by pointer to one: the class of its views."""

    def reader(self, of: Type) -> Reader:
        """What reads values of a type."""
        found = self.readers.get(of)
        if found is None:
            from aerostat.invariants.readers import reader_of

            found = self.readers[of] = reader_of(of)
        return found

    def layout(self, of: Structure) -> dict[str, tuple[Reader, int]]:
        """By member: what reads it, and its offset."""
        found = self.layouts.get(of)
        if found is None:
            if not of.complete: raise Unreadable(f"{of.name} is only declared, its members are not known")
            found = self.layouts[of] = {name: self._member(member) for name, member in of.members.items()}
        return found

    def _member(self, member: Member) -> tuple[Reader, int]:
        if not member.bits: return self.reader(member.type), member.offset
        from aerostat.invariants.readers import bit_field_reader

        return bit_field_reader(member), 0

    def bytes_at(self, address: int, length: int, parent: Any, step: Any) -> bytes:
        """Bytes of the memory; Unreadable with the expression's name."""
        try:
            return self.observe(address, length)
        except UserFault as fault:
            raise unreadable(fault, parent, step) from None

    def text_at(self, address: int, limit: int, parent: Any, step: Any) -> str:
        """The string at an address: up to a zero byte or ``limit`` bytes."""
        found = b""
        while len(found) < limit:
            try:
                at, contiguous = self.place(address + len(found))
            except UserFault as fault:
                raise unreadable(fault, parent, step) from None
            piece = bytes(self.ram[at : at + min(contiguous, 4096, limit - len(found))])
            end = piece.find(0)
            if end >= 0:
                found += piece[:end]
                break
            found += piece
        text = found.decode("utf-8", "backslashreplace")
        self.reads.append((parent, step, text))
        return text


__all__ = ["Memory", "Space"]
