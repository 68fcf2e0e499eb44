"""The address space: what mmap and its relatives promise, against a model of one page at a time."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.layout import BLOCK_SIZE, PAGE_SIZE, STACK_SIZE, STACK_TOP, USER_END
from tests.userland.fake_machine import FakeMachine
from tests.userland.linux.conftest import Program
from userland.linux.extents import Extents
from userland.linux.personality import LinuxPersonality

READ, WRITE, EXEC = 1, 2, 4
SHARED, PRIVATE, FIXED, ANONYMOUS, STACK, NORESERVE, NOREPLACE = 1, 2, 0x10, 0x20, 0x20000, 0x4000, 0x100000
EPERM, ENOMEM, EACCES, EFAULT, EEXIST, ENODEV, EINVAL, EBADF = 1, 12, 13, 14, 17, 19, 22, 9
MIB = 1 << 20


def test_anonymous_memory_is_zero_and_placed_apart(program: Program) -> None:
    first = program("mmap", 0, 5000, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    second = program("mmap", 0, 5000, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    assert first % PAGE_SIZE == 0
    assert abs(first - second) >= 8192
    assert program.get(first, 8192) == bytes(8192)


def test_large_memory_is_given_at_the_first_touch_in_blocks(program: Program) -> None:
    start = program("mmap", 0, 64 * MIB, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    assert start % BLOCK_SIZE == 0
    assert not program.process.blocks
    assert program.thread.touch(start + 5 * MIB, write=True)
    assert list(program.process.blocks) == [start + 4 * MIB]
    before = program.process.maps
    for address in range(start, start + 64 * MIB, PAGE_SIZE * 16):
        assert program.thread.touch(address, write=True)
    assert program.process.maps - before < 10
    assert not any(start <= page < start + 64 * MIB for page in program.process.small)


def test_a_reservation_takes_no_memory(program: Program) -> None:
    start = program("mmap", 0, 1 << 40, 0, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)
    assert start > 0
    assert not program.thread.touch(start)
    assert program("mprotect", start + MIB, 8192, READ | WRITE) == 0
    assert program.thread.touch(start + MIB, write=True)
    assert not program.thread.touch(start + MIB + 8192)
    assert program("munmap", start, 1 << 40) == 0
    assert not program.thread.touch(start + MIB)


def test_calls_reach_memory_that_was_not_touched_yet(program: Program, tmp_path: Path) -> None:
    (tmp_path / "r" / "x").write_bytes(b"x" * 3 * MIB)
    fd = program.open(tmp_path / "r" / "x")
    start = program("mmap", 0, 8 * MIB, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    assert program("read", fd, start + 1000, 4 * MIB) == 3 * MIB
    assert program.get(start + 1000, 3 * MIB) == b"x" * 3 * MIB
    assert program.get(start, 1000) == bytes(1000)
    reserved = program("mmap", 0, MIB, READ, PRIVATE | ANONYMOUS, -1, 0)
    assert program("pread64", fd, reserved, 100, 0) == -EFAULT


def test_memory_runs_out_without_a_crash(tmp_path: Path) -> None:
    personality = LinuxPersonality(memory_limit=16 * MIB)
    with FakeMachine(personality, limit=16 * MIB) as machine:
        program = Program(machine)
        assert program("mmap", 0, 64 * MIB, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0) == -ENOMEM
        start = program("mmap", 0, 16 * MIB, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
        touched = 0
        while program.thread.touch(start + touched, write=True):
            touched += PAGE_SIZE
        # All there was could be used, down to the last page.
        assert touched > 15 * MIB
        assert machine.process.status == 128 + 9
        assert "out of memory" in machine.process.reason


def test_the_stack_grows_down_to_its_limit(program: Program) -> None:
    address = STACK_TOP - (256 << 10) - 8
    while address > STACK_TOP - STACK_SIZE:
        assert program.thread.touch(address, write=True)
        address -= 3 * PAGE_SIZE
    assert not program.thread.touch(STACK_TOP - STACK_SIZE - 8, write=True)
    assert not program.process.blocks


def test_the_break(program: Program) -> None:
    start = program("brk", 0)
    assert program("brk", start + 100) == start + 100
    program.process.memory.write(start, b"x" * 100)
    assert program("brk", start + 10 * MIB) == start + 10 * MIB
    assert program.thread.touch(start + 10 * MIB - 1, write=True)
    program.process.memory.write(start + 9 * MIB, b"old")
    assert program("brk", start + MIB) == start + MIB
    assert not program.thread.touch(start + 9 * MIB)
    assert program("brk", start + 10 * MIB) == start + 10 * MIB
    assert program.thread.touch(start + 9 * MIB)
    assert program.get(start + 9 * MIB, 3) == bytes(3)
    assert program.get(start, 100) == b"x" * 100
    assert program("brk", start - 1) == start + 10 * MIB
    assert program("brk", USER_END * 2) == start + 10 * MIB
    in_the_way = program("mmap", start + 20 * MIB, 4096, READ, PRIVATE | ANONYMOUS | FIXED, -1, 0)
    assert in_the_way == start + 20 * MIB
    assert program("brk", start + 21 * MIB) == start + 10 * MIB
    assert program("brk", start + 20 * MIB) == start + 20 * MIB


def test_the_break_is_zero_again_within_its_last_block(program: Program) -> None:
    start = program("brk", 0)
    program("brk", start + 100_000)
    program.process.memory.write(start, b"y" * 100_000)
    assert program("brk", start) == start
    assert program("brk", start + 100_000) == start + 100_000
    assert program.get(start, 100_000) == bytes(100_000)


def test_a_block_can_be_cut_anywhere(program: Program) -> None:
    start = program("mmap", 0, 6 * MIB, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    program.thread.touch(start, write=True)
    program.thread.touch(start + 2 * MIB, write=True)
    for offset in range(0, 4 * MIB, PAGE_SIZE):
        program.process.memory.write(start + offset, offset.to_bytes(4, "little"))
    assert program("munmap", start + MIB, 8192) == 0
    assert program("mprotect", start + 3 * MIB, PAGE_SIZE, READ) == 0
    assert not program.thread.touch(start + MIB)
    assert not program.thread.touch(start + MIB + PAGE_SIZE)
    assert not program.thread.touch(start + 3 * MIB, write=True)
    assert program.thread.touch(start + 3 * MIB)
    for offset in range(0, 4 * MIB, PAGE_SIZE):
        if not MIB <= offset < MIB + 8192:
            assert program.get(start + offset, 4) == offset.to_bytes(4, "little")


def test_a_cut_without_memory_for_it_changes_nothing(program: Program, machine: FakeMachine) -> None:
    start = program("mmap", 0, 2 * MIB, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    program.thread.touch(start, write=True)
    program.process.memory.write(start + MIB, b"kept")
    machine.limit = machine.used() - BLOCK_SIZE // 2
    # Taking the block and giving it back as pages needs what is not there; then the block could not come back either
    # in this double, so only the half is missing.
    real = program.process.map

    def scarce(va: int, length: int, permissions: int) -> int:
        if length == BLOCK_SIZE:
            machine.limit = 1 << 30
        return real(va, length, permissions)

    program.process.map = scarce  # type: ignore[method-assign]
    assert program("munmap", start + MIB, PAGE_SIZE) == -ENOMEM
    assert program.get(start + MIB, 4) == b"kept"
    assert program("munmap", start, 2 * MIB) == 0


def test_fixed_mappings(program: Program) -> None:
    at = 0x1000_0000
    assert program("mmap", at, 8192, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0) == at
    program.process.memory.write(at + 4096, b"old")
    assert program("mmap", at, 4096, READ, PRIVATE | ANONYMOUS | NOREPLACE, -1, 0) == -EEXIST
    assert program("mmap", at + 4096, 4096, READ, PRIVATE | ANONYMOUS | FIXED, -1, 0) == at + 4096
    assert program.get(at + 4096, 3) == bytes(3)
    assert program("mmap", at + 1, 4096, READ, PRIVATE | ANONYMOUS | FIXED, -1, 0) == -EINVAL
    assert program("mmap", 0, 4096, READ, PRIVATE | ANONYMOUS | FIXED, -1, 0) == -EPERM
    assert program("mmap", USER_END, 4096, READ, PRIVATE | ANONYMOUS | FIXED, -1, 0) == -ENOMEM
    assert program("mmap", (1 << 64) - 4096, 8192, READ, PRIVATE | ANONYMOUS | FIXED, -1, 0) == -ENOMEM
    assert program("mmap", at + 1, 4096, READ, PRIVATE | ANONYMOUS, -1, 0) % PAGE_SIZE == 0
    assert program("mmap", 0, 0, READ, PRIVATE | ANONYMOUS, -1, 0) == -EINVAL
    assert program("mmap", 0, 4096, READ, ANONYMOUS, -1, 0) == -EINVAL
    assert program("mmap", 0, 4096, READ, PRIVATE, -1, 0) == -EBADF


def test_a_private_file_mapping(program: Program, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB + 100)
    (tmp_path / "r" / "x").write_bytes(content)
    fd = program.open(tmp_path / "r" / "x")
    start = program("mmap", 0, 4 * MIB, READ | WRITE, PRIVATE, fd, 0)
    assert program("close", fd) == 0
    for offset in (0, MIB, 3 * MIB):
        assert program.thread.touch(start + offset)
        assert program.get(start + offset, 100) == content[offset : offset + 100]
    assert program.get(start + 3 * MIB + 100, 10) == bytes(10)
    # Beyond the file's last page there is nothing (SIGBUS).
    assert not program.thread.touch(start + 3 * MIB + PAGE_SIZE)
    program.process.memory.write(start, b"changed")
    assert (tmp_path / "r" / "x").read_bytes() == content
    assert program("mmap", 0, 4096, READ | WRITE, SHARED, program.open(tmp_path / "r" / "x"), 0) == -EACCES
    assert program("munmap", start, 4 * MIB) == 0


def test_a_shared_file_mapping_is_written_back(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "w" / "x"
    path.write_bytes(b"." * 10_000)
    fd = program.open(path, 2)
    start = program("mmap", 0, 10_000, READ | WRITE, SHARED, fd, 0)
    program.thread.touch(start, write=True)
    program.thread.touch(start + 4096, write=True)
    program.thread.touch(start + 8192, write=True)
    program.process.memory.write(start, b"first")
    program.process.memory.write(start + 8192, b"third")
    os.pwrite(program.personality._tasks[program.thread].files.get(fd).host_fd(), b"other", 4096)  # type: ignore[index]
    assert program("msync", start, 10_000, 4) == 0
    # Only what changed is written: the page that another wrote stays.
    content = path.read_bytes()
    assert (content[:5], content[4096:4101], content[8192:8197]) == (b"first", b"other", b"third")
    assert len(content) == 10_000
    program.process.memory.write(start + 5000, b"late")
    program("exit_group", 0)
    assert path.read_bytes()[5000:5004] == b"late"


def test_mremap_grows_shrinks_and_moves(program: Program) -> None:
    above = program("mmap", 0, PAGE_SIZE, READ, PRIVATE | ANONYMOUS, -1, 0)
    start = program("mmap", 0, 3 * PAGE_SIZE, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    assert start + 3 * PAGE_SIZE == above
    program.process.memory.write(start, b"content")
    assert program("mremap", start, 3 * PAGE_SIZE, PAGE_SIZE, 0, 0) == start
    assert not program.thread.touch(start + PAGE_SIZE)
    assert program("mremap", start, PAGE_SIZE, 2 * PAGE_SIZE, 0, 0) == start
    assert program("mremap", start, 2 * PAGE_SIZE, 8 * MIB, 0, 0) == -ENOMEM
    moved = program("mremap", start, 2 * PAGE_SIZE, 8 * MIB, 1, 0)
    assert moved > 0
    assert moved != start
    assert program.get(moved, 7) == b"content"
    assert not program.thread.touch(start)
    assert program.thread.touch(moved + 8 * MIB - 1, write=True)
    assert program("mremap", moved, 8 * MIB, 4096, 3, above) == above
    assert program.get(above, 7) == b"content"
    assert program("mremap", 0x1234_0000, 4096, 8192, 1, 0) == -EFAULT


def test_discarded_pages_read_as_zero(program: Program) -> None:
    start = program("mmap", 0, 8 * MIB, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
    for offset in range(0, 8 * MIB, PAGE_SIZE):
        program.thread.touch(start + offset, write=True)
        program.process.memory.write(start + offset, b"x")
    assert program("madvise", start + MIB, 4 * MIB, 4) == 0
    assert len(program.process.blocks) == 3
    for offset in range(0, 8 * MIB, PAGE_SIZE):
        assert program.thread.touch(start + offset)
        expected = b"\0" if MIB <= offset < 5 * MIB else b"x"
        assert program.get(start + offset, 1) == expected, hex(offset)
    assert program("madvise", start, 4096, 99) == -EINVAL
    assert program("madvise", 0x1234_0000, 4096, 4) == -ENOMEM
    assert program("madvise", start + 1, 4096, 4) == -EINVAL


def test_rounded_mappings_leave_nothing_behind(program: Program) -> None:
    """A mapping that got more than it asked for, to be made of blocks, is gone as a whole."""
    for size in (600 << 10, MIB + 4096, 3 * MIB + 4096):
        start = program("mmap", 0, size, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
        program.thread.touch(start, write=True)
        assert program("munmap", start, size) == 0
        assert not any(base >= 0x7000_0000_0000 for base in program.process.blocks)
        start = program("mmap", 0, size, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
        program.thread.touch(start, write=True)
        assert program("mremap", start, size, size + 4096, 1, 0) == start
        assert program("munmap", start, 4096) == 0
        assert program("munmap", start + 4096, size) == 0
        assert not any(base >= 0x7000_0000_0000 for base in program.process.blocks)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(0, 40)), max_size=40))
def test_extents_are_a_set(changes: list[tuple[bool, int, int]]) -> None:
    extents = Extents()
    model: set[int] = set()
    for add, first, second in changes:
        start, end = min(first, second), max(first, second)
        if add:
            extents.add(start, end)
            model |= set(range(start, end))
        else:
            extents.remove(start, end)
            model -= set(range(start, end))
        assert {value for s, e in extents for value in range(s, e)} == model
        ranges = list(extents)
        assert all(s < e for s, e in ranges)
        assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
        for low, high in ((0, 41), (5, 20), (first, second), (second, first)):
            inside = {value for s, e in extents.within(low, high) for value in range(s, e)}
            outside = {value for s, e in extents.gaps(low, high) for value in range(s, e)}
            assert inside == model & set(range(low, high))
            assert outside == set(range(low, high)) - model


AREA = 0x2000_0000
PAGES = 1536  # three blocks
page_number = st.integers(0, PAGES - 1)
page_count = st.one_of(st.integers(1, 8), st.integers(1, PAGES), st.sampled_from([512, 1024]))
operation = st.one_of(
    st.tuples(st.just("map"), page_number, page_count, st.sampled_from([0, 1, 3, 5])),
    st.tuples(st.just("unmap"), page_number, page_count, st.just(0)),
    st.tuples(st.just("protect"), page_number, page_count, st.sampled_from([0, 1, 3, 7])),
    st.tuples(st.just("write"), page_number, st.just(1), st.integers(1, 255)),
    st.tuples(st.just("discard"), page_number, page_count, st.just(0)),
    st.tuples(st.just("move"), page_number, st.integers(1, 600), page_number),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(operation, max_size=25))
def test_any_sequence_of_calls_does_what_it_says(operations: list[tuple[str, int, int, int]]) -> None:
    """Permissions and contents of every page of an area, against a dictionary."""
    personality = LinuxPersonality()
    with FakeMachine(personality) as machine:
        program = Program(machine)
        model: dict[int, list[int]] = {}
        for kind, first, count, extra in operations:
            count = min(count, PAGES - first)
            start, length = AREA + first * PAGE_SIZE, count * PAGE_SIZE
            pages = range(first, first + count)
            whole = all(page in model for page in pages)
            if kind == "map":
                assert program("mmap", start, length, extra, PRIVATE | ANONYMOUS | FIXED, -1, 0) == start
                model.update({page: [extra, 0] for page in pages})
            elif kind == "unmap":
                assert program("munmap", start, length) == 0
                for page in pages:
                    model.pop(page, None)
            elif kind == "protect":
                assert program("mprotect", start, length, extra) == (0 if whole else -ENOMEM)
                for page in pages:
                    if whole:
                        model[page][0] = extra
            elif kind == "write":
                allowed = first in model and bool(model[first][0] & WRITE)
                assert program.thread.touch(start, write=True) == allowed
                if allowed:
                    program.process.memory.write(start + 8, bytes([extra]))
                    model[first][1] = extra
            elif kind == "discard":
                assert program("madvise", start, length, 4) == (0 if whole else -ENOMEM)
                for page in pages:
                    if page in model:
                        model[page][1] = 0
            else:
                _move(program, model, first, count, extra)
        for page in range(PAGES):
            address = AREA + page * PAGE_SIZE
            rights, value = model.get(page, [0, 0])
            assert program.thread.touch(address) == bool(rights), hex(address)
            if rights:
                assert program.get(address + 8, 1)[0] == value
                assert program.process.permissions(address) == rights
        listed = program.personality._tasks[program.thread].process.space  # type: ignore[index]
        for s, e in listed.present:
            for address in range(s, e, PAGE_SIZE):
                assert program.process.permissions(address) is not None
        assert program("munmap", AREA, PAGES * PAGE_SIZE) == 0
        end = AREA + PAGES * PAGE_SIZE
        assert not any(AREA <= base < end for base in (*machine.process.small, *machine.process.blocks))


def _move(program: Program, model: dict[int, list[int]], first: int, count: int, target: int) -> None:
    target = min(target, PAGES - count)
    pages = range(first, first + count)
    overlap = target < first + count and first < target + count
    old, new, length = AREA + first * PAGE_SIZE, AREA + target * PAGE_SIZE, count * PAGE_SIZE
    result = program("mremap", old, length, length, 3, new)
    if overlap:
        assert result == -EINVAL
        return
    alike = all(page in model and model[page][0] == model[first][0] for page in pages)
    if result < 0:
        # One mapping has to hold all of it; differently protected neighbours never are one.
        assert result in (-EFAULT, -EINVAL)
        return
    assert alike
    moved = [model.pop(page) for page in pages]
    for page in range(target, target + count):
        model.pop(page, None)
    model.update(dict(zip(range(target, target + count), moved, strict=True)))


def test_every_mapping_is_in_proc_self_maps(program: Program) -> None:
    program("mmap", 0x5000_0000, 8192, READ | EXEC, PRIVATE | ANONYMOUS | FIXED, -1, 0)
    fd = program.open("/proc/self/maps")
    text = program.read(fd, 4096)
    assert isinstance(text, bytes)
    assert b"50000000-50002000 r-xp" in text
    assert f"{STACK_TOP - STACK_SIZE:x}-{STACK_TOP:x} rw-p".encode() in text


@pytest.mark.parametrize("flags", [PRIVATE | ANONYMOUS | STACK, PRIVATE | ANONYMOUS])
def test_thread_stacks_are_touched_from_the_top(program: Program, flags: int) -> None:
    start = program("mmap", 0, 8 * MIB, 0, flags, -1, 0)
    assert program("mprotect", start + PAGE_SIZE, 8 * MIB - PAGE_SIZE, READ | WRITE) == 0
    assert program.thread.touch(start + 8 * MIB - 8, write=True)
    if flags & STACK:
        assert not program.process.blocks
    assert not program.thread.touch(start, write=True)


def test_a_program_has_only_so_many_mappings(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes memory of the host, whichever call makes it; what makes none more goes on working at the limit."""
    monkeypatch.setattr("userland.linux.memory.MAPPINGS_MAX", 40)
    flags = PRIVATE | ANONYMOUS | NORESERVE
    start = program("mmap", 0, 1 << 30, 0, flags, -1, 0)
    pages = range(start + PAGE_SIZE, start + (1 << 30), 2 * PAGE_SIZE)
    made = next(i for i, page in enumerate(pages) if program("mprotect", page, PAGE_SIZE, READ) != 0)
    assert 10 < made < 40
    refused = pages[made]
    assert program("mprotect", refused, PAGE_SIZE, READ) == -ENOMEM
    assert program("munmap", refused, PAGE_SIZE) == -ENOMEM
    assert program("mmap", refused, PAGE_SIZE, READ, flags | FIXED, -1, 0) == -ENOMEM
    assert program("mmap", start - 64 * PAGE_SIZE, PAGE_SIZE, READ, flags, -1, 0) == -ENOMEM
    assert program("mmap", 0, PAGE_SIZE, READ, flags, -1, 0) == -ENOMEM
    assert program("mprotect", pages[0], PAGE_SIZE, READ | WRITE) == 0
    assert program("munmap", pages[0], PAGE_SIZE) == 0
    assert program("munmap", start, 1 << 30) == 0
    assert program("mmap", 0, PAGE_SIZE, READ, flags, -1, 0) > 0
