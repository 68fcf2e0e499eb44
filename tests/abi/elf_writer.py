"""Writes small ELF files, well-formed or not: every field can be given a wrong value."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS, PT_GNU_STACK = 1, 2, 3, 4, 7, 0x6474_E551
R, W, X = 4, 2, 1
ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4


@dataclass
class Header:
    """One program header.  ``data`` is put into the file; ``offset`` and the sizes follow from it unless given."""

    address: int = 0x40_0000
    data: bytes = b""
    flags: int = R | X
    mem_size: int | None = None
    file_size: int | None = None
    offset: int | None = None
    align: int = 0x1000
    type: int = PT_LOAD


CODE = b"\x0f\x05\xeb\xfe"
"""syscall, and a jump to itself."""


def write_elf(
    *headers: Header,
    entry: int = 0x40_0000,
    type: int = ET_EXEC,
    machine: int = 62,
    ident: bytes = b"\x7fELF\x02\x01\x01",
    version: int = 1,
    phnum: int | None = None,
    phoff: int = 64,
    phentsize: int = 56,
) -> bytes:
    """The file's bytes: ELF header, program headers, the data one after the other."""
    table = b""
    contents = b""
    start = 64 + 56 * len(headers)
    for header in headers:
        offset = start + len(contents) if header.offset is None else header.offset
        file_size = len(header.data) if header.file_size is None else header.file_size
        mem_size = file_size if header.mem_size is None else header.mem_size
        table += struct.pack(
            "<IIQQQQQQ",
            header.type, header.flags, offset, header.address, header.address, file_size, mem_size, header.align,
        )  # fmt: skip
        contents += header.data
    count = len(headers) if phnum is None else phnum
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, type, machine, version, entry, phoff, 0, 0, 64, phentsize, count, 0, 0, 0
    )
    return head + table + contents
