"""Invariants of page tables: they form a tree per process, and the abstract map is exactly what they translate.

The walk here is the specification's own; it shares no code with the transitions.  Source: Intel SDM volume 3,
section 4.5; Atmosphere, section 4.2.
"""

from __future__ import annotations

from abi.layout import SYSTEM_SLOT, TABLE_ENTRIES
from kernel.invariants import invariant
from kernel.objects import MAPPED, MAPPED_BLOCK, MAPPED_GIANT, PROCESS, TABLE, Kernel


def pages_under_entry(level: int) -> int:
    """4 KiB pages that one entry of a table of this level translates; 0 if there is no such level."""
    if level == 1: return 1
    if level == 2: return 1 << 9
    if level == 3: return 1 << 18
    if level == 4: return 1 << 27
    return 0


@invariant("table")
def table_place(k: Kernel, x: int) -> bool:
    """A table is its process's root, or its parent's entry at its slot leads to it, one level down; what is no table
    is blank."""
    X = k.table[x]
    if k.page[x].kind != TABLE:
        return X.level == 0 and X.process == 0 and X.parent == 0 and X.slot == 0 and X.base == 0
    s = X.process
    if k.page[s].kind != PROCESS or X.level < 1 or X.level > 4: return False
    if X.level == 4: return k.process[s].root == x and X.parent == 0 and X.slot == 0
    q = X.parent
    Q = k.table[q]
    if k.page[q].kind != TABLE or Q.level != X.level + 1 or Q.process != s: return False
    return Q.entry[X.slot] == x


@invariant("table")
def table_base(k: Kernel, x: int) -> bool:
    """A table translates from the virtual page that its place in the tree implies."""
    X = k.table[x]
    if k.page[x].kind != TABLE: return True
    if X.level == 4: return X.base == 0
    return X.base == k.table[X.parent].base + X.slot * pages_under_entry(X.level + 1)


@invariant("table")
def table_charge(k: Kernel, x: int) -> bool:
    """A table is charged to its process's container."""
    if k.page[x].kind != TABLE: return True
    return k.page[x].owner == k.process[k.table[x].process].container


@invariant("table")
def table_used(k: Kernel, x: int) -> bool:
    """A table counts its entries; only a root may be empty; what is no table has none."""
    assert k.ledger is not None
    X = k.table[x]
    if X.used != k.ledger.used[x]: return False
    if k.page[x].kind != TABLE: return X.used == 0
    return X.used >= 1 or X.level == 4


@invariant("table.entry")
def entry_target(k: Kernel, x: int, i: int) -> bool:
    """An entry leads to a table that says so, or at level 1 to a mapped page, at level 2 to a mapped block, at
    level 3 to a mapped giant; the machine's slot stays empty."""
    q = k.table[x].entry[i]
    if q == 0: return True
    X = k.table[x]
    if k.page[x].kind != TABLE or i < 0 or i >= TABLE_ENTRIES: return False
    if X.level == 4 and i >= SYSTEM_SLOT: return False
    if X.level == 1: return k.page[q].kind == MAPPED
    if X.level == 2 and k.page[q].kind == MAPPED_BLOCK: return True
    if X.level == 3 and k.page[q].kind == MAPPED_GIANT: return True
    return k.page[q].kind == TABLE and k.table[q].parent == x and k.table[q].slot == i


@invariant("table.entry")
def entry_mapped(k: Kernel, x: int, i: int) -> bool:
    """What an entry maps, the abstract map has at that address with the same permissions; other entries have none."""
    X = k.table[x]
    q = X.entry[i]
    if q == 0 or k.page[q].kind == TABLE: return X.permission[i] == 0
    S = k.process[X.process]
    v = X.base + i * pages_under_entry(X.level)
    return S.map_page[v] == q and S.map_permission[v] == X.permission[i]


@invariant("process.map_page")
def map_walked(k: Kernel, s: int, v: int) -> bool:
    """What the abstract map has, the walk of the tables from the root finds, with the same permissions."""
    S = k.process[s]
    p = S.map_page[v]
    if p == 0: return True
    if k.page[s].kind != PROCESS: return False
    x = k.table[S.root].entry[v // (1 << 27)]
    X = k.table[x]
    i = v // (1 << 18) % TABLE_ENTRIES
    if k.page[p].kind == MAPPED_GIANT:
        return v % (1 << 18) == 0 and X.entry[i] == p and X.permission[i] == S.map_permission[v]
    X = k.table[X.entry[i]]
    i = v // (1 << 9) % TABLE_ENTRIES
    if k.page[p].kind == MAPPED_BLOCK:
        return v % (1 << 9) == 0 and X.entry[i] == p and X.permission[i] == S.map_permission[v]
    X = k.table[X.entry[i]]
    i = v % TABLE_ENTRIES
    return X.entry[i] == p and X.permission[i] == S.map_permission[v]


@invariant("process.map_page")
def map_permission(k: Kernel, s: int, v: int) -> bool:
    """A mapping allows nothing, reading, or reading with writing, executing or both; what is not mapped, nothing."""
    S = k.process[s]
    a = S.map_permission[v]
    if S.map_page[v] == 0: return a == 0
    return a == 0 or a == 1 or a == 3 or a == 5 or a == 7
