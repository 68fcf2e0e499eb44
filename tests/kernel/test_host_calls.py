"""What the host asks of the kernel besides the calls of threads: what it gives to a process that it has not started,
what it lends, and what it is told of an end."""

from __future__ import annotations

import pytest

from abi.errors import EBUSY, EINVAL, ENOMEM
from kernel.calls import Operation, System
from kernel.objects import CONTAINER, DEVICE, ENDED, ENDPOINT, FREE, GRANT, PROCESS, READY, RECEIVE, SEND
from tests.kernel.world import World


class Host:
    """A container of the host with a process that has not started, and an endpoint to which it has a handle."""

    def __init__(self, pages: int = 30, blocks: int = 2, memory: int = 8) -> None:
        self.w = World(memory, 2, "full")
        self.k = self.w.k
        self.system = System(self.k, self.w.checker.step, lambda *_: None)
        self.c = self.system.spawn_container(self.k.root, pages, blocks, 0, 0)
        self.s = self.system.spawn(self.c)
        self.handle = self.system.spawn_endpoint(self.s, self.c, RECEIVE, 5)
        assert min(self.c, self.s, self.handle) > 0
        self.C, self.S = self.k.container[self.c], self.k.process[self.s]
        self.e = self.S.handle_object[self.handle % 65536]


def test_endpoint_and_handles_that_are_given() -> None:
    host = Host()
    k, system, s, e = host.k, host.system, host.s, host.e
    assert (k.page[e].kind, k.page[e].owner) == (ENDPOINT, host.c)
    other = system.spawn(host.c)
    handle = system.assign(other, e, SEND | GRANT, 7)
    D, slot = k.process[other], handle % 65536
    assert (D.handle_object[slot], D.handle_rights[slot], D.handle_badge[slot]) == (e, SEND | GRANT, 7)
    assert (host.S.handle_rights[0], host.S.handle_badge[0]) == (RECEIVE, 5)
    assert system.assign_pager(other, e, 9) == 0
    assert (D.pager, D.pager_badge) == (e, 9)
    assert system.assign_pager(other, e, 9) == -EBUSY
    assert system.assign_timer(e) == 0
    assert k.endpoint[e].timer == 1
    assert system.assign_timer(e) == -EBUSY
    assert (k.endpoint[e].references, k.endpoint[e].senders, k.endpoint[e].receivers) == (3, 2, 1)
    for wrong in (system.assign(s, host.c, SEND, 0), system.assign_pager(s, host.c, 0), system.assign_timer(host.c),
                  system.spawn_endpoint(host.c, host.c, SEND, 0), system.spawn_endpoint(s, s, SEND, 0)):  # fmt: skip
        assert wrong == -EINVAL
    t = system.start_thread(s)
    assert k.thread[t].state == READY
    assert system.assign(s, e, SEND, 0) == system.assign_pager(s, e, 0) == -EBUSY
    assert system.spawn_endpoint(s, host.c, SEND, 0) == -EBUSY
    host.w.checker.audit()


@pytest.mark.parametrize("blocks", [1, 0])
def test_what_is_given_is_paid_for_with_a_block(blocks: int) -> None:
    """A process takes two pages, a thread, an endpoint and a device one each."""
    for needs, do in ((2, "spawn"), (1, "start_thread"), (1, "spawn_endpoint"), (1, "add_device")):
        for left in range(needs):
            host = Host(pages=3 + left, blocks=blocks)
            about = {"spawn": (host.c,), "start_thread": (host.s,), "spawn_endpoint": (host.s, host.c, SEND, 0),
                     "add_device": (host.c,)}[do]  # fmt: skip
            assert (host.C.pages, host.C.blocks) == (left, blocks)
            result = getattr(host.system, do)(*about)
            assert (result > 0) == (blocks > 0)
            if blocks == 0: assert result == -ENOMEM
            assert (host.C.pages, host.C.blocks) == ((left + 512 - needs, 0) if blocks else (left, 0))


@pytest.mark.parametrize("status", [0, 1, 0xFFFF_FFFF, 0x1_0000_0002, 1 << 63])
def test_status_of_what_ended(status: int) -> None:
    host = Host()
    assert host.system.collect(host.s) == -EBUSY
    assert host.system.end(host.s, status) == 0
    assert host.system.end(host.s, 3) == -EINVAL
    assert host.system.collect(host.s) == -EBUSY
    host.system.operations.drain()
    assert host.S.state == ENDED
    assert host.system.collect(host.s) == status & 0xFFFF_FFFF
    assert host.k.page[host.s].kind == FREE
    assert host.system.collect(host.s) == -EINVAL
    assert host.system.collect(host.c) == -EINVAL


def test_container_that_is_closed() -> None:
    host = Host()
    k, system = host.k, host.system
    before = host.w.root.child_count
    assert system.close_container(k.root) == -EINVAL
    assert system.close_container(host.s) == -EINVAL
    assert system.close_container(host.c) == 0
    assert system.close_container(host.c) == -EBUSY
    assert k.page[host.c].kind == CONTAINER
    system.operations.drain()
    assert [k.page[o].kind for o in (host.c, host.s, host.e)] == [FREE] * 3
    assert host.w.root.child_count == before - 1
    host.w.checker.audit()


def test_device_that_is_lent_and_taken_away() -> None:
    host = Host()
    k, system = host.k, host.system
    o = system.add_device(host.c)
    assert k.page[o].kind == DEVICE
    assert system.interrupt(o) == -EINVAL
    handle = system.open_device(o, host.s)
    assert host.S.handle_object[handle % 65536] == o
    assert system.open_device(o, host.s) == -EBUSY
    assert system.open_device(o, host.c) == -EINVAL
    t = host.w.run(system.start_thread(host.s))
    own = system.endpoint_create(t)
    assert system.complete(system.interrupt_bind(t, handle, own)) == 0
    assert system.interrupt(o) == 0
    assert k.endpoint[k.device[o].endpoint].signals == 1
    assert system.remove_device(o) == 0
    assert k.page[o].kind == FREE
    assert system.remove_device(o) == -EINVAL
    assert system.add_device(host.s) == -EINVAL
    host.w.checker.audit()


def test_process_that_ends_with_rows_where_nothing_is_mapped_any_more() -> None:
    """What the rows of a process and its domain still name as empty is no hindrance."""
    host = Host()
    system, k = host.system, host.k
    t = host.w.run(system.start_thread(host.s))
    domain = system.domain_create(t)
    M = k.domain[host.S.handle_object[domain % 65536]]
    assert system.complete(system.mmap(t, 1 << 30, 3 << 12, 3)) == 0
    assert system.domain_map(t, domain, 1 << 30, 3 << 12, 1 << 30, 3) == 0
    for v in range(1 << 18, (1 << 18) + 2):
        assert host.w.do("unmap_page", host.s, v >> 27, v >> 18 & 511, v >> 9 & 511, v & 511) == 0
    assert host.w.do("domain_unmap", M.id, 1 << 18) == 0
    assert (len(host.S.map_page), len(M.map_page)) == (3, 3)
    assert system.end(host.s, 0) == 0
    system.operations.drain()
    assert (dict(host.S.map_page), dict(M.map_page)) == ({}, {})
    assert k.page[M.id].kind == FREE
    host.w.checker.audit()


def test_ending_that_is_given_something_between_two_steps() -> None:
    """It begins anew with what there is."""
    host = Host()
    system, k = host.system, host.k
    other = system.spawn(host.c)
    t = host.w.run(system.start_thread(other))
    given = system.process_create(t)
    s = k.process[other].handle_object[given % 65536]
    handle = system.endpoint_create(t)
    assert host.k.page[s].kind == PROCESS
    killed = system.process_kill(t, given)
    assert isinstance(killed, Operation)
    while system.handle_give(t, given, handle, SEND) > 0 and not killed.advance(1): pass
    killed.complete()
    system.operations.drain()
    assert k.page[s].kind in (FREE, PROCESS)
    if k.page[s].kind == PROCESS: assert k.process[s].handle_count == 0
    host.w.checker.audit()
