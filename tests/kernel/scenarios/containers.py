"""Cases of the tree of containers."""

from __future__ import annotations

from kernel.objects import DEPTH_LIMIT, HANDLES
from tests.kernel.scenarios import Arguments, V, W, case
from tests.kernel.scenarios.threads import no_slot, process_of_the_caller_is_ending
from tests.kernel.world import World, indices


def ending_container(w: World, blocks: int = 0) -> Arguments:
    """A container that is ending, the second of its parent, and who killed it: (container, thread)."""
    t = w.running()
    w.container(t)
    c, slot, generation = w.container(t, blocks=blocks)
    w.do("container_kill", t, slot, generation)
    return c, t


def thread_in_ending_container(w: World) -> int:
    """A ready thread in a container that is ending."""
    t = w.running()
    _, slot, generation = w.container(t)
    inner = w.inside(t, slot, generation)[1]
    w.do("container_kill", t, slot, generation)
    return inner


def two_levels(w: World) -> Arguments:
    """A container that is ending, and one below it that does not know yet: (container, container below)."""
    t = w.running()
    c, slot, generation = w.container(t)
    inner = w.inside(t, slot, generation)[1]
    w.container(inner, 3)
    below = w.container(inner, 3)[0]
    w.do("container_kill", t, slot, generation)
    return c, below


def left_to_others(w: World, block: bool) -> Arguments:
    """A page, or block, of a container that has no process any more, mapped by a process of the root: (page,)."""
    t = w.running()
    _, slot, generation = w.container(t, blocks=1)
    s, _ = w.inside(t, slot, generation)
    d = w.process()
    if block:
        p = w.map_block(s, W)
        w.do("share_block", s, *indices(W)[:3], d, *indices(W)[:3], 1)
    else:
        p = w.map(s, V)
        w.do("share_page", s, *indices(V), d, *indices(W), 1)
    w.do("container_kill", t, slot, generation)
    w.end(s)
    w.do("process_forget", s)
    return (p,)


@case("container_create")
def first_container(w: World) -> Arguments:
    t = w.running(1)
    w.root.core = 1
    w.do("schedule", 0)
    return (t, 10, 0, 0)


@case("container_create")
def second_container(w: World) -> Arguments:
    t = w.running()
    w.container(t)
    return (t, 0, 1, 0)


@case("container_create")
def container_in_a_container(w: World) -> Arguments:
    t = w.running()
    _, inner = w.inside(t, *w.container(t)[1:])
    w.container(inner, 2)
    return (inner, 5, 0, 0)


@case("container_create", "EINVAL")
def negative_pages(w: World) -> Arguments:
    return (w.running(), -1, 0, 0)


@case("container_create", "EINVAL")
def negative_blocks(w: World) -> Arguments:
    return (w.running(), 0, -1, 0)


@case("container_create", "EBUSY")
def container_below_an_ending_one(w: World) -> Arguments:
    return (thread_in_ending_container(w), 1, 0, 0)


@case("container_create", "EBUSY")
def container_by_an_ending_process(w: World) -> Arguments:
    return (*process_of_the_caller_is_ending(w), 1, 0, 0)


@case("container_create", "ENOSPC", blocks=9)
def no_slot_for_a_container(w: World) -> Arguments:
    return (*no_slot(w), 1, 0, 0)


@case("container_create", "ENOSPC", blocks=4)
def deepest_container(w: World) -> Arguments:
    t = w.running()
    with w.unchecked():
        for _ in range(2):
            w.do("quota_split", w.k.root)
        for depth in range(DEPTH_LIMIT):
            _, t = w.inside(t, *w.container(t, 4 * (DEPTH_LIMIT - depth))[1:])
    return (t, 0, 0, 0)


@case("container_create", "ENOMEM")
def all_pages_but_none_for_itself(w: World) -> Arguments:
    t = w.running()
    return (t, w.root.pages, 0, 0)


@case("container_create", "ENOMEM")
def more_blocks_than_there_are(w: World) -> Arguments:
    return (w.running(), 0, 99, 0)


@case("container_kill")
def container_that_is_held(w: World) -> Arguments:
    t = w.running()
    w.container(t)
    return (t, *w.container(t)[1:])


@case("container_kill", "ESRCH")
def kill_of_nothing(w: World) -> Arguments:
    return (w.running(), 0, 1)


@case("container_kill", "ESRCH")
def kill_of_a_process(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("container_kill", "EBUSY")
def killed_before(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    w.do("container_kill", t, slot, generation)
    return (t, slot, generation)


@case("container_end")
def parent_is_ending(w: World) -> Arguments:
    return (two_levels(w)[1],)


@case("container_end", "EINVAL")
def end_of_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("container_end", "EINVAL")
def end_of_the_root(w: World) -> Arguments:
    return (w.k.root,)


@case("container_end", "EINVAL")
def parent_goes_on(w: World) -> Arguments:
    return (w.container(w.running())[0],)


@case("container_end", "EINVAL")
def container_is_ending_already(w: World) -> Arguments:
    _, below = two_levels(w)
    w.do("container_end", below)
    return (below,)


@case("page_inherit")
def page_that_another_maps(w: World) -> Arguments:
    return left_to_others(w, block=False)


@case("page_inherit")
def block_that_another_maps(w: World) -> Arguments:
    return left_to_others(w, block=True)


@case("page_inherit", "EINVAL")
def page_that_is_not_mapped(w: World) -> Arguments:
    return (ending_container(w)[1],)


@case("page_inherit", "EINVAL")
def page_of_a_container_that_goes_on(w: World) -> Arguments:
    return (w.map(w.process(), V),)


@case("page_inherit", "EINVAL")
def page_of_a_container_with_processes(w: World) -> Arguments:
    inner = thread_in_ending_container(w)
    return (w.map(w.k.thread[inner].process, V),)


@case("container_finish")
def second_of_two(w: World) -> Arguments:
    return (ending_container(w)[0],)


@case("container_finish")
def first_of_two(w: World) -> Arguments:
    t = w.running()
    c, slot, generation = w.container(t, blocks=1)
    w.container(t)
    w.do("container_kill", t, slot, generation)
    return (c,)


@case("container_finish")
def container_nobody_holds(w: World) -> Arguments:
    c, t = ending_container(w)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_end", t)
    w.do("handle_drop", s, w.k.container[c].holder_slot)
    return (c,)


@case("container_finish")
def container_below_is_empty(w: World) -> Arguments:
    _, below = two_levels(w)
    w.do("container_end", below)
    return (below,)


@case("container_finish", "EINVAL")
def finish_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("container_finish", "EINVAL")
def finish_a_container_that_goes_on(w: World) -> Arguments:
    return (w.container(w.running())[0],)


@case("container_finish", "EBUSY")
def a_process_is_left(w: World) -> Arguments:
    inner = thread_in_ending_container(w)
    return (w.k.process[w.k.thread[inner].process].container,)


@case("container_finish", "EBUSY")
def a_container_is_left(w: World) -> Arguments:
    c, _ = two_levels(w)
    s = w.k.container[c].members[0]
    S = w.k.process[s]
    w.do("process_end", s, 0)
    w.do("thread_end", S.threads[0])
    for slot in list(S.handle_object): w.do("handle_drop", s, slot)
    w.do("process_finish", s)
    w.do("process_forget", s)
    return (c,)


@case("container_finish", "EBUSY")
def a_page_is_left(w: World) -> Arguments:
    return (w.k.page[left_to_others(w, block=False)[0]].owner,)


@case("container_finish", "EBUSY")
def a_block_is_left(w: World) -> Arguments:
    return (w.k.page[left_to_others(w, block=True)[0]].owner,)


@case("process_create_in")
def first_process_of_a_container(w: World) -> Arguments:
    t = w.running()
    w.container(t)
    return (t, *w.container(t)[1:])


@case("process_create_in")
def second_process_of_a_container(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    w.inside(t, slot, generation)
    return (t, slot, generation)


@case("process_create_in", "ESRCH")
def process_in_nothing(w: World) -> Arguments:
    return (w.running(), 0, 1)


@case("process_create_in", "ESRCH")
def process_in_a_process(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("process_create_in", "EBUSY")
def process_in_an_ending_container(w: World) -> Arguments:
    return killed_before(w)


@case("process_create_in", "EBUSY")
def process_by_an_ending_process(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    w.do("process_end", w.k.thread[t].process, 0)
    return (t, slot, generation)


@case("process_create_in", "ENOSPC", blocks=9)
def no_slot_for_a_process_in_a_container(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    with w.unchecked():
        while w.root.blocks:
            w.do("quota_split", w.k.root)
        for _ in range(HANDLES - 1):
            w.created_thread(t)
    return (t, slot, generation)


@case("process_create_in", "ENOMEM")
def container_with_one_page(w: World) -> Arguments:
    t = w.running()
    return (t, *w.container(t, 1)[1:])


@case("process_forget")
def ended_process_with_a_holder(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    for _ in range(2):
        w.inside(t, slot, generation)
    s, _ = w.inside(t, slot, generation)
    w.do("container_kill", t, slot, generation)
    w.end(s, 3)
    return (s,)


@case("process_forget")
def ended_process_of_the_host(w: World) -> Arguments:
    t = w.running()
    c, slot, generation = w.container(t)
    s = w.do("process_spawn", c)
    w.do("process_spawn", c)
    w.do("container_kill", t, slot, generation)
    w.end(s, 3)
    return (s,)


@case("process_forget", "EINVAL")
def forget_no_process(w: World) -> Arguments:
    return (w.running(),)


@case("process_forget", "EINVAL")
def process_of_a_container_that_goes_on(w: World) -> Arguments:
    s = w.process()
    w.end(s)
    return (s,)


@case("process_forget", "EBUSY")
def process_that_has_not_ended(w: World) -> Arguments:
    return (w.k.thread[thread_in_ending_container(w)].process,)


@case("process_spawn")
def in_a_container(w: World) -> Arguments:
    return (w.container(w.running())[0],)


@case("process_spawn", "EINVAL")
def in_an_ending_container(w: World) -> Arguments:
    return (ending_container(w)[0],)


@case("process_create")
def child_in_a_container(w: World) -> Arguments:
    t = w.running()
    return (w.inside(t, *w.container(t)[1:])[1],)


@case("process_create", "EBUSY")
def container_of_the_caller_is_ending(w: World) -> Arguments:
    return (thread_in_ending_container(w),)


@case("container_close")
def container_is_active(w: World) -> Arguments:
    return (two_levels(w)[1],)


@case("container_close", "EINVAL")
def close_of_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("container_close", "EINVAL")
def close_of_the_root(w: World) -> Arguments:
    return (w.k.root,)


@case("container_close", "EBUSY")
def container_is_closing(w: World) -> Arguments:
    return (ending_container(w)[0],)


@case("handle_drop")
def container_that_was_killed(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    w.do("container_kill", t, slot, generation)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_end", t)
    return s, slot


@case("handle_drop")
def container_ends_with_its_holder(w: World) -> Arguments:
    t = w.running()
    w.container(t)
    _, slot, _ = w.container(t)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_end", t)
    return s, slot
