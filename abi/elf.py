"""ELF images: from a file or bytes to a checked plan of what to map where.

Everything a program file says is untrusted.  ``read_image`` either returns an ``Image`` whose every number has been
checked, or raises ``BadElf`` with one sentence; nothing it allocates grows with a number that the file merely claims.

The headers are unpacked with ``struct``: importing pyelftools costs 35 to 45 ms, as much as all the rest of starting a
program.  It serves where names are asked for (``abi.symbols``), which a program that ends well never does.

A file is read by ``preadv`` straight into guest memory, not mapped: a mapped file that somebody shortens kills its
reader with SIGBUS, and its pages would count as the host process's own memory.

Source: System V ABI, chapter 4 (object files) and 5 (program loading); AMD64 supplement, chapter 5.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from errno import EISDIR, ENOEXEC, ESTALE
from typing import TYPE_CHECKING, Final, NamedTuple

from abi.layout import DATA_LIMIT, EXECUTE, IMAGE_BASE, PAGE_SIZE, READ, USER_END, USER_MIN, WRITE

if TYPE_CHECKING:
    import mmap
    from typing import BinaryIO

    from abi.debug_info import DebugInfo
    from abi.symbols import SymbolTable

    Buffer = bytes | bytearray | memoryview | mmap.mmap
    Path = str | os.PathLike[str]

_FILE_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_MAX_PROGRAM_HEADERS: Final = 65536 // _PROGRAM_HEADER.size
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


class BadElf(Exception):
    """A program that cannot be loaded.

    ``what`` is a sentence about it, ``where`` the file's name ("" for bytes), ``errno`` what ``execve`` would return:
    ENOEXEC for a malformed file, the operating system's error for one that cannot be read.
    """

    def __init__(self, what: str, where: str = "", errno: int = ENOEXEC) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what = what
        self.where = where
        self.errno = errno


class Segment(NamedTuple):
    """A PT_LOAD segment where it will lie: ``mem_size`` bytes at ``address``, the first ``file_size`` of them from
    ``file_offset`` in the file, the rest zero.  ``permissions`` as in ``abi.layout``."""

    address: int
    file_offset: int
    file_size: int
    mem_size: int
    permissions: int


class Copy(NamedTuple):
    """``size`` bytes at ``file_offset`` in the file belong at ``address``."""

    address: int
    file_offset: int
    size: int


class PageRange(NamedTuple):
    """Pages to map once: ``length`` zeroed bytes at ``address`` (both multiples of 4096) with ``permissions``, and the
    file's bytes that go there."""

    address: int
    length: int
    permissions: int
    copies: tuple[Copy, ...]


class Tls(NamedTuple):
    """The PT_TLS template.  The program's own libc sets up the threads' copies; this is for debuggers."""

    address: int
    file_size: int
    mem_size: int
    alignment: int


class Image:
    """A checked program.

    ``kind`` is "static" (at the addresses it was linked for), "static-pie" or "dynamic"; ``bias`` what was added to the
    file's addresses; ``entry`` the first instruction; ``phdr_address`` where the program headers will be readable (0:
    nowhere); ``start`` and ``end`` the page-aligned span of all segments, ``end`` being where a heap may begin.
    """

    def __init__(
        self,
        source: _File | _Bytes,
        name: str,
        kind: str,
        bias: int,
        entry: int,
        segments: tuple[Segment, ...],
        phdr_address: int,
        phnum: int,
        interpreter: str | None,
        tls: Tls | None,
        stack_executable: bool,
    ) -> None:
        self._source = source
        self._symbols: SymbolTable | None = None
        self._debug_info: DebugInfo | None = None
        self.name = name
        self.kind = kind
        self.bias = bias
        self.entry = entry
        self.segments = segments
        self.phdr_address = phdr_address
        self.phnum = phnum
        self.phentsize = _PROGRAM_HEADER.size
        self.interpreter = interpreter
        self.tls = tls
        self.stack_executable = stack_executable
        self.start = _page_floor(segments[0].address)
        self.end = _page_ceiling(segments[-1].address + segments[-1].mem_size)

    def pages(self) -> list[PageRange]:
        """What to map, in ascending order, no page twice.

        Where one segment ends on the page the next one begins on (legal, and what ``ld -z noseparate-code`` and small
        linker scripts make), that page is a range of its own with the permissions of both.
        """
        spans: list[tuple[int, int, int]] = []
        for segment in self.segments:
            first = _page_floor(segment.address)
            end = _page_ceiling(segment.address + segment.mem_size)
            if spans and spans[-1][1] > first:
                before, _, permissions = spans.pop()
                if before < first:
                    spans.append((before, first, permissions))
                spans.append((first, first + PAGE_SIZE, permissions | segment.permissions))
                first += PAGE_SIZE
            if first < end:
                spans.append((first, end, segment.permissions))
        return [PageRange(first, end - first, rights, tuple(self._copies(first, end))) for first, end, rights in spans]

    def _copies(self, first: int, end: int) -> Iterator[Copy]:
        for segment in self.segments:
            low = max(segment.address, first)
            high = min(segment.address + segment.file_size, end)
            if low < high:
                yield Copy(low, segment.file_offset + low - segment.address, high - low)

    def read_into(self, file_offset: int, views: Sequence[memoryview]) -> None:
        """Fills the writable byte ``views`` in order with the file's bytes from ``file_offset`` on.

        Raises BadElf when the file has become shorter since it was checked, or can no longer be read.
        """
        try:
            self._source.read_into(file_offset, views)
        except EOFError:
            raise BadElf("the file became shorter while it was being loaded", self.name) from None
        except OSError as error:
            raise BadElf(f"cannot be read: {error.strerror}", self.name, error.errno or ENOEXEC) from error

    def symbol(self, name: str) -> int | None:
        """The address of a function or object, or None.  A symbol table that is damaged counts as none."""
        return self._symbol_table().address(name, self.bias)

    def is_code(self, address: int) -> bool:
        """It lies in an executable segment."""
        return any(s.permissions & EXECUTE and 0 <= address - s.address < s.file_size for s in self.segments)

    def extents(self, name: str) -> list[tuple[int, int]]:
        """(address, size) of each function or object of this name; files may have their own static ones."""
        return [(address + self.bias, size) for address, size in self._symbol_table().extents(name)]

    def symbolize(self, address: int) -> str | None:
        """``"main+0x12"`` for an address inside a known function or object; None where no symbol covers it."""
        if not self.start <= address < self.end:
            return None
        return self._symbol_table().describe(address, self.bias)

    def line(self, address: int) -> str | None:
        """``"hello.c:12"`` where debugging information says so, else None."""
        from abi.symbols import source_line

        try:
            stream = self._source.stream()
        except OSError:
            return None
        return source_line(stream, address - self.bias)

    def debug_info(self) -> DebugInfo:
        """The program's variables and types.  Raises DebugInfoError (``abi.debug_info``) where it does not have them;
        takes tens of milliseconds when first asked for, pyelftools's import among them."""
        if self._debug_info is None:
            from abi.debug_info import DebugInfo, DebugInfoError

            try:
                self._debug_info = DebugInfo(self._source.stream())
            except OSError as error:
                raise DebugInfoError(f"its file cannot be read any more: {error.strerror}") from error
        return self._debug_info

    def _symbol_table(self) -> SymbolTable:
        if self._symbols is None:
            from abi.symbols import SymbolTable, read_symbols

            try:
                self._symbols = read_symbols(self._source.stream(), self._source.size)
            except OSError:
                self._symbols = SymbolTable([])
        return self._symbols

    def let_go(self) -> None:
        """Closes the file, all of whose segments have been read.  For names it is opened again by its path; where that
        leads to another file by then, there are none."""
        self._source.let_go()

    def close(self) -> None:
        """Closes the file.  Names already looked up stay; new bytes can no longer be read."""
        self._source.close()

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Image {self.name or 'bytes'} {self.kind} entry={self.entry:#x} segments={len(self.segments)}>"


class _File:
    """A regular file, by its descriptor."""

    # O_NONBLOCK: opening a FIFO must not wait for its writer; it has no effect on regular files.
    _FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

    def __init__(self, path: Path) -> None:
        self._path = os.path.abspath(path)
        self._descriptor = os.open(path, self._FLAGS)
        status = os.fstat(self._descriptor)
        self._identity = self._identify(status)
        self.regular = stat.S_ISREG(status.st_mode)
        self.directory = stat.S_ISDIR(status.st_mode)
        self.size = status.st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def read_into(self, offset: int, views: Sequence[memoryview]) -> None:
        pending = [view for view in views if len(view)]
        while pending:
            # 1024 is the kernel's limit on buffers a call; a call also stops at 2 GiB.
            got = os.preadv(self._descriptor, pending[:1024], offset)
            if got == 0:
                raise EOFError
            offset += got
            while pending and got >= len(pending[0]):
                got -= len(pending.pop(0))
            if got:
                pending[0] = pending[0][got:]

    @staticmethod
    def _identify(status: os.stat_result) -> tuple[int, ...]:
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def stream(self) -> BinaryIO:
        if self._descriptor >= 0:
            return os.fdopen(os.dup(self._descriptor), "rb")
        stream = os.fdopen(os.open(self._path, self._FLAGS), "rb")
        if self._identify(os.fstat(stream.fileno())) != self._identity:
            stream.close()
            raise OSError(ESTALE, "it is another file now")
        return stream

    def let_go(self) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()


class _Bytes:
    """A program in memory."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")
        self.size = len(self._view)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._view[offset : offset + size])

    def read_into(self, offset: int, views: Sequence[memoryview]) -> None:
        for view in views:
            part = self._view[offset : offset + len(view)]
            if len(part) < len(view):
                raise EOFError
            view[:] = part
            offset += len(view)

    def stream(self) -> BinaryIO:
        from io import BytesIO

        return BytesIO(self._view)

    def let_go(self) -> None:
        """There is no file."""

    def close(self) -> None:
        self._view.release()


def read_image(source: Buffer | Path, *, base: int = IMAGE_BASE, dynamic: bool = False) -> Image:
    """Reads and checks a program.

    ``source`` is a path (``str`` or ``PathLike``) or the bytes themselves (bytes, mmap, memoryview: not copied).  A
    position-independent program is placed at ``base``, rounded up to the alignment it asks for.  ``dynamic`` accepts a
    program that names an interpreter: the caller has to load that too.

    Raises BadElf for anything that is not a well-formed program for this machine.
    """
    name = ""
    opened: _File | _Bytes
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        opened = _open(name)
    else:
        opened = _Bytes(source)
    try:
        return _check(opened, name, base, dynamic)
    except OSError as error:
        opened.close()
        raise BadElf(f"cannot be read: {error.strerror}", name, error.errno or ENOEXEC) from error
    except BaseException:
        opened.close()
        raise


def _open(path: str) -> _File:
    try:
        file = _File(path)
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


def _check(source: _File | _Bytes, name: str, base: int, dynamic: bool) -> Image:
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
    if phentsize != _PROGRAM_HEADER.size:
        raise bad(f"has program headers of {phentsize} bytes, not {_PROGRAM_HEADER.size}")
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


def _interpreter(source: _File | _Bytes, offset: int, size: int, bad: Callable[[str], BadElf]) -> str:
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


def _page_floor(address: int) -> int:
    return address & -PAGE_SIZE


def _page_ceiling(address: int) -> int:
    return (address + PAGE_SIZE - 1) & -PAGE_SIZE


__all__ = ["BadElf", "Copy", "Image", "PageRange", "Segment", "Tls", "read_image"]
