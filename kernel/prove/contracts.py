"""Contracts of the page allocator: what its callers may take for granted of allocating and freeing, so that its inside
is proved once and not in every transition.

A contract says what has to hold where the function is called (``requires``), what is then known of the page that it
chose (``chosen``), and what the caller can see of it afterwards (``effect``).  What it cannot see, the allocator's own
fields and the ledgers over them (INSIDE), is anything at all that the allocator's invariants (KEPT) allow.  Proved of
each function (kernel.prove.allocator): supposing these invariants and what it requires, and nothing else, they hold
again afterwards, and everything outside is what the effect says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kernel.invariants import memory
from kernel.objects import (
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDPOINT,
    FREE,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    TABLE,
    THREAD,
    Kernel,
)  # fmt: skip
from kernel.specs.frame import Frame

INSIDE: Final = frozenset(
    f"{table}.{field}" for table, field in Frame.ALLOCATOR if not field.startswith("promised")
)
"""Fields that only the allocator is concerned with."""
INSIDE_LEDGERS: Final = frozenset(
    {"in_use", "blocks_in_use", "free_pages", "free_blocks"}
)
KEPT: Final = tuple(
    clause.__name__
    for clause in (
        memory.page_block, memory.block_kind, memory.block_giant, memory.block_split, memory.block_used,
        memory.block_stack, memory.block_position, memory.giant_kind, memory.giant_split, memory.giant_used,
        memory.giant_stack, memory.giant_position, memory.free_stack, memory.partial_giant_stack,
        memory.partial_stack, memory.memory_counts, memory.memory_size, memory.memory_promise, memory.container_quota,
    )
)  # fmt: skip
"""The invariants that the allocator needs, and keeps."""


@dataclass(frozen=True)
class Contract:
    """What callers of a function may rely on.  ``effect`` has the function's arguments and, if ``chosen`` is not None,
    the page that it returns."""

    requires: Callable[..., bool]
    effect: Callable[..., None]
    chosen: Callable[[Kernel, int], bool] | None = None


def page_quota(k: Kernel, c: int, kind: int) -> bool:
    """Container c has a page of quota left, and the kind is one of a 4 KiB page."""
    return k.page[c].kind == CONTAINER and k.container[c].pages >= 1 and small(kind)


def small(kind: int) -> bool:
    """True for what a 4 KiB page can be used as."""
    return kind in (MAPPED, ENDPOINT, DEVICE, DOMAIN) or (kind >= TABLE and kind <= THREAD)


def unused(k: Kernel, p: int) -> bool:
    """A page that was allocated was free."""
    return p >= 1 and k.page[p].kind == FREE


def page_taken(k: Kernel, c: int, kind: int, p: int) -> None:
    """Page p is container c's, used so."""
    P = k.page[p]
    P.kind = kind
    P.owner = c
    C = k.container[c]
    C.pages = C.pages - 1
    C.used_pages = C.used_pages + 1
    m = k.memory
    m.promised_pages = m.promised_pages - 1


def page_used(k: Kernel, p: int) -> bool:
    """Page p is used as a 4 KiB page, and charged to a container; if it is one itself, it has no quota left."""
    C = k.container[p]
    if k.page[p].owner == p: return False
    if k.page[p].kind == CONTAINER and (C.pages != 0 or C.blocks != 0 or C.giants != 0): return False
    return small(k.page[p].kind) and k.page[k.page[p].owner].kind == CONTAINER


def page_given_back(k: Kernel, p: int) -> None:
    """Page p is nobody's, and its container may allocate another."""
    P = k.page[p]
    C = k.container[P.owner]
    C.pages = C.pages + 1
    C.used_pages = C.used_pages - 1
    m = k.memory
    m.promised_pages = m.promised_pages + 1
    P.kind = FREE
    P.owner = 0


def charge_blocks(k: Kernel, c: int, by: int) -> None:
    """Container c owns so many whole blocks more, counting the first of each giant."""
    assert k.ledger is not None
    k.ledger.owned_blocks[c] += by


def charge_giants(k: Kernel, c: int, by: int) -> None:
    """Container c owns so many whole giants more."""
    assert k.ledger is not None
    k.ledger.owned_giants[c] += by


def block_quota(k: Kernel, c: int) -> bool:
    """Container c has a block of quota left."""
    return k.page[c].kind == CONTAINER and k.container[c].blocks >= 1


def block_taken(k: Kernel, c: int, p: int) -> None:
    """The block that starts with page p is container c's."""
    P = k.page[p]
    P.kind = MAPPED_BLOCK
    P.owner = c
    C = k.container[c]
    C.blocks = C.blocks - 1
    C.used_blocks = C.used_blocks + 1
    m = k.memory
    m.promised_blocks = m.promised_blocks - 1
    charge_blocks(k, c, 1)


def block_used(k: Kernel, p: int) -> bool:
    """Page p starts a whole block, charged to a container."""
    return k.page[p].kind == MAPPED_BLOCK and k.page[k.page[p].owner].kind == CONTAINER


def block_given_back(k: Kernel, p: int) -> None:
    """The block that starts with page p is nobody's, and its container may allocate another."""
    P = k.page[p]
    C = k.container[P.owner]
    C.blocks = C.blocks + 1
    C.used_blocks = C.used_blocks - 1
    m = k.memory
    m.promised_blocks = m.promised_blocks + 1
    charge_blocks(k, P.owner, -1)
    P.kind = FREE
    P.owner = 0


def giant_quota(k: Kernel, c: int) -> bool:
    """Container c has a giant of quota left."""
    return k.page[c].kind == CONTAINER and k.container[c].giants >= 1


def giant_taken(k: Kernel, c: int, p: int) -> None:
    """The giant that starts with page p is container c's."""
    P = k.page[p]
    P.kind = MAPPED_GIANT
    P.owner = c
    C = k.container[c]
    C.giants = C.giants - 1
    C.used_giants = C.used_giants + 1
    m = k.memory
    m.promised_giants = m.promised_giants - 1
    charge_blocks(k, c, 1)
    charge_giants(k, c, 1)


def giant_used(k: Kernel, p: int) -> bool:
    """Page p starts a whole giant, charged to a container."""
    return k.page[p].kind == MAPPED_GIANT and k.page[k.page[p].owner].kind == CONTAINER


def giant_given_back(k: Kernel, p: int) -> None:
    """The giant that starts with page p is nobody's, and its container may allocate another."""
    P = k.page[p]
    C = k.container[P.owner]
    C.giants = C.giants + 1
    C.used_giants = C.used_giants - 1
    m = k.memory
    m.promised_giants = m.promised_giants + 1
    charge_blocks(k, P.owner, -1)
    charge_giants(k, P.owner, -1)
    P.kind = FREE
    P.owner = 0


CONTRACTS: Final = {
    "allocate_page": Contract(page_quota, page_taken, unused),
    "free_page": Contract(page_used, page_given_back),
    "allocate_block": Contract(block_quota, block_taken, unused),
    "free_block": Contract(block_used, block_given_back),
    "allocate_giant": Contract(giant_quota, giant_taken, unused),
    "free_giant": Contract(giant_used, giant_given_back),
}
"""By the name of the function of kernel.page_allocator."""
