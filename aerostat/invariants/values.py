"""A program's objects as Python sees them: typed by its debugging information, read when asked for, never written.

``q.items[3].key`` is the C expression.  Numbers, booleans and enumerations are Python's own; structures, arrays and
pointers are views, of a program's memory (``aerostat.invariants.space``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, TypeVar

from abi.c_types import Array, Function, Number, Pointer, Structure, Type
from hv.personality import UserFault

if TYPE_CHECKING:
    from aerostat.invariants.space import Space

Reader = Callable[["Space", int, Any, Any], Any]
"""Reads a value: (space, address, the view it is part of, by which name or index) -> the value or a view of it."""
Read = tuple[Any, Any, Any]
"""What was read: the view it is part of (None: a variable), by which name or index, the value."""


class Unreadable(Exception):
    """Nothing is mapped where a value should be, or its type says nothing of it."""


class ReadOnly(TypeError):
    """A view was to be changed."""


def expression(parent: Any, step: Any) -> str:
    """The C expression of a part: ``head->next->items[3].key``."""
    if parent is None: return str(step)
    before = str(parent) if not isinstance(parent, View) else expression(parent._parent, parent._step)
    if isinstance(step, int): return f"{before}[{step}]"
    return f"{before}->{step}" if isinstance(parent, PointerView) else f"{before}.{step}"


def unreadable(fault: UserFault, parent: Any, step: Any) -> Unreadable:
    """Says which expression could not be read, and why."""
    name = expression(parent, step)
    if isinstance(parent, PointerView) and parent._value == 0:
        return Unreadable(f"{name}: {expression(parent._parent, parent._step)} is NULL")
    return Unreadable(f"{name}: nothing is mapped at {fault.address:#x}")


class View:
    """Something in the program's memory; cannot be changed."""

    __slots__ = ("_address", "_parent", "_space", "_step", "_type")
    _space: Space
    _address: int
    _type: Type
    _parent: Any
    _step: Any

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise ReadOnly(f"{expression(self, name)} cannot be set: an invariant looks at a program and changes nothing")

    def __delattr__(self, name: str) -> NoReturn:
        raise ReadOnly(f"{expression(self, name)} cannot be deleted")

    def __setitem__(self, index: Any, _: object) -> NoReturn:
        raise ReadOnly(f"{expression(self, index)} cannot be set: an invariant looks at a program and changes nothing")

    def __bytes__(self) -> bytes:
        """Its bytes as they are in memory."""
        if self._type.size is None: raise TypeError(f"the size of {self._type.name} is not known")
        return self._space.bytes_at(self._address, self._type.size, self._parent, self._step)

    def __eq__(self, other: object) -> bool:
        """The same place in memory."""
        if isinstance(other, View | int): return location(self) == location(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(location(self))


V = TypeVar("V", bound=View)

# The slots are filled past __setattr__.
_set_space = View.__dict__["_space"].__set__
_set_address = View.__dict__["_address"].__set__
_set_type = View.__dict__["_type"].__set__
_set_parent = View.__dict__["_parent"].__set__
_set_step = View.__dict__["_step"].__set__


def fill(view: View, space: Space, address: int, of: Type, parent: Any, step: Any) -> None:
    """Gives a new view what it is of."""
    _set_space(view, space)
    _set_address(view, address)
    _set_type(view, of)
    _set_parent(view, parent)
    _set_step(view, step)


def location(value: object) -> int | None:
    """The address that a pointer, array, structure, function or integer stands for in a comparison, as in C."""
    if isinstance(value, PointerView): return value._value
    if isinstance(value, View): return value._address
    return value if isinstance(value, int) else None


class StructureView(View):
    """A struct, union or class: its members are attributes, or items where Python has its own use for the name."""

    __slots__ = ("_layout",)
    _layout: dict[str, tuple[Reader, int]]

    def __getattr__(self, name: str) -> Any:
        try:
            read, offset = self._layout[name]
        except KeyError:
            raise no_member(self, self._type, name) from None
        return read(self._space, self._address + offset, self, name)

    def __getitem__(self, name: str) -> Any:
        if not isinstance(name, str):
            raise TypeError(f"{expression(self._parent, self._step)} is a {self._type.name}, not an array")
        return StructureView.__getattr__(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout)

    def __dir__(self) -> list[str]:
        return list(self._layout)

    def __repr__(self) -> str:
        parts = (f".{name} = {brief(self[name])}" for name in self._layout)
        return f"({self._type.name}){{{', '.join(parts)}}}"


_set_layout = StructureView.__dict__["_layout"].__set__


def _class_of(base: type[V], layout: dict[str, tuple[Reader, int]]) -> type[V]:
    """The class of a structure's views, or of those of pointers to it.  Its members are properties: Python finds these
    in half the time that ``__getattr__`` takes, which is left for those whose names are something to a view itself."""
    member = _pointed_member if issubclass(base, PointerView) else _member
    members = {name: member(name, *place) for name, place in layout.items() if not hasattr(base, name)}
    return type(base.__name__, (base,), {"__slots__": (), **members})


def _member(name: str, read: Reader, offset: int) -> property:
    return property(lambda view: read(view._space, view._address + offset, view, name))


def _pointed_member(name: str, read: Reader, offset: int) -> property:
    return property(lambda view: read(view._space, view._value + offset, view, name))


def new_structure(space: Space, address: int, of: Structure, parent: Any, step: Any) -> StructureView:
    """A view of the structure at an address."""
    layout = space.layout(of)
    kind: Any = space.classes.get(of)
    if kind is None: kind = space.classes[of] = _class_of(StructureView, layout)
    view: StructureView = kind.__new__(kind)
    fill(view, space, address, of, parent, step)
    _set_layout(view, layout)
    return view


def no_member(view: View, of: Type, name: str) -> AttributeError:
    """The error for a member that is not there."""
    what = expression(view._parent, view._step)
    if not isinstance(of, Structure): return AttributeError(f"{what} is a {view._type.name}: it has no member {name!r}")
    return AttributeError(f"{what} is a {of.name}: it has no member {name!r}, but {', '.join(of.members) or 'none'}")


class ArrayView(View):
    """An array: indexed and sliced from 0 to its length, and not beyond; ``string()`` if of characters."""

    __slots__ = ()
    _type: Array

    def __len__(self) -> int:
        if self._type.count is None:
            raise TypeError(f"{expression(self._parent, self._step)}: the program does not say how long it is")
        return self._type.count

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        if isinstance(index, slice): return [self[i] for i in range(*index.indices(len(self)))]
        i, element, count = index.__index__(), self._type.element, self._type.count
        if i < 0 or (count is not None and i >= count):
            name = expression(self._parent, self._step)
            raise IndexError(f"{name}[{i}]: {name} has elements 0 to {(count or 0) - 1}")
        if element.size is None: raise Unreadable(f"{expression(self, i)}: the size of {element.name} is not known")
        return self._space.reader(element)(self._space, self._address + i * element.size, self, i)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Element for element with a list or tuple; else the same place in memory."""
        if isinstance(other, list | tuple): return list(self) == list(other)
        if isinstance(other, str): raise TypeError(f"compare {expression(self, 'string()')} with a str")
        return super().__eq__(other)

    __hash__ = View.__hash__

    def string(self) -> str:
        """The characters up to the first zero, or all of them; bytes that are not UTF-8 as ``\\xff``.  TypeError for
        an array of anything else."""
        of, size = self._type.element, self._type.size
        if not (isinstance(of, Number) and of.character):
            raise TypeError(f"{expression(self._parent, self._step)} is a {self._type.name}, not an array of char")
        return self._space.text_at(self._address, 4096 if size is None else size, self._parent, self._step)

    def __repr__(self) -> str:
        of = self._type.element
        if isinstance(of, Number) and of.character: return repr(self.string())
        shown = [brief(self[i]) for i in range(min(self._type.count or 0, 16))]
        more = ", ..." if self._type.count is None or self._type.count > 16 else ""
        return f"({self._type.name}){{{', '.join(shown)}{more}}}"


class PointerView(View):
    """A pointer.  ``p[0]`` is what it points to, ``p.member`` a member of that, ``int(p)`` the address; false if NULL;
    ``string()`` where it points to characters.  Adds, subtracts and compares as in C."""

    __slots__ = ("_value",)
    _type: Pointer
    _value: int

    def __getattr__(self, name: str) -> Any:
        target = self._type.target
        if not isinstance(target, Structure): raise no_member(self, target, name)
        layout = self._space.layout(target)
        if self._type not in self._space.classes:
            self._space.classes[self._type] = _class_of(PointerView, layout)
        try:
            read, offset = layout[name]
        except KeyError:
            raise no_member(self, target, name) from None
        return read(self._space, self._value + offset, self, name)

    def __getitem__(self, index: SupportsIndex | str) -> Any:
        if isinstance(index, str): return PointerView.__getattr__(self, index)
        i = index.__index__()
        return self._space.reader(self._type.target)(self._space, self._value + i * self._stride(), self, i)

    __iter__ = None  # it has no end

    def _stride(self) -> int:
        target = self._type.target
        if target.size is None:
            name = expression(self._parent, self._step)
            raise Unreadable(f"{name} is a {self._type.name}: what it points to has no known size. "
                             f"program.object({name}, 'struct ...') gives it a type")  # fmt: skip
        return target.size

    def __bool__(self) -> bool:
        return self._value != 0

    def __int__(self) -> int:
        return self._value

    __index__ = __int__

    def __lt__(self, other: object) -> bool:
        return self._value < self._comparable(other)

    def __le__(self, other: object) -> bool:
        return self._value <= self._comparable(other)

    def __gt__(self, other: object) -> bool:
        return self._value > self._comparable(other)

    def __ge__(self, other: object) -> bool:
        return self._value >= self._comparable(other)

    def _comparable(self, other: object) -> int:
        where = location(other)
        if where is None: raise TypeError(f"a pointer cannot be compared with {type(other).__name__}")
        return where

    def __add__(self, count: int) -> PointerView:
        name = f"({expression(self._parent, self._step)} + {count})"
        return new_pointer(self._space, self._address, self._type, None, name, self._value + count * self._stride())

    def __sub__(self, other: Any) -> Any:
        where = location(other) if isinstance(other, View) else None
        return self + -other if where is None else (self._value - where) // self._stride()

    def string(self, limit: int = 4096) -> str:
        """The characters it points to, up to the first zero and at most ``limit``.  TypeError for a pointer to
        anything else but characters and void."""
        target = self._type.target
        if isinstance(target, Number | Pointer | Structure | Array) and not getattr(target, "character", False):
            raise TypeError(f"{expression(self._parent, self._step)} is a {self._type.name}, not a char *")
        return self._space.text_at(self._value, limit, self, 0)

    def symbol(self) -> str | None:
        """The function or variable of the program that it points into, as ``name+0x10``."""
        return self._space.symbolize(self._value)

    def __dir__(self) -> list[str]:
        target = self._type.target
        return list(self._space.layout(target)) if isinstance(target, Structure) and target.complete else ["string"]

    def __repr__(self) -> str:
        return f"({self._type.name}){brief(self)}"


_set_value = PointerView.__dict__["_value"].__set__


def new_pointer(space: Space, address: int, of: Pointer, parent: Any, step: Any, value: int) -> PointerView:
    """A view of a pointer at ``address`` that holds ``value``."""
    view: PointerView = PointerView.__new__(space.classes.get(of, PointerView))
    fill(view, space, address, of, parent, step)
    _set_value(view, value)
    return view


class FunctionView(View):
    """A function of the program; equal to pointers to it."""

    __slots__ = ()
    _type: Function

    def __int__(self) -> int:
        return self._address

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<{self._type.name} at {self._address:#x}>"


LONGEST = 40
"""Characters of a string that a report shows at most."""


def brief(value: object) -> str:
    """A value within another one's text, or a report's."""
    if isinstance(value, PointerView):
        if not value: return "NULL"
        if getattr(value._type.target, "character", False):
            with contextlib.suppress(Unreadable):
                return f"{value._value:#x} {value.string(LONGEST)!r}"
        named = value.symbol()
        return f"{value._value:#x} <{named}>" if named else f"{value._value:#x}"
    if isinstance(value, StructureView): return f"({value._type.name}){{...}}"
    if isinstance(value, ArrayView):
        of = value._type.element
        return repr(value.string()) if isinstance(of, Number) and of.character else f"({value._type.name}){{...}}"
    return repr(value)


def address_of(view: View) -> int:
    """Where a structure, array, pointer or function is, as C's ``&``.  TypeError for values that are Python's own;
    ``program.address("name")`` is for those."""
    if not isinstance(view, View): raise TypeError(f"{view!r} is a value: its address is not known any more")
    return view._address


def sizeof(view: View) -> int:
    """The size in bytes of a structure, array or pointer.  TypeError for others."""
    size = view._type.size if isinstance(view, View) else None
    if size is None: raise TypeError(f"the size of {view!r} is not known")
    return size


def type_of(view: View) -> str:
    """The type of a view as C writes it: ``struct queue``."""
    if not isinstance(view, View): raise TypeError(f"{view!r} is a value: its type is not known any more")
    return view._type.name


__all__ = [
    "ArrayView", "FunctionView", "PointerView", "Read", "ReadOnly", "Reader", "StructureView", "Unreadable",
    "View", "address_of", "brief", "expression", "fill", "location", "new_pointer", "new_structure", "sizeof",
    "type_of", "unreadable",
]  # fmt: skip
