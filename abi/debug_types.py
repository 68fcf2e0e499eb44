"""From entries of DWARF debugging information to C types.

Source: DWARF version 5, section 5 (type entries); 5.7.6 for members and bit fields, version 3 section 5.5.6 for bit
fields of older compilers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from abi.c_types import (
    BOOLEAN,
    COMPLEX,
    FLOAT,
    SIGNED,
    UNSIGNED,
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

# DW_ATE_*: section 7.8, table 7.11.
_ENCODINGS: Final[dict[int, str]] = {
    1: UNSIGNED, 2: BOOLEAN, 3: COMPLEX, 4: FLOAT, 5: SIGNED, 6: SIGNED, 7: UNSIGNED, 8: UNSIGNED, 16: UNSIGNED,
    18: UNSIGNED,
}  # fmt: skip
_SIGNED_ENCODINGS: Final = (5, 6)
_TRANSPARENT: Final = (
    "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type", "DW_TAG_atomic_type", "DW_TAG_typedef",
    "DW_TAG_immutable_type", "DW_TAG_packed_type", "DW_TAG_shared_type",
)  # fmt: skip
_KEYWORDS: Final = {
    "DW_TAG_structure_type": "struct", "DW_TAG_class_type": "class", "DW_TAG_union_type": "union",
}  # fmt: skip
_POINTERS: Final = ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type")
_LONGEST_CHAIN: Final = 100


def text_of(entry: Any) -> str | None:
    """An entry's name, if it has one."""
    name = entry.attributes.get("DW_AT_name")
    return name.value.decode("utf-8", "surrogateescape") if name is not None else None


def number_of(entry: Any, attribute: str) -> int | None:
    """An attribute that is a plain number; None where it is absent or has to be computed while the program runs."""
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None


class DebugInfoError(Exception):
    """The debugging information is not there, or cannot be read; a sentence says what to do."""


@contextlib.contextmanager
def damage_told() -> Iterator[None]:
    """Whatever pyelftools raises becomes a DebugInfoError."""
    try:
        yield
    except DebugInfoError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise DebugInfoError(f"its debugging information cannot be read ({what})") from error


class TypeReader:
    """Makes types of entries, each once."""

    def __init__(self, definition: Callable[[str], Type | None], signed: Callable[[int], Any]) -> None:
        """``definition`` finds the structure that another file defines, ``signed`` the entry of a type that is known by
        its signature (-fdebug-types-section)."""
        self._definition = definition
        self._signed = signed
        self._made: dict[int, Type] = {}

    def _referred(self, entry: Any, attribute: str = "DW_AT_type") -> Any:
        """The entry that an attribute leads to."""
        found = entry.attributes[attribute]
        if found.form == "DW_FORM_ref_sig8": return self._signed(found.value)
        return entry.get_DIE_from_attribute(attribute)

    def of(self, entry: Any) -> Type:
        """The type that an entry says it has; void where it says none."""
        if "DW_AT_type" not in entry.attributes: return Void()
        return self.read(self._referred(entry))

    def read(self, entry: Any) -> Type:
        """The type that the entry itself describes, without const, volatile and typedefs."""
        name = None
        for _ in range(_LONGEST_CHAIN):
            if entry.tag not in _TRANSPARENT: break
            if entry.tag == "DW_TAG_typedef": name = name or text_of(entry)
            if "DW_AT_type" not in entry.attributes: return Void()
            entry = self._referred(entry)
        if "DW_AT_signature" in entry.attributes: entry = self._referred(entry, "DW_AT_signature")
        made = self._made.get(entry.offset)
        if made is None:
            made = self._made[entry.offset] = self._make(entry, name)
        return made

    def _make(self, entry: Any, typedef: str | None) -> Type:
        tag = entry.tag
        if tag == "DW_TAG_base_type": return self._number(entry)
        if tag in _POINTERS: return Pointer(lambda: self._target(entry))
        if tag in _KEYWORDS: return self._structure(entry, typedef)
        if tag == "DW_TAG_enumeration_type": return self._enumeration(entry, typedef)
        if tag == "DW_TAG_array_type": return self._array(entry)
        if tag == "DW_TAG_subroutine_type": return self._function(entry)
        what = text_of(entry) or tag.removeprefix("DW_TAG_").replace("_", " ")
        return Void(what, f"values of type {what} cannot be read")

    def _target(self, pointer: Any) -> Type:
        with damage_told():
            return self.of(pointer)

    def _number(self, entry: Any) -> Type:
        name, size = text_of(entry) or "?", number_of(entry, "DW_AT_byte_size") or 0
        code = number_of(entry, "DW_AT_encoding") or 0
        encoding = _ENCODINGS.get(code)
        if encoding is None: return Void(name, f"numbers of type {name} cannot be read")
        return Number(name, size, encoding)

    def _enumeration(self, entry: Any, typedef: str | None) -> Type:
        names = {
            int(child.attributes["DW_AT_const_value"].value): text_of(child) or "?"
            for child in reversed(list(entry.iter_children())) if child.tag == "DW_TAG_enumerator"
        }  # fmt: skip
        tag = text_of(entry)
        name = f"enum {tag}" if tag else typedef or "enum"
        encoding = number_of(entry, "DW_AT_encoding")
        signed = encoding in _SIGNED_ENCODINGS if encoding is not None else any(value < 0 for value in names)
        return Enumeration(name, number_of(entry, "DW_AT_byte_size") or 4, signed, names)

    def _function(self, entry: Any) -> Type:
        arguments = [
            "..." if child.tag == "DW_TAG_unspecified_parameters" else self._brief(child)
            for child in entry.iter_children()
        ]  # fmt: skip
        return Function(f"{self._brief(entry)} ({', '.join(arguments) or 'void'})")

    def _brief(self, entry: Any) -> str:
        """The name of the type that an entry has, without making the type: a function's may lead back to itself."""
        stars = ""
        for _ in range(_LONGEST_CHAIN):
            if "DW_AT_type" not in entry.attributes: break
            entry = self._referred(entry)
            name = text_of(entry)
            if name is not None: return f"{_KEYWORDS.get(entry.tag, '')} {name} {stars}".strip()
            if entry.tag in _POINTERS: stars += "*"
        return f"void {stars}".strip()

    def _array(self, entry: Any) -> Type:
        counts: list[int | None] = []
        for child in entry.iter_children():
            if child.tag != "DW_TAG_subrange_type": continue
            count, last = number_of(child, "DW_AT_count"), number_of(child, "DW_AT_upper_bound")
            if count is None and last is not None: count = last + 1
            # An empty array's last index is -1, which some compilers write as an unsigned number.
            counts.append(0 if count is not None and count >= 1 << 31 else count)
        made = self.of(entry)
        for count in reversed(counts or [None]):
            made = Array(made, count)
        return made

    def _structure(self, entry: Any, typedef: str | None) -> Type:
        tag, keyword = text_of(entry), _KEYWORDS[entry.tag]
        if "DW_AT_declaration" in entry.attributes and tag is not None:
            found = self._definition(tag)
            if found is not None: return found
            return Structure(f"{keyword} {tag}", None, False, dict)
        name = f"{keyword} {tag}" if tag else typedef or keyword
        return Structure(name, number_of(entry, "DW_AT_byte_size") or 0, True, lambda: self._members_of(entry))

    def _members_of(self, entry: Any) -> dict[str, Member]:
        with damage_told():
            return self._members(entry, 0)

    def _members(self, entry: Any, base: int) -> dict[str, Member]:
        found: dict[str, Member] = {}
        for child in entry.iter_children():
            if child.tag not in ("DW_TAG_member", "DW_TAG_inheritance"): continue
            if "DW_AT_external" in child.attributes or "DW_AT_declaration" in child.attributes: continue  # static
            name = text_of(child)
            offset = base + self._offset(child)
            if name is None:  # a nameless struct or union, or what the class is derived from
                inner = self._referred(child)
                for _ in range(_LONGEST_CHAIN):
                    if inner.tag not in _TRANSPARENT: break
                    inner = self._referred(inner)
                if inner.tag in _KEYWORDS:
                    for key, member in self._members(inner, offset).items():
                        found.setdefault(key, member)
                continue
            bits = number_of(child, "DW_AT_bit_size")
            if bits is None:
                found[name] = Member(name, self.of(child), offset)
            else:
                found[name] = Member(name, self.of(child), offset, self._first_bit(child, base, bits), bits)
        return found

    @staticmethod
    def _offset(member: Any) -> int:
        location = member.attributes.get("DW_AT_data_member_location")
        if location is None: return 0  # a union's, or a bit field that only says its bit
        if isinstance(location.value, int): return location.value
        # DWARF 2: an expression that adds a constant to the structure's address, DW_OP_plus_uconst.
        value = 0
        for index, byte in enumerate(location.value[1:]):
            value |= (byte & 0x7F) << 7 * index
        return value

    def _first_bit(self, member: Any, base: int, bits: int) -> int:
        first = number_of(member, "DW_AT_data_bit_offset")
        if first is not None: return base * 8 + first
        # Older: counted from the most significant bit of the storage unit, which lies at the member's offset.
        from_top = number_of(member, "DW_AT_bit_offset") or 0
        unit = number_of(member, "DW_AT_byte_size") or self.of(member).size or 4
        return (base + self._offset(member)) * 8 + unit * 8 - from_top - bits


__all__ = ["DebugInfoError", "TypeReader", "damage_told", "number_of", "text_of"]
