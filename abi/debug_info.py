"""A program's variables and types by name, from its DWARF debugging information (``gcc -g``).

pyelftools reads the entries.  It makes an object of each, some 20 us, and a big program has millions: so only the
compilation units whose bytes mention a name are looked through for it, and of those only the top level.

Source: DWARF version 5, sections 2 (descriptions), 3 (program scope), 4 (data objects), 5 (types), 7.5 (encoding).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.elf.elffile import ELFFile

from abi.c_types import Type, Variable
from abi.debug_types import DebugInfoError, TypeReader, damage_told, text_of

_MOST_PLACES: Final = 500
"""A short name is the end of many others; from so many on, all units are looked through."""
_STRUCTURES: Final = ("DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type")
_TYPE_TAGS: Final = (*_STRUCTURES, "DW_TAG_enumeration_type", "DW_TAG_typedef", "DW_TAG_base_type")
_SCOPES: Final = ("DW_TAG_lexical_block", "DW_TAG_inlined_subroutine")


class DebugInfo:
    """What a program's debugging information says of names.

    Raises DebugInfoError from any method where it is damaged, and from the start where there is none."""

    def __init__(self, stream: BinaryIO) -> None:
        """``stream`` is the program's file; it is read and closed."""
        with stream, damage_told():
            elf = ELFFile(stream)
            found = elf.has_dwarf_info(strict=True)
            dwarf: Any = elf.get_dwarf_info() if found else None
        if not found: raise DebugInfoError("it has no debugging information: compile it with -g")
        self._dwarf = dwarf
        self._info: bytes = dwarf.debug_info_sec.stream.getvalue()
        strings = dwarf.debug_str_sec
        self._strings: bytes = strings.stream.getvalue() if strings is not None else b""
        self._units: list[Any] = []
        self._starts: list[int] = []
        self._names: dict[Any, dict[str, list[Any]]] = {}
        self._by_signature: dict[int, Any] | None = None
        self._types = TypeReader(self.structure, self._signed_type)

    def variables(self, name: str, function: str | None = None) -> list[Variable]:
        """All variables of this name that live as long as the program: the global one, and those that are static in a
        file; with ``function``, those that are static in functions of that name."""
        with damage_told():
            if function is None:
                entries = list(self._entries(name, ("DW_TAG_variable",)))
            else:
                entries = [
                    inner for outer in self._entries(function, ("DW_TAG_subprogram",))
                    for inner in self._static_in(outer, name)
                ]  # fmt: skip
            found = [self._variable(name, entry) for entry in entries if "DW_AT_declaration" not in entry.attributes]
            return list(dict.fromkeys(found))

    def structure(self, name: str) -> Type | None:
        """The definition of a struct, union or class by its tag; None where the program only declares it."""
        return self._first(name, _STRUCTURES)

    def type(self, name: str) -> Type | None:
        """A type by name: ``struct node``, ``node_t``, ``unsigned int``; None where there is none."""
        tag, _, rest = name.partition(" ")
        if tag in ("struct", "union", "class"): return self._first(rest.strip(), _STRUCTURES)
        if tag == "enum": return self._first(rest.strip(), ("DW_TAG_enumeration_type",))
        return self._first(name, _TYPE_TAGS)

    def enumerator(self, name: str) -> int | None:
        """The value of an enumeration's constant by its name."""
        with damage_told():
            for entry in self._entries(name, ("DW_TAG_enumerator",)):
                return int(entry.attributes["DW_AT_const_value"].value)
        return None

    def _first(self, name: str, tags: Sequence[str]) -> Type | None:
        with damage_told():
            for entry in self._entries(name, tags):
                if "DW_AT_declaration" not in entry.attributes: return self._types.read(entry)
        return None

    def _signed_type(self, signature: int) -> Any:
        """The entry of a type by its signature: in a section of its own (DWARF 4), or in units among the others."""
        if self._dwarf.debug_types_sec is not None: return self._dwarf.get_DIE_by_sig8(signature)
        if self._by_signature is None:
            self._by_signature = {
                unit.header["type_signature"]: unit.get_DIE_from_refaddr(unit.cu_offset + unit.header["type_offset"])
                for unit in self._dwarf.iter_CUs() if unit.header.get("unit_type") == "DW_UT_type"
            }  # fmt: skip
        return self._by_signature[signature]

    # Finding entries.

    def _entries(self, name: str, tags: Sequence[str]) -> Iterator[Any]:
        for unit in self._units_that_mention(name.rsplit("::", 1)[-1]):
            for entry in self._names_of(unit).get(name, ()):
                if entry.tag in tags: yield entry

    def _units_that_mention(self, name: str) -> Iterator[Any]:
        """The compilation units that may hold this name: it stands in the entries themselves, or as an offset into the
        section of strings, where it may be the end of a longer one."""
        if not self._units:
            self._units = list(self._dwarf.iter_CUs())
            self._starts = [unit.cu_offset for unit in self._units]
            if self._dwarf.debug_addr_sec is not None: self._refuse_split()
        text = name.encode("utf-8", "surrogateescape") + b"\0"
        needles = [text]
        for at in re.finditer(re.escape(text), self._strings):
            needles.append(at.start().to_bytes(4, "little"))
            if len(needles) > _MOST_PLACES: break
        # DWARF 5 of clang names strings by their place in a table of offsets, which is not worth following here.
        if len(needles) > _MOST_PLACES or self._dwarf.debug_str_offsets_sec is not None:
            yield from self._units
            return
        found = re.finditer(b"|".join(map(re.escape, needles)), self._info)
        numbers = {bisect_right(self._starts, at.start()) - 1 for at in found}
        for number in sorted(numbers):
            if number >= 0: yield self._units[number]
        if self._dwarf.debug_types_sec is not None: yield from self._dwarf.iter_TUs()

    def _refuse_split(self) -> None:
        for unit in self._units:
            top = unit.get_top_DIE().attributes
            if "DW_AT_dwo_name" in top or "DW_AT_GNU_dwo_name" in top:
                raise DebugInfoError("its debugging information is in files of its own: compile without -gsplit-dwarf")

    def _names_of(self, unit: Any) -> dict[str, list[Any]]:
        names = self._names.get(unit)
        if names is None:
            names = self._names[unit] = {}
            self._collect(unit.get_top_DIE(), "", names)
        return names

    def _collect(self, scope: Any, prefix: str, names: dict[str, list[Any]]) -> None:
        for entry in scope.iter_children():
            name = text_of(entry)
            if name is None and "DW_AT_specification" in entry.attributes:
                name = text_of(entry.get_DIE_from_attribute("DW_AT_specification"))
            if name is not None: names.setdefault(prefix + name, []).append(entry)
            if entry.tag == "DW_TAG_enumeration_type":
                for enumerator in entry.iter_children():
                    names.setdefault(f"{prefix}{text_of(enumerator)}", []).append(enumerator)
            elif entry.tag == "DW_TAG_namespace" and name is not None:
                self._collect(entry, f"{prefix}{name}::", names)

    def _static_in(self, scope: Any, name: str) -> Iterator[Any]:
        for entry in scope.iter_children():
            if entry.tag in _SCOPES: yield from self._static_in(entry, name)
            elif entry.tag == "DW_TAG_variable" and text_of(entry) == name and self._place(entry)[0] != "elsewhere":
                yield entry

    # What an entry says.

    def _variable(self, name: str, entry: Any) -> Variable:
        declared = entry
        if "DW_AT_specification" in entry.attributes: declared = entry.get_DIE_from_attribute("DW_AT_specification")
        typed = entry if "DW_AT_type" in entry.attributes else declared
        external = "DW_AT_external" in entry.attributes or "DW_AT_external" in declared.attributes
        what, where = self._place(entry)
        return Variable(
            name, self._types.of(typed), self._file_of(entry), external,
            address=where if what == "address" else None,
            thread_offset=where if what == "thread" else None,
            constant=where if what == "constant" else None,
            missing="" if what in ("address", "thread", "constant") else
            "the compiler left it out (optimised away)" if what == "nowhere" else "it is in no one place in memory",
        )  # fmt: skip

    def _file_of(self, entry: Any) -> str:
        name = text_of(entry.cu.get_top_DIE()) or "?"
        return PurePosixPath(name).name

    def _place(self, entry: Any) -> tuple[str, Any]:
        """Where a variable is: ("address" | "thread", number), ("constant", number or bytes), ("nowhere", 0) or
        ("elsewhere", 0), which is a register or the stack."""
        location = entry.attributes.get("DW_AT_location")
        if location is None:
            constant = entry.attributes.get("DW_AT_const_value")
            if constant is None: return "nowhere", 0
            value = constant.value
            return "constant", value if isinstance(value, int) else bytes(value)
        if not isinstance(location.value, list | bytes): return "elsewhere", 0  # a list of places, by instruction
        operations = DWARFExprParser(entry.cu.structs).parse_expr(location.value)
        names = [operation.op_name for operation in operations]
        first = operations[0].args[0] if operations and operations[0].args else 0
        if names == ["DW_OP_addr"]: return "address", first
        if names == ["DW_OP_addrx"]: return "address", self._dwarf.get_addr(entry.cu, first)
        if names[1:] in (["DW_OP_GNU_push_tls_address"], ["DW_OP_form_tls_address"]): return "thread", first
        return "elsewhere", 0


__all__ = ["DebugInfo", "DebugInfoError"]
