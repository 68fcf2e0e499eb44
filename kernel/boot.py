"""The boot state: all memory free and promised to the root container, which owns every core."""

from __future__ import annotations

from typing import Final

from abi.layout import BLOCK_PAGES, GIANT_BLOCKS
from kernel.objects import ACTIVE, BLOCK_SPLIT, CONTAINER, GIANT_SPLIT, Kernel

ROOT: Final = BLOCK_PAGES
"""The root container's page: the first of the first block."""


def boot(blocks: int, cores: int) -> Kernel:
    """A kernel with ``blocks`` 2 MiB blocks of memory (at least 1) and ``cores`` cores (at least 1)."""
    if blocks < 1: raise ValueError("a machine needs at least one 2 MiB block of memory")
    if cores < 1: raise ValueError("a machine needs at least one core")
    k = Kernel()
    k.root = ROOT
    k.cores = cores
    begin(k, blocks, cores)
    for r in range(cores): add_core(k, r)
    return k


# What follows is evaluated on terms, for any numbers of blocks and cores (kernel.prove.initial).


def begin(k: Kernel, blocks: int, cores: int) -> None:
    """The memory of a machine, and its root container."""
    m = k.memory
    m.blocks = blocks
    m.giants = max(0, (blocks + 1) // GIANT_BLOCKS - 1)
    m.free_blocks = blocks - 1 - m.giants * GIANT_BLOCKS
    B = k.block[1]
    B.kind = BLOCK_SPLIT
    B.carved = 1
    B.position = 1
    # Giant 0 lacks block 0, and the machine's last one may be only a part of one: both are split from the start.
    last = m.giants + 1
    for g, carved in ((last, 0), (0, 2)):
        end = min(blocks + 1 - g * GIANT_BLOCKS, GIANT_BLOCKS)
        if end <= 0: continue
        G = k.giant[g]
        G.kind = GIANT_SPLIT
        G.carved = carved
        if carved == end: continue
        m.partial_giant_count = m.partial_giant_count + 1
        m.partial_giant_stack[m.partial_giant_count] = g
        G.position = m.partial_giant_count
    m.partial_count = 1
    m.partial_stack[1] = 1
    P = k.page[ROOT]
    P.kind = CONTAINER
    P.owner = ROOT
    P.block = 1
    C = k.container[ROOT]
    C.state = ACTIVE
    C.cores_of = ROOT
    C.core_count = cores
    C.pages = BLOCK_PAGES - 1
    C.blocks = m.free_blocks
    C.giants = m.giants
    C.used_pages = 1
    m.free_pages = BLOCK_PAGES - 1
    m.promised_pages = C.pages
    m.promised_blocks = C.blocks
    m.promised_giants = C.giants


def add_core(k: Kernel, r: int) -> None:
    """Core r, which is the root container's."""
    R = k.core[r]
    R.container = ROOT
    R.position = r
    C = k.container[ROOT]
    C.cores[r] = r
