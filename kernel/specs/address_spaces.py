"""Specifications of the steps on address spaces, in terms of the abstract map of each process."""

from __future__ import annotations

from abi.errors import EEXIST, EFAULT, EINVAL, ENOMEM
from kernel.objects import FREE, MAPPED, MAPPED_BLOCK, MAPPED_GIANT, TABLE
from kernel.specs import Frame, State, specification
from kernel.specs.quotas import charged


def address_valid(i4: int, i3: int, i2: int, i1: int) -> bool:
    """The indices are those of a page below the machine's own slot."""
    return 0 <= i4 <= 254 and 0 <= i3 <= 511 and 0 <= i2 <= 511 and 0 <= i1 <= 511


def virtual_page(i4: int, i3: int, i2: int, i1: int) -> int:
    """The virtual page number of four 9-bit indices."""
    return ((i4 * 512 + i3) * 512 + i2) * 512 + i1


def tables_above(old: State, s: int, i4: int, i3: int, i2: int) -> tuple[int, int, int]:
    """The level-3, level-2 and level-1 tables that translate this address in process s; 0 for those that are not."""
    x3 = old.table[old.process[s].root].entry[i4]
    x2 = old.table[x3].entry[i3] if x3 != 0 else 0
    if x2 != 0 and old.page[x2].kind != TABLE: x2 = 0
    x1 = old.table[x2].entry[i2] if x2 != 0 else 0
    if x1 != 0 and old.page[x1].kind != TABLE: x1 = 0
    return x3, x2, x1


def block_covers(old: State, s: int, v: int) -> bool:
    """A 2 MiB block is mapped around virtual page v."""
    p = old.process[s].map_page[v - v % 512]
    return bool(p != 0 and old.page[p].kind == MAPPED_BLOCK)


def giant_covers(old: State, s: int, v: int) -> bool:
    """A 1 GiB giant is mapped around virtual page v."""
    p = old.process[s].map_page[v - v % 262144]
    return bool(p != 0 and old.page[p].kind == MAPPED_GIANT)


def taken(old: State, s: int, v: int, x1: int) -> bool:
    """Something is mapped at virtual page v; x1 is its level-1 table.  (Where there is one, nothing larger than a page
    is mapped around it.)"""
    if old.process[s].map_page[v] != 0: return True
    return x1 == 0 and (block_covers(old, s, v) or giant_covers(old, s, v))


def now_maps(new: State, f: Frame, s: int, v: int, p: int, permission: int) -> bool:
    """Process s has page p at virtual page v with these permissions."""
    f.may_item("process", s, "map_page", v)
    f.may_item("process", s, "map_permission", v)
    f.may("process", s, "mappings")
    f.may("page", p, "references")
    return bool(new.process[s].map_page[v] == p and new.process[s].map_permission[v] == permission)


def map_fresh(
    old: State, new: State, f: Frame, s: int, v: int, kind: int, permission: int, tables: int
) -> bool:
    """Memory of this kind that was free is mapped at v and nowhere else; the container pays for it and the tables."""
    c = old.process[s].container
    p = new.process[s].map_page[v]
    if not now_maps(new, f, s, v, p, permission): return False
    f.rebuilds_tables(FREE, TABLE)
    f.may("page", p, "kind", "owner")
    if p == 0 or old.page[p].kind != FREE or new.page[p].kind != kind or new.page[p].references != 1: return False
    if kind == MAPPED: return charged(old, new, f, c, 1 + tables, 0)
    if kind == MAPPED_BLOCK: return charged(old, new, f, c, tables, 1)
    return charged(old, new, f, c, tables, 0, 1)


@specification
def map_page(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, i2: int, i1: int, permission: int
) -> bool:
    """A fresh 4 KiB page at an address where nothing was."""
    if not address_valid(i4, i3, i2, i1) or permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    v = virtual_page(i4, i3, i2, i1)
    if old.process[s].root == 0: return result == -EINVAL
    tables = tables_above(old, s, i4, i3, i2)
    if taken(old, s, v, tables[2]): return result == -EEXIST
    missing = tables.count(0)
    if old.container[old.process[s].container].pages < 1 + missing: return result == -ENOMEM
    return result == 0 and map_fresh(old, new, f, s, v, MAPPED, permission, missing)


@specification
def map_block(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, i2: int, permission: int
) -> bool:
    """A fresh 2 MiB block at an address where nothing was."""
    if not address_valid(i4, i3, i2, 0) or permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    v = virtual_page(i4, i3, i2, 0)
    if old.process[s].root == 0: return result == -EINVAL
    x3, x2, x1 = tables_above(old, s, i4, i3, i2)
    if x1 != 0 or taken(old, s, v, x1): return result == -EEXIST
    missing = (x3, x2).count(0)
    C = old.container[old.process[s].container]
    if C.pages < missing or C.blocks < 1: return result == -ENOMEM
    return result == 0 and map_fresh(old, new, f, s, v, MAPPED_BLOCK, permission, missing)


@specification
def map_giant(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, permission: int
) -> bool:
    """A fresh 1 GiB giant at an address where nothing was."""
    if not address_valid(i4, i3, 0, 0) or permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    v = virtual_page(i4, i3, 0, 0)
    if old.process[s].root == 0: return result == -EINVAL
    x3, x2, _ = tables_above(old, s, i4, i3, 0)
    if x2 != 0 or giant_covers(old, s, v): return result == -EEXIST
    missing = 1 if x3 == 0 else 0
    C = old.container[old.process[s].container]
    if C.pages < missing or C.giants < 1: return result == -ENOMEM
    return result == 0 and map_fresh(old, new, f, s, v, MAPPED_GIANT, permission, missing)


def unmapped(old: State, new: State, f: Frame, s: int, v: int, tables: int) -> bool:
    """Nothing is mapped at v any more.  If nothing else maps what was, it is free and its owner no longer charged;
    the container of s no longer pays for the tables that became empty."""
    p = old.process[s].map_page[v]
    if not now_maps(new, f, s, v, 0, 0): return False
    f.may("page", p, "references")
    f.rebuilds_tables(FREE, TABLE)
    P = old.page[p]
    mine = old.process[s].container
    last = P.references == 1
    pages = 1 if last and P.kind == MAPPED else 0
    blocks = 1 if last and P.kind == MAPPED_BLOCK else 0
    giants = 1 if last and P.kind == MAPPED_GIANT else 0
    if last: f.may("page", p, "kind", "owner")
    if new.page[p].references != P.references - 1: return False
    if (new.page[p].kind == FREE) != last: return False
    if P.owner == mine: return charged(old, new, f, mine, -pages - tables, -blocks, -giants)
    return charged(old, new, f, mine, -tables, 0) and charged(old, new, f, P.owner, -pages, -blocks, -giants)


@specification
def unmap_page(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, i2: int, i1: int
) -> bool:
    """The 4 KiB mapping is gone, with the tables it alone needed."""
    if not address_valid(i4, i3, i2, i1): return result == -EINVAL
    v = virtual_page(i4, i3, i2, i1)
    p = old.process[s].map_page[v]
    if p == 0 or old.page[p].kind != MAPPED: return result == -EFAULT
    x3, x2, x1 = tables_above(old, s, i4, i3, i2)
    emptied = 0
    if old.table[x1].used == 1:
        emptied = 1
        if old.table[x2].used == 1: emptied = 3 if old.table[x3].used == 1 else 2
    return result == 0 and unmapped(old, new, f, s, v, emptied)


@specification
def unmap_block(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, i2: int
) -> bool:
    """The 2 MiB mapping is gone, with the tables it alone needed."""
    if not address_valid(i4, i3, i2, 0): return result == -EINVAL
    v = virtual_page(i4, i3, i2, 0)
    if not block_covers(old, s, v): return result == -EFAULT
    x3, x2, _ = tables_above(old, s, i4, i3, i2)
    emptied = 0
    if old.table[x2].used == 1: emptied = 2 if old.table[x3].used == 1 else 1
    return result == 0 and unmapped(old, new, f, s, v, emptied)


@specification
def unmap_giant(old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int) -> bool:
    """The 1 GiB mapping is gone, with the table it alone needed."""
    if not address_valid(i4, i3, 0, 0): return result == -EINVAL
    v = virtual_page(i4, i3, 0, 0)
    if not giant_covers(old, s, v): return result == -EFAULT
    emptied = 1 if old.table[tables_above(old, s, i4, i3, 0)[0]].used == 1 else 0
    return result == 0 and unmapped(old, new, f, s, v, emptied)


def protected(new: State, f: Frame, s: int, v: int, x: int, i: int, permission: int) -> bool:
    """Only the permissions at v, which entry i of table x maps, are other ones."""
    f.may_item("process", s, "map_permission", v)
    f.may_item("table", x, "permission", i)
    return bool(new.process[s].map_permission[v] == permission)


@specification
def protect_page(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, i2: int, i1: int, permission: int
) -> bool:
    """The same 4 KiB page with other permissions."""
    if not address_valid(i4, i3, i2, i1) or permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    v = virtual_page(i4, i3, i2, i1)
    p = old.process[s].map_page[v]
    if p == 0 or old.page[p].kind != MAPPED: return result == -EFAULT
    return result == 0 and protected(new, f, s, v, tables_above(old, s, i4, i3, i2)[2], i1, permission)


@specification
def protect_block(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, i2: int, permission: int
) -> bool:
    """The same 2 MiB block with other permissions."""
    if not address_valid(i4, i3, i2, 0) or permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    v = virtual_page(i4, i3, i2, 0)
    if not block_covers(old, s, v): return result == -EFAULT
    return result == 0 and protected(new, f, s, v, tables_above(old, s, i4, i3, i2)[1], i2, permission)


@specification
def protect_giant(
    old: State, new: State, f: Frame, result: int, s: int, i4: int, i3: int, permission: int
) -> bool:
    """The same 1 GiB giant with other permissions."""
    if not address_valid(i4, i3, 0, 0) or permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    v = virtual_page(i4, i3, 0, 0)
    if not giant_covers(old, s, v): return result == -EFAULT
    return result == 0 and protected(new, f, s, v, tables_above(old, s, i4, i3, 0)[0], i3, permission)
