"""Cases of sharing pages and blocks."""

from __future__ import annotations

from tests.kernel.scenarios import Arguments, V, W, case
from tests.kernel.world import World, indices, page_at


@case("share_page")
def with_three_tables(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    return (s, *indices(V), d, *indices(W), 5)


@case("share_page")
def with_two_tables(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(d, page_at(5, 1, 1, 1))
    return (s, *indices(V), d, *indices(W), 5)


@case("share_page")
def with_one_table(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(d, W + 512)
    return (s, *indices(V), d, *indices(W), 7)


@case("share_page")
def within_one_process(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(V + 1), 7)


@case("share_page", "EINVAL")
def target_is_no_programs(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, 255, 0, 0, 0, 7)


@case("share_page", "EINVAL")
def wider_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map(s, V, 5)
    return (s, *indices(V), s, *indices(W), 3)


@case("share_page", "EFAULT")
def nothing_to_share(w: World) -> Arguments:
    s = w.process()
    return (s, *indices(V), s, *indices(W), 3)


@case("share_page", "EEXIST")
def target_is_mapped(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(d, V)
    return (s, *indices(V), d, *indices(V), 3)


@case("share_page", "EEXIST")
def target_is_in_a_block(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map_block(d, W)
    return (s, *indices(V), d, *indices(W + 3), 3)


@case("share_page", "ENOMEM")
def no_quota_for_tables_to_share(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.leave(2)
    return (s, *indices(V), d, *indices(W), 3)


@case("share_block")
def block_with_two_tables(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 5)


@case("share_block")
def block_with_one_table(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map(d, page_at(5, 1, 1, 1))
    return (s, *indices(W)[:3], d, *indices(W)[:3], 5)


@case("share_block")
def block_within_one_process(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W, 3)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 3)


@case("share_block", "EINVAL")
def block_wider_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W, 1)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 3)


@case("share_block", "EINVAL")
def source_is_no_programs(w: World) -> Arguments:
    s = w.process()
    return (s, 255, 0, 0, s, *indices(W)[:3], 3)


@case("share_block", "EFAULT")
def page_shared_as_a_block(w: World) -> Arguments:
    s = w.process()
    w.map(s, W)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 3)


@case("share_block", "EEXIST")
def target_has_a_table(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map(d, W + 9)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 3)


@case("share_block", "ENOMEM")
def no_quota_for_tables_to_share_a_block(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.leave(1)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 3)
