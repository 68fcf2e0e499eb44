"""For every invariant, states that violate it and no other: a sound scene with one kind of damage.

``@violates("clause")`` marks a function that damages a scene.  The damage is as thorough as it must be for the other
clauses to hold: where a page leaks, the books of its container agree that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable

from kernel.handles import close_handle, open_handle
from kernel.objects import (
    ALIVE,
    BLOCK_SPLIT,
    BLOCKED,
    CONTAINER,
    DEAD,
    ENDED,
    MAPPED,
    NEW,
    READY,
    RUNNING,
    TABLE,
)
from kernel.page_allocator import allocate_page, free_page
from tests.kernel.scene import BLOCK, OTHER, Scene, V
from tests.kernel.world import page_at

Violation = Callable[[Scene], None]
VIOLATIONS: list[tuple[str, Violation]] = []


def violates(clause: str) -> Callable[[Violation], Violation]:
    """Registers a function that makes a sound scene violate this clause and no other."""

    def register(function: Violation) -> Violation:
        VIOLATIONS.append((clause, function))
        return function

    return register


def quota(scene: Scene, pages: int = 0, blocks: int = 0) -> None:
    """The root container may allocate this much more (less), and the promise says so."""
    m, C = scene.k.memory, scene.root_container
    C.pages += pages
    m.promised_pages += pages
    C.blocks += blocks
    m.promised_blocks += blocks


def second_container(scene: Scene) -> int:
    """A container beside the root, sound, with core 3 as its own and three pages of quota."""
    k = scene.k
    c = allocate_page(k, k.root, CONTAINER)
    # The page is charged to the container itself, as the root's is.
    k.page[c].owner = c
    scene.root_container.used_pages -= 1
    k.container[c].used_pages = 1
    k.container[c].parent = k.root
    k.container[c].depth = 1
    k.container[c].core = 3
    scene.root_container.core = 0
    scene.root_container.pages -= 3
    k.container[c].pages = 3
    k.core[2].ring = 0
    k.core[3].ring = 3
    k.core[3].container = c
    return c


def charge_to_another(scene: Scene, p: int) -> None:
    """Page p is charged to a second container."""
    c = second_container(scene)
    scene.k.page[p].owner = c
    scene.root_container.used_pages -= 1
    scene.k.container[c].used_pages += 1


# Physical memory


@violates("page_owner")
def free_page_has_an_owner(scene: Scene) -> None:
    scene.k.page[scene.free_pages[0]].owner = scene.k.root
    scene.root_container.used_pages += 1


@violates("page_owner")
def page_of_unknown_kind(scene: Scene) -> None:
    p = allocate_page(scene.k, scene.k.root, 99)
    assert scene.k.page[p].kind == 99


@violates("page_owner")
def page_is_charged_to_a_process(scene: Scene) -> None:
    scene.k.page[scene.own].owner = scene.s
    scene.root_container.used_pages -= 1
    scene.k.container[scene.s].used_pages += 1


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
    scene.k.block[scene.k.memory.fresh].kind = 9


@violates("block_kind")
def split_block_has_an_owner(scene: Scene) -> None:
    scene.k.block[scene.full_block].owner = scene.k.root
    scene.root_container.used_blocks += 1
    scene.root_container.used_pages -= 1


@violates("block_split")
def split_block_with_nothing_carved(scene: Scene) -> None:
    m = scene.k.memory
    B = scene.k.block[m.fresh]
    m.fresh += 1
    m.partial_count += 1
    m.partial_stack[m.partial_count] = B.id
    B.kind, B.position = BLOCK_SPLIT, m.partial_count
    m.free_pages += 512
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
def free_block_is_lost(scene: Scene) -> None:
    m = scene.k.memory
    m.free_stack[m.free_count] = 0
    m.free_count -= 1
    quota(scene, blocks=-1)


@violates("block_position")
def partial_block_is_lost(scene: Scene) -> None:
    m = scene.k.memory
    m.partial_stack[m.partial_count] = 0
    m.partial_count -= 1


@violates("free_stack")
def stack_of_free_blocks_is_too_high(scene: Scene) -> None:
    scene.k.memory.free_count += 1


@violates("free_stack")
def block_is_on_the_free_stack_twice(scene: Scene) -> None:
    m = scene.k.memory
    m.free_count += 1
    m.free_stack[m.free_count] = m.free_stack[1]


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


@violates("memory_promise")
def more_is_promised_than_there_is(scene: Scene) -> None:
    quota(scene, pages=1)


@violates("memory_promise")
def blocks_are_promised_that_are_split(scene: Scene) -> None:
    quota(scene, pages=-scene.root_container.pages, blocks=1)


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


@violates("container_charges")
def charged_for_a_block_as_a_page(scene: Scene) -> None:
    scene.root_container.used_blocks -= 1
    scene.root_container.used_pages += 1


@violates("container_root")
def root_is_not_at_the_top(scene: Scene) -> None:
    scene.root_container.depth = 1


@violates("container_core")
def no_such_core(scene: Scene) -> None:
    scene.root_container.core = scene.k.cores


@violates("container_core")
def core_of_another_container(scene: Scene) -> None:
    second_container(scene)
    scene.root_container.core = 3


@violates("container_processes")
def processes_are_miscounted(scene: Scene) -> None:
    scene.root_container.processes += 1


# Address spaces


@violates("table_place")
def root_table_that_is_nobodys_root(scene: Scene) -> None:
    X = scene.k.table[allocate_page(scene.k, scene.k.root, TABLE)]
    X.level, X.process = 4, scene.s


@violates("table_place")
def copy_of_a_table_that_no_entry_leads_to(scene: Scene) -> None:
    k = scene.k
    X, Y = k.table[scene.x1], k.table[allocate_page(k, k.root, TABLE)]
    Y.level, Y.process, Y.parent, Y.slot, Y.base, Y.used = X.level, X.process, X.parent, X.slot, X.base, X.used
    Y.entry.update(X.entry)
    Y.permission.update(X.permission)


@violates("table_place")
def freed_table_remembers_its_base(scene: Scene) -> None:
    scene.k.table[scene.free_pages[0]].base = 512


@violates("table_base")
def table_translates_other_addresses(scene: Scene) -> None:
    scene.k.table[scene.x3].base += 1 << 18


@violates("table_charge")
def table_is_charged_to_another_container(scene: Scene) -> None:
    charge_to_another(scene, scene.x1)


@violates("table_used")
def entries_are_miscounted(scene: Scene) -> None:
    scene.k.table[scene.x1].used += 1


@violates("table_used")
def table_without_entries(scene: Scene) -> None:
    k = scene.k
    X = k.table[allocate_page(k, k.root, TABLE)]
    X.level, X.process, X.parent, X.slot = 1, scene.s, scene.x2, 9
    X.base = page_at(1, 2, 9)
    k.table[scene.x2].entry[9] = X.id
    k.table[scene.x2].used += 1


@violates("entry_target")
def two_entries_lead_to_one_table(scene: Scene) -> None:
    X = scene.k.table[scene.x3]
    X.entry[9] = scene.x2
    X.used += 1


@violates("entry_target")
def program_maps_in_the_machines_own_slot(scene: Scene) -> None:
    k, S = scene.k, scene.S
    shift = (255 - 1) << 27
    X4, X3 = k.table[scene.x4], k.table[scene.x3]
    X4.entry[255], X4.entry[1] = X4.entry[1], 0
    X3.slot = 255
    for x in (scene.x3, scene.x2, scene.x1):
        k.table[x].base += shift
    for row in (S.map_page, S.map_permission):
        for v in (V, OTHER, BLOCK):
            row[v + shift], row[v] = row[v], 0


@violates("entry_mapped")
def tables_map_what_the_address_space_does_not(scene: Scene) -> None:
    X = scene.k.table[scene.x1]
    X.entry[400] = scene.own
    X.used += 1


@violates("entry_mapped")
def empty_entry_has_permissions(scene: Scene) -> None:
    scene.k.table[scene.x1].permission[400] = 1


@violates("map_walked")
def address_space_maps_what_the_tables_do_not(scene: Scene) -> None:
    scene.S.map_page[page_at(7, 7, 7, 7)] = scene.own
    scene.S.mappings += 1
    scene.k.page[scene.own].references += 1


@violates("map_permission")
def write_only_mapping(scene: Scene) -> None:
    scene.S.map_permission[OTHER] = 2
    scene.k.table[scene.x1].permission[5] = 2


@violates("map_permission")
def permissions_without_a_mapping(scene: Scene) -> None:
    scene.S.map_permission[page_at(7, 7, 7, 7)] = 7


# Processes and handles


@violates("process_charge")
def process_in_no_known_state(scene: Scene) -> None:
    scene.k.process[scene.empty].state = 0


@violates("process_charge")
def process_is_charged_to_another_container(scene: Scene) -> None:
    charge_to_another(scene, scene.empty)


@violates("process_charge")
def freed_process_leaves_its_status(scene: Scene) -> None:
    scene.k.process[scene.free_pages[0]].status = 3


@violates("process_root")
def process_without_a_root(scene: Scene) -> None:
    S = scene.k.process[scene.empty]
    X = scene.k.table[S.root]
    X.level = X.process = 0
    free_page(scene.k, S.root)
    S.root = 0


@violates("process_root")
def ended_process_has_a_handle(scene: Scene) -> None:
    S = scene.k.process[scene.empty]
    S.holder_slot = open_handle(scene.k, scene.ended, scene.empty)
    S.holder, S.hosted = scene.ended, 0
    assert scene.k.process[scene.ended].state == ENDED


@violates("process_threads")
def new_process_has_threads(scene: Scene) -> None:
    scene.k.process[scene.d].state = NEW


@violates("process_threads")
def living_process_has_no_thread(scene: Scene) -> None:
    scene.k.process[scene.empty].state = ALIVE


@violates("process_thread")
def thread_is_listed_twice(scene: Scene) -> None:
    S = scene.S
    S.threads[S.thread_count] = S.threads[0]
    S.thread_count += 1


@violates("process_mappings")
def mappings_are_miscounted(scene: Scene) -> None:
    scene.S.mappings += 1


@violates("process_handles")
def handles_are_miscounted(scene: Scene) -> None:
    scene.S.handle_count += 1


@violates("process_handles")
def handle_slot_is_lost(scene: Scene) -> None:
    """The slot on top of the stack is neither open nor ever opened again."""
    scene.S.handle_stack[scene.S.handle_listed] = 0
    scene.S.handle_listed -= 1


@violates("handle_object")
def two_handles_to_one_thread(scene: Scene) -> None:
    open_handle(scene.k, scene.s, scene.blocked)


@violates("handle_object")
def closed_slot_has_a_generation(scene: Scene) -> None:
    scene.S.handle_generation[scene.S.handle_stack[1]] = 1


@violates("handle_object")
def generation_of_the_future(scene: Scene) -> None:
    scene.S.handle_generation[scene.blocked_slot] = scene.S.handle_opened + 1


@violates("handle_stack")
def slot_is_on_the_stack_twice(scene: Scene) -> None:
    scene.S.handle_stack[1] = scene.S.handle_stack[2]


@violates("handle_stack")
def open_slot_is_on_the_stack(scene: Scene) -> None:
    S = scene.S
    S.handle_stack[1] = scene.blocked_slot
    S.handle_position[scene.blocked_slot] = 1


@violates("process_holder")
def ended_process_nobody_will_collect(scene: Scene) -> None:
    scene.k.process[scene.ended].hosted = 0


@violates("process_holder")
def held_by_who_has_no_handle(scene: Scene) -> None:
    S = scene.k.process[scene.empty]
    S.hosted, S.holder = 0, scene.d


@violates("process_holder")
def held_and_hosted(scene: Scene) -> None:
    scene.k.process[scene.child].hosted = 1


@violates("process_waiter")
def waiter_that_does_not_wait(scene: Scene) -> None:
    scene.k.process[scene.d].waiter = scene.sleeper


# Threads, cores and queues


@violates("thread_charge")
def thread_in_no_known_state(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].state = 9


@violates("thread_charge")
def thread_is_charged_to_another_container(scene: Scene) -> None:
    charge_to_another(scene, scene.sleeper)


@violates("thread_charge")
def freed_thread_leaves_its_result(scene: Scene) -> None:
    scene.k.thread[scene.free_pages[0]].result = 1


@violates("thread_core")
def thread_on_no_core(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].core = scene.k.cores


@violates("thread_core")
def thread_on_another_containers_core(scene: Scene) -> None:
    second_container(scene)
    scene.k.thread[scene.sleeper].core = 3


@violates("thread_position")
def thread_its_process_forgot(scene: Scene) -> None:
    S, T = scene.S, scene.k.thread[scene.sleeper]
    S.thread_count -= 1
    last = S.threads[S.thread_count]
    S.threads[T.position] = last
    scene.k.thread[last].position = T.position
    S.threads[S.thread_count] = 0


@violates("thread_position")
def ended_thread_has_a_position(scene: Scene) -> None:
    scene.k.thread[scene.dead].position = 2


@violates("thread_running")
def thread_runs_on_no_core(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].state = RUNNING


@violates("thread_queue")
def blocked_thread_is_linked(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].next = scene.queue[0]


@violates("thread_queue")
def queue_without_a_way_back(scene: Scene) -> None:
    scene.k.thread[scene.queue[2]].previous = scene.queue[0]


@violates("thread_queue")
def tickets_start_again(scene: Scene) -> None:
    scene.k.core[2].ticket = 1


@violates("queue_ends")
def ring_that_no_core_leads_to(scene: Scene) -> None:
    """Two threads link to each other, apart from the queue of their core, which is empty."""
    T, U = scene.k.thread[scene.sleeper], scene.k.thread[scene.blocked]
    scene.k.core[3].ticket = 3
    for A, B, rank in ((T, U, 1), (U, T, 2)):
        A.state, A.core, A.rank = READY, 3, rank
        A.next = A.previous = B.id


@violates("queue_order")
def later_thread_ranks_first(scene: Scene) -> None:
    B, C = scene.k.thread[scene.queue[1]], scene.k.thread[scene.queue[2]]
    B.rank, C.rank = C.rank, B.rank


@violates("queue_order")
def two_threads_of_one_rank(scene: Scene) -> None:
    scene.k.thread[scene.queue[1]].rank = scene.k.thread[scene.queue[2]].rank


@violates("thread_waits")
def waits_for_who_does_not_know(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].waiting_for = scene.blocked


@violates("thread_joiner")
def joiner_that_does_not_wait(scene: Scene) -> None:
    scene.k.thread[scene.blocked].joiner = scene.sleeper


@violates("thread_handle")
def handle_that_leads_elsewhere(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].holder_slot = 77


@violates("thread_handle")
def ended_thread_nobody_can_join(scene: Scene) -> None:
    T = scene.k.thread[scene.dead]
    close_handle(scene.k, scene.s, T.holder_slot)
    T.holder_slot = -1
    assert T.state == DEAD


@violates("core_current")
def core_runs_a_blocked_thread(scene: Scene) -> None:
    scene.k.core[1].current = scene.sleeper
    assert scene.k.thread[scene.sleeper].state == BLOCKED


@violates("core_queue")
def queue_with_one_end(scene: Scene) -> None:
    scene.k.core[3].tail = scene.sleeper


@violates("core_ring")
def ring_leads_to_no_core(scene: Scene) -> None:
    scene.k.core[1].ring = scene.k.cores


@violates("core_ring")
def ring_leads_into_another_container(scene: Scene) -> None:
    second_container(scene)
    scene.k.core[2].ring = 3
