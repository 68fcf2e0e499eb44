"""ELF images: from a file or bytes to a checked plan of what to map where.

Everything a program file says is untrusted.  ``read_image`` either returns an ``Image`` whose every number has been
checked, or raises ``BadElf`` with one sentence; nothing it allocates grows with a number that the file merely claims.

The headers are unpacked with ``struct``: importing pyelftools costs 35 to 45 ms, as much as all the rest of starting a
program.  It serves where names are asked for (``abi.symbols``), which a program that ends well never does.

Source: System V ABI, chapter 4 (object files) and 5 (program loading); AMD64 supplement, chapter 5.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from errno import EISDIR, ENOEXEC
from typing import TYPE_CHECKING, Final

from abi.image import PROGRAM_HEADER_SIZE, BadElf, Image, Segment, Tls
from abi.image_source import FileSource, MemorySource, Source
from abi.layout import DATA_LIMIT, EXECUTE, IMAGE_BASE, PAGE_SIZE, READ, USER_END, USER_MIN, WRITE

if TYPE_CHECKING:
    from abi.image_source import Buffer, Path

_FILE_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_MAX_PROGRAM_HEADERS: Final = 65536 // PROGRAM_HEADER_SIZE
"""Linux's own limit: all program headers fit in 64 KiB."""
_MAX_PATH: Final = 4096

_ET_EXEC: Final = 2
_ET_DYN: Final = 3
_TYPES: Final = {1: "an object file: link it first", 4: "a core dump"}
_EM_X86_64: Final = 62
_MACHINES: Final = {
    3: "i386", 8: "MIPS", 20: "PowerPC", 21: "PowerPC 64", 22: "S/390", 40: "ARM", 183: "AArch64", 243: "RISC-V",
    258: "LoongArch",
}  # fmt: skip
_PT_LOAD: Final = 1
_PT_INTERP: Final = 3
_PT_TLS: Final = 7
_PT_GNU_STACK: Final = 0x6474_E551
_PF_X: Final = 1
_PF_W: Final = 2
_PF_R: Final = 4


def read_image(source: Buffer | Path, *, base: int = IMAGE_BASE, dynamic: bool = False) -> Image:
    """Reads and checks a program.

    ``source`` is a path (``str`` or ``PathLike``) or the bytes themselves (bytes, mmap, memoryview: not copied).  A
    position-independent program is placed at ``base``, rounded up to the alignment it asks for.  ``dynamic`` accepts a
    program that names an interpreter: the caller has to load that too.

    Raises BadElf for anything that is not a well-formed program for this machine.
    """
    name = ""
    opened: Source
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        opened = _open(name)
    else:
        opened = MemorySource(source)
    try:
        return _check(opened, name, base, dynamic)
    except OSError as error:
        opened.close()
        raise BadElf(f"cannot be read: {error.strerror}", name, error.errno or ENOEXEC) from error
    except BaseException:
        opened.close()
        raise


def _open(path: str) -> FileSource:
    try:
        file = FileSource(path)
    except OSError as error:
        raise BadElf(f"cannot be opened: {error.strerror}", path, error.errno or ENOEXEC) from error
    except ValueError:  # a NUL in the name
        raise BadElf("cannot be opened: the name has a zero byte", path) from None
    if not file.regular:
        file.close()
        if file.directory:
            raise BadElf("is a directory", path, EISDIR)
        raise BadElf("is not a regular file", path)
    return file


def _check(source: Source, name: str, base: int, dynamic: bool) -> Image:
    def bad(what: str) -> BadElf:
        return BadElf(what, name)

    header = source.read(0, _FILE_HEADER.size)
    _check_identity(header, bad)
    (_, kind, machine, version, entry, phoff, _, _, _, phentsize, phnum, _, _, _) = _FILE_HEADER.unpack(header)
    if machine != _EM_X86_64:
        raise bad(f"is a program for {_MACHINES.get(machine, f'machine {machine}')}, not x86-64")
    if version != 1:
        raise bad(f"has ELF version {version}, not 1")
    if kind not in (_ET_EXEC, _ET_DYN):
        raise bad(f"is {_TYPES.get(kind, f'of ELF type {kind}')}, not a program")
    if phnum == 0:
        raise bad("has no program headers: nothing says what to load")
    if phentsize != PROGRAM_HEADER_SIZE:
        raise bad(f"has program headers of {phentsize} bytes, not {PROGRAM_HEADER_SIZE}")
    if phnum > _MAX_PROGRAM_HEADERS:
        raise bad(f"has {phnum} program headers; at most {_MAX_PROGRAM_HEADERS} are accepted")
    table_size = phnum * phentsize
    if phoff + table_size > source.size:
        raise bad(f"is truncated: program headers reach to byte {phoff + table_size} of {source.size}")

    loads: list[Segment] = []
    alignment = PAGE_SIZE
    interpreter: str | None = None
    tls: Tls | None = None
    stack_executable = False
    table = source.read(phoff, table_size)
    if len(table) < table_size:
        raise bad("is truncated: its program headers cannot be read")
    for index, (p_type, flags, offset, address, _, file_size, mem_size, align) in enumerate(
        _PROGRAM_HEADER.iter_unpack(table)
    ):
        if p_type not in (_PT_LOAD, _PT_INTERP, _PT_TLS, _PT_GNU_STACK):
            continue
        if p_type == _PT_GNU_STACK:
            stack_executable = bool(flags & _PF_X)
            continue
        where = f"program header {index}"
        if align & (align - 1):
            raise bad(f"{where} asks for alignment {align:#x}, which is no power of two")
        if offset + file_size > source.size:
            raise bad(f"is truncated: {where} needs bytes up to {offset + file_size} of {source.size}")
        if p_type == _PT_INTERP:
            interpreter = _interpreter(source, offset, file_size, bad)
            continue
        if file_size > mem_size:
            raise bad(f"{where} has {file_size:#x} bytes in the file but {mem_size:#x} in memory")
        if p_type == _PT_TLS:
            tls = Tls(address, file_size, mem_size, align)
            continue
        if mem_size == 0:
            continue
        if mem_size > DATA_LIMIT:
            raise bad(f"{where} wants {mem_size:#x} bytes of memory; no machine has more than {DATA_LIMIT:#x}")
        if address + mem_size > 1 << 64:
            raise bad(f"{where} wraps around the end of the address space")
        loads.append(Segment(address, offset, file_size, mem_size, _permissions(flags)))
        alignment = max(alignment, align)
    if not loads:
        raise bad("has no loadable segment")
    if interpreter is not None and not dynamic:
        raise bad(f"needs interpreter {interpreter}: dynamic programs are not supported yet; link it with -static")

    loads.sort()
    bias = 0
    if kind == _ET_DYN:
        if entry == 0:
            raise bad("is a shared library, not a program: it has no entry point")
        bias = -(-base // alignment) * alignment - loads[0].address // alignment * alignment
    segments = tuple(segment._replace(address=segment.address + bias) for segment in loads)
    _check_placement(segments, entry + bias, bad)
    if tls is not None:
        tls = tls._replace(address=tls.address + bias)
    if interpreter is not None:
        kind_name = "dynamic"
    else:
        kind_name = "static" if kind == _ET_EXEC else "static-pie"
    phdr_address = _in_memory(segments, phoff, table_size)
    return Image(
        source, name, kind_name, bias, entry + bias, segments, phdr_address, phnum, interpreter, tls, stack_executable
    )


def _check_identity(header: bytes, bad: Callable[[str], BadElf]) -> None:
    if not header:
        raise bad("is empty")
    if header[:2] == b"#!":
        line = header.split(b"\n")[0][2:].strip().decode("ascii", "replace")
        raise bad(f"is a script for {line!r}, not an ELF program: run its interpreter")
    magic = header[:4]
    if magic != b"\x7fELF":
        if b"\x7fELF".startswith(magic):
            raise bad(f"is truncated: {len(header)} bytes are no ELF header")
        raise bad(f"is not an ELF program: it begins with {magic.hex(' ')}, not 7f 45 4c 46")
    if len(header) < _FILE_HEADER.size:
        raise bad(f"is truncated: an ELF header has {_FILE_HEADER.size} bytes, this has {len(header)}")
    if header[4] != 2:
        raise bad("is a 32-bit program; only 64-bit ones run here" if header[4] == 1 else f"has ELF class {header[4]}")
    if header[5] != 1:
        raise bad("is big-endian; x86-64 is little-endian" if header[5] == 2 else f"has ELF data encoding {header[5]}")
    if header[6] != 1:
        raise bad(f"has ELF version {header[6]}, not 1")


def _interpreter(source: Source, offset: int, size: int, bad: Callable[[str], BadElf]) -> str:
    if not 2 <= size <= _MAX_PATH:
        raise bad(f"has an interpreter name of {size} bytes")
    path = source.read(offset, size)
    if path[-1:] != b"\0":
        raise bad("has an interpreter name without an end")
    return os.fsdecode(path.split(b"\0")[0])


def _permissions(flags: int) -> int:
    # x86-64 cannot write or execute what it cannot read.
    permissions = READ if flags & (_PF_R | _PF_W | _PF_X) else 0
    if flags & _PF_W:
        permissions |= WRITE
    if flags & _PF_X:
        permissions |= EXECUTE
    return permissions


def _check_placement(segments: tuple[Segment, ...], entry: int, bad: Callable[[str], BadElf]) -> None:
    end = 0
    for segment in segments:
        if segment.address < USER_MIN or segment.address + segment.mem_size > USER_END:
            raise bad(
                f"has a segment at {segment.address:#x}, {segment.mem_size:#x} bytes, "
                f"outside a program's addresses {USER_MIN:#x} to {USER_END - 1:#x}"
            )
        if segment.address < end:
            raise bad(f"has segments that overlap at {segment.address:#x}")
        end = segment.address + segment.mem_size
    if not any(
        segment.permissions & EXECUTE and segment.address <= entry < segment.address + segment.mem_size
        for segment in segments
    ):
        raise bad(f"starts at {entry:#x}, which is in no executable segment")


def _in_memory(segments: tuple[Segment, ...], offset: int, size: int) -> int:
    """The address at which the file's bytes [offset, offset + size) will be readable; 0 when none will."""
    for segment in segments:
        if segment.file_offset <= offset and offset + size <= segment.file_offset + segment.file_size:
            return segment.address + offset - segment.file_offset
    return 0


__all__ = ["read_image"]
