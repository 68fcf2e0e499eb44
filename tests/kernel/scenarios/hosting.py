"""Cases of what the host sets up: containers, endpoints, handles, pagers, timers."""

from __future__ import annotations

from kernel.objects import DEPTH_LIMIT, HANDLES, RECEIVE, SEND
from tests.kernel.scenarios import Arguments, case
from tests.kernel.scenarios.containers import ending_container
from tests.kernel.world import World


def endpoint_of_another(w: World) -> Arguments:
    """An endpoint that one process of the host has a handle to, and another that has not: (process, endpoint)."""
    s, d = w.process(), w.process()
    handle = w.do("endpoint_spawn", s, w.k.root, RECEIVE, 0)
    return d, w.k.process[s].handle_object[handle % 65536]


def child(w: World) -> int:
    """A process that another one created and has not started."""
    return w.child(w.running(), start=False)[0]


def full(w: World, d: int, e: int) -> None:
    """Process d has no free handle."""
    with w.unchecked():
        for _ in range(HANDLES):
            w.do("handle_assign", d, e, SEND, 0)


@case("container_spawn")
def first_container_of_the_host(w: World) -> Arguments:
    w.root.core = 1
    return (w.k.root, 10, 1, 0)


@case("container_spawn")
def container_of_the_host_beside_another(w: World) -> Arguments:
    w.container(w.running())
    return (w.k.root, 0, 0, 0)


@case("container_spawn")
def container_of_the_host_below_another(w: World) -> Arguments:
    c = w.do("container_spawn", w.k.root, 20, 1, 0)
    w.do("container_spawn", c, 3, 0, 0)
    return (c, 5, 1, 0)


@case("container_spawn", blocks=1023)
def container_of_the_host_with_a_giant(w: World) -> Arguments:
    return (w.k.root, 1, 0, 1)


@case("container_spawn", "EINVAL")
def container_below_none(w: World) -> Arguments:
    return (w.process(), 1, 0, 0)


@case("container_spawn", "EINVAL")
def container_of_the_host_below_an_ending_one(w: World) -> Arguments:
    return (ending_container(w)[0], 1, 0, 0)


@case("container_spawn", "EINVAL")
def quota_of_fewer_pages_than_none(w: World) -> Arguments:
    return (w.k.root, -1, 0, 0)


@case("container_spawn", "EINVAL")
def quota_of_fewer_blocks_than_none(w: World) -> Arguments:
    return (w.k.root, 0, -1, 0)


@case("container_spawn", "EINVAL")
def quota_of_fewer_giants_than_none(w: World) -> Arguments:
    return (w.k.root, 0, 0, -1)


@case("container_spawn", "ENOSPC", blocks=4)
def deepest_container_of_the_host(w: World) -> Arguments:
    c = w.k.root
    with w.unchecked():
        for depth in range(DEPTH_LIMIT):
            c = w.do("container_spawn", c, DEPTH_LIMIT - depth, 0, 0)
    return (c, 0, 0, 0)


@case("container_spawn", "ENOMEM")
def all_pages_but_none_for_the_container(w: World) -> Arguments:
    return (w.k.root, w.root.pages, 0, 0)


@case("container_spawn", "ENOMEM")
def more_blocks_than_the_parent_has(w: World) -> Arguments:
    return (w.k.root, 0, 99, 0)


@case("container_spawn", "ENOMEM")
def more_giants_than_the_parent_has(w: World) -> Arguments:
    return (w.k.root, 0, 0, 1)


@case("container_close")
def container_of_the_host_ends(w: World) -> Arguments:
    return (w.do("container_spawn", w.k.root, 5, 0, 0),)


@case("container_finish")
def nothing_is_left_in_a_container_of_the_host(w: World) -> Arguments:
    c = w.do("container_spawn", w.k.root, 5, 1, 0)
    w.do("container_close", c)
    return (c,)


@case("endpoint_spawn")
def endpoint_with_all_rights(w: World) -> Arguments:
    return (w.process(), w.k.root, 7, 0)


@case("endpoint_spawn")
def endpoint_of_another_container(w: World) -> Arguments:
    return (w.process(), w.do("container_spawn", w.k.root, 5, 0, 0), SEND, 9)


@case("endpoint_spawn", "EINVAL")
def endpoint_for_no_process(w: World) -> Arguments:
    return (w.k.root, w.k.root, 7, 0)


@case("endpoint_spawn", "EINVAL")
def endpoint_for_a_child(w: World) -> Arguments:
    return (child(w), w.k.root, 7, 0)


@case("endpoint_spawn", "EINVAL")
def endpoint_without_rights(w: World) -> Arguments:
    return (w.process(), w.k.root, 0, 0)


@case("endpoint_spawn", "EINVAL")
def endpoint_with_rights_there_are_not(w: World) -> Arguments:
    return (w.process(), w.k.root, 8, 0)


@case("endpoint_spawn", "EINVAL")
def endpoint_with_a_negative_badge(w: World) -> Arguments:
    return (w.process(), w.k.root, 1, -1)


@case("endpoint_spawn", "EINVAL")
def endpoint_of_no_container(w: World) -> Arguments:
    s = w.process()
    return (s, s, 7, 0)


@case("endpoint_spawn", "EINVAL")
def endpoint_of_an_ending_container(w: World) -> Arguments:
    return (w.process(), ending_container(w)[0], 7, 0)


@case("endpoint_spawn", "EBUSY")
def endpoint_for_a_process_that_runs(w: World) -> Arguments:
    return (w.k.thread[w.running()].process, w.k.root, 7, 0)


@case("endpoint_spawn", "ENOSPC", blocks=9)
def endpoint_for_a_process_full_of_handles(w: World) -> Arguments:
    d, e = endpoint_of_another(w)
    full(w, d, e)
    return (d, w.k.root, 7, 0)


@case("endpoint_spawn", "ENOMEM")
def endpoint_of_a_container_without_a_page(w: World) -> Arguments:
    return (w.process(), w.do("container_spawn", w.k.root, 0, 1, 0), 7, 0)


@case("handle_assign")
def handle_to_what_another_receives_from(w: World) -> Arguments:
    return (*endpoint_of_another(w), SEND, 3)


@case("handle_assign")
def second_handle_to_an_endpoint(w: World) -> Arguments:
    d, e = endpoint_of_another(w)
    w.do("handle_assign", d, e, SEND, 3)
    return (d, e, 7, 0)


@case("handle_assign", "EINVAL")
def handle_for_no_process(w: World) -> Arguments:
    _, e = endpoint_of_another(w)
    return (e, e, 7, 0)


@case("handle_assign", "EINVAL")
def handle_for_a_child(w: World) -> Arguments:
    return (child(w), endpoint_of_another(w)[1], 7, 0)


@case("handle_assign", "EINVAL")
def handle_without_rights(w: World) -> Arguments:
    return (*endpoint_of_another(w), 0, 0)


@case("handle_assign", "EINVAL")
def handle_with_rights_there_are_not(w: World) -> Arguments:
    return (*endpoint_of_another(w), 8, 0)


@case("handle_assign", "EINVAL")
def handle_with_a_negative_badge(w: World) -> Arguments:
    return (*endpoint_of_another(w), 1, -1)


@case("handle_assign", "EINVAL")
def handle_to_no_endpoint(w: World) -> Arguments:
    s = w.process()
    return (s, w.process(), 7, 0)


@case("handle_assign", "EBUSY")
def handle_for_a_process_that_runs(w: World) -> Arguments:
    _, e = endpoint_of_another(w)
    return (w.k.thread[w.running()].process, e, 7, 0)


@case("handle_assign", "ENOSPC", blocks=9)
def handle_for_a_process_full_of_handles(w: World) -> Arguments:
    d, e = endpoint_of_another(w)
    full(w, d, e)
    return (d, e, SEND, 0)


@case("pager_assign")
def pager_of_a_program(w: World) -> Arguments:
    return (*endpoint_of_another(w), 0)


@case("pager_assign")
def pager_with_a_badge_beside_a_handle(w: World) -> Arguments:
    d, e = endpoint_of_another(w)
    w.do("handle_assign", d, e, SEND, 3)
    return (d, e, 5)


@case("pager_assign", "EINVAL")
def pager_of_no_process(w: World) -> Arguments:
    _, e = endpoint_of_another(w)
    return (e, e, 0)


@case("pager_assign", "EINVAL")
def pager_of_a_child(w: World) -> Arguments:
    return (child(w), endpoint_of_another(w)[1], 0)


@case("pager_assign", "EINVAL")
def pager_that_is_no_endpoint(w: World) -> Arguments:
    s = w.process()
    return (s, w.process(), 0)


@case("pager_assign", "EINVAL")
def pager_with_a_negative_badge(w: World) -> Arguments:
    return (*endpoint_of_another(w), -1)


@case("pager_assign", "EBUSY")
def pager_of_a_program_that_runs(w: World) -> Arguments:
    _, e = endpoint_of_another(w)
    return (w.k.thread[w.running()].process, e, 0)


@case("pager_assign", "EBUSY")
def second_pager_of_a_program(w: World) -> Arguments:
    d, e = endpoint_of_another(w)
    w.do("pager_assign", d, e, 0)
    return (d, e, 0)


@case("timer_assign")
def timer_of_the_host(w: World) -> Arguments:
    return (endpoint_of_another(w)[1],)


@case("timer_assign", "EINVAL")
def timer_of_no_endpoint(w: World) -> Arguments:
    return (w.process(),)


@case("timer_assign", "EBUSY")
def second_timer_of_the_host(w: World) -> Arguments:
    _, e = endpoint_of_another(w)
    w.do("timer_assign", e)
    return (e,)
