"""Cases of mapping, unmapping and protecting."""

from __future__ import annotations

from tests.kernel.scenarios import Arguments, V, W, case
from tests.kernel.world import World, indices, page_at


@case("map_page")
def three_tables_are_missing(w: World) -> Arguments:
    return (w.process(), *indices(V), 7)


@case("map_page")
def two_tables_are_missing(w: World) -> Arguments:
    s = w.process()
    w.map(s, page_at(1, 3, 3, 4))
    return (s, *indices(V), 3)


@case("map_page")
def one_table_is_missing(w: World) -> Arguments:
    s = w.process()
    w.map(s, page_at(1, 2, 4, 4))
    return (s, *indices(V), 5)


@case("map_page")
def no_table_is_missing(w: World) -> Arguments:
    s = w.process()
    w.map(s, V + 1)
    return (s, *indices(V), 0)


@case("map_page")
def page_that_came_back(w: World) -> Arguments:
    s = w.process()
    for v in (V + 1, V + 2, V + 3):
        w.map(s, v)
    w.do("unmap_page", s, *indices(V + 2))
    return (s, *indices(V), 1)


@case("map_page")
def last_page_of_a_block(w: World) -> Arguments:
    s = w.process()
    v = V
    with w.unchecked():
        while w.k.memory.free_pages > 1:
            w.map(s, v)
            v += 1
    return (s, *indices(v), 7)


@case("map_page")
def first_page_of_a_block(w: World) -> Arguments:
    s, *address, _ = last_page_of_a_block(w)
    w.do("quota_split", w.k.root)
    v = page_at(*address)
    w.map(s, v)
    return (s, *indices(v + 1), 7)


@case("map_page", "EINVAL")
def machines_own_slot(w: World) -> Arguments:
    return (w.process(), 255, 0, 0, 0, 7)


@case("map_page", "EINVAL")
def index_out_of_range(w: World) -> Arguments:
    return (w.process(), 0, 0, 512, 0, 7)


@case("map_page", "EINVAL")
def negative_index(w: World) -> Arguments:
    return (w.process(), 0, 0, 0, -1, 7)


@case("map_page", "EINVAL")
def write_without_read(w: World) -> Arguments:
    return (w.process(), *indices(V), 2)


@case("map_page", "EEXIST")
def page_is_mapped_there(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), 7)


@case("map_page", "EEXIST")
def block_is_mapped_around(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, V & ~511)
    return (s, *indices(V), 7)


@case("map_page", "ENOMEM")
def quota_for_tables_alone(w: World) -> Arguments:
    s = w.process()
    w.leave(3)
    return (s, *indices(V), 7)


@case("map_block")
def both_tables_are_missing(w: World) -> Arguments:
    return (w.process(), *indices(W)[:3], 7)


@case("map_block")
def one_table_is_missing_for_a_block(w: World) -> Arguments:
    s = w.process()
    w.map(s, page_at(5, 1, 1, 1))
    return (s, *indices(W)[:3], 7)


@case("map_block")
def beside_a_page(w: World) -> Arguments:
    s = w.process()
    w.map(s, W + 512)
    return (s, *indices(W)[:3], 1)


@case("map_block")
def block_that_came_back(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    w.do("unmap_block", s, *indices(W)[:3])
    return (s, *indices(W)[:3], 1)


@case("map_block", "EINVAL")
def slot_beyond_the_last(w: World) -> Arguments:
    return (w.process(), 256, 0, 0, 7)


@case("map_block", "EINVAL")
def unknown_permission(w: World) -> Arguments:
    return (w.process(), *indices(W)[:3], 8)


@case("map_block", "EEXIST")
def table_is_there(w: World) -> Arguments:
    s = w.process()
    w.map(s, W + 3)
    return (s, *indices(W)[:3], 7)


@case("map_block", "EEXIST")
def block_is_there(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], 7)


@case("map_block", "ENOMEM")
def no_block_left(w: World) -> Arguments:
    s = w.process()
    w.leave(300, 0)
    return (s, *indices(W)[:3], 7)


@case("map_block", "ENOMEM")
def no_page_for_the_tables(w: World) -> Arguments:
    s = w.process()
    w.leave(1)
    return (s, *indices(W)[:3], 7)


@case("unmap_page")
def last_mapping_of_all(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V))


@case("unmap_page")
def two_tables_empty(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.map(s, page_at(1, 3, 3, 3))
    return (s, *indices(V))


@case("unmap_page")
def one_table_empties(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.map(s, V + 512)
    return (s, *indices(V))


@case("unmap_page")
def no_table_empties(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.map(s, V + 1)
    return (s, *indices(V))


@case("unmap_page")
def page_is_shared(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.do("share_page", s, *indices(V), d, *indices(W), 5)
    return (s, *indices(V))


@case("unmap_page")
def block_becomes_free(w: World) -> Arguments:
    """The only page in use of the second block goes."""
    s, *address, _ = first_page_of_a_block(w)
    w.map(s, page_at(*address))
    return (s, *address)


@case("unmap_page")
def block_below_another_becomes_free(w: World) -> Arguments:
    """The only page in use of the second block goes; that block is not the last with free pages."""
    s, *address, _ = first_page_of_a_block(w)
    v = page_at(*address)
    w.map(s, v)
    for i in (1, 2):
        w.do("unmap_page", s, *indices(v - i))
    return (s, *address)


@case("unmap_page")
def full_block_has_a_free_page(w: World) -> Arguments:
    s, *address, _ = first_page_of_a_block(w)
    return (s, *indices(page_at(*address) - 5))


@case("unmap_page", "EINVAL")
def no_programs_address(w: World) -> Arguments:
    return (w.process(), -1, 0, 0, 0)


@case("unmap_page", "EFAULT")
def nothing_is_mapped(w: World) -> Arguments:
    return (w.process(), *indices(V))


@case("unmap_page", "EFAULT")
def part_of_a_block(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W))


@case("unmap_block")
def last_block_of_all(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3])


@case("unmap_block")
def one_table_empties_with_the_block(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    w.map(s, page_at(5, 1, 1, 1))
    return (s, *indices(W)[:3])


@case("unmap_block")
def block_is_shared(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.do("share_block", s, *indices(W)[:3], d, *indices(W)[:3], 1)
    return (d, *indices(W)[:3])


@case("unmap_block", "EINVAL")
def no_programs_block(w: World) -> Arguments:
    return (w.process(), 0, 512, 0)


@case("unmap_block", "EFAULT")
def pages_are_mapped(w: World) -> Arguments:
    s = w.process()
    w.map(s, W)
    return (s, *indices(W)[:3])


@case("protect_page")
def page_is_protected(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), 1)


@case("protect_page", "EINVAL")
def permission_out_of_range(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), -1)


@case("protect_page", "EFAULT")
def nothing_to_protect(w: World) -> Arguments:
    return (w.process(), *indices(V), 1)


@case("protect_page", "EFAULT")
def page_of_a_block(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W), 1)


@case("protect_block")
def block_is_protected(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], 0)


@case("protect_block", "EINVAL")
def execute_without_read(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], 4)


@case("protect_block", "EFAULT")
def page_instead_of_a_block(w: World) -> Arguments:
    s = w.process()
    w.map(s, W)
    return (s, *indices(W)[:3], 1)
