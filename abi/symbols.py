"""Names for a program's addresses: its symbol table and, where it was compiled with -g, its source lines.

Loaded only when a name is asked for: pyelftools is slow to import.  pyelftools finds the sections and reads DWARF; the
symbol table's rows are unpacked here, because it makes an object a symbol and a big program has a million of them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import Any, BinaryIO, Final

from elftools.elf.elffile import ELFFile

_SYMBOL: Final = struct.Struct("<IBBHQQ")
_SHF_COMPRESSED: Final = 0x800
_SHN_UNDEF: Final = 0
_NAMED_TYPES: Final = (0, 1, 2, 10)  # NOTYPE (labels in assembly), OBJECT, FUNC, GNU_IFUNC
_TYPE_OBJECT: Final = 1
_MOST_SECTIONS: Final = 4096
_NESTED: Final = 8
_LARGEST_TABLE: Final = 256 << 20
_LARGEST_LINE_PROGRAM: Final = 32 << 20


class SymbolTable:
    """Symbols by name and by address.  Addresses are the file's own: callers pass the bias they loaded it with."""

    def __init__(self, rows: list[tuple[int, int, bytes]]) -> None:
        """``rows``: (address, size, name)."""
        self._by_name: dict[bytes, int] = {name: address for address, _, name in rows}
        self._rows = sorted(rows)
        self._addresses = [row[0] for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def address(self, name: str, bias: int) -> int | None:
        """Where ``name`` lies, or None."""
        address = self._by_name.get(name.encode("utf-8", "surrogateescape"))
        return None if address is None else address + bias

    def extents(self, name: str) -> list[tuple[int, int]]:
        """(address, size) of all that have this name: files may have static ones of the same."""
        wanted = name.encode("utf-8", "surrogateescape")
        return sorted({(address, size) for address, size, found in self._rows if found == wanted})

    def describe(self, address: int, bias: int) -> str | None:
        """``"name+0x10"``, or None when no symbol covers the address.  A label without a size reaches to the next."""
        address -= bias
        index = bisect_right(self._addresses, address) - 1
        # The nearest one may be a small object inside or just before the one that covers the address.
        for start, size, name in reversed(self._rows[max(0, index - _NESTED) : index + 1]):
            offset = address - start
            if size == 0 or offset < size:
                text = name.decode("utf-8", "replace")
                return f"{text}+{offset:#x}" if offset else text
        return None


def read_symbols(stream: BinaryIO, size: int) -> SymbolTable:
    """The symbols of the program in ``stream``, a file of ``size`` bytes.  Closes the stream.

    Damage is not an error here: the program was checked for what running it needs, and a report with addresses alone
    is better than none.
    """
    with stream:
        try:
            return SymbolTable(_rows(stream, size))
        except Exception:
            return SymbolTable([])


def _rows(stream: BinaryIO, size: int) -> list[tuple[int, int, bytes]]:
    elf = ELFFile(stream)
    if not _sections_are_plausible(elf, size):
        return []
    for name in (".symtab", ".dynsym"):
        section = elf.get_section_by_name(name)
        if section is None:
            continue
        symbols = _section_bytes(stream, section.header, size)
        names = _section_bytes(stream, elf.get_section(section.header["sh_link"]).header, size)
        rows: list[tuple[int, int, bytes]] = []
        whole = len(symbols) - len(symbols) % _SYMBOL.size
        for name_at, info, _, section_index, value, symbol_size in _SYMBOL.iter_unpack(symbols[:whole]):
            if info & 15 in _NAMED_TYPES and section_index != _SHN_UNDEF and 0 < name_at < len(names):
                end = names.find(b"\0", name_at)
                # Two symbols may share a name's tail, never more than a few KiB of it.
                if end > name_at and end - name_at < 4096:
                    rows.append((value, symbol_size, names[name_at:end]))
        if rows:
            return rows
    return []


def _sections_are_plausible(elf: ELFFile, size: int) -> bool:
    header = elf.header
    # A count of zero with a table means "see section 0", which may claim any number.
    count = int(header["e_shnum"])
    return 0 < count <= _MOST_SECTIONS and int(header["e_shoff"]) + count * int(header["e_shentsize"]) <= size


def _section_bytes(stream: BinaryIO, header: Any, size: int) -> bytes:
    offset, length = int(header["sh_offset"]), int(header["sh_size"])
    if header["sh_flags"] & _SHF_COMPRESSED or offset + length > size or length > _LARGEST_TABLE:
        return b""
    stream.seek(offset)
    return stream.read(length)


def source_line(stream: BinaryIO, address: int) -> str | None:
    """``"file.c:12"`` for a file address, from .debug_aranges and .debug_line; None when they do not say.

    Closes the stream.  Damaged debugging information counts as none.
    """
    with stream:
        try:
            return _source_line(ELFFile(stream), address)
        except Exception:
            return None


def _source_line(elf: ELFFile, address: int) -> str | None:
    for name in (".debug_aranges", ".debug_line", ".debug_info", ".debug_abbrev"):
        section = elf.get_section_by_name(name)
        if section is None or section.header["sh_flags"] & _SHF_COMPRESSED:
            return None
        if section.header["sh_size"] > _LARGEST_LINE_PROGRAM:
            return None
    dwarf: Any = elf.get_dwarf_info()
    unit = dwarf.get_aranges().cu_offset_at_addr(address)
    if unit is None:
        return None
    program = dwarf.line_program_for_CU(dwarf.get_CU_at(unit))
    previous = None
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        if previous is not None and previous.address <= address < state.address:
            # File numbers start at 1 before DWARF 5, at 0 since.
            first = 0 if program.header["version"] >= 5 else 1
            file = program.header["file_entry"][previous.file - first].name
            return f"{file.decode('utf-8', 'replace')}:{previous.line}"
        previous = None if state.end_sequence else state
    return None


__all__ = ["SymbolTable", "read_symbols", "source_line"]
