"""Ranges of virtual addresses against what they are page by page, around every boundary that there is."""

from __future__ import annotations

import pytest

from abi.layout import BLOCK_PAGES, GIANT_PAGES, PAGE_SIZE, USER_END, USER_MIN
from kernel.calls import sizes
from kernel.calls.ranges import effective, indices, mapping_around, pieces, protection_valid, range_valid, start_valid
from kernel.calls.ranges import whole as stretches
from tests.kernel.scene import BLOCK, GIANT, OTHER, Scene, V
from tests.kernel.world import page_at

NEAR = (-2, -1, 0, 1, 2)
ENDS = sorted({base + d for base in (0, BLOCK_PAGES, 3 * BLOCK_PAGES, GIANT_PAGES, 2 * GIANT_PAGES, 4 * GIANT_PAGES)
               for d in NEAR if base + d >= 0})  # fmt: skip
RANGES = [(first, end) for first in ENDS for end in ENDS if first < end]


@pytest.mark.parametrize("count", [BLOCK_PAGES, GIANT_PAGES])
def test_whole_stretches(count: int) -> None:
    for first, end in RANGES:
        aligned = [v for v in range(first - first % count, end, count) if v >= first and v + count <= end]
        assert stretches(first, end, count) == len(aligned), (first, end)
    assert stretches(5, 5, count) == stretches(0, 0, count) == 0


def test_pieces_of_a_range() -> None:
    """In order and without a gap; each within one block's addresses, but for as many giants as are wanted."""
    for first, end in RANGES:
        there = stretches(first, end, GIANT_PAGES)
        if end - first > 2 * GIANT_PAGES: continue
        for giants in {0, there}:
            v = first
            for at, count in pieces(first, end, giants):
                assert at == v
                if count == GIANT_PAGES:
                    giants -= 1
                    assert at % GIANT_PAGES == 0
                else:
                    assert 0 < count <= BLOCK_PAGES
                    assert at // BLOCK_PAGES == (at + count - 1) // BLOCK_PAGES
                    assert at == first or at % BLOCK_PAGES == 0
                v += count
            assert (v, giants) == (end, 0)


def test_what_a_program_can_name() -> None:
    for address in (USER_MIN, USER_MIN + PAGE_SIZE, USER_END - PAGE_SIZE, USER_END - 3 * PAGE_SIZE):
        assert range_valid(address, PAGE_SIZE)
        for length in (0, -PAGE_SIZE, 1, PAGE_SIZE - 1, PAGE_SIZE + 1): assert not range_valid(address, length)
        for aside in (1, 7, PAGE_SIZE - 1): assert not range_valid(address + aside, PAGE_SIZE)
    assert range_valid(USER_MIN, USER_END - USER_MIN)
    assert range_valid(USER_END - 3 * PAGE_SIZE, 3 * PAGE_SIZE)
    assert not range_valid(USER_END - 3 * PAGE_SIZE, 4 * PAGE_SIZE)
    assert not range_valid(USER_END, PAGE_SIZE)
    assert not range_valid(USER_MIN - PAGE_SIZE, 2 * PAGE_SIZE)
    for entry, stack in ((USER_MIN, USER_MIN), (USER_END - 1, USER_END)): assert start_valid(entry, stack)
    for entry, stack in ((USER_MIN - 1, USER_MIN), (USER_MIN, USER_MIN - 1), (USER_END, USER_END), (-1, USER_END),
                         (USER_MIN, USER_END + 1)):  # fmt: skip
        assert not start_valid(entry, stack)


def test_protections() -> None:
    assert [p for p in range(-9, 20) if protection_valid(p)] == list(range(8))
    assert [effective(p) for p in range(8)] == [0, 1, 3, 3, 5, 5, 7, 7]


@pytest.mark.parametrize(
    "v", [0, 1, 511, 512, 1 << 18, (1 << 27) - 1, 1 << 27, page_at(1, 2, 3, 4), page_at(254, 511, 511, 511)]
)
def test_places(v: int) -> None:
    i4, i3, i2, i1 = indices(v)
    assert ((i4 * 512 + i3) * 512 + i2) * 512 + i1 == v
    assert max(i3, i2, i1) < 512
    assert sizes.place(v, 1) == (i4, i3, i2, i1)
    assert sizes.place(v, BLOCK_PAGES) == (i4, i3, i2)
    assert sizes.place(v, GIANT_PAGES) == (i4, i3)


def test_what_is_mapped_around_a_page() -> None:
    scene = Scene()
    for start, count in ((V, 1), (OTHER, 1), (BLOCK, BLOCK_PAGES), (GIANT, GIANT_PAGES)):
        for v in {start, start + 1, start + count // 2, start + count - 2, start + count - 1}:
            if start <= v < start + count: assert mapping_around(scene.k, scene.s, v) == start
    for v in (V - 1, OTHER + 1, BLOCK - 1, BLOCK + BLOCK_PAGES, GIANT - 1, GIANT + GIANT_PAGES, 0, V - 4):
        assert mapping_around(scene.k, scene.s, v) == -1
