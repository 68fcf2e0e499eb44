"""Invariants of physical memory and of what containers may and did take of it.

Source: Atmosphere, section 4.2 (page states, closure, leak freedom); the promise is this kernel's own.
"""

from __future__ import annotations

from abi.layout import BLOCK_PAGES
from kernel.invariants import invariant
from kernel.objects import BLOCK_FREE, BLOCK_SPLIT, BLOCK_WHOLE, CONTAINER, ENDPOINT, FREE, MAPPED, MAPPED_BLOCK, Kernel


@invariant("page")
def page_owner(k: Kernel, p: int) -> bool:
    """A page is free and nobody's, or of a known kind and charged to a container."""
    P = k.page[p]
    if P.kind == FREE: return P.owner == 0
    if P.kind < FREE or P.kind > ENDPOINT: return False
    return k.page[P.owner].kind == CONTAINER


@invariant("page")
def page_block(k: Kernel, p: int) -> bool:
    """A page in use was carved from a split block and is not on its stack, or is the first of a whole one with the same
    owner."""
    P = k.page[p]
    if P.kind == FREE: return True
    B = k.block[P.block]
    if P.kind == MAPPED_BLOCK: return B.kind == BLOCK_WHOLE and p == P.block * BLOCK_PAGES and B.owner == P.owner
    offset = p - P.block * BLOCK_PAGES
    return B.kind == BLOCK_SPLIT and offset >= 0 and offset < B.carved and P.rank == 0


@invariant("page")
def page_references(k: Kernel, p: int) -> bool:
    """A mapped page counts exactly the mappings of it, at least one; any other page has none."""
    assert k.ledger is not None
    P = k.page[p]
    if P.references != k.ledger.mappings[p]: return False
    if P.kind == MAPPED or P.kind == MAPPED_BLOCK: return P.references >= 1
    return P.references == 0


@invariant("block")
def block_kind(k: Kernel, b: int) -> bool:
    """A block is free, whole or split; one never used is free; only a whole one has an owner, and its first page
    stands for it."""
    B = k.block[b]
    if B.kind < BLOCK_FREE or B.kind > BLOCK_SPLIT: return False
    if b < 1 or b >= k.memory.fresh: return B.kind == BLOCK_FREE and B.owner == 0 and B.position == 0
    if B.kind != BLOCK_WHOLE: return B.owner == 0
    P = k.page[b * BLOCK_PAGES]
    return P.kind == MAPPED_BLOCK and P.block == b


@invariant("block")
def block_split(k: Kernel, b: int) -> bool:
    """A split block has carved at most its 512 pages, and not all of them came back; any other has carved none."""
    B = k.block[b]
    if B.kind != BLOCK_SPLIT: return B.carved == 0 and B.listed == 0
    return B.listed >= 0 and B.listed < B.carved and B.carved <= BLOCK_PAGES


@invariant("block")
def block_used(k: Kernel, b: int) -> bool:
    """A split block has exactly the pages in use that it carved and that did not come back (so that none is lost, and
    none is in use when the last one comes back), a whole one its first, a free one none."""
    assert k.ledger is not None
    B = k.block[b]
    if B.kind == BLOCK_WHOLE: return k.ledger.in_use[b] == 1
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
    """A free block that was used before, and a split one with a free page, is on its stack at its position; no other
    block is on a stack."""
    m = k.memory
    B = k.block[b]
    n = B.position
    if b < 1 or b >= m.fresh: return True
    if B.kind == BLOCK_FREE: return n >= 1 and n <= m.free_count and m.free_stack[n] == b
    if B.kind == BLOCK_SPLIT and (B.carved < BLOCK_PAGES or B.listed > 0):
        return n >= 1 and n <= m.partial_count and m.partial_stack[n] == b
    return n == 0


@invariant("memory.free_stack")
def free_stack(k: Kernel, memory: int, i: int) -> bool:
    """Each entry of the stack of free blocks is a free block that was used before and knows its position."""
    m = k.memory
    if i < 1 or i > m.free_count: return True
    b = m.free_stack[i]
    B = k.block[b]
    return b >= 1 and b < m.fresh and B.kind == BLOCK_FREE and B.position == i


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
    """The allocator's counts are those of the blocks and containers."""
    m = k.memory
    assert k.ledger is not None
    if m.fresh < 1 or m.fresh > m.blocks + 1 or m.free_count < 0 or m.partial_count < 0: return False
    if m.free_pages != k.ledger.free_pages: return False
    return m.promised_pages == k.ledger.promised_pages and m.promised_blocks == k.ledger.promised_blocks


@invariant("memory")
def memory_promise(k: Kernel, memory: int) -> bool:
    """What containers were promised is there: an allocation within a quota cannot fail."""
    m = k.memory
    spare = m.free_count + m.blocks + 1 - m.fresh - m.promised_blocks
    return spare >= 0 and m.promised_pages <= m.free_pages + BLOCK_PAGES * spare


@invariant("container")
def container_quota(k: Kernel, c: int) -> bool:
    """A container's quota is never below zero; what is no container has none."""
    C = k.container[c]
    if k.page[c].kind == CONTAINER: return C.pages >= 0 and C.blocks >= 0
    return C.pages == 0 and C.blocks == 0


@invariant("container")
def container_charges(k: Kernel, c: int) -> bool:
    """A container is charged for exactly the pages and blocks it owns; what is no container, for none."""
    assert k.ledger is not None
    C = k.container[c]
    if C.used_blocks != k.ledger.owned_blocks[c]: return False
    return C.used_pages + C.used_blocks == k.ledger.owned[c]


@invariant("container")
def container_root(k: Kernel, c: int) -> bool:
    """The root is a container."""
    return c != k.root or k.page[c].kind == CONTAINER
