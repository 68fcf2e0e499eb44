"""Ranges of virtual addresses, as calls name them and as they are cut into pieces."""

from __future__ import annotations

from collections.abc import Iterator

from abi.layout import BLOCK_PAGES, GIANT_PAGES, PAGE_SIZE, PERMISSIONS, READ, USER_END, USER_MIN
from kernel.objects import MAPPED_BLOCK, MAPPED_GIANT, Kernel

Piece = tuple[int, int]
"""A virtual page number, and how many pages from there: those of a giant, of a block, or some within one level-1
table."""


def range_valid(address: int, length: int) -> bool:
    """True for a page-aligned, non-empty range of a program's addresses."""
    if address % PAGE_SIZE or length % PAGE_SIZE or length <= 0: return False
    return address >= USER_MIN and address + length <= USER_END


def protection_valid(protection: int) -> bool:
    """True if no unknown bit is set."""
    return 0 <= protection <= PERMISSIONS


def effective(protection: int) -> int:
    """What x86-64 makes of a protection: what can be written or executed can be read."""
    return protection | READ if protection else 0


def indices(v: int) -> tuple[int, int, int, int]:
    """The four table indices of a virtual page number."""
    return v >> 27, v >> 18 & 511, v >> 9 & 511, v & 511


def whole(first: int, end: int, count: int) -> int:
    """How many aligned stretches of ``count`` pages lie in a range of virtual pages."""
    return max(0, end // count - -(-first // count))


def pieces(first: int, end: int, giants: int) -> Iterator[Piece]:
    """Cuts a range of virtual pages at 2 MiB boundaries, but for the first ``giants`` whole aligned stretches of 1
    GiB."""
    v = first
    while v < end:
        count = min(end, v - v % BLOCK_PAGES + BLOCK_PAGES) - v
        if giants and v % GIANT_PAGES == 0 and v + GIANT_PAGES <= end: count, giants = GIANT_PAGES, giants - 1
        yield v, count
        v += count


def mapping_around(k: Kernel, s: int, v: int) -> int:
    """The first virtual page of what one entry maps around virtual page v of process s: a page, block or giant.  -1 if
    nothing is mapped there."""
    mapped = k.process[s].map_page
    if mapped.get(v): return v
    block = v - v % BLOCK_PAGES
    p = mapped.get(block)
    if p and k.page[p].kind == MAPPED_BLOCK: return block
    giant = v - v % GIANT_PAGES
    p = mapped.get(giant)
    if p and k.page[p].kind == MAPPED_GIANT: return giant
    return -1


def start_valid(entry: int, stack: int) -> bool:
    """A program can run at ``entry`` with this stack pointer."""
    return USER_MIN <= entry < USER_END and USER_MIN <= stack <= USER_END
