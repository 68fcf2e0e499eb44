"""A checked program (``abi.elf``): what to map where, and what its addresses are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from errno import ENOEXEC
from typing import TYPE_CHECKING, Final, NamedTuple

from abi.layout import EXECUTE, PAGE_SIZE

if TYPE_CHECKING:
    from abi.debug_info import DebugInfo
    from abi.image_source import Source
    from abi.symbols import SymbolTable

PROGRAM_HEADER_SIZE: Final = 56
"""Bytes of a program header of a 64-bit ELF file."""


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
        source: Source,
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
        self.phentsize = PROGRAM_HEADER_SIZE
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


def _page_floor(address: int) -> int:
    return address & -PAGE_SIZE


def _page_ceiling(address: int) -> int:
    return (address + PAGE_SIZE - 1) & -PAGE_SIZE


__all__ = ["PROGRAM_HEADER_SIZE", "BadElf", "Copy", "Image", "PageRange", "Segment", "Tls"]
