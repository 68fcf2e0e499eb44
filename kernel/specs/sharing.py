"""Specifications of sharing and granting memory, in terms of the abstract maps of both processes."""

from __future__ import annotations

from abi.errors import EBUSY, EEXIST, EFAULT, EINVAL, ENOMEM
from kernel.objects import FREE, MAPPED, MAPPED_BLOCK, TABLE
from kernel.specs import Frame, State, specification
from kernel.specs.address_spaces import (
    address_valid,
    block_covers,
    giant_covers,
    now_maps,
    tables_above,
    taken,
    virtual_page,
)  # fmt: skip
from kernel.specs.handles import allows
from kernel.specs.quotas import charged


def map_shared(
    old: State, new: State, f: Frame, p: int, d: int, v: int, permission: int, tables: int
) -> bool:
    """Process d maps page p at v as well; its container pays for the tables alone."""
    f.rebuilds_tables(FREE, TABLE)
    if not now_maps(new, f, d, v, p, permission): return False
    if new.page[p].references != old.page[p].references + 1: return False
    return charged(old, new, f, old.process[d].container, tables, 0)


@specification
def share_page(
    old: State, new: State, f: Frame, result: int,
    s: int, j4: int, j3: int, j2: int, j1: int, d: int, i4: int, i3: int, i2: int, i1: int, permission: int,
) -> bool:  # fmt: skip
    """Two processes map one 4 KiB page; the second may do no more with it than the first."""
    if not address_valid(j4, j3, j2, j1) or not address_valid(i4, i3, i2, i1): return result == -EINVAL
    if permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    w = virtual_page(j4, j3, j2, j1)
    p = old.process[s].map_page[w]
    if p == 0 or old.page[p].kind != MAPPED: return result == -EFAULT
    if not allows(old.process[s].map_permission[w], permission): return result == -EINVAL
    v = virtual_page(i4, i3, i2, i1)
    if old.process[d].root == 0: return result == -EINVAL
    tables = tables_above(old, d, i4, i3, i2)
    if taken(old, d, v, tables[2]): return result == -EEXIST
    missing = tables.count(0)
    if old.container[old.process[d].container].pages < missing: return result == -ENOMEM
    return result == 0 and map_shared(old, new, f, p, d, v, permission, missing)


@specification
def share_block(
    old: State, new: State, f: Frame, result: int,
    s: int, j4: int, j3: int, j2: int, d: int, i4: int, i3: int, i2: int, permission: int,
) -> bool:  # fmt: skip
    """Two processes map one 2 MiB block; the second may do no more with it than the first."""
    if not address_valid(j4, j3, j2, 0) or not address_valid(i4, i3, i2, 0): return result == -EINVAL
    if permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    w = virtual_page(j4, j3, j2, 0)
    if not block_covers(old, s, w): return result == -EFAULT
    if not allows(old.process[s].map_permission[w], permission): return result == -EINVAL
    v = virtual_page(i4, i3, i2, 0)
    if old.process[d].root == 0: return result == -EINVAL
    x3, x2, x1 = tables_above(old, d, i4, i3, i2)
    if x1 != 0 or taken(old, d, v, x1): return result == -EEXIST
    missing = (x3, x2).count(0)
    if old.container[old.process[d].container].pages < missing: return result == -ENOMEM
    return result == 0 and map_shared(old, new, f, old.process[s].map_page[w], d, v, permission, missing)


@specification
def share_giant(
    old: State, new: State, f: Frame, result: int,
    s: int, j4: int, j3: int, d: int, i4: int, i3: int, permission: int,
) -> bool:  # fmt: skip
    """Two processes map one 1 GiB giant; the second may do no more with it than the first."""
    if not address_valid(j4, j3, 0, 0) or not address_valid(i4, i3, 0, 0): return result == -EINVAL
    if permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    w = virtual_page(j4, j3, 0, 0)
    if not giant_covers(old, s, w): return result == -EFAULT
    if not allows(old.process[s].map_permission[w], permission): return result == -EINVAL
    v = virtual_page(i4, i3, 0, 0)
    if old.process[d].root == 0: return result == -EINVAL
    x3, x2, _ = tables_above(old, d, i4, i3, 0)
    if x2 != 0 or giant_covers(old, d, v): return result == -EEXIST
    missing = 1 if x3 == 0 else 0
    if old.container[old.process[d].container].pages < missing: return result == -ENOMEM
    return result == 0 and map_shared(old, new, f, old.process[s].map_page[w], d, v, permission, missing)


def tables_left_empty(old: State, s: int, w: int, d: int, v: int, tables: tuple[int, ...]) -> int:
    """How many of the tables that translate w in process s, lowest first, have no entry left when what is there moves
    to v in process d."""
    count = 0
    for x in tables:
        if old.table[x].used != 1 or (s == d and translates_both(old.table[x].level, v, w)): return count
        count += 1
    return count


def translates_both(level: int, v: int, w: int) -> bool:
    """A table of this level that translates one of two virtual pages translates the other as well."""
    if level == 1: return v // 512 == w // 512
    if level == 2: return v // 512**2 == w // 512**2
    return v // 512**3 == w // 512**3


def granted(
    old: State, new: State, f: Frame, s: int, w: int, d: int, v: int, permission: int, missing: int, emptied: int
) -> bool:
    """What process s had at w, process d has at v, and nobody else; d's container pays for it and for its missing
    tables, that of s for neither it nor the tables left empty."""
    f.rebuilds_tables(FREE, TABLE)
    p = old.process[s].map_page[w]
    if not now_maps(new, f, s, w, 0, 0) or not now_maps(new, f, d, v, p, permission): return False
    c, e = old.process[s].container, old.process[d].container
    f.may("page", p, "owner")
    if new.page[p].owner != e or new.page[p].references != 1: return False
    if c == e: return charged(old, new, f, c, missing - emptied, 0)
    kind = old.page[p].kind
    if kind == MAPPED: pages, blocks, giants = 1, 0, 0
    elif kind == MAPPED_BLOCK: pages, blocks, giants = 0, 1, 0
    else: pages, blocks, giants = 0, 0, 1
    if not charged(old, new, f, c, -pages - emptied, -blocks, -giants): return False
    return charged(old, new, f, e, pages + missing, blocks, giants)


@specification
def grant_page(
    old: State, new: State, f: Frame, result: int,
    s: int, j4: int, j3: int, j2: int, j1: int, d: int, i4: int, i3: int, i2: int, i1: int, permission: int,
) -> bool:  # fmt: skip
    """A 4 KiB page that one process alone maps, and its container pays for, moves to another with its charge."""
    if not address_valid(j4, j3, j2, j1) or not address_valid(i4, i3, i2, i1): return result == -EINVAL
    if permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    w, v = virtual_page(j4, j3, j2, j1), virtual_page(i4, i3, i2, i1)
    p = old.process[s].map_page[w]
    if p == 0 or old.page[p].kind != MAPPED: return result == -EFAULT
    if not allows(old.process[s].map_permission[w], permission): return result == -EINVAL
    c, e = old.process[s].container, old.process[d].container
    if old.page[p].references != 1 or old.page[p].owner != c: return result == -EBUSY
    if old.process[d].root == 0: return result == -EINVAL
    tables = tables_above(old, d, i4, i3, i2)
    if taken(old, d, v, tables[2]): return result == -EEXIST
    missing = tables.count(0)
    if old.container[e].pages < missing + (e != c): return result == -ENOMEM
    emptied = tables_left_empty(old, s, w, d, v, tables_above(old, s, j4, j3, j2)[::-1])
    return result == 0 and granted(old, new, f, s, w, d, v, permission, missing, emptied)


@specification
def grant_block(
    old: State, new: State, f: Frame, result: int,
    s: int, j4: int, j3: int, j2: int, d: int, i4: int, i3: int, i2: int, permission: int,
) -> bool:  # fmt: skip
    """A 2 MiB block that one process alone maps, and its container pays for, moves to another with its charge."""
    if not address_valid(j4, j3, j2, 0) or not address_valid(i4, i3, i2, 0): return result == -EINVAL
    if permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    w, v = virtual_page(j4, j3, j2, 0), virtual_page(i4, i3, i2, 0)
    if not block_covers(old, s, w): return result == -EFAULT
    if not allows(old.process[s].map_permission[w], permission): return result == -EINVAL
    P = old.page[old.process[s].map_page[w]]
    c, e = old.process[s].container, old.process[d].container
    if P.references != 1 or P.owner != c: return result == -EBUSY
    if old.process[d].root == 0: return result == -EINVAL
    x3, x2, x1 = tables_above(old, d, i4, i3, i2)
    if x1 != 0 or taken(old, d, v, x1): return result == -EEXIST
    missing = (x3, x2).count(0)
    if old.container[e].pages < missing or (e != c and old.container[e].blocks < 1): return result == -ENOMEM
    emptied = tables_left_empty(old, s, w, d, v, tables_above(old, s, j4, j3, j2)[1::-1])
    return result == 0 and granted(old, new, f, s, w, d, v, permission, missing, emptied)


@specification
def grant_giant(
    old: State, new: State, f: Frame, result: int,
    s: int, j4: int, j3: int, d: int, i4: int, i3: int, permission: int,
) -> bool:  # fmt: skip
    """A 1 GiB giant that one process alone maps, and its container pays for, moves to another with its charge."""
    if not address_valid(j4, j3, 0, 0) or not address_valid(i4, i3, 0, 0): return result == -EINVAL
    if permission not in (0, 1, 3, 5, 7): return result == -EINVAL
    w, v = virtual_page(j4, j3, 0, 0), virtual_page(i4, i3, 0, 0)
    if not giant_covers(old, s, w): return result == -EFAULT
    if not allows(old.process[s].map_permission[w], permission): return result == -EINVAL
    P = old.page[old.process[s].map_page[w]]
    c, e = old.process[s].container, old.process[d].container
    if P.references != 1 or P.owner != c: return result == -EBUSY
    if old.process[d].root == 0: return result == -EINVAL
    x3, x2, _ = tables_above(old, d, i4, i3, 0)
    if x2 != 0 or giant_covers(old, d, v): return result == -EEXIST
    missing = 1 if x3 == 0 else 0
    if old.container[e].pages < missing or (e != c and old.container[e].giants < 1): return result == -ENOMEM
    emptied = tables_left_empty(old, s, w, d, v, tables_above(old, s, j4, j3, 0)[:1])
    return result == 0 and granted(old, new, f, s, w, d, v, permission, missing, emptied)
