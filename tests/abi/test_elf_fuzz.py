"""Whatever bytes are given as a program: an image that can be loaded, or BadElf; nothing else, and little work."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abi.elf import read_image
from abi.image import BadElf, Image
from abi.layout import DATA_LIMIT, EXECUTE, PAGE_SIZE, PERMISSIONS, USER_END, USER_MIN
from tests.abi.elf_writer import ET_DYN, ET_EXEC, Header, write_elf

QUICK = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

INTERESTING = [0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0xFFF, 0x1000, 0xFFFF, 1 << 16, (1 << 31) - 1, (1 << 32) - 1, 1 << 47,
               USER_END - 1, USER_END, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1]  # fmt: skip


def must_be_sound(image: Image, size: int) -> None:
    """What the hypervisor relies on when it loads an image."""
    assert any(
        s.permissions & EXECUTE and s.address <= image.entry < s.address + s.mem_size for s in image.segments
    )
    end = USER_MIN
    ranges = image.pages()
    assert len(ranges) <= 2 * len(image.segments)
    for pages in ranges:
        assert pages.address % PAGE_SIZE == 0
        assert pages.length % PAGE_SIZE == 0
        assert pages.length > 0
        assert end <= pages.address
        end = pages.address + pages.length
        assert 0 <= pages.permissions <= PERMISSIONS
        for copy in pages.copies:
            assert copy.size > 0
            assert pages.address <= copy.address
            assert copy.address + copy.size <= end
            assert copy.file_offset >= 0
            assert copy.file_offset + copy.size <= size
    assert end <= USER_END
    assert (image.start, image.end) == (ranges[0].address, end)
    assert sum(copy.size for pages in ranges for copy in pages.copies) == sum(s.file_size for s in image.segments)
    assert all(segment.mem_size <= DATA_LIMIT for segment in image.segments)


def read_bounded(data: bytes) -> Image | None:
    """The image or None for BadElf; fails when reading took memory that the file's size does not explain."""
    image: Image | None = None
    what = ""
    tracemalloc.start()
    try:
        image = read_image(data)
    except BadElf as error:
        what = error.what
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * len(data) + (1 << 20)
    if image is None:
        assert what
        assert "\n" not in what
    else:
        must_be_sound(image, len(data))
    return image


@st.composite
def changes(draw: st.DrawFn, size: int) -> list[tuple[int, bytes]]:
    """Bytes to overwrite, most of them in the headers, many by values that sit on a border."""
    at = st.one_of(st.integers(0, 64 + 56 * 8), st.integers(0, size - 1))
    value = st.one_of(
        st.binary(min_size=1, max_size=8),
        st.sampled_from(INTERESTING).map(lambda number: struct.pack("<Q", number)),
        st.sampled_from(INTERESTING).map(lambda number: struct.pack("<Q", number)[:4]),
    )
    return draw(st.lists(st.tuples(at, value), min_size=0, max_size=6))


def changed(data: bytes, overwrites: list[tuple[int, bytes]], cut: int | None) -> bytes:
    result = bytearray(data)
    for at, value in overwrites:
        result[at : at + len(value)] = value
    return bytes(result[: len(data)] if cut is None else result[:cut])


def small_program(userland: Path) -> bytes:
    return (userland / "demo" / "hello").read_bytes()


@QUICK
@given(draw=st.data())
def test_a_damaged_program_is_an_image_or_bad(userland: Path, draw: st.DataObject) -> None:
    data = small_program(userland)
    overwrites = draw.draw(changes(len(data)))
    cut = draw.draw(st.one_of(st.none(), st.integers(0, len(data))))
    read_bounded(changed(data, overwrites, cut))


@QUICK
@given(data=st.binary(max_size=400), prefix=st.sampled_from([b"", b"\x7fELF", b"\x7fELF\x02\x01\x01"]))
def test_any_bytes_are_an_image_or_bad(data: bytes, prefix: bytes) -> None:
    read_bounded(prefix + data)


def test_every_truncation_of_a_program(userland: Path) -> None:
    data = small_program(userland)
    needed = max(s.file_offset + s.file_size for s in read_image(data).segments)
    for size in [*range(700), *range(700, len(data), 97), needed - 1]:
        image = read_bounded(data[:size])
        assert (image is None) == (size < needed)


headers = st.builds(
    Header,
    address=st.one_of(st.sampled_from(INTERESTING), st.integers(0, 1 << 20), st.integers(0, (1 << 64) - 1)),
    data=st.binary(max_size=64),
    flags=st.integers(0, 7),
    mem_size=st.one_of(st.none(), st.sampled_from(INTERESTING), st.integers(0, 1 << 16)),
    file_size=st.one_of(st.none(), st.sampled_from(INTERESTING)),
    offset=st.one_of(st.none(), st.none(), st.sampled_from(INTERESTING)),
    align=st.sampled_from([0, 1, 0x1000, 0x20_0000, 1 << 46, 1 << 63, 3]),
    type=st.sampled_from([1, 1, 1, 1, 2, 3, 4, 7, 0x6474_E551]),
)


@QUICK
@given(rows=st.lists(headers, max_size=8), entry=st.one_of(st.sampled_from(INTERESTING), st.integers(0, 1 << 20)),
       kind=st.sampled_from([ET_EXEC, ET_DYN]))  # fmt: skip
def test_any_program_headers_are_an_image_or_bad(rows: list[Header], entry: int, kind: int) -> None:
    read_bounded(write_elf(*rows, entry=entry, type=kind))


@st.composite
def packed_segments(draw: st.DrawFn) -> list[Header]:
    """Segments close together, so that they share pages but never bytes."""
    result = []
    address = 0x40_0000
    for _ in range(draw(st.integers(1, 6))):
        address += draw(st.integers(0, 6000))
        data = draw(st.binary(min_size=1, max_size=40)) * draw(st.integers(1, 200))
        mem_size = len(data) + draw(st.integers(0, 9000))
        result.append(Header(address=address, data=data, mem_size=mem_size, flags=draw(st.integers(1, 7)) | 1))
        address += mem_size
    return result


@QUICK
@given(rows=packed_segments())
def test_segments_close_together_are_loaded_byte_for_byte(rows: list[Header]) -> None:
    data = write_elf(*rows, entry=rows[0].address)
    image = read_bounded(data)
    assert image is not None
    memory: dict[int, bytearray] = {}
    allowed: dict[int, int] = {}
    for pages in image.pages():
        block = bytearray(pages.length)
        for copy in pages.copies:
            at = copy.address - pages.address
            image.read_into(copy.file_offset, [memoryview(block)[at : at + copy.size]])
        for at in range(0, pages.length, PAGE_SIZE):
            assert pages.address + at not in memory
            memory[pages.address + at] = block[at : at + PAGE_SIZE]
            allowed[pages.address + at] = pages.permissions
    expected = {page: bytearray(PAGE_SIZE) for page in memory}
    for row in rows:
        assert row.mem_size is not None
        for page in range(row.address & -PAGE_SIZE, row.address + row.mem_size, PAGE_SIZE):
            assert allowed[page] & EXECUTE
        for index, byte in enumerate(row.data):
            address = row.address + index
            expected[address & -PAGE_SIZE][address % PAGE_SIZE] = byte
    assert memory == expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_names_from_a_damaged_file_are_names_or_none(userland: Path, draw: st.DataObject) -> None:
    data = small_program(userland)
    sections = int.from_bytes(data[40:48], "little")
    where = st.one_of(st.integers(sections, len(data) - 1), st.integers(40, 63), st.integers(700, len(data) - 1))
    value = st.sampled_from(INTERESTING).map(lambda number: struct.pack("<Q", number))
    overwrites = draw.draw(st.lists(st.tuples(where, value), min_size=1, max_size=8))
    image = read_bounded(changed(data, overwrites, None))
    if image is None:
        return
    for answer in (image.symbolize(image.entry), image.line(image.entry)):
        assert answer is None or isinstance(answer, str)
    assert isinstance(image.symbol("main"), int | None)
