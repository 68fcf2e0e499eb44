"""Physical memory: 1 GiB giants, whole or split into 2 MiB blocks, these whole or split into 4 KiB pages; everything
charged to a container.

A split block hands out its pages from its start (``carved``) and takes back into its own stack those that return; when
the last one has, the block is free again in O(1).  Giants do the same with blocks.  Merging and splitting of free
memory is therefore never a loop.  What containers were promised is always there: with spare giants = free giants -
promised giants >= 0 and spare blocks = free blocks + 512 x spare giants - promised blocks >= 0, promised pages <= free
pages + 512 x spare blocks.  So an allocation within a quota cannot fail, and what a container gets does not depend on
the others.
"""

from __future__ import annotations

from abi.errors import ENOMEM, OK
from abi.layout import BLOCK_PAGES, GIANT_BLOCKS
from kernel.objects import (
    BLOCK_FREE,
    BLOCK_GIANT,
    BLOCK_SPLIT,
    BLOCK_WHOLE,
    FREE,
    GIANT_FREE,
    GIANT_SPLIT,
    GIANT_WHOLE,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    Kernel,
)  # fmt: skip


def free_giants(k: Kernel) -> int:
    """Giants that are free as a whole."""
    m = k.memory
    return m.free_count + m.giants + 1 - m.fresh


def free_blocks(k: Kernel) -> int:
    """Blocks that are free as a whole and not in a giant that is promised as one."""
    m = k.memory
    return m.free_blocks + GIANT_BLOCKS * (free_giants(k) - m.promised_giants)


def blocks_of(k: Kernel, g: int) -> int:
    """How many blocks giant g has: the machine's last one may have fewer than others.  (Block 0 counts as one.)"""
    n = k.memory.blocks + 1 - g * GIANT_BLOCKS
    return n if n < GIANT_BLOCKS else GIANT_BLOCKS


def take_giant(k: Kernel) -> int:
    """Removes a giant from the free ones; at least one must be free.  Returns its id."""
    m = k.memory
    n = m.free_count
    if n == 0:
        g = m.fresh
        m.fresh = g + 1
        return g
    g = m.free_stack[n]
    m.free_stack[n] = 0
    m.free_count = n - 1
    G = k.giant[g]
    G.position = 0
    return g


def return_giant(k: Kernel, g: int) -> None:
    """Makes giant g, which nothing uses any more, free."""
    m = k.memory
    G = k.giant[g]
    n = m.free_count + 1
    m.free_count = n
    m.free_stack[n] = g
    G.kind = GIANT_FREE
    G.position = n


def list_partial_giant(k: Kernel, g: int) -> None:
    """Notes that split giant g has a free block."""
    m = k.memory
    G = k.giant[g]
    n = m.partial_giant_count + 1
    m.partial_giant_count = n
    m.partial_giant_stack[n] = g
    G.position = n


def unlist_partial_giant(k: Kernel, g: int) -> None:
    """Notes that giant g has no free block, or is no longer split; the last of the stack takes its place."""
    m = k.memory
    G = k.giant[g]
    n = m.partial_giant_count
    last = m.partial_giant_stack[n]
    m.partial_giant_stack[G.position] = last
    L = k.giant[last]
    L.position = G.position
    m.partial_giant_stack[n] = 0
    m.partial_giant_count = n - 1
    G.position = 0


def take_block(k: Kernel) -> int:
    """Removes a block from the free ones; at least one must be free and not promised as part of a giant.  Returns its
    id."""
    m = k.memory
    if m.partial_giant_count == 0:
        g = take_giant(k)
        G = k.giant[g]
        G.kind = GIANT_SPLIT
        m.free_blocks = m.free_blocks + GIANT_BLOCKS
        list_partial_giant(k, g)
    g = m.partial_giant_stack[m.partial_giant_count]
    G = k.giant[g]
    n = G.listed
    if n == 0:
        b = g * GIANT_BLOCKS + G.carved
        G.carved = G.carved + 1
    else:
        b = G.stack[n]
        G.stack[n] = 0
        G.listed = n - 1
    if G.listed == 0 and G.carved == blocks_of(k, g):
        unlist_partial_giant(k, g)
    m.free_blocks = m.free_blocks - 1
    B = k.block[b]
    B.giant = g
    B.position = 0
    return b


def return_block(k: Kernel, b: int) -> None:
    """Makes block b, which nothing uses any more, free; with it its giant, if that was the last in use of a whole
    one."""
    m = k.memory
    B = k.block[b]
    g = B.giant
    G = k.giant[g]
    m.free_blocks = m.free_blocks + 1
    if G.listed == 0 and G.carved == blocks_of(k, g):
        list_partial_giant(k, g)
    B.kind = BLOCK_FREE
    n = G.listed + 1
    if n == G.carved and g <= m.giants:  # never giant 0: block 0 does not come back
        unlist_partial_giant(k, g)
        G.carved = 0
        G.listed = 0
        m.free_blocks = m.free_blocks - GIANT_BLOCKS
        return_giant(k, g)
        return
    G.listed = n
    G.stack[n] = b
    B.position = n


def list_partial(k: Kernel, b: int) -> None:
    """Notes that split block b has a free page."""
    m = k.memory
    B = k.block[b]
    n = m.partial_count + 1
    m.partial_count = n
    m.partial_stack[n] = b
    B.position = n


def unlist_partial(k: Kernel, b: int) -> None:
    """Notes that block b has no free page, or is no longer split; the last of the stack takes its place."""
    m = k.memory
    B = k.block[b]
    n = m.partial_count
    last = m.partial_stack[n]
    m.partial_stack[B.position] = last
    L = k.block[last]
    L.position = B.position
    m.partial_stack[n] = 0
    m.partial_count = n - 1
    B.position = 0


def allocate_page(k: Kernel, c: int, kind: int) -> int:
    """Allocates a page as ``kind`` and charges container c, which must have a page of quota left.  Returns its id."""
    m = k.memory
    if m.partial_count == 0:
        b = take_block(k)
        B = k.block[b]
        B.kind = BLOCK_SPLIT
        B.carved = 0
        B.listed = 0
        m.free_pages = m.free_pages + BLOCK_PAGES
        list_partial(k, b)
    b = m.partial_stack[m.partial_count]
    B = k.block[b]
    n = B.listed
    if n == 0:
        p = b * BLOCK_PAGES + B.carved
        B.carved = B.carved + 1
    else:
        p = B.stack[n]
        B.stack[n] = 0
        B.listed = n - 1
    if B.listed == 0 and B.carved == BLOCK_PAGES:
        unlist_partial(k, b)
    m.free_pages = m.free_pages - 1
    P = k.page[p]
    P.kind = kind
    P.owner = c
    P.block = b
    P.rank = 0
    C = k.container[c]
    C.pages = C.pages - 1
    C.used_pages = C.used_pages + 1
    m.promised_pages = m.promised_pages - 1
    return p


def free_page(k: Kernel, p: int) -> None:
    """Frees a page that nothing refers to and refunds the container that was charged for it."""
    m = k.memory
    P = k.page[p]
    C = k.container[P.owner]
    C.pages = C.pages + 1
    C.used_pages = C.used_pages - 1
    m.promised_pages = m.promised_pages + 1
    m.free_pages = m.free_pages + 1
    b = P.block
    B = k.block[b]
    if B.listed == 0 and B.carved == BLOCK_PAGES:
        list_partial(k, b)
    P.kind = FREE
    P.owner = 0
    n = B.listed + 1
    if n == B.carved:
        unlist_partial(k, b)
        B.carved = 0
        B.listed = 0
        m.free_pages = m.free_pages - BLOCK_PAGES
        return_block(k, b)
        return
    B.listed = n
    B.stack[n] = p
    P.rank = n


def allocate_block(k: Kernel, c: int) -> int:
    """Allocates a whole block to be mapped, charged to container c, which must have a block of quota left.
    Returns the id of its first page."""
    m = k.memory
    b = take_block(k)
    B = k.block[b]
    B.kind = BLOCK_WHOLE
    B.owner = c
    p = b * BLOCK_PAGES
    P = k.page[p]
    P.kind = MAPPED_BLOCK
    P.owner = c
    P.block = b
    C = k.container[c]
    C.blocks = C.blocks - 1
    C.used_blocks = C.used_blocks + 1
    m.promised_blocks = m.promised_blocks - 1
    return p


def free_block(k: Kernel, p: int) -> None:
    """Frees the whole block that starts with page p and refunds the container that was charged for it."""
    m = k.memory
    P = k.page[p]
    C = k.container[P.owner]
    C.blocks = C.blocks + 1
    C.used_blocks = C.used_blocks - 1
    m.promised_blocks = m.promised_blocks + 1
    B = k.block[P.block]
    B.owner = 0
    b = P.block
    P.kind = FREE
    P.owner = 0
    return_block(k, b)


def allocate_giant(k: Kernel, c: int) -> int:
    """Allocates a whole giant to be mapped, charged to container c, which must have a giant of quota left.
    Returns the id of its first page."""
    m = k.memory
    g = take_giant(k)
    G = k.giant[g]
    G.kind = GIANT_WHOLE
    G.owner = c
    b = g * GIANT_BLOCKS
    B = k.block[b]
    B.kind = BLOCK_GIANT
    B.owner = c
    B.giant = g
    B.position = 0
    p = b * BLOCK_PAGES
    P = k.page[p]
    P.kind = MAPPED_GIANT
    P.owner = c
    P.block = b
    C = k.container[c]
    C.giants = C.giants - 1
    C.used_giants = C.used_giants + 1
    m.promised_giants = m.promised_giants - 1
    return p


def free_giant(k: Kernel, p: int) -> None:
    """Frees the whole giant that starts with page p and refunds the container that was charged for it."""
    m = k.memory
    P = k.page[p]
    C = k.container[P.owner]
    C.giants = C.giants + 1
    C.used_giants = C.used_giants - 1
    m.promised_giants = m.promised_giants + 1
    B = k.block[P.block]
    g = B.giant
    G = k.giant[g]
    G.owner = 0
    B.kind = BLOCK_FREE
    B.owner = 0
    P.kind = FREE
    P.owner = 0
    return_giant(k, g)


def quota_split(k: Kernel, c: int) -> int:
    """Turns one 2 MiB block of container c's quota into 512 pages of it.  -ENOMEM: it has none."""
    C = k.container[c]
    if C.blocks < 1: return -ENOMEM
    m = k.memory
    C.blocks = C.blocks - 1
    m.promised_blocks = m.promised_blocks - 1
    C.pages = C.pages + BLOCK_PAGES
    m.promised_pages = m.promised_pages + BLOCK_PAGES
    return OK


def quota_merge(k: Kernel, c: int) -> int:
    """Turns 512 pages of container c's quota into one 2 MiB block.  -ENOMEM: it has fewer, or no block is whole."""
    C = k.container[c]
    m = k.memory
    if C.pages < BLOCK_PAGES: return -ENOMEM
    if free_blocks(k) <= m.promised_blocks: return -ENOMEM
    C.pages = C.pages - BLOCK_PAGES
    m.promised_pages = m.promised_pages - BLOCK_PAGES
    C.blocks = C.blocks + 1
    m.promised_blocks = m.promised_blocks + 1
    return OK


def giant_split(k: Kernel, c: int) -> int:
    """Turns one 1 GiB giant of container c's quota into 512 blocks of it.  -ENOMEM: it has none."""
    C = k.container[c]
    if C.giants < 1: return -ENOMEM
    m = k.memory
    C.giants = C.giants - 1
    m.promised_giants = m.promised_giants - 1
    C.blocks = C.blocks + GIANT_BLOCKS
    m.promised_blocks = m.promised_blocks + GIANT_BLOCKS
    return OK


def giant_merge(k: Kernel, c: int) -> int:
    """Turns 512 blocks of container c's quota into one 1 GiB giant.  -ENOMEM: it has fewer, or no giant is whole."""
    C = k.container[c]
    m = k.memory
    if C.blocks < GIANT_BLOCKS: return -ENOMEM
    if free_giants(k) <= m.promised_giants: return -ENOMEM
    C.blocks = C.blocks - GIANT_BLOCKS
    m.promised_blocks = m.promised_blocks - GIANT_BLOCKS
    C.giants = C.giants + 1
    m.promised_giants = m.promised_giants + 1
    return OK
