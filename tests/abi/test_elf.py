"""ELF images: real programs are read as they are; each kind of bad file gets its sentence."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from errno import EACCES, EISDIR, ENOENT, ENOEXEC
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from abi.elf import read_image
from abi.image import BadElf, Image
from abi.layout import (
    DATA_LIMIT,
    EXECUTE,
    IMAGE_BASE,
    PAGE_SIZE,
    READ,
    USER_END,
    USER_MIN,
    WRITE,
)
from tests.abi.elf_writer import (
    CODE,
    ET_CORE,
    ET_DYN,
    ET_REL,
    PT_GNU_STACK,
    PT_INTERP,
    PT_TLS,
    Header,
    R,
    W,
    X,
    write_elf,
)


def loaded(image: Image) -> dict[int, bytes]:
    """Page address -> contents, as a loader that follows the page plan makes them."""
    pages: dict[int, bytes] = {}
    for range_ in image.pages():
        memory = bytearray(range_.length)
        for copy in range_.copies:
            at = copy.address - range_.address
            image.read_into(copy.file_offset, [memoryview(memory)[at : at + copy.size]])
        for at in range(0, range_.length, PAGE_SIZE):
            assert range_.address + at not in pages, "a page is mapped once"
            pages[range_.address + at] = bytes(memory[at : at + PAGE_SIZE])
    return pages


def rights(image: Image) -> dict[int, int]:
    return {
        page: range_.permissions
        for range_ in image.pages()
        for page in range(range_.address, range_.address + range_.length, PAGE_SIZE)
    }


# Programs as they come from compilers.


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("demo/hello", "static"),
        ("tests/libc-musl", "static"),
        ("tests/libc-glibc", "static"),
        ("tests/libc-musl-pie", "static-pie"),
        ("tests/libc-glibc-pie", "static-pie"),
    ],
)
def test_a_real_program_is_read_as_pyelftools_reads_it(userland: Path, name: str, kind: str) -> None:
    path = userland / name
    with read_image(path) as image, path.open("rb") as stream:
        elf = ELFFile(stream)
        assert image.kind == kind
        assert image.bias == (0 if kind == "static" else IMAGE_BASE)
        assert image.entry == elf.header["e_entry"] + image.bias
        assert image.phnum == elf.num_segments()
        loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
        assert [segment.address for segment in image.segments] == [load["p_vaddr"] + image.bias for load in loads]
        pages = loaded(image)
        for load in loads:
            address, data = load["p_vaddr"] + image.bias, load.data()
            zero = b"\0" * (load["p_memsz"] - load["p_filesz"])
            first = address & -PAGE_SIZE
            end = -(-(address + load["p_memsz"]) // PAGE_SIZE) * PAGE_SIZE
            memory = b"".join(pages[page] for page in range(first, end, PAGE_SIZE))
            assert memory[address - first :].startswith(data + zero)
        # AT_PHDR: what a libc finds its own headers by.
        headers = path.read_bytes()[64 : 64 + 56 * image.phnum]
        page = pages[image.phdr_address & -PAGE_SIZE]
        assert page[image.phdr_address % PAGE_SIZE :].startswith(headers)
        assert not image.stack_executable


def test_bytes_and_a_mapping_give_the_same_image_as_the_file(userland: Path) -> None:
    path = userland / "demo" / "hello"
    with read_image(path) as image, path.open("rb") as stream:
        data = path.read_bytes()
        expected = (image.entry, image.segments, image.pages(), loaded(image))
        with read_image(data) as same:
            assert (same.entry, same.segments, same.pages(), loaded(same)) == expected
        mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
        with read_image(mapped) as same:
            assert (same.entry, same.segments, same.pages(), loaded(same)) == expected
        mapped.close()  # BufferError, if the image still held it


def test_thread_local_storage_is_shown(userland: Path) -> None:
    with read_image(userland / "tests" / "libc-glibc") as image:
        assert image.tls is not None
        assert image.tls.mem_size >= 4
        assert any(segment.address <= image.tls.address for segment in image.segments)
    with read_image(userland / "demo" / "hello") as image:
        assert image.tls is None


def test_names_and_lines_of_addresses(userland: Path) -> None:
    with read_image(userland / "demo" / "hello") as image:
        main = image.symbol("main")
        assert main is not None
        assert image.symbolize(main) == "main"
        assert image.symbolize(main + 4) == "main+0x4"
        assert image.symbolize(0x1234) is None
        assert image.symbolize(image.end) is None
        assert image.symbolize(0x7F80_0000_0000) is None
        assert image.symbol("no such thing") is None
        line = image.line(main)
        assert line is not None
        assert line.startswith("hello.c:")
        assert image.line(0x1234) is None
    with read_image(userland / "tests" / "libc-glibc-pie") as image:
        main = image.symbol("main")
        assert main is not None
        assert IMAGE_BASE <= main < image.end
        assert image.symbolize(main + 1) == "main+0x1"


def test_reading_a_program_imports_nothing_slow(userland: Path) -> None:
    code = (
        "import sys, abi.elf, abi.stack; abi.elf.read_image(sys.argv[1]).pages(); "
        "print([m for m in ('elftools', 'dataclasses', 'mmap', 'capstone', 'z3', 'rich') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(userland / "demo" / "hello")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_huge_file_is_not_read_through(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(write_elf(Header(data=CODE), Header(address=0x80_0000, flags=R, offset=4096, file_size=1 << 34)))
    os.truncate(path, (1 << 34) + 4096)  # sparse
    with read_image(path) as image:
        assert image.segments[1].file_size == 1 << 34
        piece = bytearray(b"x" * 100)
        image.read_into(1 << 33, [memoryview(piece)[:50], memoryview(piece)[50:]])
        assert piece == bytes(100)


# Page plans.


def test_segments_that_share_a_page_have_it_mapped_once_with_both_permissions() -> None:
    text = CODE + b"T" * 0x7FC
    image = read_image(
        write_elf(
            Header(address=0x40_0000, data=text, flags=R | X),
            Header(address=0x40_0800, data=b"D" * 0x1000, mem_size=0x3000, flags=R | W),
        )
    )
    assert [(r.address, r.length, r.permissions) for r in image.pages()] == [
        (0x40_0000, 0x1000, READ | WRITE | EXECUTE),
        (0x40_1000, 0x3000, READ | WRITE),
    ]
    pages = loaded(image)
    assert pages[0x40_0000] == text + b"D" * 0x800
    assert pages[0x40_1000] == b"D" * 0x800 + bytes(0x800)
    assert pages[0x40_3000] == bytes(PAGE_SIZE)


def test_three_segments_on_one_page_and_one_that_runs_on() -> None:
    image = read_image(
        write_elf(
            Header(address=0x3F_F000, data=CODE * 1024 + CODE * 4, flags=R | X, mem_size=0x1010),
            Header(address=0x40_0100, data=b"r" * 16, flags=R),
            Header(address=0x40_0200, data=b"w" * 0x2000, flags=R | W),
        )
    )
    assert rights(image) == {
        0x3F_F000: READ | EXECUTE,
        0x40_0000: READ | WRITE | EXECUTE,
        0x40_1000: READ | WRITE,
        0x40_2000: READ | WRITE,
    }
    pages = loaded(image)
    assert pages[0x40_0000][0x100:0x110] == b"r" * 16
    assert pages[0x40_0000][0x200:] == b"w" * 0xE00
    assert pages[0x40_0000][0x10:0x100] == bytes(0xF0)


def test_segments_out_of_order_are_sorted() -> None:
    image = read_image(
        write_elf(Header(address=0x50_0000, data=b"d", flags=R | W), Header(address=0x40_0000, data=CODE))
    )
    assert [segment.address for segment in image.segments] == [0x40_0000, 0x50_0000]
    assert (image.start, image.end) == (0x40_0000, 0x50_1000)


@pytest.mark.parametrize(
    ("flags", "permissions"),
    [(R, READ), (W, READ | WRITE), (X, READ | EXECUTE), (R | W | X, READ | WRITE | EXECUTE), (0, 0)],
)
def test_permissions_imply_reading(flags: int, permissions: int) -> None:
    image = read_image(write_elf(Header(data=CODE), Header(address=0x80_0000, data=b"d", flags=flags)))
    assert image.segments[1].permissions == permissions


def test_a_position_independent_program_goes_where_it_is_told_at_its_alignment() -> None:
    data = write_elf(Header(address=0, data=CODE, align=0x20_0000), type=ET_DYN, entry=2)
    image = read_image(data, base=0x1_0000_1000)
    assert image.bias == 0x1_0020_0000
    assert image.entry == image.bias + 2
    assert image.kind == "static-pie"
    linked_high = write_elf(Header(address=0x40_1000, data=CODE), type=ET_DYN, entry=0x40_1000)
    assert read_image(linked_high).segments[0].address == IMAGE_BASE


def test_an_executable_stack_is_reported() -> None:
    stack = Header(type=PT_GNU_STACK, address=0, flags=R | W | X)
    assert read_image(write_elf(Header(data=CODE), stack)).stack_executable
    assert not read_image(write_elf(Header(data=CODE))).stack_executable


def test_an_interpreter_is_given_to_who_asks() -> None:
    data = write_elf(Header(data=CODE), Header(type=PT_INTERP, address=0, data=b"/lib/ld.so\0", align=1))
    image = read_image(data, dynamic=True)
    assert (image.kind, image.interpreter) == ("dynamic", "/lib/ld.so")
    with pytest.raises(BadElf, match=r"needs interpreter /lib/ld\.so: dynamic programs are not supported yet"):
        read_image(data)


# Bad files.

GOOD = write_elf(Header(data=CODE))
LOAD = Header(data=CODE)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"\x7fE", "is truncated: 2 bytes are no ELF header"),
        (GOOD[:40], "is truncated: an ELF header has 64 bytes, this has 40"),
        (GOOD[:100], "is truncated: program headers reach to byte 120 of 100"),
        (GOOD[:-1], "is truncated: program header 0 needs bytes up to 124 of 123"),
        (b"#!/bin/sh\necho\n", "is a script for '/bin/sh', not an ELF program"),
        (b"MZ\x90\0" + bytes(60), "is not an ELF program: it begins with 4d 5a 90 00"),
        (bytes(1000), "is not an ELF program"),
        (write_elf(LOAD, ident=b"\x7fELF\x01\x01\x01"), "is a 32-bit program"),
        (write_elf(LOAD, ident=b"\x7fELF\x07\x01\x01"), "has ELF class 7"),
        (write_elf(LOAD, ident=b"\x7fELF\x02\x02\x01"), "is big-endian"),
        (write_elf(LOAD, ident=b"\x7fELF\x02\x03\x01"), "has ELF data encoding 3"),
        (write_elf(LOAD, ident=b"\x7fELF\x02\x01\x02"), "has ELF version 2"),
        (write_elf(LOAD, version=9), "has ELF version 9"),
        (write_elf(LOAD, machine=183), "is a program for AArch64, not x86-64"),
        (write_elf(LOAD, machine=4711), "is a program for machine 4711"),
        (write_elf(LOAD, type=ET_REL), "is an object file: link it first, not a program"),
        (write_elf(LOAD, type=ET_CORE), "is a core dump, not a program"),
        (write_elf(LOAD, type=99), "is of ELF type 99"),
        (write_elf(Header(address=0, data=CODE), type=ET_DYN, entry=0), "is a shared library, not a program"),
        (write_elf(LOAD, phnum=0), "has no program headers"),
        (write_elf(LOAD, phnum=0xFFFF), "has 65535 program headers; at most 1170"),
        (write_elf(LOAD, phentsize=32), "has program headers of 32 bytes"),
        (write_elf(LOAD, phoff=1 << 63), "is truncated: program headers reach to byte"),
        (write_elf(Header(type=PT_TLS, data=b"x")), "has no loadable segment"),
        (write_elf(Header(data=b"", mem_size=0)), "has no loadable segment"),
        (write_elf(Header(data=CODE, mem_size=2)), "has 0x4 bytes in the file but 0x2 in memory"),
        (write_elf(Header(data=CODE, file_size=1 << 63)), "is truncated: program header 0 needs"),
        (write_elf(Header(data=CODE, offset=(1 << 64) - 2)), "is truncated: program header 0 needs"),
        (write_elf(Header(data=CODE, align=3)), "alignment 0x3, which is no power of two"),
        (write_elf(Header(data=CODE, mem_size=DATA_LIMIT + 1)), "no machine has more than"),
        (write_elf(LOAD, Header(address=(1 << 64) - 2, data=b"abcd", flags=R)), "wraps around the end"),
        (write_elf(Header(address=0, data=CODE), entry=0), "outside a program's addresses"),
        (write_elf(Header(address=USER_MIN - 1, data=CODE), entry=USER_MIN), "outside a program's addresses"),
        (write_elf(LOAD, Header(address=USER_END - 1, data=b"ab")), "outside a program's addresses"),
        (write_elf(LOAD, Header(address=USER_END, data=b"a")), "outside a program's addresses"),
        (write_elf(LOAD, Header(address=0xFFFF_8000_0000_0000, data=b"a")), "outside a program's addresses"),
        (write_elf(Header(address=1, data=CODE, align=1 << 63), type=ET_DYN, entry=1), "outside a program's addresses"),
        (write_elf(LOAD, Header(address=0x40_0003, data=b"ab")), "has segments that overlap at 0x400003"),
        (write_elf(LOAD, LOAD), "has segments that overlap at 0x400000"),
        (write_elf(LOAD, entry=0x50_0000), "starts at 0x500000, which is in no executable segment"),
        (write_elf(LOAD, entry=0x40_0004), "starts at 0x400004"),
        (write_elf(Header(data=CODE, flags=R | W)), "which is in no executable segment"),
        (write_elf(LOAD, Header(type=PT_INTERP, data=b"/lib/ld.so", align=1)), "interpreter name without an end"),
        (write_elf(LOAD, Header(type=PT_INTERP, data=b"x" * 5000, align=1)), "interpreter name of 5000 bytes"),
        (write_elf(LOAD, Header(type=PT_INTERP, data=b"", align=1)), "interpreter name of 0 bytes"),
    ],
)
def test_a_bad_file_gets_its_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(BadElf) as caught:
        read_image(data)
    assert sentence in caught.value.what
    assert "\n" not in caught.value.what
    assert caught.value.errno == ENOEXEC


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    cases: list[tuple[str | Path, int, str]] = [
        (tmp_path / "missing", ENOENT, "cannot be opened: No such file or directory"),
        (tmp_path, EISDIR, "is a directory"),
        ("a\0b", ENOEXEC, "the name has a zero byte"),
        ("/dev/null", ENOEXEC, "is not a regular file"),
    ]
    for path, errno, sentence in cases:
        with pytest.raises(BadElf) as caught:
            read_image(path)
        assert caught.value.errno == errno
        assert sentence in str(caught.value)
        assert str(caught.value).startswith(str(path))


def test_a_file_without_the_right_to_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root, which tests may run as, could read any file
    with pytest.raises(BadElf, match="cannot be opened: Permission denied") as caught:
        read_image(tmp_path / "secret")
    assert caught.value.errno == EACCES


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadElf, match="is not a regular file"):
        read_image(tmp_path / "pipe")


def test_a_file_that_is_shortened_while_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(GOOD + bytes(100_000))
    with read_image(path) as image:
        os.truncate(path, 200)
        with pytest.raises(BadElf, match="became shorter"):
            image.read_into(0, [memoryview(bytearray(4096))])


def test_refused_and_closed_files_leave_no_descriptor(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(GOOD)
    bad.write_bytes(GOOD[:-1])
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        read_image(good).close()
        with pytest.raises(BadElf):
            read_image(bad)
        with pytest.raises(BadElf):
            read_image(tmp_path)
    image = read_image(good)
    assert image.symbol("main") is None
    assert image.line(image.entry) is None
    image.close()
    assert os.listdir("/proc/self/fd") == before
