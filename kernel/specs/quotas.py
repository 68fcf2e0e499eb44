"""Specifications of what moves quota, and the clauses about charges that the others use."""

from __future__ import annotations

from abi.errors import ENOMEM
from kernel.specs import Frame, State, specification

PAGES_PER_BLOCK = 512
BLOCKS_PER_GIANT = 512


def charged(old: State, new: State, f: Frame, c: int, pages: int, blocks: int, giants: int = 0) -> bool:
    """Container c pays for this many pages, blocks and giants more than before (fewer, if negative), out of its
    quota."""
    f.allocates()
    f.may("container", c, "pages", "used_pages", "blocks", "used_blocks")
    B, A = old.container[c], new.container[c]
    if giants != 0:
        f.may("container", c, "giants", "used_giants")
        if A.giants != B.giants - giants or A.used_giants != B.used_giants + giants: return False
    if A.pages != B.pages - pages or A.used_pages != B.used_pages + pages: return False
    return bool(A.blocks == B.blocks - blocks and A.used_blocks == B.used_blocks + blocks)


def page_becomes(old: State, new: State, f: Frame, p: int, before: int, after: int) -> bool:
    """Page p changes its kind so, and its owner with it."""
    f.may("page", p, "kind", "owner")
    return bool(old.page[p].kind == before and new.page[p].kind == after)


@specification
def quota_split(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """A block of quota becomes 512 pages of it."""
    if old.container[c].blocks < 1: return result == -ENOMEM
    f.may("container", c, "pages", "blocks")
    f.may("memory", 0, "promised_pages", "promised_blocks")
    if new.container[c].pages != old.container[c].pages + PAGES_PER_BLOCK: return False
    return bool(result == 0 and new.container[c].blocks == old.container[c].blocks - 1)


@specification
def quota_merge(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """512 pages of quota become a block of it, if a whole block is free that was promised to nobody."""
    m = old.memory
    spare_giants = m.free_count + m.giants + 1 - m.fresh - m.promised_giants
    whole = m.free_blocks + BLOCKS_PER_GIANT * spare_giants
    if old.container[c].pages < PAGES_PER_BLOCK or whole <= m.promised_blocks: return result == -ENOMEM
    f.may("container", c, "pages", "blocks")
    f.may("memory", 0, "promised_pages", "promised_blocks")
    if new.container[c].pages != old.container[c].pages - PAGES_PER_BLOCK: return False
    return bool(result == 0 and new.container[c].blocks == old.container[c].blocks + 1)


@specification
def giant_split(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """A giant of quota becomes 512 blocks of it."""
    if old.container[c].giants < 1: return result == -ENOMEM
    f.may("container", c, "blocks", "giants")
    f.may("memory", 0, "promised_blocks", "promised_giants")
    if new.container[c].blocks != old.container[c].blocks + BLOCKS_PER_GIANT: return False
    return bool(result == 0 and new.container[c].giants == old.container[c].giants - 1)


@specification
def giant_merge(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """512 blocks of quota become a giant of it, if a whole giant is free that was promised to nobody."""
    m = old.memory
    whole = m.free_count + m.giants + 1 - m.fresh
    if old.container[c].blocks < BLOCKS_PER_GIANT or whole <= m.promised_giants: return result == -ENOMEM
    f.may("container", c, "blocks", "giants")
    f.may("memory", 0, "promised_blocks", "promised_giants")
    if new.container[c].blocks != old.container[c].blocks - BLOCKS_PER_GIANT: return False
    return bool(result == 0 and new.container[c].giants == old.container[c].giants + 1)
