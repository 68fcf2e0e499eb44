"""Violations of what is invariant in physical memory and in quotas."""

from __future__ import annotations

from kernel.objects import BLOCK_SPLIT, GIANT_SPLIT, MAPPED
from kernel.page_allocator import allocate_page, list_partial, list_partial_giant, take_block, take_giant
from tests.kernel.scene import Scene
from tests.kernel.violations import breaks, quota, second_container, violates


@violates("page_owner")
def free_page_has_an_owner(scene: Scene) -> None:
    scene.k.page[scene.free_pages[0]].owner = scene.k.root
    scene.root_container.used_pages += 1


@violates("page_owner")
def page_of_unknown_kind(scene: Scene) -> None:
    p = allocate_page(scene.k, scene.k.root, 99)
    assert scene.k.page[p].kind == 99


@violates("page_block")
def pages_name_each_others_block(scene: Scene) -> None:
    k = scene.k
    p, q = k.page[scene.full_block * 512 + 100], k.page[scene.partial_block * 512]
    p.block, q.block = q.block, p.block


@violates("page_block")
def page_in_use_has_a_rank(scene: Scene) -> None:
    scene.k.page[scene.own].rank = 1


@violates("page_references")
def page_counts_a_mapping_too_many(scene: Scene) -> None:
    scene.k.page[scene.own].references += 1


@violates("page_references")
def page_that_nothing_maps_is_not_free(scene: Scene) -> None:
    allocate_page(scene.k, scene.k.root, MAPPED)


@violates("block_kind")
def block_of_unknown_kind(scene: Scene) -> None:
    scene.k.block[take_block(scene.k)].kind = 9
    quota(scene, blocks=-1)


@violates("block_kind")
def block_is_charged_to_another_than_its_page(scene: Scene) -> None:
    C = scene.k.container[second_container(scene)]
    scene.k.block[scene.block_in_use].owner = C.id
    scene.root_container.used_blocks -= 1
    scene.root_container.used_pages += 1
    C.used_blocks += 1
    C.used_pages -= 1


@violates("block_kind")
def split_block_has_an_owner(scene: Scene) -> None:
    scene.k.block[scene.full_block].owner = scene.k.root
    scene.root_container.used_blocks += 1
    scene.root_container.used_pages -= 1


@violates("block_giant")
def blocks_name_each_others_giant(scene: Scene) -> None:
    k = scene.k
    b, c = k.block[scene.full_block], k.block[scene.block_in_use]
    b.giant, c.giant = c.giant, b.giant


@violates("block_split")
def split_block_with_nothing_carved(scene: Scene) -> None:
    b = take_block(scene.k)
    scene.k.block[b].kind = BLOCK_SPLIT
    list_partial(scene.k, b)
    scene.k.memory.free_pages += 512
    quota(scene, blocks=-1)


@violates("block_split")
def free_block_is_carved(scene: Scene) -> None:
    B = scene.k.block[scene.used_blocks[0]]
    B.carved = B.listed = 1


@violates("block_used")
def page_leaks(scene: Scene) -> None:
    """The page on top of a block's stack is neither free to be handed out nor in use; everybody's books agree."""
    B = scene.k.block[scene.partial_block]
    B.stack[B.listed] = 0
    B.listed -= 1
    scene.k.memory.free_pages -= 1
    quota(scene, pages=-1)


@violates("block_stack")
def page_is_on_the_stack_twice(scene: Scene) -> None:
    B = scene.k.block[scene.partial_block]
    B.stack[1] = B.stack[2]


@violates("block_stack")
def page_in_use_is_on_the_stack(scene: Scene) -> None:
    B = scene.k.block[scene.partial_block]
    B.stack[1] = scene.partial_block * 512


@violates("block_position")
def full_block_has_a_position(scene: Scene) -> None:
    scene.k.block[scene.full_block].position = 1


@violates("block_position")
def partial_block_is_lost(scene: Scene) -> None:
    m = scene.k.memory
    m.partial_stack[m.partial_count] = 0
    m.partial_count -= 1


@violates("giant_kind")
def giant_of_unknown_kind(scene: Scene) -> None:
    scene.k.giant[scene.k.memory.fresh].kind = 9


@violates("giant_kind")
def split_giant_has_an_owner(scene: Scene) -> None:
    scene.k.giant[0].owner = scene.k.root
    scene.root_container.used_giants += 1
    scene.root_container.used_blocks -= 1


@violates("giant_kind")
def giant_is_charged_to_another_than_its_block(scene: Scene) -> None:
    C = scene.k.container[second_container(scene)]
    scene.k.giant[2].owner = C.id
    scene.root_container.used_giants -= 1
    scene.root_container.used_blocks += 1
    C.used_giants += 1
    C.used_blocks -= 1


@violates("giant_split")
def split_giant_with_nothing_carved(scene: Scene) -> None:
    g = take_giant(scene.k)
    scene.k.giant[g].kind = GIANT_SPLIT
    list_partial_giant(scene.k, g)
    scene.k.memory.free_blocks += 512
    quota(scene, giants=-1)


@violates("giant_split")
def free_giant_is_carved(scene: Scene) -> None:
    G = scene.k.giant[3]
    G.carved = G.listed = 1


@breaks("giant_split")
def giant_beyond_the_end_is_split(scene: Scene) -> None:
    m = scene.k.memory
    m.giants += 1
    G = scene.k.giant[m.giants]
    G.kind, G.carved = GIANT_SPLIT, 2
    assert m.giants * 512 == m.blocks + 1


@violates("giant_used")
def block_leaks(scene: Scene) -> None:
    """The block on top of a giant's stack is neither free to be handed out nor in use; everybody's books agree."""
    G = scene.k.giant[1]
    G.stack[G.listed] = 0
    G.listed -= 1
    scene.k.memory.free_blocks -= 1
    quota(scene, blocks=-1)


@violates("giant_stack")
def block_is_on_the_stack_twice(scene: Scene) -> None:
    G = scene.k.giant[1]
    G.stack[1] = G.stack[2]


@breaks("giant_stack")
def block_that_is_never_used_is_on_the_stack(scene: Scene) -> None:
    G, B = scene.k.giant[0], scene.k.block[0]
    G.listed, G.stack[1], B.position = 1, 0, 1


@violates("giant_stack")
def block_in_use_is_on_the_stack(scene: Scene) -> None:
    scene.k.giant[1].stack[1] = scene.block_in_use


@violates("giant_position")
def full_giant_has_a_position(scene: Scene) -> None:
    scene.k.giant[0].position = 1


@violates("giant_position")
def whole_giant_has_a_position(scene: Scene) -> None:
    scene.k.giant[2].position = 1


@violates("giant_position")
def free_giant_is_lost(scene: Scene) -> None:
    m = scene.k.memory
    m.free_stack[m.free_count] = 0
    m.free_count -= 1
    quota(scene, giants=-1)


@violates("giant_position")
def partial_giant_is_lost(scene: Scene) -> None:
    m = scene.k.memory
    m.partial_giant_stack[m.partial_giant_count] = 0
    m.partial_giant_count -= 1


@violates("free_stack")
def stack_of_free_giants_is_too_high(scene: Scene) -> None:
    scene.k.memory.free_count += 1


@violates("free_stack")
def giant_is_on_the_free_stack_twice(scene: Scene) -> None:
    m = scene.k.memory
    m.free_count += 1
    m.free_stack[m.free_count] = m.free_stack[1]


@violates("partial_giant_stack")
def full_giant_is_on_the_partial_stack(scene: Scene) -> None:
    m = scene.k.memory
    m.partial_giant_count += 1
    m.partial_giant_stack[m.partial_giant_count] = 0


@violates("partial_stack")
def full_block_is_on_the_partial_stack(scene: Scene) -> None:
    m = scene.k.memory
    m.partial_count += 1
    m.partial_stack[m.partial_count] = scene.full_block


@violates("memory_counts")
def free_pages_are_miscounted(scene: Scene) -> None:
    scene.k.memory.free_pages += 1


@violates("memory_counts")
def promise_is_miscounted(scene: Scene) -> None:
    scene.k.memory.promised_blocks -= 1


@violates("memory_counts")
def promise_of_giants_is_miscounted(scene: Scene) -> None:
    scene.k.memory.promised_giants -= 1


@violates("memory_counts")
def free_blocks_are_miscounted(scene: Scene) -> None:
    scene.k.memory.free_blocks += 1


@violates("memory_size")
def giant_beyond_the_end(scene: Scene) -> None:
    scene.k.memory.giants += 1


@violates("memory_promise")
def more_is_promised_than_there_is(scene: Scene) -> None:
    quota(scene, pages=1)


@violates("memory_promise")
def blocks_are_promised_that_are_split(scene: Scene) -> None:
    quota(scene, pages=-scene.root_container.pages, blocks=1)


@violates("memory_promise")
def giants_are_promised_that_are_split(scene: Scene) -> None:
    C = scene.root_container
    quota(scene, pages=-C.pages, blocks=-C.blocks, giants=1)


@violates("container_quota")
def quota_below_zero(scene: Scene) -> None:
    quota(scene, pages=-1 - scene.root_container.pages)


@violates("container_quota")
def process_has_a_quota(scene: Scene) -> None:
    quota(scene, pages=-5)
    scene.k.container[scene.s].pages = 5
    scene.k.memory.promised_pages += 5


@violates("container_charges")
def charged_for_a_page_too_many(scene: Scene) -> None:
    scene.root_container.used_pages += 1


@violates("container_quota")
def giants_below_zero(scene: Scene) -> None:
    quota(scene, giants=-1 - scene.root_container.giants)


@violates("container_charges")
def charged_for_a_giant_as_a_block(scene: Scene) -> None:
    scene.root_container.used_giants -= 1
    scene.root_container.used_blocks += 1


@violates("container_charges")
def charged_for_a_block_as_a_page(scene: Scene) -> None:
    scene.root_container.used_blocks -= 1
    scene.root_container.used_pages += 1
