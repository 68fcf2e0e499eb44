"""Cases of what moves quota."""

from __future__ import annotations

from tests.kernel.scenarios import Arguments, V, case
from tests.kernel.world import World, indices


@case("quota_split")
def has_a_block(w: World) -> Arguments:
    return (w.k.root,)


@case("quota_split", "ENOMEM")
def has_no_block(w: World) -> Arguments:
    while w.root.blocks:
        w.do("quota_split", w.k.root)
    return (w.k.root,)


@case("quota_merge")
def has_two_blocks_of_pages(w: World) -> Arguments:
    w.do("quota_split", w.k.root)
    return (w.k.root,)


@case("quota_merge", "ENOMEM")
def has_too_few_pages(w: World) -> Arguments:
    return (w.k.root,)


@case("quota_merge", "ENOMEM")
def no_block_is_whole(w: World) -> Arguments:
    s = w.process()
    with w.unchecked():
        for _ in range(2):
            w.do("quota_split", w.k.root)
        for i in range(1200):
            w.map(s, V + i)
        for i in range(0, 1200, 2):
            w.do("unmap_page", s, *indices(V + i))
    assert w.root.pages >= 512
    return (w.k.root,)
