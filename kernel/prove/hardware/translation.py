"""What the kernel's state says of an address, twice: by its tables, as a processor comes through them, and by its map.

The first is what hv.prove.walking shows the processor's own walk of the stored bytes to find.  Both are written for the
prover, as invariants are, of an address by its four indices.  A translation is the first page of what is mapped around
the address, its permission, and how many pages it has; all 0 where nothing is.  The statements below are about tables
and maps; all of them follow from the invariants.
"""

from __future__ import annotations

from kernel.objects import FREE, MAPPED, MAPPED_BLOCK, MAPPED_GIANT, PROCESS, TABLE, Kernel


def in_tables(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int) -> tuple[int, int, int]:
    """The translation to which the tables of process s lead at these indices."""
    q = k.table[k.process[s].root].entry[i4]
    if q == 0 or k.page[q].kind != TABLE: return 0, 0, 0
    X = k.table[q]
    q = X.entry[i3]
    if q == 0: return 0, 0, 0
    if k.page[q].kind != TABLE: return q, X.permission[i3], 262144
    X = k.table[q]
    q = X.entry[i2]
    if q == 0: return 0, 0, 0
    if k.page[q].kind != TABLE: return q, X.permission[i2], 512
    X = k.table[q]
    q = X.entry[i1]
    if q == 0: return 0, 0, 0
    return q, X.permission[i1], 1


def in_map(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int) -> tuple[int, int, int]:
    """The translation that the abstract map of process s has at these indices."""
    S = k.process[s]
    giant = i4 * 134217728 + i3 * 262144
    block = giant + i2 * 512
    p = S.map_page[block + i1]
    if p != 0 and k.page[p].kind == MAPPED: return p, S.map_permission[block + i1], 1
    p = S.map_page[block]
    if p != 0 and k.page[p].kind == MAPPED_BLOCK: return p, S.map_permission[block], 512
    p = S.map_page[giant]
    if p != 0 and k.page[p].kind == MAPPED_GIANT: return p, S.map_permission[giant], 262144
    return 0, 0, 0


def mapped_once(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int) -> bool:
    """What the map of a process has around an address is memory that is mapped, and nothing of two sizes."""
    S = k.process[s]
    giant = i4 * 134217728 + i3 * 262144
    block = giant + i2 * 512
    p = S.map_page[block + i1]
    q = S.map_page[block]
    r = S.map_page[giant]
    small = p != 0 and k.page[p].kind == MAPPED
    large = q != 0 and k.page[q].kind == MAPPED_BLOCK
    huge = r != 0 and k.page[r].kind == MAPPED_GIANT
    if (small and large) or (small and huge) or (large and huge): return False
    return mapped_memory(k, p) and mapped_memory(k, q) and mapped_memory(k, r)


def mapped_memory(k: Kernel, p: int) -> bool:
    """Page p is none, or the first of a page, block or giant that is mapped."""
    kind = k.page[p].kind
    return p == 0 or kind in (MAPPED, MAPPED_BLOCK, MAPPED_GIANT)


def agree(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int) -> bool:
    """What the tables of a process lead to is what its map has, at every address."""
    return in_tables(k, s, i4, i3, i2, i1) == in_map(k, s, i4, i3, i2, i1)


def way_down(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int) -> bool:
    """On the way of every address, each entry leads to what a processor expects at its level: a table, or a page, a
    block or a giant whose permission means something; nothing at or above the machine's slot, and no table but a
    process's own."""
    root = k.process[s].root
    if root == 0: return k.table[root].entry[i4] == 0
    q = k.table[root].entry[i4]
    if q == 0: return True
    if i4 >= 255 or k.page[q].kind != TABLE or k.table[q].process != s: return False
    X = k.table[q]
    q = X.entry[i3]
    if q == 0: return True
    if k.page[q].kind != TABLE: return k.page[q].kind == MAPPED_GIANT and meaningful(X.permission[i3])
    if k.table[q].process != s: return False
    X = k.table[q]
    q = X.entry[i2]
    if q == 0: return True
    if k.page[q].kind != TABLE: return k.page[q].kind == MAPPED_BLOCK and meaningful(X.permission[i2])
    if k.table[q].process != s: return False
    X = k.table[q]
    q = X.entry[i1]
    return q == 0 or (k.page[q].kind == MAPPED and meaningful(X.permission[i1]))


def meaningful(permission: int) -> bool:
    """The five permissions there are."""
    return permission == 0 or permission == 1 or permission == 3 or permission == 5 or permission == 7


def tree(k: Kernel, x: int, i: int, y: int, j: int) -> bool:
    """Tables form a tree in each process: one entry leads to a table, of a table one level up of the same process; none
    leads to a root."""
    q = k.table[x].entry[i]
    if q == 0 or k.page[q].kind != TABLE: return True
    if k.table[y].entry[j] == q and (x != y or i != j): return False
    if k.page[x].kind != TABLE or k.table[x].level != k.table[q].level + 1: return False
    return k.table[x].process == k.table[q].process and k.process[k.table[q].process].root != q


def within_memory(k: Kernel, x: int, i: int) -> bool:
    """What an entry leads to lies within the machine's memory as a whole, page 0 is nobody's, and blocks and giants
    start at multiples of their size."""
    q = k.table[x].entry[i]
    if q == 0: return True
    kind = k.page[q].kind
    end = (k.memory.blocks + 1) * 512
    if kind == MAPPED_BLOCK: return q >= 512 and q + 512 <= end and q % 512 == 0
    if kind == MAPPED_GIANT: return q >= 262144 and q + 262144 <= end and q % 262144 == 0
    return q >= 1 and q < end


def only_once(old: Kernel, new: Kernel, x: int, i: int) -> bool:
    """In one step an entry is made, or is taken away, or leads where it led; what it led to is what it was, or free if
    nothing leads to it any more.  So bytes stay right where neither entry nor permission is written."""
    q = old.table[x].entry[i]
    p = new.table[x].entry[i]
    if q == 0: return True
    if p == 0: return new.page[q].kind == old.page[q].kind or new.page[q].kind == FREE
    return p == q and new.page[q].kind == old.page[q].kind


def has_space(k: Kernel, s: int) -> bool:
    """Process s has an address space."""
    return k.page[s].kind == PROCESS and k.process[s].root != 0
