"""Cases of 1 GiB giants: mapped, shared, granted, split into blocks and whole again."""

from __future__ import annotations

from tests.kernel.scenarios import Arguments, V, W, case
from tests.kernel.scenarios.granting import two_containers
from tests.kernel.world import World, indices, page_at

TWO = 3 * 512 - 1
"""Blocks of a machine with giants 0 (split), 1 and 2."""
AND_FIVE = TWO + 5
"""With five blocks of a giant 3 as well."""
G = page_at(5, 7, 0, 0)
"""Where giants are mapped; W and V are elsewhere."""
ONE = 1 << 18
"""4 KiB pages in a giant."""


def use_up_blocks(w: World, leaving: int = 0) -> int:
    """Has a new process map all blocks of quota but these, from G on in slot 9.  Returns it."""
    s = w.process()
    with w.unchecked():
        v = page_at(9, 0, 0, 0)
        while w.root.blocks > leaving:
            w.map_block(s, v)
            v += 512
    return s


@case("map_giant", blocks=TWO)
def table_is_missing(w: World) -> Arguments:
    return (w.process(), *indices(G)[:2], 7)


@case("map_giant", blocks=TWO)
def beside_pages(w: World) -> Arguments:
    s = w.process()
    w.map(s, G - 1)
    return (s, *indices(G)[:2], 0)


@case("map_giant", blocks=TWO)
def giant_that_came_back(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    w.do("unmap_giant", s, *indices(G)[:2])
    return (s, *indices(G)[:2], 5)


@case("map_giant", blocks=TWO)
def giant_that_was_split_before(w: World) -> Arguments:
    s = w.process()
    w.limit(300, 510, 2)
    hog = use_up_blocks(w)
    w.do("giant_split", w.k.root)
    for i in (3, 4, 5):
        w.map_block(s, W + 512 * i)
    for i in (4, 3, 5):
        w.do("unmap_block", s, *indices(W + 512 * i)[:3])
    w.do("giant_merge", w.k.root)
    assert w.k.process[hog].mappings == 510
    return (s, *indices(G)[:2], 7)


@case("map_giant", blocks=TWO)
def last_giant_of_the_quota(w: World) -> Arguments:
    s = w.process()
    w.limit(1, 0, 1)
    return (s, *indices(G)[:2], 1)


@case("map_giant", "EINVAL", blocks=TWO)
def giant_in_the_machines_own_slot(w: World) -> Arguments:
    return (w.process(), 255, 0, 7)


@case("map_giant", "EINVAL", blocks=TWO)
def giant_to_be_written_alone(w: World) -> Arguments:
    return (w.process(), *indices(G)[:2], 2)


@case("map_giant", "EEXIST", blocks=TWO)
def a_page_is_within(w: World) -> Arguments:
    s = w.process()
    w.map(s, G + 77777)
    return (s, *indices(G)[:2], 7)


@case("map_giant", "EEXIST", blocks=TWO)
def giant_is_there(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], 7)


@case("map_giant", "ENOMEM", blocks=TWO)
def no_giant_left(w: World) -> Arguments:
    s = w.process()
    w.limit(100, 100, 0)
    return (s, *indices(G)[:2], 7)


@case("map_giant", "ENOMEM", blocks=TWO)
def no_page_for_the_table(w: World) -> Arguments:
    s = w.process()
    w.limit(0, 0, 1)
    return (s, *indices(G)[:2], 7)


@case("map_page", "EEXIST", blocks=TWO)
def giant_is_mapped_around(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G + 300000 % ONE), 7)


@case("map_page", blocks=TWO)
def page_of_a_fresh_giant(w: World) -> Arguments:
    """No block is free but those of whole giants."""
    s = use_up_blocks(w)
    with w.unchecked():
        v = V
        while w.k.memory.free_pages:
            w.map(s, v)
            v += 1
    w.do("giant_split", w.k.root)
    w.do("quota_split", w.k.root)
    return (s, *indices(v), 7)


@case("map_block", "EEXIST", blocks=TWO)
def block_in_a_giant(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G + 512)[:3], 7)


@case("map_block", "EEXIST", blocks=TWO)
def block_at_the_start_of_a_giant(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:3], 7)


@case("map_block", blocks=TWO)
def last_block_of_a_giant(w: World) -> Arguments:
    s = use_up_blocks(w, 1)
    return (s, *indices(W)[:3], 7)


@case("map_block", blocks=TWO)
def first_block_of_a_giant(w: World) -> Arguments:
    s = use_up_blocks(w)
    w.do("giant_split", w.k.root)
    return (s, *indices(W)[:3], 7)


@case("map_block", blocks=AND_FIVE)
def last_block_of_the_machine(w: World) -> Arguments:
    s = use_up_blocks(w, 1)
    return (s, *indices(W)[:3], 7)


@case("map_block", blocks=TWO)
def last_free_block_came_back(w: World) -> Arguments:
    s = use_up_blocks(w)
    w.do("unmap_block", s, 9, 0, 100)
    return (s, *indices(W)[:3], 7)


@case("unmap_block", blocks=TWO)
def full_giant_has_a_free_block(w: World) -> Arguments:
    return (use_up_blocks(w), 9, 0, 100)


@case("unmap_block", blocks=AND_FIVE)
def giant_becomes_free(w: World) -> Arguments:
    """The only block in use of giant 1 goes."""
    s = use_up_blocks(w)
    w.do("giant_split", w.k.root)
    w.map_block(s, W)
    w.do("unmap_block", s, 9, 0, 100)
    w.do("unmap_block", s, 9, 0, 509)
    return (s, *indices(W)[:3])


@case("unmap_block", blocks=TWO)
def giant_becomes_free_where_others_came_back(w: World) -> Arguments:
    s = use_up_blocks(w)
    w.do("giant_split", w.k.root)
    for i in range(3):
        w.map_block(s, W + 512 * i)
    for i in (1, 0):
        w.do("unmap_block", s, *indices(W + 512 * i)[:3])
    return (s, *indices(W + 1024)[:3])


@case("unmap_block", blocks=AND_FIVE)
def all_blocks_of_the_last_giant_are_free(w: World) -> Arguments:
    """They stay blocks: it is none that could be mapped as a whole."""
    s = use_up_blocks(w)
    for i in range(511, 515):
        w.do("unmap_block", s, *indices(page_at(9, 0, 0, 0) + 512 * i)[:3])
    return (s, *indices(page_at(9, 0, 0, 0) + 512 * 510)[:3])


@case("unmap_page", blocks=TWO)
def block_and_giant_become_free(w: World) -> Arguments:
    """The only page in use of the only block in use of giant 1 goes."""
    s, *address, _ = page_of_a_fresh_giant(w)
    w.map(s, page_at(*address))
    return (s, *address)


@case("unmap_page", "EFAULT", blocks=TWO)
def part_of_a_giant(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G))


@case("unmap_block", "EFAULT", blocks=TWO)
def block_of_a_giant(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:3])


@case("unmap_giant", blocks=TWO)
def last_giant_of_all(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2])


@case("unmap_giant", blocks=TWO)
def one_of_two_giants(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    w.map_giant(s, G + ONE)
    return (s, *indices(G)[:2])


@case("unmap_giant", blocks=TWO)
def giant_is_shared(w: World) -> Arguments:
    s, d = two_containers(w)
    w.map_giant(s, G)
    w.do("share_giant", s, *indices(G)[:2], d, *indices(G)[:2], 1)
    return (d, *indices(G)[:2])


@case("unmap_giant", blocks=TWO)
def giant_that_another_container_pays_for(w: World) -> Arguments:
    s, *address = giant_is_shared(w)
    w.do("unmap_giant", w.k.container[w.k.root].members[0], *address)
    return (s, *address)


@case("unmap_giant", "EINVAL", blocks=TWO)
def no_programs_giant(w: World) -> Arguments:
    return (w.process(), 0, 512)


@case("unmap_giant", "EFAULT", blocks=TWO)
def no_giant_is_mapped(w: World) -> Arguments:
    return (w.process(), *indices(G)[:2])


@case("unmap_giant", "EFAULT", blocks=TWO)
def entry_beside_the_giant(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G + ONE)[:2])


@case("unmap_giant", "EFAULT", blocks=TWO)
def blocks_are_mapped(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, G)
    return (s, *indices(G)[:2])


@case("protect_page", "EFAULT", blocks=TWO)
def page_of_a_giant(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G), 1)


@case("protect_block", "EFAULT", blocks=TWO)
def giant_instead_of_a_block(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:3], 1)


@case("protect_giant", blocks=TWO)
def giant_is_protected(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], 1)


@case("protect_giant", "EINVAL", blocks=TWO)
def giant_with_an_unknown_permission(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], 4)


@case("protect_giant", "EINVAL", blocks=TWO)
def negative_giant(w: World) -> Arguments:
    return (w.process(), 0, -1, 1)


@case("protect_giant", "EFAULT", blocks=TWO)
def no_giant_to_protect(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, G)
    return (s, *indices(G)[:2], 1)


@case("share_page", "EEXIST", blocks=TWO)
def target_is_in_a_giant(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map_giant(d, G)
    return (s, *indices(V), d, *indices(G + 9999), 3)


@case("share_block", "EEXIST", blocks=TWO)
def target_of_the_block_is_in_a_giant(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map_giant(d, G)
    return (s, *indices(W)[:3], d, *indices(G + 512)[:3], 3)


@case("share_giant", blocks=TWO)
def giant_with_a_table(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], d, *indices(W)[:2], 5)


@case("share_giant", blocks=TWO)
def giant_within_one_process(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G, 3)
    return (s, *indices(G)[:2], s, *indices(G + ONE)[:2], 3)


@case("share_giant", "EINVAL", blocks=TWO)
def giant_from_no_programs_address(w: World) -> Arguments:
    s = w.process()
    return (s, 255, 0, s, *indices(G)[:2], 3)


@case("share_giant", "EINVAL", blocks=TWO)
def giant_to_no_programs_address(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], s, 0, 512, 3)


@case("share_giant", "EINVAL", blocks=TWO)
def giant_shared_to_be_executed_alone(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], s, *indices(W)[:2], 4)


@case("share_giant", "EINVAL", blocks=TWO)
def giant_wider_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G, 1)
    return (s, *indices(G)[:2], s, *indices(W)[:2], 3)


@case("share_giant", "EFAULT", blocks=TWO)
def block_shared_as_a_giant(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, G)
    return (s, *indices(G)[:2], s, *indices(W)[:2], 3)


@case("share_giant", "EEXIST", blocks=TWO)
def target_has_a_page_within(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_giant(s, G)
    w.map(d, G + 99999)
    return (s, *indices(G)[:2], d, *indices(G)[:2], 3)


@case("share_giant", "ENOMEM", blocks=TWO)
def no_quota_for_a_table_to_share_a_giant(w: World) -> Arguments:
    s, d = two_containers(w, pages=0)
    w.map_giant(s, G)
    return (s, *indices(G)[:2], d, *indices(G)[:2], 3)


def container_with_a_giant(w: World, pages: int = 20, giants: int = 1) -> tuple[int, int]:
    """A process of the root, and one in a container with this quota left: (process, process)."""
    t = w.running()
    d, _ = w.inside(t, *w.container(t, pages + 3, 0, giants)[1:])
    return w.k.thread[t].process, d


@case("grant_giant", blocks=TWO)
def giant_to_another_container(w: World) -> Arguments:
    s, d = container_with_a_giant(w)
    w.map_giant(s, G)
    return (s, *indices(G)[:2], d, *indices(G)[:2], 5)


@case("grant_giant", blocks=TWO)
def giant_to_the_parent_container(w: World) -> Arguments:
    d, s = container_with_a_giant(w)
    w.map_giant(s, G)
    w.map(s, G - 1)
    w.map(d, G - 1)
    return (s, *indices(G)[:2], d, *indices(G)[:2], 0)


@case("grant_giant", blocks=TWO)
def giant_to_another_process(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], d, *indices(W)[:2], 7)


@case("grant_giant", blocks=TWO)
def giant_to_the_next_entry(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], s, *indices(G + ONE)[:2], 7)


@case("grant_giant", blocks=TWO)
def giant_to_the_next_level_3_table(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], s, *indices(G + (1 << 27))[:2], 7)


@case("grant_giant", "EINVAL", blocks=TWO)
def giant_granted_from_no_programs_address(w: World) -> Arguments:
    s = w.process()
    return (s, -1, 0, s, *indices(G)[:2], 7)


@case("grant_giant", "EINVAL", blocks=TWO)
def giant_granted_to_no_programs_address(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], s, 256, 0, 7)


@case("grant_giant", "EINVAL", blocks=TWO)
def giant_granted_with_an_unknown_permission(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], s, *indices(W)[:2], 8)


@case("grant_giant", "EINVAL", blocks=TWO)
def giant_with_more_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G, 5)
    return (s, *indices(G)[:2], s, *indices(W)[:2], 3)


@case("grant_giant", "EFAULT", blocks=TWO)
def no_giant_to_grant(w: World) -> Arguments:
    s = w.process()
    w.map(s, G)
    return (s, *indices(G)[:2], s, *indices(W)[:2], 3)


@case("grant_giant", "EBUSY", blocks=TWO)
def another_maps_the_giant_too(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_giant(s, G)
    w.do("share_giant", s, *indices(G)[:2], d, *indices(G)[:2], 7)
    return (s, *indices(G)[:2], d, *indices(W)[:2], 3)


@case("grant_giant", "EBUSY", blocks=TWO)
def another_container_pays_for_the_giant(w: World) -> Arguments:
    s, d = container_with_a_giant(w)
    w.map_giant(s, G)
    w.do("share_giant", s, *indices(G)[:2], d, *indices(G)[:2], 7)
    w.do("unmap_giant", s, *indices(G)[:2])
    return (d, *indices(G)[:2], s, *indices(G)[:2], 3)


@case("grant_giant", "EEXIST", blocks=TWO)
def giant_to_where_it_is(w: World) -> Arguments:
    s = w.process()
    w.map_giant(s, G)
    return (s, *indices(G)[:2], s, *indices(G)[:2], 3)


@case("grant_giant", "ENOMEM", blocks=TWO)
def receiver_has_no_giant(w: World) -> Arguments:
    s, d = container_with_a_giant(w, giants=0)
    w.map_giant(s, G)
    return (s, *indices(G)[:2], d, *indices(G)[:2], 3)


@case("grant_giant", "ENOMEM", blocks=TWO)
def no_quota_for_a_table_to_grant_a_giant(w: World) -> Arguments:
    s, d = container_with_a_giant(w, pages=0)
    w.map_giant(s, G)
    return (s, *indices(G)[:2], d, *indices(G)[:2], 3)


@case("grant_page", "EEXIST", blocks=TWO)
def page_into_a_giant(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map_giant(d, G)
    return (s, *indices(V), d, *indices(G + 5), 3)


@case("grant_block", "EEXIST", blocks=TWO)
def block_into_a_giant(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map_giant(d, G)
    return (s, *indices(W)[:3], d, *indices(G + 1024)[:3], 3)


@case("giant_split", blocks=TWO)
def has_a_giant(w: World) -> Arguments:
    return (w.k.root,)


@case("giant_split", blocks=TWO)
def has_one_giant(w: World) -> Arguments:
    w.limit(100, 510, 1)
    return (w.k.root,)


@case("giant_split", "ENOMEM")
def has_no_giant(w: World) -> Arguments:
    return (w.k.root,)


@case("giant_merge", blocks=TWO)
def has_a_giant_of_blocks(w: World) -> Arguments:
    w.do("giant_split", w.k.root)
    return (w.k.root,)


@case("giant_merge", "ENOMEM", blocks=TWO)
def has_too_few_blocks(w: World) -> Arguments:
    w.limit(100, 510, 0)
    return (w.k.root,)


@case("giant_merge", "ENOMEM", blocks=TWO)
def no_giant_is_whole(w: World) -> Arguments:
    w.limit(100, 510, 2)
    use_up_blocks(w)
    w.do("giant_split", w.k.root)
    w.do("giant_split", w.k.root)
    s = w.process()
    with w.unchecked():
        for i in range(513):
            w.map_block(s, page_at(7, 0, 0, 0) + 512 * i)
        for i in range(500):
            w.do("unmap_block", s, *indices(page_at(7, 0, 0, 0) + 512 * i)[:3])
    assert w.root.blocks >= 512
    return (w.k.root,)


@case("container_create", blocks=TWO)
def container_with_giants(w: World) -> Arguments:
    return (w.running(), 3, 0, 2)


@case("container_create", "EINVAL", blocks=TWO)
def negative_giants(w: World) -> Arguments:
    return (w.running(), 0, 0, -1)


@case("container_create", "ENOMEM", blocks=TWO)
def more_giants_than_there_are(w: World) -> Arguments:
    return (w.running(), 0, 0, 3)


def giant_left_to_others(w: World) -> int:
    """A giant of a container that has no process any more, mapped by a process of the root."""
    t = w.running()
    _, slot, generation = w.container(t, giants=1)
    s, _ = w.inside(t, slot, generation)
    d = w.process()
    p = w.map_giant(s, G)
    w.do("share_giant", s, *indices(G)[:2], d, *indices(G)[:2], 1)
    w.do("container_kill", t, slot, generation)
    w.end(s)
    w.do("process_forget", s)
    return p


@case("page_inherit", blocks=TWO)
def giant_that_another_maps(w: World) -> Arguments:
    return (giant_left_to_others(w),)


@case("container_finish", "EBUSY", blocks=TWO)
def a_giant_is_left(w: World) -> Arguments:
    return (w.k.page[giant_left_to_others(w)].owner,)


@case("container_finish", blocks=TWO)
def container_with_a_giant_of_quota(w: World) -> Arguments:
    t = w.running()
    c, slot, generation = w.container(t, giants=2)
    w.do("container_kill", t, slot, generation)
    return (c,)


@case("quota_merge", "ENOMEM", blocks=TWO)
def blocks_are_whole_in_promised_giants_alone(w: World) -> Arguments:
    s = use_up_blocks(w, 2)
    with w.unchecked():
        for _ in range(2):
            w.do("quota_split", w.k.root)
        for i in range(1200):
            w.map(s, V + i)
        for i in range(0, 1200, 2):
            w.do("unmap_page", s, *indices(V + i))
    assert w.root.pages >= 512
    assert w.root.giants == 2
    return (w.k.root,)
