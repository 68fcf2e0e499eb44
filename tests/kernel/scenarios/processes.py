"""Cases of the life of processes."""

from __future__ import annotations

from kernel.objects import ENDED, ENDING
from tests.kernel.scenarios import Arguments, V, case
from tests.kernel.scenarios.threads import joinable, no_slot, process_of_the_caller_is_ending
from tests.kernel.world import World


@case("process_spawn")
def in_the_root(w: World) -> Arguments:
    return (w.k.root,)


@case("process_spawn", "EINVAL")
def in_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("process_spawn", "ENOMEM")
def one_page_left_for_two(w: World) -> Arguments:
    w.leave(1)
    return (w.k.root,)


@case("process_create")
def first_child(w: World) -> Arguments:
    return (w.running(),)


@case("process_create")
def second_child(w: World) -> Arguments:
    t = w.running()
    w.child(t)
    return (t,)


@case("process_create", "EBUSY")
def caller_is_ending(w: World) -> Arguments:
    return process_of_the_caller_is_ending(w)


@case("process_create", "ENOSPC", blocks=9)
def no_slot_for_a_child(w: World) -> Arguments:
    return no_slot(w)


@case("process_create", "ENOMEM")
def one_page_left_for_a_child(w: World) -> Arguments:
    t = w.running()
    w.leave(1)
    return (t,)


@case("process_start")
def new_child(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t, start=False)[1:])


@case("process_start", "ESRCH")
def start_of_a_thread(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation)


@case("process_start", "ESRCH")
def start_of_nothing(w: World) -> Arguments:
    return (w.running(), 0, 0)


@case("process_start", "EBUSY")
def started_before(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("process_start", "ECHILD")
def child_has_ended(w: World) -> Arguments:
    t = w.running()
    s, slot, generation = w.child(t)
    w.end(s)
    return (t, slot, generation)


@case("process_start", "ENOMEM")
def no_page_for_the_first_thread(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.child(t, start=False)
    w.leave(0)
    return (t, slot, generation)


@case("process_exit")
def running_thread(w: World) -> Arguments:
    return (w.running(), 1)


@case("process_exit", "EINVAL")
def ready_thread(w: World) -> Arguments:
    return (w.thread(w.process()), 0)


@case("process_exit", "EINVAL")
def negative_status(w: World) -> Arguments:
    return (w.running(), -1)


@case("process_exit", "EINVAL")
def ends_already(w: World) -> Arguments:
    t = w.running()
    w.do("process_end", w.k.thread[t].process, 5)
    return (t, 6)


@case("process_end")
def never_started(w: World) -> Arguments:
    return (w.process(), 137)


@case("process_end")
def with_threads(w: World) -> Arguments:
    return (w.k.thread[w.running()].process, 137)


@case("process_end", "EINVAL")
def end_no_process(w: World) -> Arguments:
    return (w.k.root, 0)


@case("process_end", "EINVAL")
def end_twice(w: World) -> Arguments:
    s = w.process()
    w.do("process_end", s, 1)
    return (s, 2)


@case("process_end", "EINVAL")
def end_with_too_large_a_status(w: World) -> Arguments:
    return (w.process(), 1 << 32)


def ending_holder(w: World, start: bool = True) -> Arguments:
    """A process that is ending, has no thread left, and holds a child in its second slot: (process, child, slot)."""
    t = w.running()
    w.child(t)
    child, slot, _ = w.child(t, start)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_end", t)
    return s, child, slot


def family(w: World) -> Arguments:
    """A process with three children, of which the second has two: (thread, child, slot, generation, thread of the
    child)."""
    t = w.running()
    w.child(t)
    child, slot, generation = w.child(t)
    w.child(t)
    u = w.run(w.k.process[child].threads[0])
    for _ in range(2): w.child(u)
    return t, child, slot, generation, u


@case("process_create")
def grandchild(w: World) -> Arguments:
    return (family(w)[4],)


@case("process_kill")
def child_with_children(w: World) -> Arguments:
    t, _, slot, generation, _ = family(w)
    return (t, slot, generation)


@case("process_kill")
def kill_of_the_unstarted(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t, start=False)[1:])


@case("process_kill")
def kill_of_one_that_is_ending(w: World) -> Arguments:
    t, child, slot, generation, _ = family(w)
    w.do("process_end", child, 9)
    return (t, slot, generation)


@case("process_kill", "ESRCH")
def kill_of_nobody(w: World) -> Arguments:
    return (w.running(), 2, 1)


@case("process_kill", "ESRCH")
def kill_of_a_thread(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation)


@case("process_kill", "ECHILD")
def kill_of_the_ended(w: World) -> Arguments:
    t = w.running()
    s, slot, generation = w.child(t)
    w.end(s)
    return (t, slot, generation)


@case("process_kill", "ECHILD")
def kill_of_the_killed(w: World) -> Arguments:
    t, _, slot, generation, _ = family(w)
    w.do("process_kill", t, slot, generation)
    return (t, slot, generation)


def killed_family(w: World) -> Arguments:
    """A process that was killed, and its children: (process, child, child)."""
    t, child, slot, generation, _ = family(w)
    w.do("process_kill", t, slot, generation)
    return (child, *(w.k.process[child].children[i] for i in range(2)))


@case("child_kill")
def child_of_the_killed(w: World) -> Arguments:
    return (killed_family(w)[1],)


@case("child_kill")
def ending_child_of_the_killed(w: World) -> Arguments:
    _, child, _ = killed_family(w)
    w.do("process_end", child, 9)
    return (child,)


@case("child_kill", "EINVAL")
def child_kill_of_no_process(w: World) -> Arguments:
    return (w.running(),)


@case("child_kill", "EINVAL")
def child_of_nobody(w: World) -> Arguments:
    return (w.process(),)


@case("child_kill", "EINVAL")
def child_of_the_living(w: World) -> Arguments:
    return (family(w)[1],)


@case("child_kill", "EINVAL")
def child_was_killed_before(w: World) -> Arguments:
    _, child, _ = killed_family(w)
    w.do("child_kill", child)
    return (child,)


def ending_family(w: World) -> Arguments:
    """A process that is ending by itself, and its children: (process, child, child)."""
    _, child, _, _, u = family(w)
    w.do("process_exit", u, 4)
    return (child, *(w.k.process[child].children[i] for i in range(2)))


@case("child_inherit")
def first_grandchild(w: World) -> Arguments:
    return (ending_family(w)[1],)


@case("child_inherit")
def last_grandchild(w: World) -> Arguments:
    return (ending_family(w)[2],)


@case("child_inherit")
def child_of_a_process_without_a_parent(w: World) -> Arguments:
    t, child, _, _, _ = family(w)
    w.do("process_end", w.k.thread[t].process, 4)
    return (child,)


@case("child_inherit", "EINVAL")
def inherit_no_process(w: World) -> Arguments:
    return (w.running(),)


@case("child_inherit", "EINVAL")
def inherit_of_nobody(w: World) -> Arguments:
    return (w.process(),)


@case("child_inherit", "EINVAL")
def inherit_of_the_living(w: World) -> Arguments:
    return (family(w)[1],)


@case("child_inherit", "EINVAL")
def inherit_of_the_killed(w: World) -> Arguments:
    return (killed_family(w)[1],)


@case("handle_drop")
def child_that_runs(w: World) -> Arguments:
    s, _, slot = ending_holder(w)
    return s, slot


@case("handle_drop")
def child_that_never_started(w: World) -> Arguments:
    s, _, slot = ending_holder(w, start=False)
    return s, slot


@case("handle_drop")
def child_that_has_ended(w: World) -> Arguments:
    s, child, slot = ending_holder(w)
    w.end(child, 4)
    assert w.k.process[child].state == ENDED
    return s, slot


@case("handle_drop")
def child_that_is_ending(w: World) -> Arguments:
    s, child, slot = ending_holder(w)
    w.do("process_end", child, 4)
    assert w.k.process[child].state == ENDING
    return s, slot


@case("handle_drop")
def thread_that_has_ended(w: World) -> Arguments:
    t, u, slot, _ = joinable(w)
    w.do("thread_exit", w.run(u), 0)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_end", t)
    return s, slot


@case("handle_drop", "EINVAL")
def holder_is_alive(w: World) -> Arguments:
    t, _, slot, _ = joinable(w)
    return w.k.thread[t].process, slot


@case("handle_drop", "EINVAL")
def holder_is_no_process(w: World) -> Arguments:
    return w.k.root, 0


@case("handle_drop", "EBUSY")
def holder_has_threads(w: World) -> Arguments:
    t = w.running()
    _, slot, _ = w.child(t)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    return s, slot


@case("handle_drop", "ESRCH")
def slot_is_empty(w: World) -> Arguments:
    s, _, slot = ending_holder(w)
    return s, slot + 1


@case("process_finish")
def host_will_collect(w: World) -> Arguments:
    s = w.process()
    w.do("process_end", s, 1)
    return (s,)


@case("process_finish")
def parent_has_a_handle(w: World) -> Arguments:
    t = w.running()
    s, _, _ = w.child(t, start=False)
    w.do("process_end", s, 1)
    return (s,)


@case("process_finish")
def parent_waits(w: World) -> Arguments:
    t = w.running()
    w.child(t)
    s, slot, generation = w.child(t)
    w.do("process_wait", t, slot, generation)
    w.do("process_end", s, 200)
    w.do("thread_end", w.k.process[s].threads[0])
    return (s,)


@case("process_finish")
def parent_is_gone(w: World) -> Arguments:
    s, child, slot = ending_holder(w, start=False)
    w.do("handle_drop", s, slot)
    return (child,)


@case("process_finish")
def one_of_several_children(w: World) -> Arguments:
    _, child, _ = ending_family(w)
    w.do("process_end", child, 3)
    w.do("thread_end", w.k.process[child].threads[0])
    return (child,)


@case("process_finish")
def killed_child(w: World) -> Arguments:
    _, child, _ = killed_family(w)
    w.do("child_kill", child)
    w.do("thread_end", w.k.process[child].threads[0])
    return (child,)


@case("process_finish", "EBUSY")
def a_child_is_left(w: World) -> Arguments:
    t, child, _, _, _ = family(w)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_end", t)
    for slot in list(w.k.process[s].handle_object): w.do("handle_drop", s, slot)
    assert w.k.process[child].parent == s
    return (s,)


@case("process_finish", "EINVAL")
def finish_the_living(w: World) -> Arguments:
    return (w.process(),)


@case("process_finish", "EINVAL")
def finish_no_process(w: World) -> Arguments:
    return (w.running(),)


@case("process_finish", "EBUSY")
def a_thread_is_left(w: World) -> Arguments:
    s = w.process()
    w.thread(s)
    w.do("process_end", s, 0)
    return (s,)


@case("process_finish", "EBUSY")
def a_mapping_is_left(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.do("process_end", s, 0)
    return (s,)


@case("process_finish", "EBUSY")
def a_handle_is_left(w: World) -> Arguments:
    return (ending_holder(w)[0],)


@case("process_collect")
def ended_process(w: World) -> Arguments:
    s = w.process()
    w.end(s, 42)
    return (s,)


@case("process_collect")
def ended_process_that_had_handles(w: World) -> Arguments:
    t = w.running()
    for _ in range(2):
        w.child(t)
    s = w.k.thread[t].process
    w.end(s, 42)
    return (s,)


@case("process_collect", "EINVAL")
def process_of_another(w: World) -> Arguments:
    t = w.running()
    return (w.child(t)[0],)


@case("process_collect", "EINVAL")
def collect_no_process(w: World) -> Arguments:
    return (w.running(),)


@case("process_collect", "EBUSY")
def process_that_lives(w: World) -> Arguments:
    return (w.process(),)


@case("process_wait")
def child_runs_yet(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("process_wait")
def child_is_ending(w: World) -> Arguments:
    t = w.running()
    s, slot, generation = w.child(t)
    w.do("process_end", s, 6)
    return (t, slot, generation)


@case("process_wait")
def child_ended_before(w: World) -> Arguments:
    t = w.running()
    w.child(t)
    s, slot, generation = w.child(t)
    w.end(s, 99)
    return (t, slot, generation)


@case("process_wait", "ESRCH")
def wait_for_a_thread(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation)


@case("process_wait", "ESRCH")
def wait_for_nothing(w: World) -> Arguments:
    return (w.running(), 3, 1)


@case("process_wait", "EINVAL")
def waits_while_it_does_not_run(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.child(t)
    w.do("preempt", 0)
    return (t, slot, generation)


@case("process_wait", "EINVAL")
def wait_for_the_unstarted(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t, start=False)[1:])


@case("process_wait", "EBUSY")
def another_waits(w: World) -> Arguments:
    t, u, _, _ = joinable(w)
    _, slot, generation = w.child(t)
    w.do("process_wait", t, slot, generation)
    return (w.run(u), slot, generation)
