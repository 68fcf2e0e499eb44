"""What is done to a page, a block and a giant alike: by how many 4 KiB pages that is, the transition that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from abi.layout import BLOCK_PAGES, GIANT_PAGES
from kernel.calls.ranges import indices

if TYPE_CHECKING:
    from kernel import page_table, sharing
else:
    from kernel.journaled import page_table, sharing

Transition = Callable[..., int]

MAP: Final[dict[int, Transition]] = {
    1: page_table.map_page, BLOCK_PAGES: page_table.map_block, GIANT_PAGES: page_table.map_giant,
}  # fmt: skip
UNMAP: Final[dict[int, Transition]] = {
    1: page_table.unmap_page, BLOCK_PAGES: page_table.unmap_block, GIANT_PAGES: page_table.unmap_giant,
}  # fmt: skip
PROTECT: Final[dict[int, Transition]] = {
    1: page_table.protect_page, BLOCK_PAGES: page_table.protect_block, GIANT_PAGES: page_table.protect_giant,
}  # fmt: skip
SHARE: Final[dict[int, Transition]] = {
    1: sharing.share_page, BLOCK_PAGES: sharing.share_block, GIANT_PAGES: sharing.share_giant,
}  # fmt: skip
GRANT: Final[dict[int, Transition]] = {
    1: sharing.grant_page, BLOCK_PAGES: sharing.grant_block, GIANT_PAGES: sharing.grant_giant,
}  # fmt: skip

_LEVELS: Final = {1: 4, BLOCK_PAGES: 3, GIANT_PAGES: 2}


def place(v: int, count: int) -> tuple[int, ...]:
    """The table indices by which these transitions are told of ``count`` pages at virtual page v: one a level, down to
    the entry that maps them."""
    return indices(v)[: _LEVELS[count]]


__all__ = ["GRANT", "MAP", "PROTECT", "SHARE", "UNMAP", "place"]
