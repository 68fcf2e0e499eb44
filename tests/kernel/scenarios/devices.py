"""Cases of devices and IOMMU domains, and of their handles passing."""

from __future__ import annotations

from typing import NamedTuple

from abi.layout import READ, WRITE
from kernel.objects import DOMAIN_MAPPINGS, DOMAIN_PAGES, HANDLE, HANDLES, RECEIVE, SEND
from tests.kernel.scenarios import Arguments, V, W, case
from tests.kernel.world import World, indices, page_at

BOTH = READ | WRITE
IOVA = 512 * 7 + 3
BLOCK = page_at(5, 6, 8)


class Owner(NamedTuple):
    """A running thread, its process, a device o that it holds and a domain m."""

    t: int
    s: int
    o: int
    device: tuple[int, int]
    m: int
    domain: tuple[int, int]


def split(handle: int) -> tuple[int, int]:
    """A handle as slot and generation."""
    return handle % 65536, handle // 65536


def owner(w: World) -> Owner:
    """The process maps a page at V, which devices may read and write, and one at V + 1, which it may only read."""
    t = w.running()
    s = w.k.thread[t].process
    o = w.do("device_add", w.k.root)
    device = split(w.do("device_open", o, s))
    domain = split(w.do("domain_create", t))
    w.map(s, V)
    w.map(s, V + 1, READ)
    return Owner(t, s, o, device, w.k.process[s].handle_object[domain[0]], domain)


def mapped(w: World) -> Owner:
    """The domain maps the page at V."""
    x = owner(w)
    w.do("domain_map", x.t, *x.domain, *indices(V), IOVA, BOTH)
    return x


def attached(w: World) -> Owner:
    """The device is attached to the domain."""
    x = mapped(w)
    w.do("device_attach", x.t, *x.device, *x.domain)
    return x


def bound(w: World, *, close: bool = False) -> Owner:
    """The device's interrupts are bound to an endpoint; ``close``: that nothing else names."""
    x = attached(w)
    _, slot, generation = w.endpoint(x.t)
    w.do("interrupt_bind", x.t, *x.device, slot, generation)
    if close: w.do("handle_close", x.t, slot, generation)
    return x


def not_running(w: World, x: Owner) -> Owner:
    """The thread does not run."""
    w.do("preempt", 0)
    return x


def full(w: World, x: Owner) -> None:
    """The process has no free handle."""
    _, slot, generation = w.endpoint(x.t)
    with w.unchecked():
        while w.k.process[x.s].handle_count < HANDLES:
            w.copied(x.t, slot, generation, SEND)


# The host.


@case("device_add")
def new_device(w: World) -> Arguments:
    return (w.k.root,)


@case("device_add", "EINVAL")
def device_of_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("device_add", "EINVAL")
def device_of_an_ending_container(w: World) -> Arguments:
    t = w.running()
    c, slot, generation = w.container(t)
    w.do("container_kill", t, slot, generation)
    return (c,)


@case("device_add", "ENOMEM")
def no_page_for_a_device(w: World) -> Arguments:
    w.leave(0)
    return (w.k.root,)


@case("device_open")
def device_for_a_process(w: World) -> Arguments:
    s = w.process()
    return (w.do("device_add", w.k.root), s)


@case("device_open")
def device_for_a_process_elsewhere(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    s, _ = w.inside(t, slot, generation)
    return (w.do("device_add", w.k.root), s)


@case("device_open", "EINVAL")
def no_device_to_open(w: World) -> Arguments:
    return (w.k.root, w.process())


@case("device_open", "EINVAL")
def nobody_to_open_it_for(w: World) -> Arguments:
    return (w.do("device_add", w.k.root), w.k.root)


@case("device_open", "EINVAL")
def opened_for_one_that_is_ending(w: World) -> Arguments:
    s = w.process()
    w.do("process_end", s, 0)
    return (w.do("device_add", w.k.root), s)


@case("device_open", "EBUSY")
def somebody_holds_the_device(w: World) -> Arguments:
    x = owner(w)
    return (x.o, x.s)


@case("device_open", "ENOSPC")
def no_slot_for_a_device(w: World) -> Arguments:
    x = owner(w)
    full(w, x)
    return (w.do("device_add", w.k.root), x.s)


@case("device_open", "ENOMEM")
def container_cannot_pay_for_a_device(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t, 3)
    s, _ = w.inside(t, slot, generation)
    return (w.do("device_add", w.k.root), s)


@case("device_remove")
def device_that_nobody_holds(w: World) -> Arguments:
    return (w.do("device_add", w.k.root),)


@case("device_remove")
def device_in_use(w: World) -> Arguments:
    return (bound(w).o,)


@case("device_remove")
def device_in_use_with_the_last_of_its_endpoint(w: World) -> Arguments:
    return (bound(w, close=True).o,)


@case("device_remove", "EINVAL")
def no_device_to_remove(w: World) -> Arguments:
    return (w.k.root,)


# Domains.


@case("domain_create")
def new_domain(w: World) -> Arguments:
    return (w.running(),)


@case("domain_create", "EINVAL")
def who_creates_a_domain_does_not_run(w: World) -> Arguments:
    return (w.thread(w.process()),)


@case("domain_create", "EBUSY")
def container_of_the_domain_ends(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    _, u = w.inside(t, slot, generation)
    w.do("container_kill", t, slot, generation)
    return (w.run(u),)


@case("domain_create", "ENOSPC")
def no_slot_for_a_domain(w: World) -> Arguments:
    x = owner(w)
    full(w, x)
    return (x.t,)


@case("domain_create", "ENOMEM")
def no_page_for_a_domain(w: World) -> Arguments:
    t = w.running()
    w.leave(0)
    return (t,)


@case("domain_map")
def page_for_devices(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, *indices(V), IOVA, BOTH)


@case("domain_map")
def second_page_of_a_region(w: World) -> Arguments:
    x = mapped(w)
    return (x.t, *x.domain, *indices(V + 1), IOVA + 1, READ)


@case("domain_map")
def block_for_devices(w: World) -> Arguments:
    x = owner(w)
    w.map_block(x.s, BLOCK)
    return (x.t, *x.domain, *indices(BLOCK), 512 * 9, BOTH)


@case("domain_map", "EINVAL")
def who_maps_for_devices_does_not_run(w: World) -> Arguments:
    x = not_running(w, owner(w))
    return (x.t, *x.domain, *indices(V), IOVA, BOTH)


@case("domain_map", "EINVAL")
def the_machines_own_slot_for_devices(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, 255, 0, 0, 0, IOVA, BOTH)


@case("domain_map", "EINVAL")
def beyond_what_devices_address(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, *indices(V), DOMAIN_PAGES, BOTH)


@case("domain_map", "EINVAL")
def devices_that_execute(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, *indices(V), IOVA, 5)


@case("domain_map", "EINVAL")
def block_aligned_otherwise_for_devices(w: World) -> Arguments:
    x = owner(w)
    w.map_block(x.s, BLOCK)
    return (x.t, *x.domain, *indices(BLOCK), 512 * 9 + 1, BOTH)


@case("domain_map", "ESRCH")
def no_domain_to_map_in(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.device, *indices(V), IOVA, BOTH)


@case("domain_map", "EFAULT")
def nothing_to_map_for_devices(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, *indices(W), IOVA, BOTH)


@case("domain_map", "EPERM")
def more_for_devices_than_for_oneself(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, *indices(V + 1), IOVA, BOTH)


@case("domain_map", "EEXIST")
def mapped_for_devices_already(w: World) -> Arguments:
    x = mapped(w)
    return (x.t, *x.domain, *indices(V), IOVA, READ)


@case("domain_map", "EEXIST")
def block_where_a_page_is(w: World) -> Arguments:
    x = mapped(w)
    w.map_block(x.s, BLOCK)
    return (x.t, *x.domain, *indices(BLOCK), IOVA - IOVA % 512, BOTH)


@case("domain_map", "EEXIST")
def page_within_a_block(w: World) -> Arguments:
    x = owner(w)
    w.map_block(x.s, BLOCK)
    w.do("domain_map", x.t, *x.domain, *indices(BLOCK), 512 * 9, BOTH)
    return (x.t, *x.domain, *indices(V), 512 * 9 + 5, BOTH)


@case("domain_map", "ENOSPC")
def domain_with_all_the_mappings_it_can_have(w: World) -> Arguments:
    x = owner(w)
    with w.unchecked():
        for i in range(DOMAIN_MAPPINGS):
            w.transitions["domain_map"](w.k, x.t, *x.domain, *indices(V), i, READ)
            w.k.journal.clear()
    return (x.t, *x.domain, *indices(V), DOMAIN_MAPPINGS, READ)


@case("domain_unmap")
def mapped_by_the_process_too(w: World) -> Arguments:
    return (mapped(w).m, IOVA)


@case("domain_unmap")
def last_mapping_of_a_page(w: World) -> Arguments:
    x = mapped(w)
    w.do("unmap_page", x.s, *indices(V))
    return (x.m, IOVA)


@case("domain_unmap")
def last_mapping_of_a_block(w: World) -> Arguments:
    x = owner(w)
    w.map_block(x.s, BLOCK)
    w.do("domain_map", x.t, *x.domain, *indices(BLOCK), 512 * 9, BOTH)
    w.do("unmap_block", x.s, *indices(BLOCK)[:3])
    return (x.m, 512 * 9)


@case("domain_unmap", "EINVAL")
def no_domain_to_unmap_from(w: World) -> Arguments:
    return (w.k.root, IOVA)


@case("domain_unmap", "EFAULT")
def nothing_mapped_for_devices(w: World) -> Arguments:
    return (mapped(w).m, IOVA + 1)


@case("domain_close")
def empty_domain(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain)


@case("domain_close", "EINVAL")
def who_closes_a_domain_does_not_run(w: World) -> Arguments:
    x = not_running(w, owner(w))
    return (x.t, *x.domain)


@case("domain_close", "ESRCH")
def no_domain_to_close(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.device)


@case("domain_close", "EBUSY")
def domain_that_maps_something(w: World) -> Arguments:
    x = mapped(w)
    return (x.t, *x.domain)


@case("domain_close", "EBUSY")
def domain_with_a_device(w: World) -> Arguments:
    x = owner(w)
    w.do("device_attach", x.t, *x.device, *x.domain)
    return (x.t, *x.domain)


# Devices.


@case("device_attach")
def device_for_a_domain(w: World) -> Arguments:
    x = mapped(w)
    return (x.t, *x.device, *x.domain)


@case("device_attach", "EINVAL")
def who_attaches_does_not_run(w: World) -> Arguments:
    x = not_running(w, owner(w))
    return (x.t, *x.device, *x.domain)


@case("device_attach", "ESRCH")
def domain_is_no_domain(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.device, *x.device)


@case("device_attach", "ESRCH")
def device_is_no_device(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, *x.domain)


@case("device_attach", "EBUSY")
def attached_already(w: World) -> Arguments:
    x = attached(w)
    return (x.t, *x.device, *x.domain)


@case("device_detach")
def only_device_of_its_domain(w: World) -> Arguments:
    x = attached(w)
    return (x.t, *x.device)


@case("device_detach")
def first_of_two_devices(w: World) -> Arguments:
    x = attached(w)
    other = split(w.do("device_open", w.do("device_add", w.k.root), x.s))
    w.do("device_attach", x.t, *other, *x.domain)
    return (x.t, *x.device)


@case("device_detach", "EINVAL")
def detached_already(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.device)


@case("device_detach", "EINVAL")
def who_detaches_does_not_run(w: World) -> Arguments:
    x = not_running(w, attached(w))
    return (x.t, *x.device)


@case("device_detach", "ESRCH")
def no_device_to_detach(w: World) -> Arguments:
    x = attached(w)
    return (x.t, *x.domain)


@case("interrupt_bind")
def interrupts_for_an_endpoint(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.device, *w.endpoint(x.t)[1:])


@case("interrupt_bind")
def interrupts_for_nobody_any_more(w: World) -> Arguments:
    x = bound(w)
    return (x.t, *x.device, 0, 0)


@case("interrupt_bind")
def interrupts_for_nobody_as_before(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.device, 0, 0)


@case("interrupt_bind")
def last_reference_of_an_endpoint(w: World) -> Arguments:
    x = bound(w, close=True)
    return (x.t, *x.device, 0, 0)


@case("interrupt_bind", "EINVAL")
def who_binds_does_not_run(w: World) -> Arguments:
    x = owner(w)
    slot, generation = w.endpoint(x.t)[1:]
    not_running(w, x)
    return (x.t, *x.device, slot, generation)


@case("interrupt_bind", "ESRCH")
def no_device_to_bind(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.domain, *w.endpoint(x.t)[1:])


@case("interrupt_bind", "ESRCH")
def no_endpoint_to_bind_to(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *x.device, *x.domain)


@case("interrupt_bind", "EPERM")
def endpoint_that_the_process_cannot_receive_from(w: World) -> Arguments:
    x = owner(w)
    _, slot, generation = w.endpoint(x.t)
    return (x.t, *x.device, *w.copied(x.t, slot, generation, SEND))


@case("interrupt_bind", "EBUSY")
def bound_already(w: World) -> Arguments:
    x = bound(w)
    return (x.t, *x.device, *w.endpoint(x.t)[1:])


# Steps of ending.


def ends(w: World, x: Owner) -> Owner:
    """The process is ending."""
    w.do("process_end", x.s, 0)
    return x


@case("device_release")
def device_of_one_that_ends(w: World) -> Arguments:
    return (ends(w, bound(w)).o,)


@case("device_release")
def device_of_one_that_ends_with_the_last_of_its_endpoint(w: World) -> Arguments:
    return (ends(w, bound(w, close=True)).o,)


@case("device_release")
def device_that_was_never_used(w: World) -> Arguments:
    return (ends(w, owner(w)).o,)


@case("device_release", "EINVAL")
def holder_goes_on(w: World) -> Arguments:
    return (bound(w).o,)


@case("device_release", "EINVAL")
def nobody_holds_it(w: World) -> Arguments:
    return (w.do("device_add", w.k.root),)


@case("device_release", "EINVAL")
def domain_released_as_a_device(w: World) -> Arguments:
    return (ends(w, owner(w)).m,)


@case("domain_release")
def domain_of_one_that_ends(w: World) -> Arguments:
    return (ends(w, owner(w)).m,)


@case("domain_release", "EINVAL")
def holder_of_the_domain_goes_on(w: World) -> Arguments:
    return (owner(w).m,)


@case("domain_release", "EINVAL")
def device_released_as_a_domain(w: World) -> Arguments:
    return (ends(w, owner(w)).o,)


@case("domain_release", "EBUSY")
def domain_of_one_that_ends_maps_something(w: World) -> Arguments:
    return (ends(w, mapped(w)).m,)


@case("handle_drop", "EBUSY")
def device_is_not_dropped(w: World) -> Arguments:
    x = ends(w, owner(w))
    w.do("thread_end", x.t)
    return (x.s, x.device[0])


@case("handle_drop", "EBUSY")
def domain_is_not_dropped(w: World) -> Arguments:
    x = ends(w, owner(w))
    w.do("thread_end", x.t)
    return (x.s, x.domain[0])


# Passing.


def child_elsewhere(w: World, x: Owner, pages: int = 20) -> tuple[int, int]:
    """A child that has not started, in a container of its own: (slot, generation)."""
    _, slot, generation = w.container(x.t, pages)
    return split(w.do("process_create_in", x.t, slot, generation))


@case("handle_give")
def device_for_a_child(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *child_elsewhere(w, x), *x.device, 0)


@case("handle_give")
def domain_for_a_child(w: World) -> Arguments:
    x = owner(w)
    _, slot, generation = w.child(x.t, start=False)
    return (x.t, slot, generation, *x.domain, 0)


@case("handle_give", "EBUSY")
def device_that_is_attached(w: World) -> Arguments:
    x = attached(w)
    return (x.t, *child_elsewhere(w, x), *x.device, 0)


@case("handle_give", "EBUSY")
def domain_that_has_something(w: World) -> Arguments:
    x = mapped(w)
    return (x.t, *child_elsewhere(w, x), *x.domain, 0)


@case("handle_give", "EPERM")
def device_with_rights(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *child_elsewhere(w, x), *x.device, SEND)


@case("handle_give", "ENOMEM")
def child_cannot_pay_for_a_device(w: World) -> Arguments:
    x = owner(w)
    return (x.t, *child_elsewhere(w, x, 2), *x.device, 0)


def server_elsewhere(w: World, x: Owner, pages: int = 20) -> tuple[int, int]:
    """A thread of a process in a container of its own waits to receive, and takes handles.  The endpoint's handle of
    x's process: (slot, generation)."""
    _, slot, generation = w.endpoint(x.t)
    child = child_elsewhere(w, x, pages)
    given = split(w.do("handle_give", x.t, *child, slot, generation, RECEIVE))
    s = w.k.process[x.s].handle_object[child[0]]
    w.do("process_start", x.t, *child)
    u = w.run(w.k.process[s].threads[0])
    w.do("message_accept", u, 0, 0, 1)
    w.do("message_receive", u, *given, 1, 0)
    w.run(x.t)
    return slot, generation


def _sends(name: str) -> None:
    """The cases of ``message_send`` or ``message_call`` that carry a device or domain."""

    @case(name)
    def device_with_a_message(w: World) -> Arguments:
        x = owner(w)
        return (x.t, *server_elsewhere(w, x), 1, HANDLE, *x.device, 0, 0)

    @case(name)
    def domain_with_a_message(w: World) -> Arguments:
        x = owner(w)
        return (x.t, *server_elsewhere(w, x), 1, HANDLE, *x.domain, 0, 0)

    @case(name, "EBUSY")
    def attached_device_with_a_message(w: World) -> Arguments:
        x = attached(w)
        return (x.t, *server_elsewhere(w, x), 1, HANDLE, *x.device, 0, 0)

    @case(name, "ENOMEM")
    def receiver_cannot_pay_for_a_device(w: World) -> Arguments:
        x = owner(w)
        return (x.t, *server_elsewhere(w, x, 3), 1, HANDLE, *x.device, 0, 0)

    @case(name, "EINVAL")
    def device_to_a_thread_of_the_same_process(w: World) -> Arguments:
        x = owner(w)
        _, slot, generation = w.endpoint(x.t)
        u = w.run(w.created_thread(x.t)[0])
        w.do("message_accept", u, 0, 0, 1)
        w.do("message_receive", u, slot, generation, 1, 0)
        return (w.run(x.t), slot, generation, 1, HANDLE, *x.device, 0, 0)


_sends("message_send")
_sends("message_call")


def queued_with(w: World, x: Owner, what: tuple[int, int], pages: int = 20) -> Arguments:
    """A thread elsewhere is about to receive what x's thread sends: the arguments of message_receive."""
    _, slot, generation = w.endpoint(x.t)
    child = child_elsewhere(w, x, pages)
    given = split(w.do("handle_give", x.t, *child, slot, generation, RECEIVE))
    s = w.k.process[x.s].handle_object[child[0]]
    w.do("process_start", x.t, *child)
    w.do("message_send", x.t, slot, generation, 1, HANDLE, *what, 0, 0)
    u = w.run(w.k.process[s].threads[0])
    w.do("message_accept", u, 0, 0, 1)
    return (u, *given, 1, 0)


@case("message_receive")
def queued_device(w: World) -> Arguments:
    x = owner(w)
    return queued_with(w, x, x.device)


@case("message_receive", "EBUSY")
def queued_device_is_attached(w: World) -> Arguments:
    x = attached(w)
    return queued_with(w, x, x.device)


@case("message_receive", "ENOMEM")
def cannot_pay_for_a_queued_device(w: World) -> Arguments:
    x = owner(w)
    return queued_with(w, x, x.device, 3)


def called_from_elsewhere(w: World, x: Owner, pages: int = 20) -> tuple[int, int]:
    """A thread elsewhere waits for x's thread to reply, and takes handles.  x's handle of the endpoint."""
    _, slot, generation = w.endpoint(x.t)
    child = child_elsewhere(w, x, pages)
    given = split(w.do("handle_give", x.t, *child, slot, generation, SEND))
    s = w.k.process[x.s].handle_object[child[0]]
    w.do("process_start", x.t, *child)
    u = w.run(w.k.process[s].threads[0])
    w.do("message_accept", u, 0, 0, 1)
    w.do("message_call", u, *given, 1, 0, 0, 0, 0, 0)
    w.do("message_receive", w.run(x.t), slot, generation, 1, 0)
    return slot, generation


@case("message_reply")
def device_with_a_reply(w: World) -> Arguments:
    x = owner(w)
    called_from_elsewhere(w, x)
    return (x.t, HANDLE, *x.device, 0, 0)


@case("message_reply", "EBUSY")
def attached_device_with_a_reply(w: World) -> Arguments:
    x = attached(w)
    called_from_elsewhere(w, x)
    return (x.t, HANDLE, *x.device, 0, 0)


@case("message_reply", "ENOMEM")
def caller_cannot_pay_for_a_device(w: World) -> Arguments:
    x = owner(w)
    called_from_elsewhere(w, x, 3)
    return (x.t, HANDLE, *x.device, 0, 0)


@case("message_reply_receive")
def replies_with_a_device_and_waits(w: World) -> Arguments:
    x = owner(w)
    handle = called_from_elsewhere(w, x)
    return (x.t, *handle, HANDLE, *x.device, 0, 0)


@case("message_reply_receive", "ENOMEM")
def replies_to_one_that_cannot_pay(w: World) -> Arguments:
    x = owner(w)
    handle = called_from_elsewhere(w, x, 3)
    return (x.t, *handle, HANDLE, *x.device, 0, 0)


@case("page_inherit")
def device_outlives_its_container(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.container(t)
    s, _ = w.inside(t, slot, generation)
    o = w.do("device_add", w.k.root)
    w.do("device_open", o, s)
    w.do("container_kill", t, slot, generation)
    w.do("process_end", s, 0)
    w.do("device_release", o)
    w.end(s)
    w.do("process_forget", s)
    return (o,)
