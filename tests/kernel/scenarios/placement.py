"""Cases of whose cores are, and of moving threads between them."""

from __future__ import annotations

from abi.queries import CONTAINERS, CORES, DEPTH, PAGES_USED
from kernel.objects import DEAD
from tests.kernel.scenarios import Arguments, case
from tests.kernel.scenarios.threads import joinable
from tests.kernel.world import World


@case("thread_affinity")
def caller_moves_itself(w: World) -> Arguments:
    t = w.running()
    w.thread(w.k.thread[t].process)
    w.running(1)
    return (t, 0, 0, 1)


@case("thread_affinity")
def ready_thread_moves(w: World) -> Arguments:
    """From the middle of its queue."""
    t = w.running()
    w.created_thread(t)
    _, slot, generation = w.created_thread(t)
    w.created_thread(t)
    return (t, slot, generation, 1)


@case("thread_affinity")
def running_thread_moves(w: World) -> Arguments:
    """To the core of the caller, where another waits."""
    t = w.running()
    w.created_thread(t)
    u, slot, generation = w.created_thread(t, 1)
    w.run(u)
    return (t, slot, generation, 0)


@case("thread_affinity")
def blocked_thread_moves(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_block", w.run(u))
    return (w.run(w.thread(w.k.thread[t].process, 1)), slot, generation, 1)


@case("thread_affinity")
def thread_is_there(w: World) -> Arguments:
    return (w.running(1), 0, 0, 1)


@case("thread_affinity", "ESRCH")
def affinity_of_nothing(w: World) -> Arguments:
    return (w.running(), 3, 1, 0)


@case("thread_affinity", "ESRCH")
def affinity_of_a_process(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:], 0)


@case("thread_affinity", "ECHILD")
def affinity_of_the_ended(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_exit", w.run(u), 0)
    return (w.run(t), slot, generation, 1)


@case("thread_affinity", "EINVAL")
def affinity_to_no_core(w: World) -> Arguments:
    return (w.running(), 0, 0, 2)


@case("thread_affinity", "EINVAL")
def affinity_to_less_than_the_first_core(w: World) -> Arguments:
    return (w.running(), 0, 0, -1)


@case("thread_move")
def host_moves_a_ready_thread(w: World) -> Arguments:
    s = w.process()
    for _ in range(2): w.thread(s)
    return (w.thread(s), 1)


@case("thread_move")
def host_moves_a_running_thread(w: World) -> Arguments:
    return (w.running(1), 0)


@case("thread_move")
def host_moves_a_thread_of_a_container_without_cores(w: World) -> Arguments:
    t = w.running()
    return (w.inside(t, *w.container(t)[1:])[1], 1)


@case("thread_move", "EINVAL")
def host_moves_no_thread(w: World) -> Arguments:
    return (w.process(), 0)


@case("thread_move", "EINVAL")
def host_moves_the_ended(w: World) -> Arguments:
    _, u, _, _ = joinable(w)
    w.do("thread_exit", w.run(u), 0)
    assert w.k.thread[u].state == DEAD
    return (u, 1)


@case("thread_move", "EINVAL")
def host_moves_to_no_core(w: World) -> Arguments:
    return (w.running(), 2)


@case("thread_move", "EINVAL")
def host_moves_to_less_than_the_first_core(w: World) -> Arguments:
    return (w.running(), -1)


def with_core(w: World) -> Arguments:
    """A container that owns a core, and who created it: (container, slot, generation, thread)."""
    t = w.running()
    c, slot, generation = w.container(t)
    w.do("core_give", c)
    return c, slot, generation, t


@case("thread_start")
def on_a_core_of_its_own(w: World) -> Arguments:
    _, slot, generation, t = with_core(w)
    s, u = w.inside(t, slot, generation)
    assert w.k.thread[u].core == 1
    return (s,)


@case("core_give")
def first_core(w: World) -> Arguments:
    return (w.container(w.running())[0],)


@case("core_give", cores=3)
def second_core(w: World) -> Arguments:
    c, slot, generation, t = with_core(w)
    w.inside(t, slot, generation)
    return (c,)


@case("core_give", "EINVAL")
def core_for_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("core_give", "EINVAL")
def core_for_the_root(w: World) -> Arguments:
    return (w.k.root,)


@case("core_give", "EINVAL")
def core_for_an_ending_container(w: World) -> Arguments:
    c = w.container(w.running())[0]
    w.do("container_close", c)
    return (c,)


@case("core_give", "ENOMEM")
def last_core_is_kept(w: World) -> Arguments:
    _, _, _, t = with_core(w)
    return (w.container(t)[0],)


@case("core_give", "ENOMEM")
def parent_owns_no_core(w: World) -> Arguments:
    t = w.running()
    inner = w.inside(t, *w.container(t)[1:])[1]
    return (w.container(inner, 3)[0],)


@case("core_give", "EBUSY")
def thread_is_placed_on_it(w: World) -> Arguments:
    t = w.running()
    w.do("thread_block", w.running(1))
    return (w.container(t)[0],)


@case("core_give", "EBUSY")
def process_uses_the_parents_cores(w: World) -> Arguments:
    t = w.running()
    c, slot, generation = w.container(t)
    w.do("process_create_in", t, slot, generation)
    return (c,)


@case("core_give", "EBUSY")
def container_below_uses_the_parents_cores(w: World) -> Arguments:
    t = w.running()
    c, slot, generation = w.container(t)
    s, inner = w.inside(t, slot, generation)
    held, held_slot, _ = w.container(inner, 3)
    w.do("process_end", s, 0)
    w.do("thread_end", inner)
    w.do("handle_drop", s, held_slot)
    w.do("process_finish", s)
    own = w.k.process[s].holder_slot
    w.do("process_wait", w.run(t), own, w.k.process[w.k.thread[t].process].handle_generation[own])
    assert w.k.container[held].parent == c
    return (c,)


def ending_with_core(w: World) -> Arguments:
    """A container that is ending and owns a core: (container,)."""
    c = with_core(w)[0]
    w.do("container_close", c)
    return (c,)


@case("core_return")
def only_core(w: World) -> Arguments:
    return ending_with_core(w)


@case("core_return", cores=3)
def one_of_two_cores(w: World) -> Arguments:
    c = with_core(w)[0]
    w.do("core_give", c)
    w.do("container_close", c)
    return (c,)


@case("core_return", cores=5)
def one_of_three_cores(w: World) -> Arguments:
    c = with_core(w)[0]
    for _ in range(2): w.do("core_give", c)
    w.do("container_close", c)
    return (c,)


@case("core_return", "EINVAL")
def core_of_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("core_return", "EINVAL")
def core_of_a_container_that_goes_on(w: World) -> Arguments:
    return (with_core(w)[0],)


@case("core_return", "EINVAL")
def no_core_is_left(w: World) -> Arguments:
    (c,) = ending_with_core(w)
    w.do("core_return", c)
    return (c,)


@case("core_return", "EBUSY")
def process_may_use_the_core(w: World) -> Arguments:
    c, slot, generation, t = with_core(w)
    w.inside(t, slot, generation)
    w.do("container_close", c)
    return (c,)


@case("core_return", "EBUSY")
def container_below_may_use_the_core(w: World) -> Arguments:
    c, slot, generation, t = with_core(w)
    s, inner = w.inside(t, slot, generation)
    held = w.container(inner, 3)[0]
    w.do("container_close", c)
    w.do("process_end", s, 0)
    w.do("thread_end", inner)
    w.do("handle_drop", s, w.k.container[held].holder_slot)
    w.do("process_finish", s)
    w.do("process_forget", s)
    return (c,)


@case("container_finish", "EBUSY")
def a_core_is_left(w: World) -> Arguments:
    return ending_with_core(w)


@case("container_query")
def pages_of_ones_own(w: World) -> Arguments:
    return (w.running(), 0, 0, PAGES_USED)


@case("container_query")
def cores_of_a_child(w: World) -> Arguments:
    t = w.running()
    return (t, *w.container(t)[1:], CORES)


@case("container_query")
def depth_of_a_child(w: World) -> Arguments:
    t = w.running()
    return (t, *w.container(t)[1:], DEPTH)


@case("container_query", "ESRCH")
def query_of_nothing(w: World) -> Arguments:
    return (w.running(), 3, 1, CORES)


@case("container_query", "ESRCH")
def query_of_a_thread(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation, CORES)


@case("container_query", "EINVAL")
def no_such_question(w: World) -> Arguments:
    return (w.running(), 0, 0, CONTAINERS + 1)
