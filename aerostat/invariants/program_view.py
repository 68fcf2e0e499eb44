"""A program by its names: ``program.queue.items[3].key``, typed by its debugging information, or by symbol alone."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from abi.c_types import Function, Pointer, Type, Variable, Void
from aerostat.invariants.space import Space
from aerostat.invariants.values import FunctionView, ReadOnly, Unreadable, fill, location
from hv.personality import UserFault

if TYPE_CHECKING:
    from abi.debug_info import DebugInfo
    from abi.image import Image
    from hv.user_memory import UserMemory


class UnknownName(AttributeError):
    """The program has nothing of this name, or several things, or not its type."""


class _Constant:
    """Bytes that are read as memory is."""

    def __init__(self, data: bytes) -> None:
        self.ram = memoryview(data)

    def place(self, address: int) -> tuple[int, int]:
        if not 0 <= address < len(self.ram): raise UserFault(address)
        return address, len(self.ram) - address

    def observe(self, address: int, length: int) -> bytes:
        if address < 0 or address + length > len(self.ram): raise UserFault(address)
        return bytes(self.ram[address : address + length])


class ProgramView:
    """What a program's variables hold now.  Nothing of it can be changed.

    An attribute is a global or static variable, a function, or a constant of an enumeration, by its name in C;
    ``program["name"]`` is the same, for names that Python or this class has another use for.  UnknownName tells of
    names that the program does not have, Unreadable of addresses where nothing is mapped.
    """

    __slots__ = ("_found", "_image", "_space", "_thread_pointer")
    _found: dict[str, Callable[[], Any]]
    """By name, what reads it."""
    _image: Image
    _space: Space
    _thread_pointer: Callable[[], int]

    def __new__(cls, *_: object) -> ProgramView:
        """A class of its own for each program: what was found once is a property of it, which costs half of what
        ``__getattr__`` does."""
        return object.__new__(type(cls.__name__, (cls,), {"__slots__": ()}))

    def __init__(self, image: Image, memory: UserMemory, thread_pointer: Callable[[], int]) -> None:
        """``thread_pointer`` gives the FS base of the thread that is looked at."""
        _set = object.__setattr__
        _set(self, "_image", image)
        _set(self, "_space", Space(memory, image.symbolize))
        _set(self, "_found", {})
        _set(self, "_thread_pointer", thread_pointer)

    def __getattr__(self, name: str) -> Any:
        found = self._found.get(name)
        if found is None:
            # Python asks objects for names of its own, which no program is to be searched for.
            if name.startswith("__") and name.endswith("__"): raise AttributeError(name)
            found = self._found[name] = self._find(name)
            if not hasattr(ProgramView, name): setattr(type(self), name, _property(found))
        return found()

    def __getitem__(self, name: str) -> Any:
        return ProgramView.__getattr__(self, name)

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise ReadOnly(f"{name} cannot be set: an invariant looks at a program and changes nothing")

    def __setitem__(self, name: str, _: object) -> NoReturn:
        raise ReadOnly(f"{name} cannot be set: an invariant looks at a program and changes nothing")

    # By type.

    def variable(self, name: str, *, file: str | None = None, function: str | None = None) -> Any:
        """The variable that is static in this file (its name as ``queue.c``), or static in this function."""
        key = f"{file or ''}:{function or ''}:{name}"
        found = self._found.get(key)
        if found is None:
            variable = self._choose(name, self._debug(name).variables(name, function), file, function)
            found = self._found[key] = self._accessor(variable)
        return found()

    def object(self, address: Any, type: str) -> Any:
        """What lies at an address (a number, or a pointer of the program), as a type: ``"struct node"``, ``"node_t"``,
        ``"char *"``, ``"unsigned int"``."""
        where = location(address)
        if where is None: raise TypeError(f"{address!r} is not an address")
        return self._space.reader(self._type(type))(self._space, where, None, f"({type} at {where:#x})")

    def _type(self, name: str) -> Type:
        base = name.rstrip("* ")
        found: Type | None = Void() if base == "void" else self._debug(name).type(base)
        if found is None: raise UnknownName(f"the program has no type {base!r}")
        for _ in range(name.count("*")):
            found = _pointer_to(found)
        return found

    # By symbol.

    def address(self, name: str) -> int:
        """The address of a variable or function by its symbol.  UnknownName."""
        return self._extent(name)[0]

    def _extent(self, name: str) -> tuple[int, int]:
        extents = self._image.extents(name)
        if not extents: raise UnknownName(f"the program has no symbol {name!r}")
        if len(extents) > 1:
            places = ", ".join(f"{address:#x}" for address, _ in extents)
            raise UnknownName(f"the program has {len(extents)} symbols {name!r}, at {places}: read one by its address")
        return extents[0]

    def _number(self, code: str, where: str | int, index: int) -> Any:
        layout = struct.Struct("<" + code)
        address, size = (where, 0) if isinstance(where, int) else self._extent(where)
        if (size and not 0 <= (index + 1) * layout.size <= size) or index < 0:
            raise Unreadable(f"{where}: it has {size} bytes, number {index} of {layout.size} bytes is not within it")
        name = where if isinstance(where, str) else f"{where:#x}"
        step = f"{name}[{index}]" if index else name
        value = layout.unpack(self._space.bytes_at(address + index * layout.size, layout.size, None, step))[0]
        self._space.reads.append((None, step, value))
        return value

    def u8(self, where: str | int, index: int = 0) -> int:
        """The ``index``-th unsigned 8-bit number at a symbol or address; so for the other sizes.  For programs without
        debugging information."""
        return int(self._number("B", where, index))

    def u16(self, where: str | int, index: int = 0) -> int:
        """Unsigned, 16 bits."""
        return int(self._number("H", where, index))

    def u32(self, where: str | int, index: int = 0) -> int:
        """Unsigned, 32 bits."""
        return int(self._number("I", where, index))

    def u64(self, where: str | int, index: int = 0) -> int:
        """Unsigned, 64 bits."""
        return int(self._number("Q", where, index))

    def i8(self, where: str | int, index: int = 0) -> int:
        """Signed, 8 bits."""
        return int(self._number("b", where, index))

    def i16(self, where: str | int, index: int = 0) -> int:
        """Signed, 16 bits."""
        return int(self._number("h", where, index))

    def i32(self, where: str | int, index: int = 0) -> int:
        """Signed, 32 bits."""
        return int(self._number("i", where, index))

    def i64(self, where: str | int, index: int = 0) -> int:
        """Signed, 64 bits."""
        return int(self._number("q", where, index))

    def f32(self, where: str | int, index: int = 0) -> float:
        """A float."""
        return float(self._number("f", where, index))

    def f64(self, where: str | int, index: int = 0) -> float:
        """A double."""
        return float(self._number("d", where, index))

    def bytes(self, where: str | int, length: int) -> bytes:
        """``length`` bytes at a symbol or address."""
        address = where if isinstance(where, int) else self.address(where)
        return self._space.bytes_at(address, length, None, where if isinstance(where, str) else f"{where:#x}")

    def string(self, where: str | int, limit: int = 4096) -> str:
        """The characters at a symbol or address, up to the first zero and at most ``limit``."""
        address = where if isinstance(where, int) else self.address(where)
        return self._space.text_at(address, limit, None, where if isinstance(where, str) else f"{where:#x}")

    # Names.

    def _debug(self, name: str) -> DebugInfo:
        from abi.debug_info import DebugInfoError

        try:
            return self._image.debug_info()
        except DebugInfoError as error:
            hint = ""
            if self._image.extents(name): hint = f'; without it, program.u64("{name}") and its like read by symbol'
            raise UnknownName(f"the type of {name!r} is not known: {self._image.name}: {error}{hint}") from None

    def _find(self, name: str) -> Callable[[], Any]:
        debug = self._debug(name)
        variables = debug.variables(name)
        if variables: return self._accessor(self._choose(name, variables, None, None))
        constant = debug.enumerator(name)
        if constant is not None: return lambda: constant
        if self._image.extents(name):
            address, _ = self._extent(name)
            if not self._image.is_code(address):
                raise UnknownName(
                    f"the type of {name!r} is not known: the file that defines it was compiled without -g; "
                    f'program.u64("{name}") and its like read by symbol'
                )
            view = FunctionView.__new__(FunctionView)
            fill(view, self._space, address, Function(name), None, name)
            return lambda: view
        raise UnknownName(f"the program {self._image.name} has no variable, constant or function {name!r}")

    def _choose(self, name: str, variables: list[Variable], file: str | None, function: str | None) -> Variable:
        where = "".join((f" in {file}" if file else "", f" in function {function}" if function else ""))
        found = [variable for variable in variables if file in (None, variable.file)]
        if not found: raise UnknownName(f"the program has no variable {name!r}{where}")
        there = [variable for variable in found if not variable.missing]
        if not there: raise UnknownName(f"{name}: {found[0].missing} in {found[0].file}")
        known = [variable for variable in there if variable.external] or there
        if len(known) > 1:
            files = ", ".join(sorted({variable.file for variable in known}))
            raise UnknownName(
                f"{name} is static in several places ({files}): program.variable({name!r}, file=...) names one"
            )
        return known[0]

    def _accessor(self, variable: Variable) -> Callable[[], Any]:
        """What reads a variable, with all looked up that does not change."""
        space, name, of = self._space, variable.name, variable.type
        read = space.reader(of)
        if variable.address is not None:
            address = variable.address + self._image.bias
            if not _is_value(of):
                view = read(space, address, None, name)
                return lambda: view
            return lambda: read(space, address, None, name)
        if variable.thread_offset is not None:
            offset = variable.thread_offset - self._thread_local_size(name)
            pointer = self._thread_pointer
            return lambda: read(space, pointer() + offset, None, name)
        constant = variable.constant
        assert constant is not None
        # It has no place in memory; it is read where the debugging information has it, as if that were memory.
        if isinstance(constant, int): constant = (constant & (1 << 128) - 1).to_bytes(16, "little")
        value = read(Space(_Constant(constant), self._image.symbolize), 0, None, name)
        return lambda: value

    def _thread_local_size(self, name: str) -> int:
        """How far below the thread pointer a program's own thread-local variables begin (AMD64 ABI, section 3.4.6 of
        the ELF handling for thread-local storage: variant II)."""
        tls = self._image.tls
        if tls is None: raise UnknownName(f"{name} is thread-local, and the program has no thread-local storage")
        alignment = max(tls.alignment, 1)
        return -(-tls.mem_size // alignment) * alignment

    def __dir__(self) -> list[str]:
        return sorted({*self._found, *(name for name in vars(ProgramView) if not name.startswith("_"))})

    def __repr__(self) -> str:
        return f"<program {self._image.name}>"


def _property(read: Callable[[], Any]) -> property:
    return property(lambda _: read())


def _is_value(of: Type) -> bool:
    """Reading gives what is there now, not a view to look through later."""
    from abi.c_types import Array, Structure

    return not isinstance(of, Array | Structure)


def _pointer_to(of: Type) -> Pointer:
    return Pointer(lambda: of)


__all__ = ["ProgramView", "UnknownName"]
