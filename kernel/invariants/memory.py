"""Invariants of physical memory and of what containers may and did take of it.

Source: Atmosphere, section 4.2 (page states, closure, leak freedom); the promise is this kernel's own.
"""

from __future__ import annotations

from abi.layout import BLOCK_PAGES, GIANT_BLOCKS
from kernel.invariants import invariant
from kernel.objects import (
    BLOCK_FREE,
    BLOCK_GIANT,
    BLOCK_SPLIT,
    BLOCK_WHOLE,
    CONTAINER,
    DOMAIN,
    FREE,
    GIANT_FREE,
    GIANT_SPLIT,
    GIANT_WHOLE,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    Kernel,
)  # fmt: skip


@invariant("page")
def page_owner(k: Kernel, p: int) -> bool:
    """A page is free and nobody's, or of a known kind and charged to a container."""
    P = k.page[p]
    if P.kind == FREE: return P.owner == 0
    if P.kind < FREE or P.kind > DOMAIN: return False
    return k.page[P.owner].kind == CONTAINER


@invariant("page")
def page_block(k: Kernel, p: int) -> bool:
    """A page in use was carved from a split block and is not on its stack, or is the first of a whole one or of a giant
    that is one."""
    P = k.page[p]
    if P.kind == FREE: return True
    B = k.block[P.block]
    if P.kind == MAPPED_BLOCK: return B.kind == BLOCK_WHOLE and p == P.block * BLOCK_PAGES
    if P.kind == MAPPED_GIANT: return B.kind == BLOCK_GIANT and p == P.block * BLOCK_PAGES
    offset = p - P.block * BLOCK_PAGES
    return B.kind == BLOCK_SPLIT and offset >= 0 and offset < B.carved and P.rank == 0


@invariant("page")
def page_references(k: Kernel, p: int) -> bool:
    """A mapped page counts exactly the mappings of it, at least one; any other page has none."""
    assert k.ledger is not None
    P = k.page[p]
    if P.references != k.ledger.mappings[p]: return False
    if P.kind == MAPPED or P.kind == MAPPED_BLOCK or P.kind == MAPPED_GIANT: return P.references >= 1
    return P.references == 0


@invariant("block")
def block_kind(k: Kernel, b: int) -> bool:
    """A block is free, whole, split, or the first of a whole giant; if it is mapped, its first page says so and is
    charged to the same container, else it is charged to none."""
    B = k.block[b]
    if B.kind < BLOCK_FREE or B.kind > BLOCK_GIANT: return False
    if B.kind == BLOCK_FREE or B.kind == BLOCK_SPLIT: return B.owner == 0
    P = k.page[b * BLOCK_PAGES]
    if P.block != b or P.owner != B.owner: return False
    if B.kind == BLOCK_WHOLE: return P.kind == MAPPED_BLOCK
    return P.kind == MAPPED_GIANT


@invariant("block")
def block_giant(k: Kernel, b: int) -> bool:
    """A block in use was carved from a split giant, or is the first of a whole one; block 0 is never used."""
    B = k.block[b]
    if B.kind == BLOCK_FREE: return True
    G = k.giant[B.giant]
    if B.kind == BLOCK_GIANT: return G.kind == GIANT_WHOLE and b == B.giant * GIANT_BLOCKS
    offset = b - B.giant * GIANT_BLOCKS
    return G.kind == GIANT_SPLIT and offset >= 0 and offset < G.carved and b >= 1


@invariant("block")
def block_split(k: Kernel, b: int) -> bool:
    """A split block has carved at most its 512 pages, and not all of them came back; any other has carved none."""
    B = k.block[b]
    if B.kind != BLOCK_SPLIT: return B.carved == 0 and B.listed == 0
    return B.listed >= 0 and B.listed < B.carved and B.carved <= BLOCK_PAGES


@invariant("block")
def block_used(k: Kernel, b: int) -> bool:
    """A split block has exactly the pages in use that it carved and that did not come back (so that none is lost, and
    none is in use when the last one comes back), one that is mapped its first, a free one none."""
    assert k.ledger is not None
    B = k.block[b]
    if B.kind == BLOCK_WHOLE or B.kind == BLOCK_GIANT: return k.ledger.in_use[b] == 1
    return k.ledger.in_use[b] == B.carved - B.listed


@invariant("block.stack")
def block_stack(k: Kernel, b: int, i: int) -> bool:
    """Each entry of a split block's stack is a free page of it that was carved, and knows its rank."""
    B = k.block[b]
    if B.kind != BLOCK_SPLIT or i < 1 or i > B.listed: return True
    p = B.stack[i]
    P = k.page[p]
    offset = p - b * BLOCK_PAGES
    return P.kind == FREE and P.block == b and P.rank == i and offset >= 0 and offset < B.carved


@invariant("block")
def block_position(k: Kernel, b: int) -> bool:
    """A split block with a free page is on the stack of partial blocks at its position; no other block in use is on a
    stack."""
    m = k.memory
    B = k.block[b]
    n = B.position
    if B.kind == BLOCK_FREE: return True
    if B.kind == BLOCK_SPLIT and (B.carved < BLOCK_PAGES or B.listed > 0):
        return n >= 1 and n <= m.partial_count and m.partial_stack[n] == b
    return n == 0


@invariant("giant")
def giant_kind(k: Kernel, g: int) -> bool:
    """A giant is free, whole or split; one never used is free; giant 0 and the part of one at the end are split; only
    a whole one has an owner, and its first block stands for it."""
    m = k.memory
    G = k.giant[g]
    if G.kind < GIANT_FREE or G.kind > GIANT_SPLIT: return False
    if g < 1 or g > m.giants:
        if G.owner != 0: return False
        # As many of its 512 blocks as lie within the machine.
        if g == 0 or (g == m.giants + 1 and g * GIANT_BLOCKS <= m.blocks): return G.kind == GIANT_SPLIT
        return G.kind == GIANT_FREE and G.position == 0
    if g >= m.fresh: return G.kind == GIANT_FREE and G.owner == 0 and G.position == 0
    if G.kind != GIANT_WHOLE: return G.owner == 0
    B = k.block[g * GIANT_BLOCKS]
    return B.kind == BLOCK_GIANT and B.giant == g and B.owner == G.owner


@invariant("giant")
def giant_split(k: Kernel, g: int) -> bool:
    """A split giant has carved at most the blocks it has, and not all of them came back, unless it can never be whole;
    any other has carved none."""
    m = k.memory
    G = k.giant[g]
    if G.kind != GIANT_SPLIT: return G.carved == 0 and G.listed == 0
    if G.listed < 0 or G.listed > G.carved or G.carved > GIANT_BLOCKS: return False
    if g > m.giants: return g * GIANT_BLOCKS + G.carved <= m.blocks + 1
    return G.listed < G.carved and g * GIANT_BLOCKS + G.carved <= m.blocks + 1


@invariant("giant")
def giant_used(k: Kernel, g: int) -> bool:
    """A split giant has exactly the blocks in use that it carved and that did not come back, a whole one its first, a
    free one none.  (Block 0 counts as carved.)"""
    assert k.ledger is not None
    G = k.giant[g]
    if G.kind == GIANT_WHOLE: return k.ledger.blocks_in_use[g] == 1
    if g == 0: return k.ledger.blocks_in_use[g] == G.carved - G.listed - 1
    return k.ledger.blocks_in_use[g] == G.carved - G.listed


@invariant("giant.stack")
def giant_stack(k: Kernel, g: int, i: int) -> bool:
    """Each entry of a split giant's stack is a free block of it that was carved, and knows its position."""
    G = k.giant[g]
    if G.kind != GIANT_SPLIT or i < 1 or i > G.listed: return True
    b = G.stack[i]
    B = k.block[b]
    offset = b - g * GIANT_BLOCKS
    return b >= 1 and B.kind == BLOCK_FREE and B.giant == g and B.position == i and offset >= 0 and offset < G.carved


@invariant("giant")
def giant_position(k: Kernel, g: int) -> bool:
    """A free giant that was used before, and a split one with a free block, is on its stack at its position; no other
    giant is on a stack."""
    m = k.memory
    G = k.giant[g]
    n = G.position
    if G.kind == GIANT_SPLIT:
        full = G.listed == 0 and (G.carved == GIANT_BLOCKS or g * GIANT_BLOCKS + G.carved == m.blocks + 1)
        if full: return n == 0
        return n >= 1 and n <= m.partial_giant_count and m.partial_giant_stack[n] == g
    if G.kind == GIANT_WHOLE or g < 1 or g >= m.fresh: return n == 0
    return n >= 1 and n <= m.free_count and m.free_stack[n] == g


@invariant("memory.free_stack")
def free_stack(k: Kernel, memory: int, i: int) -> bool:
    """Each entry of the stack of free giants is a free giant that was used before and knows its position."""
    m = k.memory
    if i < 1 or i > m.free_count: return True
    g = m.free_stack[i]
    G = k.giant[g]
    return g >= 1 and g < m.fresh and G.kind == GIANT_FREE and G.position == i


@invariant("memory.partial_giant_stack")
def partial_giant_stack(k: Kernel, memory: int, i: int) -> bool:
    """Each entry of the stack of partial giants is a split giant with a free block and knows its position."""
    m = k.memory
    if i < 1 or i > m.partial_giant_count: return True
    g = m.partial_giant_stack[i]
    G = k.giant[g]
    if G.kind != GIANT_SPLIT or G.position != i: return False
    return G.listed > 0 or (G.carved < GIANT_BLOCKS and g * GIANT_BLOCKS + G.carved <= m.blocks)


@invariant("memory.partial_stack")
def partial_stack(k: Kernel, memory: int, i: int) -> bool:
    """Each entry of the stack of partial blocks is a split block with a free page and knows its position."""
    m = k.memory
    if i < 1 or i > m.partial_count: return True
    B = k.block[m.partial_stack[i]]
    if B.kind != BLOCK_SPLIT or B.position != i: return False
    return B.carved < BLOCK_PAGES or B.listed > 0


@invariant("memory")
def memory_counts(k: Kernel, memory: int) -> bool:
    """The allocator's counts are those of the giants, blocks and containers."""
    m = k.memory
    assert k.ledger is not None
    if m.fresh < 1 or m.fresh > m.giants + 1 or m.free_count < 0 or m.partial_giant_count < 0: return False
    if m.free_pages != k.ledger.free_pages or m.partial_count < 0: return False
    lacking = -(m.blocks + 1) % GIANT_BLOCKS  # blocks that the machine's last giant has not
    if m.free_blocks != k.ledger.free_blocks - lacking: return False
    if m.promised_pages != k.ledger.promised_pages or m.promised_blocks != k.ledger.promised_blocks: return False
    return m.promised_giants == k.ledger.promised_giants


@invariant("memory")
def memory_size(k: Kernel, memory: int) -> bool:
    """The machine has all giants that can be whole: those but the first that have all their blocks."""
    m = k.memory
    if m.blocks < 0 or m.giants < 0: return False
    if m.blocks + 1 >= (m.giants + 2) * GIANT_BLOCKS: return False
    return m.giants == 0 or m.blocks + 1 >= (m.giants + 1) * GIANT_BLOCKS


@invariant("memory")
def memory_promise(k: Kernel, memory: int) -> bool:
    """What containers were promised is there: an allocation within a quota cannot fail."""
    m = k.memory
    spare_giants = m.free_count + m.giants + 1 - m.fresh - m.promised_giants
    spare_blocks = m.free_blocks + GIANT_BLOCKS * spare_giants - m.promised_blocks
    return spare_giants >= 0 and spare_blocks >= 0 and m.promised_pages <= m.free_pages + BLOCK_PAGES * spare_blocks


@invariant("container")
def container_quota(k: Kernel, c: int) -> bool:
    """A container's quota is never below zero; what is no container has none."""
    C = k.container[c]
    if k.page[c].kind == CONTAINER: return C.pages >= 0 and C.blocks >= 0 and C.giants >= 0
    return C.pages == 0 and C.blocks == 0 and C.giants == 0


@invariant("container")
def container_charges(k: Kernel, c: int) -> bool:
    """A container is charged for exactly the pages, blocks and giants it owns; what is no container, for none."""
    assert k.ledger is not None
    C = k.container[c]
    if C.used_giants != k.ledger.owned_giants[c]: return False
    larger = C.used_blocks + C.used_giants
    return larger == k.ledger.owned_blocks[c] and C.used_pages + larger == k.ledger.owned[c]


@invariant("container")
def container_root(k: Kernel, c: int) -> bool:
    """The root is a container."""
    return c != k.root or k.page[c].kind == CONTAINER
