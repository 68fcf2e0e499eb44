"""Queues, doorbells, completions, interrupts (NVM Express 1.4, chapters 4 and 5, section 7.2)."""

from __future__ import annotations

import os
import struct
import time

import pytest

from .conftest import MakeHost
from .host import IOVA, PAGE, Completion, Host

INVALID_QUEUE, INVALID_SIZE, INVALID_PRP, INVALID_FIELD = 0x101, 0x102, 0x13, 0x02


def create_cq(host: Host, number: int, *, size: int = 32, prp1: int | None = None, dw11: int = 3) -> Completion:
    prp1 = host.page() if prp1 is None else prp1
    return host.run(host.admin, 0x05, prp1=prp1, dw10=number | (size - 1) << 16, dw11=dw11)


def create_sq(host: Host, number: int, cq: int, *, size: int = 32, prp1: int | None = None, pc: int = 1) -> Completion:
    prp1 = host.page() if prp1 is None else prp1
    return host.run(host.admin, 0x01, prp1=prp1, dw10=number | (size - 1) << 16, dw11=cq << 16 | pc)


def test_completions_carry_phase_head_and_identifier_through_many_wraps(host: Host) -> None:
    queue = host.queue(1, 8, cq_entries=6)
    page = host.page()
    for turn in range(50):
        cid = queue.put(2, nsid=1, prp1=page, cid=turn * 1237 % 65536)
        queue.ring()
        host.model.poll()
        (done,) = queue.take()
        assert (done.cid, done.sqid, done.status) == (cid, 1, 0)
        assert done.sqhd == (turn + 1) % 8


def test_creating_completion_queues_that_cannot_be(host: Host) -> None:
    assert create_cq(host, 0).status == INVALID_QUEUE
    assert create_cq(host, 17).status == INVALID_QUEUE
    assert create_cq(host, 1, size=1).status == INVALID_SIZE
    assert create_cq(host, 1, size=1025).status == INVALID_SIZE
    assert create_cq(host, 1, prp1=host.page() + 4).status == INVALID_PRP
    assert create_cq(host, 1, dw11=2).status == INVALID_FIELD  # not contiguous
    assert create_cq(host, 1, dw11=17 << 16 | 3).status == 0x108  # no such vector
    assert create_cq(host, 1).status == 0
    done = create_cq(host, 1)
    assert (done.status, done.dnr) == (INVALID_QUEUE, True)


def test_creating_submission_queues_that_cannot_be(host: Host) -> None:
    assert create_cq(host, 1).status == 0
    assert create_sq(host, 0, 1).status == INVALID_QUEUE
    assert create_sq(host, 17, 1).status == INVALID_QUEUE
    assert create_sq(host, 1, 2).status == 0x100  # no such completion queue
    assert create_sq(host, 1, 1, size=1).status == INVALID_SIZE
    assert create_sq(host, 1, 1, size=1025).status == INVALID_SIZE
    assert create_sq(host, 1, 1, prp1=host.page() + 64).status == INVALID_PRP
    assert create_sq(host, 1, 1, pc=0).status == INVALID_FIELD
    assert create_sq(host, 1, 1).status == 0
    assert create_sq(host, 1, 1).status == INVALID_QUEUE


def test_deleting_queues_in_the_right_order_only(host: Host) -> None:
    host.queue(1)
    assert host.run(host.admin, 0x04, dw10=1).status == 0x10C  # a submission queue uses it
    assert host.run(host.admin, 0x00, dw10=2).status == INVALID_QUEUE
    assert host.run(host.admin, 0x00, dw10=0).status == INVALID_QUEUE
    assert host.run(host.admin, 0x04, dw10=0).status == INVALID_QUEUE
    assert host.run(host.admin, 0x00, dw10=1).status == 0
    assert host.run(host.admin, 0x00, dw10=1).status == INVALID_QUEUE
    assert host.run(host.admin, 0x04, dw10=1).status == 0
    assert host.run(host.admin, 0x04, dw10=1).status == INVALID_QUEUE
    queue = host.queue(1)
    assert host.read(queue, 0, 1, host.page()).status == 0


def test_several_submission_queues_share_a_completion_queue(host: Host) -> None:
    first = host.queue(1)
    sq = host.page()
    assert create_sq(host, 2, 1, prp1=sq).status == 0
    page = host.page()
    for number, at in ((2, sq), (1, first.sq)):
        host.store(at, struct.pack("<BBHIQQQQ6I", 2, 0, 70 + number, 1, 0, 0, page, 0, 0, 0, 0, 0, 0, 0))
        host.bar.write32(0x1000 + 8 * number, 1)
    host.model.poll()
    done = first.take()
    assert {(one.sqid, one.cid, one.sqhd, one.status) for one in done} == {(1, 71, 1, 0), (2, 72, 1, 0)}


def test_completions_wait_while_the_queue_is_full(host: Host) -> None:
    queue = host.queue(1, 16, cq_entries=4)
    page = host.page()
    sent = [queue.put(2, nsid=1, prp1=page) for _ in range(10)]
    queue.ring()
    host.model.poll()
    got = queue.take(ring=False)
    assert len(got) == 3  # one entry of a ring is always free
    host.model.poll()
    assert queue.peek() is None
    got += queue.take()
    while len(got) < 10:
        host.bar.write32(0x100C, queue.head)
        host.model.poll()
        more = queue.take()
        assert more
        got += more
    assert [one.cid for one in got] == sent
    assert [one.status for one in got] == [0] * 10


def test_the_admin_queue_waits_as_well(make_host: MakeHost) -> None:
    host = make_host()
    admin = host.enable(4)
    host.model.poll()
    for turn in range(6):
        sent = [admin.put(0x0A, dw10=7) for _ in range(3)]
        admin.ring()
        host.model.poll()
        assert [one.cid for one in admin.take()] == sent, turn


def error_events(host: Host) -> list[int]:
    """Asks for an event, with what has happened so far told at once."""
    cid = host.admin.put(0x0C)
    host.admin.ring()
    host.model.poll()
    return [done.result for done in host.admin.take() if done.cid == cid]


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("value", [32, 33, 0xFFFF, 0xFFFFFFFF])
def test_a_doorbell_beyond_the_queue_is_ignored_and_told(host: Host, value: int, before: int) -> None:
    queue = host.queue(1, 32)
    for _ in range(before): assert host.read(queue, 0, 1, host.page()).status == 0
    host.bar.write32(0x1008, value)
    host.model.poll()
    assert error_events(host) == [0 | 1 << 8 | 1 << 16]  # error, invalid doorbell value, log page 1
    assert queue.peek() is None
    assert host.read(queue, 0, 1, host.page()).status == 0


def test_a_tail_doorbell_with_more_than_the_queue_holds_is_ignored_and_told(make_host: MakeHost) -> None:
    """3.1.24: commands that were not fetched would be overwritten."""
    host = make_host()
    host.enable()
    if host.model.fast: pytest.skip("of two writes in shared memory the second alone is seen")
    queue, page = host.queue(1, 8), host.page()
    sent = [queue.put(2, nsid=1, prp1=page) for _ in range(6)]
    queue.ring()
    host.bar.write32(0x1008, 4)  # six more, before one was fetched
    assert error_events(host) == [0 | 1 << 8 | 1 << 16]
    assert [done.cid for done in queue.take()] == sent


def test_a_head_doorbell_beyond_the_queue_is_ignored_and_told(host: Host) -> None:
    """Also where, as a number, it is less than what was posted is ahead."""
    queue, page = host.queue(1, 16, cq_entries=8), host.page()
    for _ in range(5): assert host.read(queue, 0, 1, page).status == 0
    sent = [queue.put(2, nsid=1, prp1=page) for _ in range(12)]
    queue.ring()
    host.model.poll()
    host.bar.write32(0x100C, 8)
    host.model.poll()
    assert error_events(host) == [0 | 1 << 8 | 1 << 16]
    got: list[int] = []
    for _ in range(4):
        got += [done.cid for done in queue.take()]
        host.model.poll()
    assert got == sent


def test_the_head_that_completions_tell_is_what_was_fetched(make_host: MakeHost) -> None:
    """And no more: the host puts new commands there."""
    host = make_host()
    host.enable()
    host.model.poll()
    queue, page = host.queue(1, 64), host.page()
    for _ in range(40): queue.put(2, nsid=1, prp1=page)
    queue.ring()
    host.model.poll(1)
    first = [done.sqhd for done in queue.take()]
    assert first, "one pass begins some"
    assert len(first) < 40, "and leaves others"
    assert first == sorted(first)
    assert all(number < head <= len(first) for number, head in enumerate(first))
    host.model.poll()
    assert [done.sqhd for done in queue.take()][-1] == 40


def delete(host: Host, number: int) -> None:
    for opcode in (0x00, 0x04): assert host.run(host.admin, opcode, dw10=number).status == 0


@pytest.mark.parametrize("by", ["deletion", "reset"])
@pytest.mark.parametrize("place", ["late", "lost", "held"])
def test_nothing_is_told_of_a_queue_that_ended(make_host: MakeHost, place: str, by: str) -> None:
    """Whatever its commands waited for.  And they end: 1,200 in all, more than a controller has in progress at once."""
    from drivers.model.faults import Faults

    faults = {"late": Faults(late=1.0, late_ms=2), "lost": Faults(lost=1.0), "held": None}[place]
    host = make_host(faults=faults)
    first = host._next
    for turn in range(20):
        host._next = first
        host.enable()
        host.model.poll()
        sq, cq, page = host.page(), host.page(), host.page()
        queue = host.queue(1, 64, cq_entries=4 if place == "held" else 64)
        for _ in range(60): queue.put(2, nsid=1, prp1=page)
        queue.ring()
        host.model.poll()
        queue.take(ring=False)
        before, reads = host.load(queue.cq, PAGE), host.model.counts()["reads"]
        assert reads == 60 * (turn + 1) or place == "held"
        if by == "deletion": delete(host, 1)
        else: host.bar.write32(0x14, 0)
        if by == "deletion":  # others of the same number, elsewhere
            assert create_cq(host, 1, prp1=cq, size=64).status == 0
            assert create_sq(host, 1, 1, prp1=sq, size=64).status == 0
        host.store(cq, bytes(PAGE))
        if place == "late": time.sleep(0.003)
        host.model.poll()
        assert host.load(queue.cq, PAGE) == before
        assert host.load(cq, PAGE) == bytes(PAGE)
        host.bar.write32(0x14, 0)
        host.model.poll()


def test_a_head_doorbell_beyond_what_was_posted_is_ignored_and_told(host: Host) -> None:
    queue = host.queue(1, 32)
    assert host.read(queue, 0, 1, host.page()).status == 0
    host.model.poll()
    host.bar.write32(0x100C, 5)
    host.model.poll()
    assert error_events(host) == [0 | 1 << 8 | 1 << 16]
    host.bar.write32(0x100C, queue.head)
    assert host.read(queue, 0, 1, host.page()).status == 0


@pytest.mark.parametrize("offset", [0x1000 + 8 * 5, 0x1004 + 8 * 5, 0x1800, 0x1FFC])
def test_a_doorbell_of_no_queue_is_told(host: Host, offset: int) -> None:
    host.queue(1)
    host.bar.write32(offset, 1)
    assert error_events(host) == [0 | 0 << 8 | 1 << 16]  # error, invalid doorbell register, log page 1


def test_a_misaligned_doorbell_is_told(make_host: MakeHost) -> None:
    host = make_host()
    host.enable()
    if host.model.fast: pytest.skip("in shared memory a store has no width")
    for offset, size in ((0x1001, 4), (0x1000, 2), (0x1000, 8)):
        host.model.write(0, offset, size, 1)
    assert error_events(host) == [0 | 0 << 8 | 1 << 16]
    assert host.model.counts()["bad_doorbells"] == 3


def test_an_identifier_in_use_is_refused(make_host: MakeHost) -> None:
    from drivers.model.faults import Faults

    host = make_host(faults=Faults(lost=1.0))
    host.enable()
    queue = host.queue(1)
    page = host.page()
    queue.put(2, nsid=1, prp1=page, cid=9)
    queue.put(2, nsid=1, prp1=page, cid=9)
    queue.ring()
    host.model.poll()
    (done,) = queue.take()
    assert (done.cid, done.status) == (9, 0x03)


def test_an_identifier_can_be_used_again_when_its_command_is_done(host: Host) -> None:
    queue = host.queue(1)
    for _ in range(3):
        assert host.run(queue, 2, nsid=1, prp1=host.page(), cid=0xFFFF).status == 0


def interrupts(host: Host, vector: int) -> int:
    try:
        return os.eventfd_read(host.model.interrupts[vector])
    except BlockingIOError:
        return 0


def test_interrupts_come_at_the_queue_s_vector(host: Host) -> None:
    queue = host.queue(1, vector=3)
    assert interrupts(host, 0) > 0  # the admin queue's
    host.read(queue, 0, 1, host.page())
    assert (interrupts(host, 3), interrupts(host, 0)) == (1, 0)


def test_no_interrupts_where_none_were_asked_for(host: Host) -> None:
    assert create_cq(host, 1, dw11=2 << 16 | 1).status == 0
    interrupts(host, 0)
    sq = host.page()
    assert create_sq(host, 1, 1, prp1=sq).status == 0
    host.store(sq, struct.pack("<BBHIQQQQ6I", 2, 0, 7, 1, 0, 0, host.page(), 0, 0, 0, 0, 0, 0, 0))
    host.bar.write32(0x1008, 1)
    host.model.poll()
    assert host.model.counts()["reads"] == 1
    assert interrupts(host, 2) == 0


def test_a_masked_vector_is_pending_until_it_is_unmasked(host: Host) -> None:
    queue = host.queue(1, vector=3)
    host.bar.write32(0x2000 + 16 * 3 + 12, 1)
    host.read(queue, 0, 1, host.page())
    assert interrupts(host, 3) == 0
    assert host.bar.read32(0x3000) == 1 << 3
    host.bar.write32(0x2000 + 16 * 3 + 12, 0)
    assert interrupts(host, 3) == 1
    assert host.bar.read32(0x3000) == 0


def shadowed(host: Host) -> tuple[int, int]:
    """Doorbell buffers: where the shadow doorbells and the EventIdx are."""
    shadow, events = host.page(), host.page()
    assert host.run(host.admin, 0x7C, prp1=shadow, prp2=events).status == 0
    return shadow, events


def test_doorbell_buffers_take_the_place_of_registers(host: Host) -> None:
    queue = host.queue(1, 8)
    page = host.page()
    shadow, _ = shadowed(host)
    for turn in range(20):
        cid = queue.put(2, nsid=1, prp1=page)
        host.store(shadow + 8, queue.tail.to_bytes(4, "little"))
        host.model.poll()
        (done,) = queue.take(ring=False)
        assert (done.cid, done.status) == (cid, 0), turn
        host.store(shadow + 12, queue.head.to_bytes(4, "little"))


def test_doorbell_buffers_that_cannot_be(host: Host) -> None:
    page, other = host.page(), host.page()
    assert host.run(host.admin, 0x7C, prp1=page, prp2=page).status == INVALID_FIELD
    assert host.run(host.admin, 0x7C, prp1=page + 4, prp2=other).status == INVALID_PRP
    assert host.run(host.admin, 0x7C, prp1=page, prp2=other + 8).status == INVALID_PRP
    assert host.run(host.admin, 0x7C, prp1=0x5000, prp2=other).status == 0x04  # no memory there


def test_a_value_in_a_doorbell_buffer_that_is_not_valid(host: Host) -> None:
    queue = host.queue(1, 8)
    shadow, _ = shadowed(host)
    host.store(shadow + 8, (8).to_bytes(4, "little"))
    host.model.poll()
    assert error_events(host) == [0 | 1 << 8 | 1 << 16]
    assert queue.peek() is None


def test_a_value_that_cannot_be_set_back_is_told_once(host: Host) -> None:
    host.queue(1, 8)
    shadow, _ = shadowed(host)
    host.store(shadow + 8, (8).to_bytes(4, "little"))
    host.model.unmap(shadow, PAGE)
    host.model.map(shadow, host.address + shadow - IOVA, PAGE, False)
    for _ in range(5): host.model.poll()
    assert host.model.counts()["bad_doorbells"] == 1


def test_doorbell_buffers_that_vanish_are_fatal(host: Host) -> None:
    host.queue(1, 8)
    shadow, _ = shadowed(host)
    host.model.unmap(shadow, PAGE)
    host.model.poll()
    assert host.bar.read32(0x1C) & 2


def test_the_admin_doorbell_is_demanded_each_time(host: Host) -> None:
    """Some drivers shadow the admin queue, some do not: EventIdx follows it, so that both ring."""
    shadow, events = shadowed(host)
    assert host.run(host.admin, 0x0A, dw10=7).status == 0
    host.model.poll()
    assert int.from_bytes(host.load(events, 4), "little") == host.admin.tail
    host.store(shadow, host.admin.tail.to_bytes(4, "little"))
    assert host.run(host.admin, 0x0A, dw10=7).status == 0
