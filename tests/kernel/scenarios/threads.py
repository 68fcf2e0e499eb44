"""Cases of the life of threads."""

from __future__ import annotations

from kernel.objects import DEAD, HANDLES
from tests.kernel.scenarios import Arguments, case
from tests.kernel.world import World


def joinable(w: World) -> Arguments:
    """A running thread and one it created: (running, other, slot, generation)."""
    t = w.running()
    return (t, *w.created_thread(t))


@case("thread_start")
def first_thread(w: World) -> Arguments:
    return (w.process(),)


@case("thread_start")
def second_thread(w: World) -> Arguments:
    s = w.process()
    w.thread(s)
    return (s,)


@case("thread_start", "EINVAL")
def ending_process(w: World) -> Arguments:
    s = w.process()
    w.do("process_end", s, 0)
    return (s,)


@case("thread_start", "EINVAL")
def no_process(w: World) -> Arguments:
    return (w.k.root,)


@case("thread_start", "ENOMEM")
def no_page_for_a_thread(w: World) -> Arguments:
    s = w.process()
    w.leave(0)
    return (s,)


@case("thread_create")
def fresh_slot(w: World) -> Arguments:
    return (w.running(),)


@case("thread_create")
def slot_that_came_back(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.created_thread(t)
    w.do("thread_exit", w.run(u), 0)
    w.do("thread_join", w.run(t), slot, generation)
    return (t,)


@case("thread_create", "EBUSY")
def process_of_the_caller_is_ending(w: World) -> Arguments:
    t = w.running()
    w.do("process_end", w.k.thread[t].process, 0)
    return (t,)


@case("thread_create", "ENOSPC", blocks=9)
def no_slot(w: World) -> Arguments:
    t = w.running()
    with w.unchecked():
        while w.root.blocks:
            w.do("quota_split", w.k.root)
        for _ in range(HANDLES):
            w.created_thread(t)
    return (t,)


@case("thread_create", "ENOMEM")
def no_page_for_another_thread(w: World) -> Arguments:
    t = w.running()
    w.leave(0)
    return (t,)


@case("thread_exit")
def nobody_has_a_handle(w: World) -> Arguments:
    t = w.running()
    w.thread(w.k.thread[t].process)
    return (t, 3)


@case("thread_exit")
def last_of_its_process(w: World) -> Arguments:
    return (w.running(), (1 << 32) - 1)


@case("thread_exit")
def last_of_an_ending_process(w: World) -> Arguments:
    t = w.running()
    w.do("process_end", w.k.thread[t].process, 9)
    return (t, 3)


@case("thread_exit")
def thread_that_joined_another(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    w.do("thread_exit", w.run(u), 8)
    assert w.k.thread[t].result == 8
    return (w.run(t), 0)


@case("thread_exit")
def somebody_has_a_handle(w: World) -> Arguments:
    return (w.run(joinable(w)[1]), 3)


@case("thread_exit")
def somebody_joins(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    return (w.run(u), 3)


@case("thread_exit")
def first_of_three(w: World) -> Arguments:
    t = w.running()
    for _ in range(2):
        w.thread(w.k.thread[t].process, 1)
    return (t, 0)


@case("thread_exit", "EINVAL")
def does_not_run(w: World) -> Arguments:
    return (w.thread(w.process()), 0)


@case("thread_exit", "EINVAL")
def status_out_of_range(w: World) -> Arguments:
    return (w.running(), 1 << 32)


@case("thread_end")
def kill_running(w: World) -> Arguments:
    t = w.running()
    w.do("process_end", w.k.thread[t].process, 0)
    return (t,)


@case("thread_end")
def kill_ready(w: World) -> Arguments:
    """In the middle of its queue, and of its process's list."""
    s = w.process()
    _, t, _ = (w.thread(s) for _ in range(3))
    w.do("process_end", s, 0)
    return (t,)


@case("thread_end")
def kill_joined(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    w.do("process_end", w.k.thread[t].process, 0)
    return (u,)


@case("thread_end")
def kill_joiner(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    w.do("process_end", w.k.thread[t].process, 0)
    return (t,)


@case("thread_end")
def kill_waiter(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.child(t)
    w.do("process_wait", t, slot, generation)
    w.do("process_end", w.k.thread[t].process, 0)
    return (t,)


@case("thread_end", "EINVAL")
def process_is_alive(w: World) -> Arguments:
    return (w.running(),)


@case("thread_end", "EINVAL")
def kill_no_thread(w: World) -> Arguments:
    return (w.process(),)


@case("thread_end", "EINVAL")
def has_ended(w: World) -> Arguments:
    t, u, _, _ = joinable(w)
    w.do("thread_exit", w.run(u), 0)
    w.do("process_end", w.k.thread[t].process, 0)
    assert w.k.thread[u].state == DEAD
    return (u,)


@case("thread_kill")
def other_is_ready(w: World) -> Arguments:
    """In the middle of its queue, and of its process's list."""
    t = w.running()
    w.created_thread(t)
    _, slot, generation = w.created_thread(t)
    w.created_thread(t)
    return (t, slot, generation)


@case("thread_kill")
def other_runs(w: World) -> Arguments:
    t = w.running()
    u, slot, generation = w.created_thread(t, 1)
    w.run(u)
    return (t, slot, generation)


@case("thread_kill")
def other_is_joined(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    third = w.thread(w.k.thread[t].process, 1)
    w.do("thread_join", w.run(third), slot, generation)
    return (t, slot, generation)


def joined_and_ready(w: World, before: int, behind: int) -> Arguments:
    """A thread kills one that another joins, with so many before and behind it in the queue of the joiner's core."""
    t = w.running(1)
    s = w.k.thread[t].process
    for _ in range(before): w.thread(s)
    u, slot, generation = w.created_thread(t)
    joiner = w.thread(s)
    while w.k.core[0].current != joiner: w.call("preempt", 0), w.call("schedule", 0)
    w.do("thread_join", joiner, slot, generation)
    for _ in range(before): w.thread(s)
    while w.k.core[0].tail != u: w.do("schedule", 0), w.do("preempt", 0)
    for _ in range(behind): w.thread(s)
    return (t, slot, generation)


@case("thread_kill")
def other_is_joined_and_alone_in_its_queue(w: World) -> Arguments:
    return joined_and_ready(w, 0, 0)


@case("thread_kill")
def other_is_joined_and_last_in_its_queue(w: World) -> Arguments:
    return joined_and_ready(w, 2, 0)


@case("thread_kill")
def other_is_joined_and_first_in_its_queue(w: World) -> Arguments:
    return joined_and_ready(w, 0, 2)


@case("thread_kill")
def other_joins_the_caller(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    _, own_slot, own = w.created_thread(u)
    third = w.k.process[w.k.thread[t].process].handle_object[own_slot]
    w.do("thread_join", w.run(u), own_slot, own)
    return (w.run(third), slot, generation)


@case("thread_kill")
def other_waits_for_a_process(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    _, child_slot, child = w.child(t)
    w.do("process_wait", w.run(u), child_slot, child)
    return (w.run(t), slot, generation)


@case("thread_kill", "EINVAL")
def killer_that_does_not_run(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    w.do("thread_yield", w.run(t))
    return (t, slot, generation)


@case("thread_kill", "ESRCH")
def kill_of_no_handle(w: World) -> Arguments:
    return (w.running(), 7, 1)


@case("thread_kill", "ESRCH")
def kill_of_a_handle_of_a_process(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("thread_kill", "EINVAL")
def kills_itself(w: World) -> Arguments:
    _, u, slot, generation = joinable(w)
    return (w.run(u), slot, generation)


@case("thread_kill", "ECHILD")
def other_has_ended(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_exit", w.run(u), 77)
    return (w.run(t), slot, generation)


@case("thread_join")
def runs_yet(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation)


@case("thread_join")
def ended_before(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_exit", w.run(u), 77)
    return (w.run(t), slot, generation)


@case("thread_join", "ESRCH")
def stale_handle(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation + 1)


@case("thread_join", "ESRCH")
def slot_out_of_range(w: World) -> Arguments:
    return (w.running(), HANDLES, 1)


@case("thread_join", "ESRCH")
def handle_of_a_process(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("thread_join", "EINVAL")
def joins_while_it_does_not_run(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    w.do("preempt", 0)
    return (t, slot, generation)


@case("thread_join", "EBUSY")
def another_joins(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    third, _, _ = w.created_thread(t)
    w.do("thread_join", t, slot, generation)
    return (w.run(third), slot, generation)


@case("thread_join", "EDEADLK")
def joins_itself(w: World) -> Arguments:
    _, u, slot, generation = joinable(w)
    return (w.run(u), slot, generation)
