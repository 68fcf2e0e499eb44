"""Memory that passes from one address space to another: shared, it is in both; granted, it moves, charge included.

What is shared stays charged to the container that allocated it.  What is granted is the receiver's as if it had
allocated it itself: nobody else maps it, and its container pays for it.

Source: Atmosphere, section 3.2 (sharing and granting pages).
"""

from __future__ import annotations

from abi.errors import EBUSY, EFAULT, EINVAL, ENOMEM, OK
from kernel.objects import MAPPED_BLOCK, MAPPED_GIANT, Kernel
from kernel.page_table import (
    indices_valid,
    level_1_table,
    level_2_table,
    level_3_table,
    narrower,
    page_number,
    permission_valid,
    remove_block,
    remove_giant,
    remove_page,
    room_for_block,
    room_for_giant,
    room_for_page,
    set_leaf,
    table_under,
)  # fmt: skip


def alias_page(k: Kernel, d: int, i4: int, i3: int, i2: int, i1: int, p: int, permission: int) -> None:
    """Maps page p, which is mapped somewhere, in process d at these indices as well, where there is room for it."""
    x1 = level_1_table(k, d, i4, i3, i2)
    set_leaf(k, d, x1, i1, page_number(i4, i3, i2, i1), p, permission)


def alias_block(k: Kernel, d: int, i4: int, i3: int, i2: int, p: int, permission: int) -> None:
    """As alias_page, for a 2 MiB block."""
    x2 = level_2_table(k, d, i4, i3)
    set_leaf(k, d, x2, i2, page_number(i4, i3, i2, 0), p, permission)


def alias_giant(k: Kernel, d: int, i4: int, i3: int, p: int, permission: int) -> None:
    """As alias_page, for a 1 GiB giant."""
    x3 = level_3_table(k, d, i4)
    set_leaf(k, d, x3, i3, page_number(i4, i3, 0, 0), p, permission)


def charge_page(k: Kernel, p: int, c: int, e: int) -> None:
    """Mapped page p is charged to container e, which has quota for it, no longer to c."""
    C = k.container[c]
    C.pages = C.pages + 1
    C.used_pages = C.used_pages - 1
    E = k.container[e]
    E.pages = E.pages - 1
    E.used_pages = E.used_pages + 1
    P = k.page[p]
    P.owner = e


def charge_block(k: Kernel, p: int, c: int, e: int) -> None:
    """As charge_page, for a 2 MiB block."""
    C = k.container[c]
    C.blocks = C.blocks + 1
    C.used_blocks = C.used_blocks - 1
    E = k.container[e]
    E.blocks = E.blocks - 1
    E.used_blocks = E.used_blocks + 1
    P = k.page[p]
    P.owner = e
    B = k.block[P.block]
    B.owner = e


def charge_giant(k: Kernel, p: int, c: int, e: int) -> None:
    """As charge_page, for a 1 GiB giant."""
    C = k.container[c]
    C.giants = C.giants + 1
    C.used_giants = C.used_giants - 1
    E = k.container[e]
    E.giants = E.giants - 1
    E.used_giants = E.used_giants + 1
    P = k.page[p]
    P.owner = e
    B = k.block[P.block]
    B.owner = e
    G = k.giant[B.giant]
    G.owner = e


def share_page(
    k: Kernel, s: int, j4: int, j3: int, j2: int, j1: int, d: int, i4: int, i3: int, i2: int, i1: int, permission: int
) -> int:
    """Maps the 4 KiB page that process s has at j4..j1 in process d at i4..i1 as well.  -EINVAL: not a program's
    address, permissions unknown or wider than s's own, or no such process d; -EFAULT: s maps no 4 KiB page there;
    -EEXIST: d maps something there; -ENOMEM: d's container cannot pay for the missing tables."""
    if not indices_valid(j4, j3, j2, j1): return -EINVAL
    if not indices_valid(i4, i3, i2, i1): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    y1 = table_under(k, table_under(k, table_under(k, k.process[s].root, j4), j3), j2)
    if y1 == 0: return -EFAULT
    p = k.table[y1].entry[j1]
    if p == 0: return -EFAULT
    if not narrower(permission, k.table[y1].permission[j1]): return -EINVAL
    refusal = room_for_page(k, d, i4, i3, i2, i1, 0)
    if refusal != OK: return refusal
    alias_page(k, d, i4, i3, i2, i1, p, permission)
    return OK


def share_block(
    k: Kernel, s: int, j4: int, j3: int, j2: int, d: int, i4: int, i3: int, i2: int, permission: int
) -> int:
    """As share_page, for a 2 MiB block."""
    if not indices_valid(j4, j3, j2, 0): return -EINVAL
    if not indices_valid(i4, i3, i2, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    y2 = table_under(k, table_under(k, k.process[s].root, j4), j3)
    if y2 == 0: return -EFAULT
    p = k.table[y2].entry[j2]
    if p == 0: return -EFAULT
    if k.page[p].kind != MAPPED_BLOCK: return -EFAULT
    if not narrower(permission, k.table[y2].permission[j2]): return -EINVAL
    refusal = room_for_block(k, d, i4, i3, i2)
    if refusal != OK: return refusal
    alias_block(k, d, i4, i3, i2, p, permission)
    return OK


def share_giant(k: Kernel, s: int, j4: int, j3: int, d: int, i4: int, i3: int, permission: int) -> int:
    """As share_page, for a 1 GiB giant."""
    if not indices_valid(j4, j3, 0, 0): return -EINVAL
    if not indices_valid(i4, i3, 0, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    y3 = table_under(k, k.process[s].root, j4)
    if y3 == 0: return -EFAULT
    p = k.table[y3].entry[j3]
    if p == 0: return -EFAULT
    if k.page[p].kind != MAPPED_GIANT: return -EFAULT
    if not narrower(permission, k.table[y3].permission[j3]): return -EINVAL
    refusal = room_for_giant(k, d, i4, i3)
    if refusal != OK: return refusal
    alias_giant(k, d, i4, i3, p, permission)
    return OK


def grant_page(
    k: Kernel, s: int, j4: int, j3: int, j2: int, j1: int, d: int, i4: int, i3: int, i2: int, i1: int, permission: int
) -> int:
    """The 4 KiB page that process s has at j4..j1 becomes process d's at i4..i1: s maps it no longer, and d's container
    pays for it, no longer that of s.  -EINVAL, -EFAULT, -EEXIST as share_page; -EBUSY: others map it too, or the
    container of s is not who pays for it; -ENOMEM: d's container cannot pay for the page and the missing tables."""
    if not indices_valid(j4, j3, j2, j1): return -EINVAL
    if not indices_valid(i4, i3, i2, i1): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    y1 = table_under(k, table_under(k, table_under(k, k.process[s].root, j4), j3), j2)
    if y1 == 0: return -EFAULT
    p = k.table[y1].entry[j1]
    if p == 0: return -EFAULT
    if not narrower(permission, k.table[y1].permission[j1]): return -EINVAL
    c = k.process[s].container
    e = k.process[d].container
    P = k.page[p]
    if P.references != 1 or P.owner != c: return -EBUSY
    refusal = room_for_page(k, d, i4, i3, i2, i1, 0 if e == c else 1)
    if refusal != OK: return refusal
    alias_page(k, d, i4, i3, i2, i1, p, permission)
    if e != c: charge_page(k, p, c, e)
    remove_page(k, s, y1, j4, j3, j2, j1, p)
    return OK


def grant_block(
    k: Kernel, s: int, j4: int, j3: int, j2: int, d: int, i4: int, i3: int, i2: int, permission: int
) -> int:
    """As grant_page, for a 2 MiB block."""
    if not indices_valid(j4, j3, j2, 0): return -EINVAL
    if not indices_valid(i4, i3, i2, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    y2 = table_under(k, table_under(k, k.process[s].root, j4), j3)
    if y2 == 0: return -EFAULT
    p = k.table[y2].entry[j2]
    if p == 0: return -EFAULT
    P = k.page[p]
    if P.kind != MAPPED_BLOCK: return -EFAULT
    if not narrower(permission, k.table[y2].permission[j2]): return -EINVAL
    c = k.process[s].container
    e = k.process[d].container
    if P.references != 1 or P.owner != c: return -EBUSY
    refusal = room_for_block(k, d, i4, i3, i2)
    if refusal != OK: return refusal
    if e != c and k.container[e].blocks < 1: return -ENOMEM
    alias_block(k, d, i4, i3, i2, p, permission)
    if e != c: charge_block(k, p, c, e)
    remove_block(k, s, y2, j4, j3, j2, p)
    return OK


def grant_giant(k: Kernel, s: int, j4: int, j3: int, d: int, i4: int, i3: int, permission: int) -> int:
    """As grant_page, for a 1 GiB giant."""
    if not indices_valid(j4, j3, 0, 0): return -EINVAL
    if not indices_valid(i4, i3, 0, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    y3 = table_under(k, k.process[s].root, j4)
    if y3 == 0: return -EFAULT
    p = k.table[y3].entry[j3]
    if p == 0: return -EFAULT
    P = k.page[p]
    if P.kind != MAPPED_GIANT: return -EFAULT
    if not narrower(permission, k.table[y3].permission[j3]): return -EINVAL
    c = k.process[s].container
    e = k.process[d].container
    if P.references != 1 or P.owner != c: return -EBUSY
    refusal = room_for_giant(k, d, i4, i3)
    if refusal != OK: return refusal
    if e != c and k.container[e].giants < 1: return -ENOMEM
    alias_giant(k, d, i4, i3, p, permission)
    if e != c: charge_giant(k, p, c, e)
    remove_giant(k, s, y3, j4, j3, p)
    return OK
