"""Physical memory: 2 MiB blocks, whole or split into 4 KiB pages; every page charged to a container.

A split block hands out its pages from its start (``carved``) and takes back into its own stack those that return; when
the last one has, the block is free again in O(1).  Merging and splitting of free memory is therefore never a loop.
What containers were promised is always there: promised pages <= free pages + 512 x (free blocks - promised blocks), so
an allocation within a quota cannot fail, and what a container gets does not depend on the others.
"""

from __future__ import annotations

from abi.errors import ENOMEM, OK
from abi.layout import BLOCK_PAGES
from kernel.objects import BLOCK_FREE, BLOCK_SPLIT, BLOCK_WHOLE, FREE, MAPPED_BLOCK, Kernel


def free_blocks(k: Kernel) -> int:
    """Blocks that are free as a whole."""
    m = k.memory
    return m.free_count + m.blocks + 1 - m.fresh


def take_block(k: Kernel) -> int:
    """Removes a block from the free ones; at least one must be free.  Returns its id."""
    m = k.memory
    n = m.free_count
    if n == 0:
        b = m.fresh
        m.fresh = b + 1
        return b
    b = m.free_stack[n]
    m.free_stack[n] = 0
    m.free_count = n - 1
    B = k.block[b]
    B.position = 0
    return b


def return_block(k: Kernel, b: int) -> None:
    """Makes block b, which nothing uses any more, free."""
    m = k.memory
    B = k.block[b]
    n = m.free_count + 1
    m.free_count = n
    m.free_stack[n] = b
    B.kind = BLOCK_FREE
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
