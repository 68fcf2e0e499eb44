"""Calls with messages, on the kernel alone: what is delivered to whom, what a message may carry, and who learns that
nobody is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from abi.calls import BY_NAME
from abi.errors import (
    EAGAIN,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    EMSGSIZE,
    ENOMEM,
    EPERM,
    EPIPE,
    EPROTO,
    ESRCH,
    ETIMEDOUT,
)  # fmt: skip
from abi.layout import BLOCK_SIZE, PAGE_SIZE, READ, USER_MIN, WRITE
from kernel.calls import System
from kernel.calls.messages import FOREVER, MOST_PIECES
from kernel.calls.operations import Operation, SpaceBusy
from kernel.objects import BLOCKED, GRANT, HANDLE, MOVE, READY, RECEIVE, RUNNING, SEND, SHARE
from tests.kernel.world import World

A = 0x1000_0000
"""Where the sender maps what it sends."""
B = 0x2000_0000
"""Where the receiver takes it."""
BOTH = READ | WRITE


def pages(kind: int, count: int = 1, protection: int = READ) -> int:
    """An item of this many pages."""
    return kind | protection << 4 | count * PAGE_SIZE


class Delivery(NamedTuple):
    """What is told of a message that finds its receiver."""

    sender: int
    receiver: int
    badge: int
    item: int
    object: int


@dataclass
class Party:
    """A process in a container of its own, its running or waiting thread, and its handle to the endpoint of both."""

    process: int
    thread: int
    handle: int
    container: int


@dataclass
class Scene:
    """Two parties on two cores: the client can send and pass on, the server can do everything."""

    w: World
    system: System
    client: Party
    server: Party
    deliveries: list[Delivery] = field(default_factory=list)

    def call(self, t: int, name: str, *arguments: int) -> int:
        """A native call; the error is one that is documented."""
        assert self.w.k.thread[t].state == RUNNING, name
        result = self.system.complete(getattr(self.system, name)(t, *arguments))
        self.system.operations.drain()
        assert result >= 0 or -result in {error for error, _ in BY_NAME[name].errors}, (name, result)
        return result

    def do(self, t: int, name: str, *arguments: int) -> int:
        """A native call that has to succeed."""
        result = self.call(t, name, *arguments)
        assert result >= 0, (name, arguments, result)
        return result

    @property
    def c(self) -> int:
        """The client's thread."""
        return self.client.thread

    @property
    def s(self) -> int:
        """The server's thread."""
        return self.server.thread

    def accept(self, t: int, count: int, address: int = B, handles: int = 0) -> None:
        """Thread t takes this many pages."""
        self.do(t, "message_accept", address, count * PAGE_SIZE, handles)

    def server_receives(self) -> None:
        """The server waits for a message."""
        self.do(self.s, "message_receive", self.server.handle, FOREVER)

    def mapped(self, s: int, address: int) -> int:
        """The page that a process maps at an address, or 0."""
        return self.w.k.process[s].map_page[address >> 12]

    def state(self, t: int) -> tuple[int, int]:
        """A thread's state and the result that its call has."""
        T = self.w.k.thread[t]
        return T.state, T.result


def make(blocks: int = 8, pages_each: int = 60, blocks_each: int = 1) -> Scene:
    """The scene, with this much quota for each container."""
    w = World(blocks=blocks, cores=2)
    k = w.k
    system = System(k, w.checker.step, lambda *started: None)
    t = w.running()
    endpoint = system.endpoint_create(t)
    parties = []
    for core, rights in ((0, SEND | GRANT), (1, SEND | RECEIVE | GRANT)):
        container = system.complete(system.container_create(t, pages_each, blocks_each, 0, 0))
        process = system.process_create_in(t, container)
        handle = system.handle_give(t, process, endpoint, rights)
        assert min(container, process, handle) > 0
        c = system.named(t, container, 4)
        k.container[c].core = core
        assert system.process_start(t, process, USER_MIN, USER_MIN, 0) == 0
        s = system.named(t, process, 5)
        parties.append(Party(s, k.process[s].threads[0], handle, c))
    assert system.handle_close(t, endpoint) == 0
    w.do("thread_block", t)
    for party in parties:
        w.run(party.thread)
    scene = Scene(w, system, parties[0], parties[1])
    system.delivered = lambda *delivery: scene.deliveries.append(Delivery(*delivery))
    return scene


@pytest.fixture
def scene() -> Scene:
    return make()


def test_message_finds_who_waits(scene: Scene) -> None:
    badged = scene.do(scene.c, "handle_copy", scene.client.handle, SEND, 77)
    scene.server_receives()
    assert scene.call(scene.c, "message_send", badged, 0, 0, 0) == 0
    assert scene.deliveries == [Delivery(scene.c, scene.s, 77, 0, 0)]
    assert scene.state(scene.s)[0] == READY
    assert scene.state(scene.c)[0] == RUNNING


def test_message_waits_for_who_receives(scene: Scene) -> None:
    badged = scene.do(scene.c, "handle_copy", scene.client.handle, SEND, 77)
    scene.do(scene.c, "message_send", badged, FOREVER, 0, 0)
    assert scene.state(scene.c)[0] == BLOCKED
    assert scene.deliveries == []
    scene.server_receives()
    assert scene.deliveries == [Delivery(scene.c, scene.s, 77, 0, 0)]
    assert scene.state(scene.c)[0] == READY
    assert scene.state(scene.s)[0] == RUNNING


def test_call_and_reply_on_two_cores(scene: Scene) -> None:
    scene.server_receives()
    scene.do(scene.c, "message_call", scene.client.handle, FOREVER, 0, 0)
    scene.w.run(scene.s)
    scene.do(scene.s, "message_reply_receive", scene.server.handle, FOREVER, 0, 0)
    assert [(d.sender, d.receiver) for d in scene.deliveries] == [(scene.c, scene.s), (scene.s, scene.c)]
    assert scene.state(scene.c)[0] == READY
    assert scene.state(scene.s)[0] == BLOCKED


@pytest.mark.parametrize("waits", [True, False], ids=["receiver first", "sender first"])
@pytest.mark.parametrize("kind", [SHARE, MOVE], ids=["share", "move"])
def test_pages_with_a_message(scene: Scene, kind: int, waits: bool) -> None:
    k = scene.w.k
    scene.do(scene.c, "mmap", A, 3 * PAGE_SIZE, BOTH)
    there = [scene.mapped(scene.client.process, A + i * PAGE_SIZE) for i in range(3)]
    item = pages(kind, 3, BOTH if kind == MOVE else READ)
    scene.accept(scene.s, 4)
    used = k.container[scene.server.container].used_pages
    if waits: scene.server_receives()
    scene.do(scene.c, "message_send", scene.client.handle, FOREVER, item, A)
    if not waits: scene.server_receives()
    assert scene.deliveries == [Delivery(scene.c, scene.s, 0, item, B)]
    assert [scene.mapped(scene.server.process, B + i * PAGE_SIZE) for i in range(3)] == there
    kept = [scene.mapped(scene.client.process, A + i * PAGE_SIZE) for i in range(3)]
    assert kept == (there if kind == SHARE else [0, 0, 0])
    owner = scene.client.container if kind == SHARE else scene.server.container
    assert {k.page[p].owner for p in there} == {owner}
    assert k.container[scene.server.container].used_pages == used + 3 + 3 * (kind == MOVE)
    assert k.thread[scene.s].window_pages == 0, "a window is good once"
    scene.w.checker.audit()


@pytest.mark.parametrize("kind", [SHARE, MOVE], ids=["share", "move"])
def test_block_with_a_reply(kind: int) -> None:
    scene = make(blocks_each=2)
    scene.do(scene.s, "mmap", A & -BLOCK_SIZE, BLOCK_SIZE, BOTH)
    block = scene.mapped(scene.server.process, A & -BLOCK_SIZE)
    scene.accept(scene.c, 512, B & -BLOCK_SIZE)
    scene.server_receives()
    scene.do(scene.c, "message_call", scene.client.handle, FOREVER, 0, 0)
    scene.w.run(scene.s)
    scene.do(scene.s, "message_reply", pages(kind, 512), A & -BLOCK_SIZE)
    assert scene.mapped(scene.client.process, B & -BLOCK_SIZE) == block
    assert scene.w.k.page[block].owner == (scene.server if kind == SHARE else scene.client).container
    scene.w.checker.audit()


def test_handle_with_a_message(scene: Scene) -> None:
    other = scene.do(scene.c, "endpoint_create")
    badged = scene.do(scene.c, "handle_copy", other, SEND | GRANT, 5)
    scene.do(scene.s, "message_accept", 0, 0, 1)
    scene.server_receives()
    scene.do(scene.c, "message_send", scene.client.handle, FOREVER, HANDLE | SEND << 4, badged)
    [delivery] = scene.deliveries
    assert delivery.item == HANDLE | SEND << 4
    scene.w.run(scene.s)
    e = scene.system.endpoint_of(scene.c, other)
    assert scene.system.endpoint_of(scene.s, delivery.object) == e
    scene.do(scene.s, "message_send", delivery.object, FOREVER, 0, 0)
    scene.do(scene.c, "message_receive", other, 0)
    assert scene.deliveries[-1].badge == 5


MESSAGES = ("message_send", "message_call", "message_receive", "message_reply", "message_reply_receive")


def attempt(scene: Scene, how: str, item: int, object: int, accept: int = 8, address: int = B) -> int:
    """Sends what a message carries in one of five ways (``message_receive``: it is queued first).  The error the sender
    gets."""
    if how in ("message_send", "message_call"):
        scene.accept(scene.s, accept, address)
        scene.server_receives()
        return scene.call(scene.c, how, scene.client.handle, FOREVER, item, object)
    if how == "message_receive":
        scene.do(scene.c, "message_send", scene.client.handle, FOREVER, item, object)
        scene.accept(scene.s, accept, address)
        assert scene.call(scene.s, "message_receive", scene.server.handle, 0) == -EAGAIN, "the receiver goes on waiting"
        state, result = scene.state(scene.c)
        assert state == READY
        return result
    # The server is who calls; the client, with the same memory as ever, replies.
    everything = scene.do(scene.s, "handle_copy", scene.server.handle, SEND | RECEIVE | GRANT, 0)
    scene.do(scene.c, "message_accept", 0, 0, 1)
    scene.do(scene.c, "message_send", scene.client.handle, FOREVER, 0, 0)
    scene.do(scene.s, "message_receive", scene.server.handle, 0)
    back = scene.do(scene.s, "endpoint_create")
    scene.w.run(scene.c)
    mine = scene.do(scene.c, "endpoint_create")
    scene.do(scene.s, "message_accept", 0, 0, 1)
    scene.do(scene.s, "message_receive", everything, FOREVER)
    scene.do(scene.c, "message_send", scene.client.handle, 0, HANDLE | SEND << 4, mine)
    scene.w.run(scene.s)
    to_client = scene.deliveries[-1].object
    scene.accept(scene.s, accept, address)
    scene.do(scene.s, "message_call", to_client, FOREVER, 0, 0)
    scene.do(scene.c, "message_receive", mine, 0)
    assert back > 0
    if how == "message_reply": return scene.call(scene.c, how, item, object)
    return scene.call(scene.c, how, mine, FOREVER, item, object)


@pytest.mark.parametrize("how", MESSAGES)
@pytest.mark.parametrize(
    ("error", "item", "object"),
    [
        (EFAULT, pages(SHARE), A + 64 * PAGE_SIZE),
        (EFAULT, pages(SHARE, 5), A),
        (EPERM, pages(SHARE, 1, 7), A),
        (EMSGSIZE, pages(SHARE, 9), A),
    ],
)
def test_pages_that_cannot_be_carried_are_an_error_of_the_sender(
    scene: Scene, how: str, error: int, item: int, object: int
) -> None:
    scene.do(scene.c, "mmap", A, 4 * PAGE_SIZE, READ)
    assert attempt(scene, how, item, object) == -error
    assert scene.mapped(scene.server.process, B) == 0
    scene.w.checker.audit()


@pytest.mark.parametrize("how", ["message_send", "message_call"])
@pytest.mark.parametrize("waits", [True, False], ids=["receiver first", "sender first"])
@pytest.mark.parametrize(("error", "takes"), [(EPERM, 1), (EPROTO, 0)])
def test_handle_that_cannot_be_carried_is_an_error_of_the_sender(
    scene: Scene, how: str, waits: bool, error: int, takes: int
) -> None:
    """It may not be passed on; or who receives takes none."""
    narrow = scene.do(scene.c, "handle_copy", scene.client.handle, SEND, 0)
    scene.do(scene.s, "message_accept", 0, 0, takes)
    if waits: scene.server_receives()
    result = scene.call(scene.c, how, scene.client.handle, FOREVER, HANDLE | SEND << 4, narrow)
    if not waits:
        assert scene.call(scene.s, "message_receive", scene.server.handle, 0) == -EAGAIN
        result = scene.state(scene.c)[1]
    assert result == -error
    assert scene.deliveries == []


@pytest.mark.parametrize("how", MESSAGES)
def test_pages_that_others_map_do_not_move(scene: Scene, how: str) -> None:
    scene.do(scene.c, "mmap", A, PAGE_SIZE, READ)
    scene.w.do("share_page", scene.client.process, 0, 0, 128, 0, scene.client.process, 0, 1, 0, 0, 1)
    assert attempt(scene, how, pages(MOVE), A) == -EBUSY
    assert scene.mapped(scene.client.process, A) != 0


@pytest.mark.parametrize("how", MESSAGES)
def test_receiver_has_something_there(scene: Scene, how: str) -> None:
    scene.do(scene.c, "mmap", A, 2 * PAGE_SIZE, READ)
    scene.do(scene.s, "mmap", B + PAGE_SIZE, PAGE_SIZE, READ)
    assert attempt(scene, how, pages(SHARE, 2), A) == -EEXIST
    assert scene.mapped(scene.server.process, B) == 0


@pytest.mark.parametrize("how", MESSAGES)
@pytest.mark.parametrize("kind", [SHARE, MOVE], ids=["share", "move"])
def test_receiver_without_quota(how: str, kind: int) -> None:
    scene = make(pages_each=12, blocks_each=0)
    scene.do(scene.c, "mmap", A, 2 * PAGE_SIZE, READ)
    C = scene.w.k.container[scene.server.container]
    n = 0
    left = 3 if how.startswith("message_reply") else 2  # an endpoint is created on the way
    while C.pages > left:
        scene.do(scene.s, "mmap", A + n * PAGE_SIZE, PAGE_SIZE, READ)
        n += 1
    result = attempt(scene, how, pages(kind, 2), A, address=1 << 39)
    assert result == -ENOMEM
    scene.w.checker.audit()


@pytest.mark.parametrize("how", MESSAGES)
def test_block_aligned_otherwise(how: str) -> None:
    scene = make(blocks_each=2)
    scene.do(scene.c, "mmap", A & -BLOCK_SIZE, BLOCK_SIZE, READ)
    assert attempt(scene, how, pages(SHARE, 512), A & -BLOCK_SIZE, 512, B + PAGE_SIZE) == -EINVAL


@pytest.mark.parametrize(
    ("item", "object"),
    [
        (4, A), (15, A), (pages(SHARE, 0), A), (pages(SHARE), A + 1), (pages(SHARE), 0), (pages(SHARE) | 1 << 7, A),
        (pages(MOVE, 1 << 40), A), (HANDLE | SEND << 4 | PAGE_SIZE, 1 << 16), (pages(SHARE), (1 << 64) - PAGE_SIZE),
        ((1 << 64) - 1, (1 << 64) - 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", [name for name in MESSAGES if name != "message_receive"])
def test_what_is_no_item(scene: Scene, how: str, item: int, object: int) -> None:
    if how == "message_reply": assert scene.call(scene.c, how, item, object) == -EINVAL
    elif how == "message_reply_receive": assert scene.call(scene.c, how, 0, FOREVER, item, object) == -EINVAL
    else: assert scene.call(scene.c, how, scene.client.handle, FOREVER, item, object) == -EINVAL


def test_refused_sender_does_not_keep_the_next_waiting(scene: Scene) -> None:
    """A mismatching partner gets an error and does not wedge the queue."""
    scene.do(scene.c, "mmap", A, PAGE_SIZE, READ)
    scene.do(scene.c, "message_send", scene.client.handle, FOREVER, pages(SHARE), A)
    second = scene.w.thread(scene.client.process, 0)
    scene.w.run(second)
    scene.do(second, "message_send", scene.client.handle, FOREVER, 0, 0)
    scene.w.run(scene.s)
    scene.do(scene.s, "message_receive", scene.server.handle, FOREVER)
    assert scene.state(scene.c) == (READY, -EPROTO)
    assert [d.sender for d in scene.deliveries] == [second]


def test_server_that_ends_is_an_error_for_all_who_wait(scene: Scene) -> None:
    scene.server_receives()
    scene.do(scene.c, "message_call", scene.client.handle, FOREVER, 0, 0)
    queued = [scene.w.thread(scene.client.process, 0) for _ in range(3)]
    for t in queued:
        scene.w.run(t)
        scene.do(t, "message_call", scene.client.handle, FOREVER, 0, 0)
    scene.system.end(scene.server.process, 9)
    scene.system.operations.drain()
    for t in (scene.c, *queued):
        assert scene.state(t) == (READY, -EPIPE)
    scene.w.run(scene.c)
    assert scene.call(scene.c, "message_send", scene.client.handle, FOREVER, 0, 0) == -EPIPE
    scene.w.checker.audit()


def test_clients_that_end_are_an_error_for_the_server(scene: Scene) -> None:
    narrow = scene.do(scene.s, "handle_copy", scene.server.handle, RECEIVE, 0)
    scene.do(scene.s, "handle_close", scene.server.handle)
    scene.do(scene.s, "message_receive", narrow, FOREVER)
    scene.system.end(scene.client.process, 9)
    scene.system.operations.drain()
    assert scene.state(scene.s) == (READY, -EPIPE)


def test_container_killed_while_one_side_waits(scene: Scene) -> None:
    k = scene.w.k
    scene.server_receives()
    scene.do(scene.c, "message_call", scene.client.handle, FOREVER, 0, 0)
    k_before = k.container[k.root].pages
    first = scene.w.k.container[scene.server.container]
    holder = first.holder
    t = k.process[holder].threads[0]
    handle = k.process[holder].handle_generation[first.holder_slot] << 16 | first.holder_slot
    scene.w.do("thread_wake", t)
    scene.w.run(t)
    assert scene.system.complete(scene.system.container_kill(t, handle)) == 0
    scene.system.operations.drain()
    assert scene.state(scene.c) == (READY, -EPIPE)
    assert k.container[k.root].pages > k_before
    scene.w.checker.audit()


def test_page_fault_goes_to_the_pager_and_comes_back_with_a_page(scene: Scene) -> None:
    k = scene.w.k
    badged = scene.do(scene.c, "handle_copy", scene.client.handle, SEND, 3)
    scene.do(scene.c, "pager_set", 0, badged)
    scene.do(scene.s, "mmap", A, PAGE_SIZE, BOTH)
    assert scene.system.page_fault(scene.c, B >> 12) == 0
    assert scene.state(scene.c)[0] == BLOCKED
    scene.do(scene.s, "message_receive", scene.server.handle, 0)
    assert scene.deliveries == [Delivery(scene.c, scene.s, 3, 0, 0)]
    assert scene.call(scene.s, "message_reply", pages(SHARE, 1, BOTH), A + PAGE_SIZE) == -EFAULT
    scene.do(scene.s, "message_reply", pages(SHARE, 1, BOTH), A)
    assert scene.mapped(scene.client.process, B) == scene.mapped(scene.server.process, A)
    assert scene.state(scene.c)[0] == READY
    assert k.thread[scene.c].fault == 0
    scene.system.end(scene.client.process, 0)
    scene.system.operations.drain()
    scene.w.checker.audit()


@pytest.mark.parametrize("kind", [SHARE, MOVE])
def test_pager_cannot_map_where_no_program_may_have_anything(scene: Scene, kind: int) -> None:
    badged = scene.do(scene.c, "handle_copy", scene.client.handle, SEND, 3)
    scene.do(scene.c, "pager_set", 0, badged)
    scene.do(scene.s, "mmap", A, PAGE_SIZE, BOTH)
    assert scene.system.page_fault(scene.c, (USER_MIN >> 12) - 1) == 0
    scene.do(scene.s, "message_receive", scene.server.handle, 0)
    assert scene.call(scene.s, "message_reply", pages(kind, 1, BOTH), A) == -EINVAL
    assert scene.state(scene.c)[0] == BLOCKED
    scene.do(scene.s, "message_reply", 0, 0)
    scene.w.checker.audit()


def test_signals_add_up_and_are_received_at_once(scene: Scene) -> None:
    e = scene.system.endpoint_of(scene.s, scene.server.handle)
    assert scene.system.signal(e) == 0
    assert scene.system.signal(e) == 0
    assert scene.do(scene.s, "message_receive", scene.server.handle, FOREVER) == 2
    scene.server_receives()
    assert scene.system.signal(e) == scene.s
    assert scene.state(scene.s)[0] == READY


def test_timeout_takes_a_thread_out_of_the_queue(scene: Scene) -> None:
    scene.do(scene.c, "message_call", scene.client.handle, 1000, 0, 0)
    assert scene.system.cancel(scene.c, -ETIMEDOUT) == 0
    assert scene.state(scene.c) == (READY, -ETIMEDOUT)
    assert scene.call(scene.s, "message_receive", scene.server.handle, 0) == -EAGAIN
    assert scene.system.cancel(scene.c, -ETIMEDOUT) == -EINVAL


def test_send_to_oneself_and_cycles(scene: Scene) -> None:
    """One thread cannot be both ends; two that call each other wait, until one's time is over."""
    assert scene.call(scene.s, "message_send", scene.server.handle, 0, 0, 0) == -EAGAIN
    scene.do(scene.s, "message_send", scene.server.handle, 1000, 0, 0)
    assert scene.state(scene.s)[0] == BLOCKED
    scene.system.cancel(scene.s, -ETIMEDOUT)
    scene.w.run(scene.s)
    assert scene.call(scene.s, "message_receive", scene.server.handle, 0) == -EAGAIN


def test_endpoint_that_carries_itself_is_gone_with_its_handles(scene: Scene) -> None:
    k = scene.w.k
    own = scene.do(scene.c, "endpoint_create")
    e = scene.system.endpoint_of(scene.c, own)
    other = scene.w.thread(scene.client.process, 0)
    scene.do(scene.c, "message_send", own, FOREVER, HANDLE | 7 << 4, own)
    scene.w.run(other)
    scene.do(other, "message_accept", 0, 0, 1)
    scene.do(other, "message_receive", own, 0)
    copy = scene.deliveries[-1].object
    assert k.endpoint[e].references == 2
    scene.do(other, "handle_close", own)
    scene.do(other, "handle_close", copy)
    assert k.page[e].kind == 0


def test_deepest_chain_of_calls() -> None:
    """Each of 40 servers calls the next; when the last one ends, all learn it, from the end of the chain."""
    w = World(blocks=8, cores=1)
    k = w.k
    system = System(k, w.checker.step, lambda *started: None)
    s = w.process()
    first = w.run(w.thread(s))
    threads, endpoints = [first], [system.endpoint_create(first)]
    for _ in range(40):
        threads.append(w.run(w.thread(s)))
        endpoints.append(system.endpoint_create(threads[-1]))
        assert system.message_receive(threads[-1], endpoints[-2], FOREVER) == 0
        w.run(first)
    for t, e in zip(threads[:-1], endpoints[:-1], strict=True):
        w.run(t)
        assert system.message_call(t, e, FOREVER, 0, 0) == 0
    w.run(threads[-1])
    assert [k.thread[t].state for t in threads[:-1]] == [BLOCKED] * 40
    for t in reversed(threads[1:]):
        w.run(t)
        system.thread_exit(t, 0)
        system.operations.drain()
    assert k.thread[first].result == -EPIPE
    w.checker.audit()


def test_stale_and_foreign_handles(scene: Scene) -> None:
    thread = scene.do(scene.c, "thread_create", USER_MIN, USER_MIN, 0)
    for handle in (0, 7 << 16, scene.client.handle + (1 << 16), thread, (1 << 64) - 1):
        assert scene.call(scene.c, "message_send", handle, FOREVER, 0, 0) == -ESRCH
        assert scene.call(scene.c, "message_receive", handle, FOREVER) == -ESRCH
        assert scene.call(scene.c, "handle_close", handle) == -ESRCH
        assert scene.call(scene.c, "timer_set", handle, 1, 1) == -ESRCH
    assert scene.call(scene.c, "message_receive", scene.client.handle, FOREVER) == -EPERM


@pytest.mark.parametrize("kind", [SHARE, MOVE], ids=["share", "move"])
def test_message_carries_so_much_and_no_more(kind: int) -> None:
    """However large the window is: what is delivered at once has a bound."""
    scene = make(blocks=12, blocks_each=2)
    too_many = MOST_PIECES + 1
    scene.do(scene.c, "mmap", A, too_many * PAGE_SIZE, BOTH)
    scene.accept(scene.s, too_many)
    scene.server_receives()
    assert scene.call(scene.c, "message_send", scene.client.handle, 0, pages(kind, too_many), A) == -EMSGSIZE
    assert scene.mapped(scene.server.process, B) == 0
    scene.do(scene.c, "message_send", scene.client.handle, 0, pages(kind, MOST_PIECES), A)
    assert scene.mapped(scene.server.process, B + (MOST_PIECES - 1) * PAGE_SIZE) != 0


def test_a_message_carries_64_pages() -> None:
    """A program can rely on the number."""
    assert MOST_PIECES == 64
    assert "more than 64 pages" in dict(BY_NAME["message_send"].errors)[EMSGSIZE]


@pytest.mark.parametrize("object", [0, 3, 15, 16, 17, 0xFFFF])
def test_number_below_every_handle_is_none(object: int) -> None:
    """It names nothing, whoever receives, and before anything else that is wrong."""
    scene = make()
    for rights in (0, SEND, 7):
        for handle in (scene.client.handle, 0):
            assert scene.call(scene.c, "message_send", handle, 0, HANDLE | rights << 4, object) == -ESRCH
    scene.accept(scene.s, 1, handles=1)
    scene.server_receives()
    assert scene.call(scene.c, "message_call", scene.client.handle, FOREVER, HANDLE | SEND << 4, object) == -ESRCH
    assert scene.state(scene.s)[0] == BLOCKED


def called(scene: Scene) -> None:
    """The server owes the client a reply."""
    scene.server_receives()
    scene.do(scene.c, "message_call", scene.client.handle, FOREVER, 0, 0)
    scene.w.run(scene.s)
    scene.deliveries.clear()


@pytest.mark.parametrize(("timeout", "transitions"), [(FOREVER, 1), (1, 1), (0, 2)])
def test_reply_and_receive_at_once(scene: Scene, timeout: int, transitions: int) -> None:
    """Where it is to wait, both are one step; a timeout of 0 only looks."""
    called(scene)
    before = scene.w.checker.transitions
    result = scene.system.complete(scene.system.message_reply_receive(scene.s, scene.server.handle, timeout, 0, 0))
    assert scene.w.checker.transitions - before == transitions
    assert result == (0 if timeout else -EAGAIN)
    assert scene.deliveries == [Delivery(scene.s, scene.c, 0, 0, 0)]
    assert scene.state(scene.c)[0] in (READY, RUNNING)
    assert scene.state(scene.s)[0] == (BLOCKED if timeout else RUNNING)


def another_thread(scene: Scene) -> int:
    """Another thread of the server's process, running in its place."""
    handle = scene.do(scene.s, "thread_create", USER_MIN, USER_MIN, 0)
    u = scene.w.k.process[scene.server.process].handle_object[handle % 65536]
    return scene.w.run(u)


def test_reply_and_receive_where_others_wait_to_receive(scene: Scene) -> None:
    """One step as well: it waits behind them."""
    called(scene)
    u = another_thread(scene)
    scene.do(u, "message_receive", scene.server.handle, FOREVER)
    scene.w.run(scene.s)
    before = scene.w.checker.transitions
    scene.do(scene.s, "message_reply_receive", scene.server.handle, FOREVER, 0, 0)
    assert scene.w.checker.transitions - before == 1
    assert (scene.state(u)[0], scene.state(scene.s)[0]) == (BLOCKED, BLOCKED)
    assert scene.deliveries == [Delivery(scene.s, scene.c, 0, 0, 0)]


@pytest.mark.parametrize("timeout", [FOREVER, 1, 0])
def test_reply_and_receive_where_a_message_waits(scene: Scene, timeout: int) -> None:
    called(scene)
    u = another_thread(scene)
    scene.do(u, "message_send", scene.server.handle, FOREVER, 0, 0)
    scene.w.run(scene.s)
    scene.do(scene.s, "message_reply_receive", scene.server.handle, timeout, 0, 0)
    assert scene.deliveries == [Delivery(scene.s, scene.c, 0, 0, 0), Delivery(u, scene.s, 0, 0, 0)]
    assert scene.state(scene.s)[0] == RUNNING


@pytest.mark.parametrize("how", ["message_send", "message_receive", "message_reply"])
def test_tables_for_a_page_in_a_message_are_paid_for_with_a_block(how: str) -> None:
    """Of who takes it, whose container has no page left."""
    scene = make(pages_each=4, blocks_each=1)
    for party in (scene.client, scene.server):
        assert scene.w.k.container[party.container].pages < 3
    taker = scene.client if how == "message_reply" else scene.server
    giver = scene.server if how == "message_reply" else scene.client
    if how == "message_reply":
        scene.do(scene.c, "message_accept", B, PAGE_SIZE, 0)
        called(scene)
    else: scene.accept(scene.s, 1)
    scene.do(giver.thread, "mmap", A, PAGE_SIZE, BOTH)
    if how == "message_reply": scene.do(scene.s, "message_reply", pages(SHARE), A)
    elif how == "message_send":
        scene.server_receives()
        scene.do(scene.c, "message_send", scene.client.handle, 0, pages(SHARE), A)
    else:
        scene.do(scene.c, "message_send", scene.client.handle, FOREVER, pages(SHARE), A)
        scene.server_receives()
    assert scene.mapped(taker.process, B) == scene.mapped(giver.process, A) != 0
    C = scene.w.k.container[taker.container]
    assert C.blocks == 0
    assert C.pages > 500


@pytest.mark.parametrize("share", [False, True])
def test_reply_is_given_once_where_the_next_message_has_to_wait(scene: Scene, share: bool) -> None:
    """The next sender's pages cannot be taken while another call changes an address space: only receiving is to be done
    again; where the reply itself cannot be given, both."""
    scene.do(scene.s, "mmap", A, PAGE_SIZE, BOTH)
    scene.do(scene.c, "message_accept", B, PAGE_SIZE, 0)
    called(scene)
    u = another_thread(scene)
    scene.do(u, "message_send", scene.server.handle, FOREVER, pages(SHARE), A)
    scene.w.run(scene.s)
    scene.do(scene.s, "message_accept", B, PAGE_SIZE, 0)
    holding = scene.system.map_range(scene.server.process, 2 * B, 3 * PAGE_SIZE, BOTH)
    assert isinstance(holding, Operation)
    holding.advance(1)
    item = (pages(SHARE), A) if share else (0, 0)
    with pytest.raises(SpaceBusy) as busy:
        scene.system.message_reply_receive(scene.s, scene.server.handle, FOREVER, *item)
    assert busy.value.holder is holding
    assert busy.value.call == ("" if share else "message_receive")
    assert len(scene.deliveries) == (0 if share else 1)
    assert scene.state(scene.c)[0] == (BLOCKED if share else READY)


def test_timer_that_is_set_and_unset(scene: Scene) -> None:
    """It is one that can send: when it goes, who waits for it alone is told."""
    own = scene.do(scene.s, "endpoint_create")
    e = scene.w.k.process[scene.server.process].handle_object[own % 65536]
    E = scene.w.k.endpoint[e]
    for first, bound in ((5, 1), (1 << 40, 1), (0, 0), (1, 1)):
        assert scene.call(scene.s, "timer_set", own, first, 0) == 0
        assert E.timer == bound
    receiving = scene.do(scene.s, "handle_copy", own, RECEIVE, 0)
    u = another_thread(scene)
    scene.do(u, "message_receive", receiving, FOREVER)
    scene.w.run(scene.s)
    assert scene.call(scene.s, "handle_close", own) == 0
    assert scene.state(u)[0] == BLOCKED
    assert scene.call(scene.s, "timer_set", receiving + (1 << 16), 0, 0) == -ESRCH
    assert scene.call(scene.s, "timer_set", receiving, 0, 0) == 0
    assert E.timer == 0
    assert scene.state(u) == (READY, -EPIPE)
