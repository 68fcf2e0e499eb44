"""Cases of endpoints, the handles that name them, pagers and timers."""

from __future__ import annotations

from kernel.objects import GRANT, HANDLE, HANDLES, RECEIVE, SEND
from tests.kernel.scenarios import Arguments, case
from tests.kernel.world import World

ALL = SEND + RECEIVE + GRANT


def owner(w: World) -> Arguments:
    """A running thread and the handle to an endpoint it created: (thread, slot, generation)."""
    t = w.running()
    return (t, *w.endpoint(t)[1:])


def full_of_handles(w: World, t: int, slot: int, generation: int) -> None:
    """The process of thread t has no free handle."""
    with w.unchecked():
        while w.k.process[w.k.thread[t].process].handle_count < HANDLES:
            w.copied(t, slot, generation, SEND)


@case("endpoint_create")
def new_endpoint(w: World) -> Arguments:
    return (w.running(),)


@case("endpoint_create", "EINVAL")
def creator_does_not_run(w: World) -> Arguments:
    return (w.thread(w.process()),)


@case("endpoint_create", "EBUSY")
def container_of_the_endpoint_ends(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    _, u = w.inside(t, slot, generation)
    w.do("container_kill", t, slot, generation)
    return (w.run(u),)


@case("endpoint_create", "ENOSPC")
def no_slot_for_an_endpoint(w: World) -> Arguments:
    t, slot, generation = owner(w)
    full_of_handles(w, t, slot, generation)
    return (t,)


@case("endpoint_create", "ENOMEM")
def no_page_for_an_endpoint(w: World) -> Arguments:
    t = w.running()
    w.leave(0)
    return (t,)


@case("handle_copy")
def fewer_rights_and_a_badge(w: World) -> Arguments:
    return (*owner(w), SEND + GRANT, 7)


@case("handle_copy")
def badge_is_kept(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, *w.copied(t, slot, generation, SEND, 7), SEND, 0)


@case("handle_copy", "EINVAL")
def badge_below_zero(w: World) -> Arguments:
    return (*owner(w), SEND, -1)


@case("handle_copy", "EINVAL")
def copier_does_not_run(w: World) -> Arguments:
    t, slot, generation = owner(w)
    w.do("preempt", 0)
    return (t, slot, generation, SEND, 0)


@case("handle_copy", "ESRCH")
def copied_handle_names_nothing(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, slot, generation + 1, SEND, 0)


@case("handle_copy", "ESRCH")
def copied_handle_names_a_thread(w: World) -> Arguments:
    t = w.running()
    return (t, *w.created_thread(t)[1:], SEND, 0)


@case("handle_copy", "EPERM")
def no_rights(w: World) -> Arguments:
    return (*owner(w), 0, 0)


@case("handle_copy", "EPERM")
def no_such_rights(w: World) -> Arguments:
    return (*owner(w), 8, 0)


@case("handle_copy", "EPERM")
def right_to_send_not_held(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, *w.copied(t, slot, generation, RECEIVE), SEND, 0)


@case("handle_copy", "EPERM")
def right_to_receive_not_held(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, *w.copied(t, slot, generation, SEND + GRANT), RECEIVE, 0)


@case("handle_copy", "EPERM")
def right_to_grant_not_held(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, *w.copied(t, slot, generation, SEND + RECEIVE), GRANT + SEND, 0)


@case("handle_copy", "EPERM")
def second_badge(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, *w.copied(t, slot, generation, SEND, 7), SEND, 8)


@case("handle_copy", "ENOSPC")
def no_slot_for_a_copy(w: World) -> Arguments:
    t, slot, generation = owner(w)
    full_of_handles(w, t, slot, generation)
    return (t, slot, generation, SEND, 0)


@case("handle_close")
def last_handle(w: World) -> Arguments:
    return owner(w)


@case("handle_close")
def one_of_two_handles(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, *w.copied(t, slot, generation, RECEIVE, 5))


@case("handle_close")
def last_handle_of_one_that_has_signals_and_a_timer(w: World) -> Arguments:
    t = w.running()
    e, slot, generation = w.endpoint(t)
    w.do("endpoint_signal", e)
    w.do("timer_bind", t, slot, generation, 1)
    return (t, slot, generation)


@case("handle_close")
def somebody_is_in_the_queue(w: World) -> Arguments:
    t, slot, generation = owner(w)
    u = w.created_thread(t)[0]
    w.do("message_receive", w.run(u), slot, generation, 1, 0)
    return (w.run(t), slot, generation)


@case("handle_close", "EINVAL")
def closer_does_not_run(w: World) -> Arguments:
    t, slot, generation = owner(w)
    w.do("preempt", 0)
    return (t, slot, generation)


@case("handle_close", "ESRCH")
def handle_of_a_thread(w: World) -> Arguments:
    t = w.running()
    return (t, *w.created_thread(t)[1:])


def parent(w: World, start: bool = False) -> tuple[int, int, int, int, int]:
    """A running thread, its child, and its endpoint: (thread, slot, generation of the child, then of the endpoint)."""
    t = w.running()
    _, child, child_generation = w.child(t, start)
    return (t, child, child_generation, *w.endpoint(t)[1:])


@case("handle_give")
def handle_for_a_child(w: World) -> Arguments:
    t, child, child_generation, slot, generation = parent(w)
    return (t, child, child_generation, *w.copied(t, slot, generation, SEND + GRANT, 3), SEND)


@case("handle_give", "EINVAL")
def giver_does_not_run(w: World) -> Arguments:
    found = parent(w)
    w.do("preempt", 0)
    return (*found, SEND)


@case("handle_give", "ESRCH")
def no_child(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, slot, generation + 1, slot, generation, SEND)


@case("handle_give", "ESRCH")
def child_is_an_endpoint(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, slot, generation, slot, generation, SEND)


@case("handle_give", "ESRCH")
def given_handle_names_a_process(w: World) -> Arguments:
    t, child, child_generation, _, _ = parent(w)
    return (t, child, child_generation, child, child_generation, SEND)


@case("handle_give", "EBUSY")
def child_has_started(w: World) -> Arguments:
    return (*parent(w, start=True), SEND)


@case("handle_give", "EPERM")
def given_handle_may_not_be_passed_on(w: World) -> Arguments:
    t, child, child_generation, slot, generation = parent(w)
    return (t, child, child_generation, *w.copied(t, slot, generation, SEND), SEND)


@case("handle_give", "EPERM")
def more_rights_given_than_held(w: World) -> Arguments:
    t, child, child_generation, slot, generation = parent(w)
    return (t, child, child_generation, *w.copied(t, slot, generation, SEND + GRANT), RECEIVE)


@case("handle_give", "ENOSPC")
def child_is_full_of_handles(w: World) -> Arguments:
    found = parent(w)
    with w.unchecked():
        for _ in range(HANDLES):
            w.do("handle_give", *found, SEND)
    return (*found, SEND)


@case("pager_set")
def pager_of_its_own(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, w.k.thread[t].process, *w.copied(t, slot, generation, SEND, 9))


@case("pager_set")
def pager_of_a_child(w: World) -> Arguments:
    t, child, _, slot, generation = parent(w)
    return (t, w.k.process[w.k.thread[t].process].handle_object[child], slot, generation)


@case("pager_set")
def no_pager_any_more(w: World) -> Arguments:
    t, slot, generation = owner(w)
    w.do("pager_set", t, w.k.thread[t].process, *w.copied(t, slot, generation, SEND, 9))
    return (t, w.k.thread[t].process, 0, 0)


@case("pager_set")
def pager_that_nothing_else_names(w: World) -> Arguments:
    t, slot, generation = owner(w)
    w.do("pager_set", t, w.k.thread[t].process, slot, generation)
    w.do("handle_close", t, slot, generation)
    return (t, w.k.thread[t].process, 0, 0)


@case("pager_set")
def never_had_a_pager(w: World) -> Arguments:
    t = w.running()
    return (t, w.k.thread[t].process, 0, 0)


@case("pager_set", "EINVAL")
def pager_of_a_stranger(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, w.process(), slot, generation)


@case("pager_set", "EINVAL")
def pager_of_no_process(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, w.k.root, slot, generation)


@case("pager_set", "EINVAL")
def who_sets_the_pager_does_not_run(w: World) -> Arguments:
    t, slot, generation = owner(w)
    w.do("preempt", 0)
    return (t, w.k.thread[t].process, slot, generation)


@case("pager_set", "EBUSY")
def second_pager(w: World) -> Arguments:
    t, slot, generation = owner(w)
    w.do("pager_set", t, w.k.thread[t].process, slot, generation)
    return (t, w.k.thread[t].process, slot, generation)


@case("pager_set", "EBUSY")
def pager_of_one_that_is_ending(w: World) -> Arguments:
    t, child, _, slot, generation = parent(w)
    s = w.k.process[w.k.thread[t].process].handle_object[child]
    w.do("process_end", s, 0)
    return (t, s, slot, generation)


@case("pager_set", "ESRCH")
def pager_names_nothing(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, w.k.thread[t].process, slot, generation + 1)


@case("pager_set", "EPERM")
def pager_cannot_be_sent_to(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, w.k.thread[t].process, *w.copied(t, slot, generation, RECEIVE))


@case("process_finish")
def pager_goes_with_its_last_process(w: World) -> Arguments:
    t, child, _, slot, generation = parent(w)
    s = w.k.process[w.k.thread[t].process].handle_object[child]
    w.do("pager_set", t, s, slot, generation)
    w.do("handle_close", t, slot, generation)
    w.do("process_end", s, 0)
    return (s,)


@case("process_finish")
def pager_and_process_go_together(w: World) -> Arguments:
    t = w.running()
    s, child, _ = w.child(t, start=False)
    _, slot, generation = w.endpoint(t)
    w.do("pager_set", t, s, slot, generation)
    w.do("handle_close", t, slot, generation)
    parent_process = w.k.thread[t].process
    w.do("process_end", parent_process, 0)
    w.do("thread_end", t)
    w.do("handle_drop", parent_process, child)  # the child ends with it, and nobody will collect it
    return (s,)


@case("handle_drop")
def endpoint_is_dropped(w: World) -> Arguments:
    t, slot, generation = owner(w)
    w.copied(t, slot, generation, SEND, 4)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_end", t)
    return (s, slot)


@case("page_inherit")
def endpoint_that_others_name(w: World) -> Arguments:
    t = w.running()
    _, container, container_generation = w.container(t)
    _, slot, generation = w.endpoint(t)
    child = w.do("process_create_in", t, container, container_generation)
    given = w.do("handle_give", t, child % 65536, child // 65536, slot, generation, SEND)
    s = w.k.process[w.k.thread[t].process].handle_object[child % 65536]
    w.do("process_start", t, child % 65536, child // 65536)
    w.do("message_accept", t, 0, 0, 1)
    w.do("message_receive", t, slot, generation, 1, 0)
    u = w.run(w.k.process[s].threads[0])
    e, own, own_generation = w.endpoint(u)
    w.do("message_send", u, given % 65536, given // 65536, 1, HANDLE, own, own_generation, SEND, 0)
    w.do("container_kill", w.run(t), container, container_generation)
    w.end(s)
    w.do("process_forget", s)
    return (e,)


@case("timer_bind")
def timer_for_an_endpoint(w: World) -> Arguments:
    return (*owner(w), 1)


@case("timer_bind")
def timer_no_longer(w: World) -> Arguments:
    found = owner(w)
    w.do("timer_bind", *found, 1)
    return (*found, 0)


@case("timer_bind", "EINVAL")
def neither_bound_nor_not(w: World) -> Arguments:
    return (*owner(w), 2)


@case("timer_bind", "ESRCH")
def timer_for_nothing(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, slot, generation + 1, 1)


@case("timer_bind", "EPERM")
def timer_for_one_that_only_sends(w: World) -> Arguments:
    t, slot, generation = owner(w)
    return (t, *w.copied(t, slot, generation, SEND), 1)
