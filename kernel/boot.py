"""The boot state: all memory free and promised to the root container, which owns every core."""

from __future__ import annotations

from abi.layout import BLOCK_PAGES
from kernel.objects import ACTIVE, BLOCK_SPLIT, CONTAINER, Kernel


def boot(blocks: int, cores: int) -> Kernel:
    """A kernel with ``blocks`` 2 MiB blocks of memory (at least 1) and ``cores`` cores (at least 1)."""
    if blocks < 1: raise ValueError("a machine needs at least one 2 MiB block of memory")
    if cores < 1: raise ValueError("a machine needs at least one core")
    k = Kernel()
    m = k.memory
    m.blocks = blocks
    root = BLOCK_PAGES
    B = k.block[1]
    B.kind = BLOCK_SPLIT
    B.carved = 1
    B.position = 1
    m.fresh = 2
    m.partial_count = 1
    m.partial_stack[1] = 1
    P = k.page[root]
    P.kind = CONTAINER
    P.owner = root
    P.block = 1
    C = k.container[root]
    C.state = ACTIVE
    C.cores_of = root
    C.pages = BLOCK_PAGES - 1
    C.blocks = blocks - 1
    C.used_pages = 1
    m.free_pages = BLOCK_PAGES - 1
    m.promised_pages = C.pages
    m.promised_blocks = C.blocks
    k.root = root
    k.cores = cores
    for r in range(cores):
        R = k.core[r]
        R.container = root
        R.ring = (r + 1) % cores
    return k
