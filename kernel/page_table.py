"""Address spaces: an abstract map beside the four levels of x86-64 tables that refine it, one page a step.

A virtual page number is given as its four table indices i4, i3, i2, i1 (9 bits each, most significant first); slot 255
of level 4 is the machine's own and no program maps there.  Tables are created when first needed, charged to the
process's container, and freed when their last entry goes.

Source: Intel SDM volume 3, section 4.5 (4-level paging); Atmosphere, section 4.2 (abstract map and refinement).
"""

from __future__ import annotations

from abi.errors import EEXIST, EFAULT, EINVAL, ENOMEM, OK
from abi.layout import BLOCK_PAGES, GIANT_BLOCKS, SYSTEM_SLOT, TABLE_ENTRIES
from kernel.objects import MAPPED, MAPPED_BLOCK, MAPPED_GIANT, TABLE, Kernel
from kernel.page_allocator import allocate_block, allocate_giant, allocate_page, free_block, free_giant, free_page

SPAN_4: int = TABLE_ENTRIES * TABLE_ENTRIES * TABLE_ENTRIES
"""4 KiB pages that one level-4 entry spans."""
SPAN_3: int = TABLE_ENTRIES * TABLE_ENTRIES
SPAN_2: int = TABLE_ENTRIES


def indices_valid(i4: int, i3: int, i2: int, i1: int) -> bool:
    """True if the four indices name a page that a program may map."""
    if i4 < 0 or i4 >= SYSTEM_SLOT: return False
    if i3 < 0 or i3 >= TABLE_ENTRIES: return False
    if i2 < 0 or i2 >= TABLE_ENTRIES: return False
    return i1 >= 0 and i1 < TABLE_ENTRIES


def permission_valid(permission: int) -> bool:
    """True for none, R, RW, RX and RWX: on x86-64 what can be written or executed can be read."""
    return permission == 0 or permission == 1 or permission == 3 or permission == 5 or permission == 7


def narrower(permission: int, of: int) -> bool:
    """True if ``permission`` allows nothing that ``of`` does not; both valid."""
    if permission == 0 or of == 7 or permission == of: return True
    return permission == 1 and of != 0


def page_number(i4: int, i3: int, i2: int, i1: int) -> int:
    """The virtual page number that four indices name."""
    return i4 * SPAN_4 + i3 * SPAN_3 + i2 * SPAN_2 + i1


def table_under(k: Kernel, x: int, i: int) -> int:
    """The table that entry i of table x leads to; 0 if the entry is empty or maps memory, or x is 0."""
    if x == 0: return 0
    q = k.table[x].entry[i]
    if q == 0: return 0
    if k.page[q].kind != TABLE: return 0
    return q


def new_table(k: Kernel, s: int, parent: int, slot: int, level: int, base: int) -> int:
    """Creates an empty table below entry ``slot`` of ``parent``; the process's container must have a page left."""
    x = allocate_page(k, k.process[s].container, TABLE)
    X = k.table[x]
    X.level = level
    X.process = s
    X.parent = parent
    X.slot = slot
    X.base = base
    X.used = 0
    Q = k.table[parent]
    Q.entry[slot] = x
    Q.used = Q.used + 1
    return x


def free_table_if_empty(k: Kernel, x: int) -> int:
    """Frees a table below the root whose last entry went, and its own entry.  Returns its parent, or 0 if it stays."""
    X = k.table[x]
    if X.used != 0: return 0
    q = X.parent
    if q == 0: return 0
    Q = k.table[q]
    Q.entry[X.slot] = 0
    Q.used = Q.used - 1
    X.level = 0
    X.process = 0
    X.parent = 0
    X.slot = 0
    X.base = 0
    free_page(k, x)
    return q


def room_for_page(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int, pages: int) -> int:
    """0 if process s can map a 4 KiB page at these indices and its container can pay for the missing tables and
    ``pages`` more; else -EINVAL (no such process, or it has ended), -EEXIST or -ENOMEM."""
    S = k.process[s]
    if S.root == 0: return -EINVAL
    C = k.container[S.container]
    x3 = table_under(k, S.root, i4)
    x2 = table_under(k, x3, i3)
    if x2 != 0:
        q = k.table[x2].entry[i2]
        if q == 0: return OK if C.pages >= pages + 1 else -ENOMEM
        if k.page[q].kind != TABLE: return -EEXIST
        if k.table[q].entry[i1] != 0: return -EEXIST
        return OK if C.pages >= pages else -ENOMEM
    if x3 != 0:
        if k.table[x3].entry[i3] != 0: return -EEXIST
        return OK if C.pages >= pages + 2 else -ENOMEM
    return OK if C.pages >= pages + 3 else -ENOMEM


def room_for_block(k: Kernel, s: int, i4: int, i3: int, i2: int) -> int:
    """0 if process s can map a 2 MiB block at these indices and its container can pay for the missing tables; else
    -EINVAL (no such process, or it has ended), -EEXIST (also for a table at that entry) or -ENOMEM."""
    S = k.process[s]
    if S.root == 0: return -EINVAL
    C = k.container[S.container]
    x3 = table_under(k, S.root, i4)
    x2 = table_under(k, x3, i3)
    if x2 != 0: return -EEXIST if k.table[x2].entry[i2] != 0 else OK
    if x3 != 0:
        if k.table[x3].entry[i3] != 0: return -EEXIST
        return OK if C.pages >= 1 else -ENOMEM
    return OK if C.pages >= 2 else -ENOMEM


def room_for_giant(k: Kernel, s: int, i4: int, i3: int) -> int:
    """As room_for_block, for a 1 GiB giant."""
    S = k.process[s]
    if S.root == 0: return -EINVAL
    C = k.container[S.container]
    x3 = table_under(k, S.root, i4)
    if x3 != 0: return -EEXIST if k.table[x3].entry[i3] != 0 else OK
    return OK if C.pages >= 1 else -ENOMEM


def level_3_table(k: Kernel, s: int, i4: int) -> int:
    """The level-3 table for this index of process s, created if need be."""
    x4 = k.process[s].root
    x3 = table_under(k, x4, i4)
    if x3 == 0: x3 = new_table(k, s, x4, i4, 3, i4 * SPAN_4)
    return x3


def level_2_table(k: Kernel, s: int, i4: int, i3: int) -> int:
    """The level-2 table for these indices of process s, created with the one above it if need be."""
    x4 = k.process[s].root
    x3 = table_under(k, x4, i4)
    if x3 == 0: x3 = new_table(k, s, x4, i4, 3, i4 * SPAN_4)
    x2 = table_under(k, x3, i3)
    if x2 == 0: x2 = new_table(k, s, x3, i3, 2, i4 * SPAN_4 + i3 * SPAN_3)
    return x2


def level_1_table(k: Kernel, s: int, i4: int, i3: int, i2: int) -> int:
    """The level-1 table for these indices of process s, created with those above it if need be."""
    x2 = level_2_table(k, s, i4, i3)
    x1 = table_under(k, x2, i2)
    if x1 == 0: x1 = new_table(k, s, x2, i2, 1, i4 * SPAN_4 + i3 * SPAN_3 + i2 * SPAN_2)
    return x1


def set_leaf(k: Kernel, s: int, x: int, i: int, v: int, p: int, permission: int) -> None:
    """Maps page (or block) p at entry i of table x, which is virtual page v of process s."""
    X = k.table[x]
    X.entry[i] = p
    X.permission[i] = permission
    X.used = X.used + 1
    S = k.process[s]
    S.map_page[v] = p
    S.map_permission[v] = permission
    S.mappings = S.mappings + 1
    P = k.page[p]
    P.references = P.references + 1


def clear_leaf(k: Kernel, s: int, x: int, i: int, v: int) -> None:
    """Removes the mapping at entry i of table x, which is virtual page v of process s."""
    X = k.table[x]
    X.entry[i] = 0
    X.permission[i] = 0
    X.used = X.used - 1
    S = k.process[s]
    S.map_page[v] = 0
    S.map_permission[v] = 0
    S.mappings = S.mappings - 1


def free_empty_tables(k: Kernel, x: int) -> None:
    """Frees table x and its ancestors below the root as far as they are empty."""
    q = free_table_if_empty(k, x)
    if q == 0: return
    q = free_table_if_empty(k, q)
    if q == 0: return
    free_table_if_empty(k, q)


def remove_page(k: Kernel, s: int, x1: int, i4: int, i3: int, i2: int, i1: int, p: int) -> None:
    """Removes the 4 KiB mapping of page p at these indices, which is in table x1; frees the page if nothing else maps
    it, and tables that became empty."""
    clear_leaf(k, s, x1, i1, page_number(i4, i3, i2, i1))
    P = k.page[p]
    P.references = P.references - 1
    if P.references == 0: free_page(k, p)
    free_empty_tables(k, x1)


def remove_block(k: Kernel, s: int, x2: int, i4: int, i3: int, i2: int, p: int) -> None:
    """As remove_page, for a 2 MiB mapping."""
    clear_leaf(k, s, x2, i2, page_number(i4, i3, i2, 0))
    P = k.page[p]
    P.references = P.references - 1
    if P.references == 0: free_block(k, p)
    q = free_table_if_empty(k, x2)
    if q != 0: free_table_if_empty(k, q)


def remove_giant(k: Kernel, s: int, x3: int, i4: int, i3: int, p: int) -> None:
    """As remove_page, for a 1 GiB mapping."""
    clear_leaf(k, s, x3, i3, page_number(i4, i3, 0, 0))
    P = k.page[p]
    P.references = P.references - 1
    if P.references == 0: free_giant(k, p)
    free_table_if_empty(k, x3)


def map_page(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int, permission: int) -> int:
    """Maps a zeroed 4 KiB page.  -EINVAL: not a program's address, permissions not valid, or no such process; -EEXIST:
    something is mapped there; -ENOMEM: the container cannot pay for the page and the missing tables."""
    if not indices_valid(i4, i3, i2, i1): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    refusal = room_for_page(k, s, i4, i3, i2, i1, 1)
    if refusal != OK: return refusal
    x1 = level_1_table(k, s, i4, i3, i2)
    p = allocate_page(k, k.process[s].container, MAPPED)
    set_leaf(k, s, x1, i1, page_number(i4, i3, i2, i1), p, permission)
    return OK


def map_block(k: Kernel, s: int, i4: int, i3: int, i2: int, permission: int) -> int:
    """Maps a zeroed 2 MiB block by one level-2 entry.  Errors as map_page; a table at that entry is -EEXIST."""
    if not indices_valid(i4, i3, i2, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    refusal = room_for_block(k, s, i4, i3, i2)
    if refusal != OK: return refusal
    c = k.process[s].container
    if k.container[c].blocks < 1: return -ENOMEM
    x2 = level_2_table(k, s, i4, i3)
    p = allocate_block(k, c)
    set_leaf(k, s, x2, i2, page_number(i4, i3, i2, 0), p, permission)
    return OK


def map_giant(k: Kernel, s: int, i4: int, i3: int, permission: int) -> int:
    """Maps a zeroed 1 GiB giant by one level-3 entry.  Errors as map_page; a table at that entry is -EEXIST."""
    if not indices_valid(i4, i3, 0, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    refusal = room_for_giant(k, s, i4, i3)
    if refusal != OK: return refusal
    c = k.process[s].container
    if k.container[c].giants < 1: return -ENOMEM
    x3 = level_3_table(k, s, i4)
    p = allocate_giant(k, c)
    set_leaf(k, s, x3, i3, page_number(i4, i3, 0, 0), p, permission)
    return OK


def unmap_page(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int) -> int:
    """Removes a 4 KiB mapping; frees the page if nothing else maps it, and tables that became empty.
    -EINVAL: not a program's address; -EFAULT: no 4 KiB page is mapped there."""
    if not indices_valid(i4, i3, i2, i1): return -EINVAL
    x1 = table_under(k, table_under(k, table_under(k, k.process[s].root, i4), i3), i2)
    if x1 == 0: return -EFAULT
    p = k.table[x1].entry[i1]
    if p == 0: return -EFAULT
    remove_page(k, s, x1, i4, i3, i2, i1, p)
    return OK


def unmap_block(k: Kernel, s: int, i4: int, i3: int, i2: int) -> int:
    """Removes a 2 MiB mapping; frees the block if nothing else maps it.  -EINVAL: not a program's address;
    -EFAULT: no 2 MiB block is mapped there."""
    if not indices_valid(i4, i3, i2, 0): return -EINVAL
    x2 = table_under(k, table_under(k, k.process[s].root, i4), i3)
    if x2 == 0: return -EFAULT
    p = k.table[x2].entry[i2]
    if p == 0: return -EFAULT
    if k.page[p].kind != MAPPED_BLOCK: return -EFAULT
    remove_block(k, s, x2, i4, i3, i2, p)
    return OK


def unmap_giant(k: Kernel, s: int, i4: int, i3: int) -> int:
    """Removes a 1 GiB mapping; frees the giant if nothing else maps it.  -EINVAL: not a program's address;
    -EFAULT: no 1 GiB giant is mapped there."""
    if not indices_valid(i4, i3, 0, 0): return -EINVAL
    x3 = table_under(k, k.process[s].root, i4)
    if x3 == 0: return -EFAULT
    p = k.table[x3].entry[i3]
    if p == 0: return -EFAULT
    if k.page[p].kind != MAPPED_GIANT: return -EFAULT
    remove_giant(k, s, x3, i4, i3, p)
    return OK


def protect_page(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int, permission: int) -> int:
    """Changes the permissions of a 4 KiB mapping.  Errors as unmap_page; -EINVAL: permissions not valid."""
    if not indices_valid(i4, i3, i2, i1): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    x1 = table_under(k, table_under(k, table_under(k, k.process[s].root, i4), i3), i2)
    if x1 == 0: return -EFAULT
    X = k.table[x1]
    if X.entry[i1] == 0: return -EFAULT
    X.permission[i1] = permission
    S = k.process[s]
    S.map_permission[page_number(i4, i3, i2, i1)] = permission
    return OK


def protect_block(k: Kernel, s: int, i4: int, i3: int, i2: int, permission: int) -> int:
    """Changes the permissions of a 2 MiB mapping.  Errors as unmap_block; -EINVAL: permissions not valid."""
    if not indices_valid(i4, i3, i2, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    x2 = table_under(k, table_under(k, k.process[s].root, i4), i3)
    if x2 == 0: return -EFAULT
    X = k.table[x2]
    p = X.entry[i2]
    if p == 0: return -EFAULT
    if k.page[p].kind != MAPPED_BLOCK: return -EFAULT
    X.permission[i2] = permission
    S = k.process[s]
    S.map_permission[page_number(i4, i3, i2, 0)] = permission
    return OK


def protect_giant(k: Kernel, s: int, i4: int, i3: int, permission: int) -> int:
    """Changes the permissions of a 1 GiB mapping.  Errors as unmap_giant; -EINVAL: permissions not valid."""
    if not indices_valid(i4, i3, 0, 0): return -EINVAL
    if not permission_valid(permission): return -EINVAL
    x3 = table_under(k, k.process[s].root, i4)
    if x3 == 0: return -EFAULT
    X = k.table[x3]
    p = X.entry[i3]
    if p == 0: return -EFAULT
    if k.page[p].kind != MAPPED_GIANT: return -EFAULT
    X.permission[i3] = permission
    S = k.process[s]
    S.map_permission[page_number(i4, i3, 0, 0)] = permission
    return OK


assert BLOCK_PAGES == GIANT_BLOCKS == TABLE_ENTRIES, "a level-2 entry spans a block, a level-3 entry a giant"
