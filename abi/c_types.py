"""C types as a program's debugging information describes them: what is where in an object, and how to read it.

What a type refers to (a pointer's target, a structure's members) is looked up when it is first asked for: types refer
to each other in circles, and a header brings in thousands that nobody asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

SIGNED: Final = "signed"
UNSIGNED: Final = "unsigned"
BOOLEAN: Final = "boolean"
FLOAT: Final = "float"
COMPLEX: Final = "complex"
CHARACTERS: Final = ("char", "signed char", "unsigned char", "char8_t")


class Type:
    """A type.  ``size`` is in bytes, None where it is not known (void, an array without a
    length, a structure that is only declared)."""

    def __init__(self, name: str, size: int | None) -> None:
        self._name = name
        self.size = size

    @property
    def name(self) -> str:
        """As C writes it."""
        return self._name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Void(Type):
    """Nothing, or what cannot be looked into: ``why`` says so."""

    def __init__(self, name: str = "void", why: str = "void has no value") -> None:
        super().__init__(name, None)
        self.why = why


class Number(Type):
    """An integer, boolean, floating-point or complex number; ``encoding`` is one of the words above."""

    size: int

    def __init__(self, name: str, size: int, encoding: str) -> None:
        super().__init__(name, size)
        self.encoding = encoding

    @property
    def character(self) -> bool:
        """An array of it is a string."""
        return self.size == 1 and self.name in CHARACTERS


class Enumeration(Type):
    """An enumeration: an integer whose values have names."""

    size: int

    def __init__(self, name: str, size: int, signed: bool, names: Mapping[int, str]) -> None:
        super().__init__(name, size)
        self.signed = signed
        self.names = names


class Pointer(Type):
    """A pointer, or a reference of C++."""

    size: int

    def __init__(self, target: Callable[[], Type]) -> None:
        super().__init__("", 8)
        self._target = target

    @cached_property
    def target(self) -> Type:
        """What it points to."""
        return self._target()

    @property
    def name(self) -> str:
        """As C writes it."""
        target = self.target
        if isinstance(target, Function): return target.name.replace(" (", " (*)(", 1)
        return f"{target.name}*" if isinstance(target, Pointer) else f"{target.name} *"


class Array(Type):
    """``count`` elements one after the other; None where the program does not say how many (``int rest[]``)."""

    def __init__(self, element: Type, count: int | None) -> None:
        inner, _, rest = element.name.partition("[")
        length = "" if count is None else str(count)
        super().__init__(f"{inner}[{length}]" + (f"[{rest}" if rest else ""), None)
        self.element = element
        self.count = count
        if count is not None and element.size is not None: self.size = count * element.size


class Function(Type):
    """A function: code, known by its address."""

    def __init__(self, name: str) -> None:
        super().__init__(name, None)


class Member(NamedTuple):
    """A member of a structure: ``offset`` in bytes, or for a bit field ``bits`` bits from bit ``first_bit`` on,
    counted from the structure's start."""

    name: str
    type: Type
    offset: int
    first_bit: int = 0
    bits: int = 0


class Structure(Type):
    """A struct, union or class.  ``complete`` is false where the program only declares it."""

    def __init__(
        self, name: str, size: int | None, complete: bool, members: Callable[[], Mapping[str, Member]]
    ) -> None:
        super().__init__(name, size)
        self.complete = complete
        self._members = members

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """By name, in order; those of nameless structures and unions inside it are its own."""
        return self._members()


@dataclass(frozen=True)
class Variable:
    """A variable of a program that is there as long as the program: global, or static.

    One of ``address`` (the file's own: add what the program was moved by), ``thread_offset`` (from the start of the
    thread-local storage), ``constant`` is known; none where the compiler left no trace of it, and then ``missing``
    says why.
    """

    name: str
    type: Type
    file: str
    """The source file it is defined in."""
    external: bool
    """Other files know it by this name."""
    address: int | None = None
    thread_offset: int | None = None
    constant: int | bytes | None = None
    missing: str = ""


__all__ = [
    "BOOLEAN", "COMPLEX", "FLOAT", "SIGNED", "UNSIGNED", "Array", "Enumeration", "Function", "Member", "Number",
    "Pointer", "Structure", "Type", "Variable", "Void",
]  # fmt: skip
