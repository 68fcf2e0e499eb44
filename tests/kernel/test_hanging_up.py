"""The last handle to one side of an endpoint goes where many wait at the other: they are told in steps, and whatever
happens between any two of them, each is told, or is gone.  Every point is tried."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from abi.errors import EAGAIN, EBUSY, EFAULT, EPIPE, ESRCH, ETIMEDOUT, OK
from abi.layout import READ, WRITE
from kernel.calls import Operation, System
from kernel.calls.messages import FOREVER, MOST_REFUSED
from kernel.calls.operations import BATCH, Again
from kernel.objects import BLOCKED, DEAD, READY, RECEIVE, SEND, SHARE, THREAD
from tests.kernel.world import World

WAITING = BATCH + 12


class Hall:
    """Thread ``server`` has the only handle that can receive, or send; as many threads of process ``clients`` wait to
    send, or to receive."""

    def __init__(self, receiving: bool = False, waiting: int = WAITING, item: int = 0) -> None:
        self.w = w = World(8, 2)
        self.k = w.k
        self.system = System(w.k, lambda step, *given: w.checker.step(step, *given), lambda *_: None)
        with w.unchecked():
            self.server = w.running(0)
            self.e, slot, generation = w.endpoint(self.server)
            mine, theirs = (SEND, RECEIVE) if receiving else (RECEIVE, SEND)
            self.closed = generation << 16 | slot
            handle = w.do("process_create", self.server)
            self.clients = self.k.process[w.k.thread[self.server].process].handle_object[handle & 0xFFFF]
            self.handle = w.do(
                "handle_give", self.server, handle & 0xFFFF, handle >> 16, slot, generation, theirs
            )
            self.own = w.do("handle_copy", self.server, slot, generation, mine, 0)
            assert self.system.handle_close(self.server, self.closed) == OK
            self.closed = self.own
            w.root.core = 1
            w.do("process_start", self.server, handle & 0xFFFF, handle >> 16)
            first = self.k.process[self.clients].threads[0]
            w.run(first)
            w.root.core = 1
            self.last_handle = w.do("thread_create", first)
            last = self.k.process[self.clients].handle_object[self.last_handle & 0xFFFF]
            self.threads = [first, *(w.thread(self.clients, 1) for _ in range(waiting - 1)), last]
            for t in self.threads[1:]:
                w.run(t)
                if receiving: result = self.system.message_receive(t, self.handle, FOREVER)
                else: result = self.system.message_send(t, self.handle, FOREVER, item, 0x1000_0000)
                assert result == 0
                assert self.k.thread[t].state == BLOCKED
            w.run(first)
        self.operation: Operation | None = None

    def close(self) -> None:
        """The server closes its handle: the first steps are done at once."""
        begun = self.system.handle_close(self.server, self.closed)
        assert isinstance(begun, Operation)
        self.operation = begun

    def told(self) -> int:
        """How many have been told that nobody is left."""
        return sum(self.k.thread[t].result == -EPIPE for t in self.threads[1:])

    def finish(self) -> None:
        """All steps of what has begun."""
        if self.operation is not None: assert self.operation.complete() == OK
        self.system.operations.drain()


def nothing(hall: Hall) -> None:
    pass


def another_comes(hall: Hall) -> None:
    """Who comes to wait meanwhile is told at once."""
    t = hall.threads[0]
    for call in ("message_send", "message_call"):
        assert getattr(hall.system, call)(t, hall.handle, FOREVER, 0, 0) == -EPIPE


def last_runs_out_of_time(hall: Hall) -> None:
    hall.system.cancel(hall.threads[-1], -ETIMEDOUT)


def last_is_killed(hall: Hall) -> None:
    """By another thread of its process, which has a handle to it."""
    assert hall.system.thread_kill(hall.threads[0], hall.last_handle) == OK


def clients_are_killed(hall: Hall) -> None:
    hall.system.end(hall.clients, 137)


def server_is_killed(hall: Hall) -> None:
    hall.system.end(hall.k.thread[hall.server].process, 137)
    assert hall.operation is not None
    hall.system.operations.adopt(hall.operation)


OTHERS: list[Callable[[Hall], None]] = [
    nothing, another_comes, last_runs_out_of_time, last_is_killed, clients_are_killed, server_is_killed,
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_who_waits_is_told_whatever_happens_meanwhile(other: Callable[[Hall], None]) -> None:
    for point in range(WAITING - BATCH + 2):
        hall = Hall()
        hall.close()
        assert hall.operation is not None
        for _ in range(point): hall.operation.advance(1)
        assert hall.told() == min(BATCH + point, WAITING)
        other(hall)
        hall.w.checker.audit()
        hall.finish()
        for t in hall.threads[1:]:
            T = hall.k.thread[t]
            gone = hall.k.page[t].kind != THREAD or T.state == DEAD
            assert gone or (T.state == READY and T.result in (-EPIPE, -ETIMEDOUT))
        hall.w.checker.audit()
        with hall.w.unchecked(): hall.w.end_everything()


def test_those_who_wait_to_receive_are_told_alike() -> None:
    hall = Hall(receiving=True)
    hall.close()
    assert hall.told() == BATCH
    hall.finish()
    assert hall.told() == WAITING
    hall.w.checker.audit()


def test_few_are_told_at_once() -> None:
    hall = Hall(waiting=BATCH - 1)
    assert hall.system.handle_close(hall.server, hall.closed) == OK
    assert hall.told() == BATCH - 1


def test_many_senders_that_are_refused_are_refused_a_few_at_a_time() -> None:
    """What they send is not mapped; the call that would receive it is made again and again."""
    many = 3 * MOST_REFUSED
    hall = Hall(waiting=many, item=SHARE | (READ | WRITE) << 4 | 0x1000)
    assert hall.system.message_accept(hall.server, 0x1000_0000, 0x1000, 0) == 0
    for _ in range(2):
        with pytest.raises(Again) as again: hall.system.message_receive(hall.server, hall.closed, 0)
        assert again.value.call == "message_receive"
    assert hall.system.message_receive(hall.server, hall.closed, 0) == -EAGAIN
    assert {hall.k.thread[t].state for t in hall.threads[1:]} == {READY}
    assert {hall.k.thread[t].result for t in hall.threads[1:]} == {-EFAULT}
    hall.w.checker.audit()


@pytest.mark.parametrize("waiting", [1, 2])
def test_pager_that_is_taken_away_was_the_last_that_could_send(waiting: int) -> None:
    w = World(8, 1)
    k = w.k
    system = System(k, w.checker.step, lambda *_: None)
    t = w.running()
    child, endpoint = system.process_create(t), system.endpoint_create(t)
    receiving = system.handle_copy(t, endpoint, RECEIVE, 0)
    assert system.pager_set(t, child, endpoint) == OK
    assert system.pager_set(t, child, endpoint) == -EBUSY
    closed = system.handle_close(t, endpoint)
    assert closed == OK
    threads = [w.run(w.thread(k.thread[t].process)) for _ in range(waiting)]
    for u in threads:
        assert system.message_receive(w.run(u), receiving, FOREVER) == OK
        assert k.thread[u].state == BLOCKED
    w.run(t)
    for wrong in (endpoint + (1 << 16), receiving): assert system.pager_set(t, wrong, 0) == -ESRCH
    assert system.complete(system.pager_set(t, child, 0)) == OK
    assert [(k.thread[u].state, k.thread[u].result) for u in threads] == [(READY, -EPIPE)] * waiting
    assert system.complete(system.process_kill(t, child)) == OK
    w.checker.audit()


def test_pager_of_what_is_ending_cannot_be_taken_away() -> None:
    w = World(8, 1)
    system = System(w.k, w.checker.step, lambda *_: None)
    t = w.running()
    child, endpoint = system.process_create(t), system.endpoint_create(t)
    assert system.pager_set(t, child, endpoint) == OK
    killed = system.process_kill(t, child)
    assert isinstance(killed, Operation)
    assert system.pager_set(t, child, 0) == -EBUSY
    assert killed.complete() == OK
