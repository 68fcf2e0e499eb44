"""Cases of granting pages and blocks."""

from __future__ import annotations

from tests.kernel.scenarios import Arguments, V, W, case
from tests.kernel.world import World, indices, page_at


def two_containers(w: World, pages: int = 20, blocks: int = 1) -> tuple[int, int]:
    """A process of the root, and one in a container with this quota left: (process, process)."""
    t = w.running()
    d, _ = w.inside(t, *w.container(t, pages + 3, blocks)[1:])
    assert w.k.container[w.k.process[d].container].pages == pages
    return w.k.thread[t].process, d


@case("grant_page")
def to_another_container(w: World) -> Arguments:
    s, d = two_containers(w)
    w.map(s, V)
    return (s, *indices(V), d, *indices(W), 5)


@case("grant_page")
def to_the_parent_container(w: World) -> Arguments:
    d, s = two_containers(w)
    w.map(s, V)
    w.map(s, V + 1)
    w.map(d, W + 1)
    return (s, *indices(V), d, *indices(W), 0)


@case("grant_page")
def to_another_process(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(s, V + 512)
    w.map(d, W + 512)
    return (s, *indices(V), d, *indices(W), 7)


@case("grant_page")
def tables_are_made_of_those_that_go(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(s, page_at(1, 3, 3, 3))
    w.map(d, page_at(5, 1, 1, 1))
    return (s, *indices(V), d, *indices(W), 1)


@case("grant_page")
def to_the_next_entry(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(V + 1), 3)


@case("grant_page")
def to_the_next_table(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(V + 512), 3)


@case("grant_page")
def to_the_next_level_2_table(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(V + (1 << 18)), 3)


@case("grant_page")
def to_the_next_level_3_table(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(V + (1 << 27)), 3)


@case("grant_page")
def receiver_can_just_pay(w: World) -> Arguments:
    s, d = two_containers(w, pages=4)
    w.map(s, V)
    return (s, *indices(V), d, *indices(V), 7)


@case("grant_page", "EINVAL")
def granted_from_no_programs_address(w: World) -> Arguments:
    s = w.process()
    return (s, 0, 0, -1, 0, s, *indices(V), 7)


@case("grant_page", "EINVAL")
def granted_to_no_programs_address(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, 255, 0, 0, 0, 7)


@case("grant_page", "EINVAL")
def granted_with_an_unknown_permission(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(W), 9)


@case("grant_page", "EINVAL")
def granted_with_more_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map(s, V, 1)
    return (s, *indices(V), s, *indices(W), 3)


@case("grant_page", "EFAULT")
def nothing_to_grant(w: World) -> Arguments:
    s = w.process()
    w.map(s, V + 1)
    return (s, *indices(V), s, *indices(W), 3)


@case("grant_page", "EFAULT")
def part_of_a_block_granted(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W), s, *indices(V), 3)


@case("grant_page", "EBUSY")
def another_maps_it_too(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.do("share_page", s, *indices(V), d, *indices(V), 7)
    return (s, *indices(V), d, *indices(W), 3)


@case("grant_page", "EBUSY")
def another_container_pays_for_it(w: World) -> Arguments:
    s, d = two_containers(w)
    w.map(s, V)
    w.do("share_page", s, *indices(V), d, *indices(V), 7)
    w.do("unmap_page", s, *indices(V))
    return (d, *indices(V), s, *indices(V), 3)


@case("grant_page", "EEXIST")
def to_where_it_is(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(V), 3)


@case("grant_page", "EEXIST")
def into_a_block(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map_block(d, W)
    return (s, *indices(V), d, *indices(W + 7), 3)


@case("grant_page", "ENOMEM")
def receiver_cannot_pay_for_the_page(w: World) -> Arguments:
    s, d = two_containers(w, pages=3)
    w.map(s, V)
    return (s, *indices(V), d, *indices(V), 3)


@case("grant_page", "ENOMEM")
def no_quota_for_tables_to_grant(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.leave(2)
    return (s, *indices(V), d, *indices(W), 3)


@case("grant_page", "EINVAL")
def receiver_that_is_no_process(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), 0, *indices(W), 3)


@case("grant_block")
def block_to_another_container(w: World) -> Arguments:
    s, d = two_containers(w)
    w.map_block(s, W)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 5)


@case("grant_block")
def block_to_the_parent_container(w: World) -> Arguments:
    d, s = two_containers(w)
    w.map_block(s, W)
    w.map(s, V)
    w.map(d, page_at(5, 1, 1, 1))
    return (s, *indices(W)[:3], d, *indices(W)[:3], 5)


@case("grant_block")
def block_to_another_process(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map(s, page_at(5, 1, 1, 1))
    w.map(d, W + 512)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 7)


@case("grant_block")
def block_to_the_next_entry(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 7)


@case("grant_block")
def block_to_the_next_level_2_table(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], s, *indices(W + (1 << 18))[:3], 7)


@case("grant_block", "EINVAL")
def block_from_no_programs_address(w: World) -> Arguments:
    s = w.process()
    return (s, -1, 0, 0, s, *indices(W)[:3], 7)


@case("grant_block", "EINVAL")
def block_to_no_programs_address(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], s, 0, 0, 512, 7)


@case("grant_block", "EINVAL")
def block_granted_to_be_written_alone(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 2)


@case("grant_block", "EINVAL")
def block_with_more_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W, 5)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 7)


@case("grant_block", "EFAULT")
def page_granted_as_a_block(w: World) -> Arguments:
    s = w.process()
    w.map(s, W)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 3)


@case("grant_block", "EBUSY")
def another_maps_the_block_too(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.do("share_block", s, *indices(W)[:3], d, *indices(W)[:3], 7)
    return (s, *indices(W)[:3], d, *indices(W + 512)[:3], 3)


@case("grant_block", "EBUSY")
def another_container_pays_for_the_block(w: World) -> Arguments:
    s, d = two_containers(w)
    w.map_block(s, W)
    w.do("share_block", s, *indices(W)[:3], d, *indices(W)[:3], 7)
    w.do("unmap_block", s, *indices(W)[:3])
    return (d, *indices(W)[:3], s, *indices(W)[:3], 3)


@case("grant_block", "EEXIST")
def block_to_where_a_table_is(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map(d, W + 9)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 3)


@case("grant_block", "ENOMEM")
def receiver_has_no_block(w: World) -> Arguments:
    s, d = two_containers(w, blocks=0)
    w.map_block(s, W)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 3)


@case("grant_block", "ENOMEM")
def no_quota_for_tables_to_grant_a_block(w: World) -> Arguments:
    s, d = two_containers(w, pages=1)
    w.map_block(s, W)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 3)
