"""Cases of messages: who is there already, who is not, and what the message carries."""

from __future__ import annotations

from typing import NamedTuple

from abi.errors import ETIMEDOUT
from kernel.objects import GRANT, HANDLE, HANDLES, MOVE, RECEIVE, SEND, SHARE
from tests.kernel.scenarios import Arguments, case
from tests.kernel.world import World

NOTHING = (0, 0, 0, 0)
FAULT = 0x1234


class Meeting(NamedTuple):
    """Running thread t and another, u, of the same process, and an endpoint both name."""

    t: int
    u: int
    e: int
    slot: int
    generation: int

    @property
    def handle(self) -> tuple[int, int]:
        """The handle with all rights."""
        return self.slot, self.generation


def meeting(w: World, core: int = 0) -> Meeting:
    """The other thread is placed on this core; t runs on core 0."""
    t = w.running()
    e, slot, generation = w.endpoint(t)
    u = w.created_thread(t, core)[0]
    return Meeting(t, u, e, slot, generation)


def receiver_waits(w: World, core: int = 0, *, accept: tuple[int, int, int] | None = None) -> Meeting:
    """The other thread waits to receive, and takes this."""
    m = meeting(w, core)
    w.run(m.u)
    if accept is not None: w.do("message_accept", m.u, *accept)
    w.do("message_receive", m.u, *m.handle, 1, 0)
    w.run(m.t)
    return m


def sender_waits(w: World, how: str = "message_send", item: tuple[int, int, int, int] = NOTHING) -> Meeting:
    """The other thread waits to send, by a handle with a badge."""
    m = meeting(w)
    badged = w.copied(m.t, *m.handle, SEND, 5)
    w.do(how, w.run(m.u), *badged, 1, *item, 0)
    w.run(m.t)
    return m


def caller_waits(w: World, core: int = 0, *, accept: tuple[int, int, int] | None = None) -> Meeting:
    """The other thread waits for the reply of t, which runs."""
    m = meeting(w, core)
    w.run(m.u)
    if accept is not None: w.do("message_accept", m.u, *accept)
    w.do("message_call", m.u, *m.handle, 1, *NOTHING, 0)
    w.do("message_receive", w.run(m.t), *m.handle, 1, 0)
    return m


def fault_waits(w: World) -> Meeting:
    """The other thread faulted, and t, which runs, is its pager."""
    m = meeting(w)
    w.do("pager_set", m.t, w.k.thread[m.t].process, *w.copied(m.t, *m.handle, SEND, 6))
    w.do("message_fault", w.run(m.u), FAULT)
    w.do("message_receive", w.run(m.t), *m.handle, 1, 0)
    return m


def without_senders(w: World, t: int, slot: int, generation: int) -> tuple[int, int]:
    """A handle that can receive from an endpoint to which nobody can send."""
    narrow = w.copied(t, slot, generation, RECEIVE)
    w.do("handle_close", t, slot, generation)
    return narrow


def without_receivers(w: World, t: int, slot: int, generation: int) -> tuple[int, int]:
    """A handle that can send to an endpoint from which nobody can receive."""
    narrow = w.copied(t, slot, generation, SEND)
    w.do("handle_close", t, slot, generation)
    return narrow


def full(w: World, m: Meeting) -> None:
    """The process of both has no free handle."""
    with w.unchecked():
        while w.k.process[w.k.thread[m.t].process].handle_count < HANDLES:
            w.copied(m.t, *m.handle, SEND)


# What a thread takes.


@case("message_accept")
def takes_pages_and_handles(w: World) -> Arguments:
    return (w.running(), 0x4000, 8, 1)


@case("message_accept")
def takes_nothing_any_more(w: World) -> Arguments:
    t = w.running()
    w.do("message_accept", t, 0x4000, 8, 1)
    return (t, 0, 0, 0)


@case("message_accept", "EINVAL")
def takes_what_is_not_within_range(w: World) -> Arguments:
    return (w.running(), 0, -1, 0)


@case("message_accept", "EINVAL")
def takes_some_handles(w: World) -> Arguments:
    return (w.running(), 0, 0, 2)


@case("message_accept", "EINVAL")
def window_below_zero(w: World) -> Arguments:
    return (w.running(), -1, 1, 0)


@case("message_accept", "EINVAL")
def who_takes_does_not_run(w: World) -> Arguments:
    return (w.thread(w.process()), 0, 0, 0)


# Sending and calling: the same but for who goes on.


def _sends(name: str) -> None:
    """The cases of ``message_send`` or ``message_call``."""

    @case(name)
    def receiver_on_the_same_core(w: World) -> Arguments:
        m = receiver_waits(w)
        return (m.t, *m.handle, 1, *NOTHING, 0)

    @case(name)
    def receiver_on_another_core(w: World) -> Arguments:
        m = receiver_waits(w, core=1)
        return (m.t, *m.handle, 0, *NOTHING, 0)

    @case(name)
    def first_of_three_receivers(w: World) -> Arguments:
        m = receiver_waits(w)
        for _ in range(2):
            w.do("message_receive", w.run(w.created_thread(w.run(m.t))[0]), *m.handle, 1, 0)
        return (w.run(m.t), *m.handle, 1, *NOTHING, 0)

    @case(name)
    def nobody_waits(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *w.copied(m.t, *m.handle, SEND, 9), 1, *NOTHING, 0)

    @case(name)
    def others_wait_to_send(w: World) -> Arguments:
        m = sender_waits(w)
        return (m.t, *m.handle, 1, *NOTHING, 0)

    @case(name)
    def waits_with_pages(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *m.handle, 1, SHARE, 0x4000, 3, 1, 0)

    @case(name)
    def pages_for_a_window(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0x4000, 8, 0))
        return (m.t, *m.handle, 1, SHARE, 0x100, 8, 3, 8)

    @case(name)
    def handle_with_the_message(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0, 0, 1))
        return (m.t, *m.handle, 1, HANDLE, *w.copied(m.t, *m.handle, SEND + GRANT, 5), SEND, 0)

    @case(name, "EINVAL")
    def sender_does_not_run(w: World) -> Arguments:
        m = meeting(w)
        w.do("preempt", 0)
        return (m.t, *m.handle, 1, *NOTHING, 0)

    @case(name, "EINVAL")
    def nothing_with_rights(w: World) -> Arguments:
        m = receiver_waits(w)
        return (m.t, *m.handle, 1, 0, 0, 0, 1, 0)

    @case(name, "EINVAL")
    def no_such_item(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *m.handle, 1, 4, 1, 1, 1, 0)

    @case(name, "EINVAL")
    def no_pages_to_carry(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *m.handle, 1, MOVE, 1, 0, 1, 0)

    @case(name, "EINVAL")
    def pages_below_zero(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *m.handle, 1, SHARE, -1, 1, 1, 0)

    @case(name, "EINVAL")
    def unknown_rights_to_carry(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *m.handle, 1, SHARE, 1, 1, 8, 0)

    @case(name, "ESRCH")
    def sent_to_nothing(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, m.slot, m.generation + 1, 1, *NOTHING, 0)

    @case(name, "ESRCH")
    def sent_to_a_thread(w: World) -> Arguments:
        t = w.running()
        return (t, *w.created_thread(t)[1:], 1, *NOTHING, 0)

    @case(name, "ESRCH")
    def carries_no_handle(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0, 0, 1))
        return (m.t, *m.handle, 1, HANDLE, m.slot, m.generation + 1, SEND, 0)

    @case(name, "EPERM")
    def handle_cannot_send(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *w.copied(m.t, *m.handle, RECEIVE), 1, *NOTHING, 0)

    @case(name, "EPERM")
    def carried_handle_may_not_be_passed_on(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0, 0, 1))
        return (m.t, *m.handle, 1, HANDLE, *w.copied(m.t, *m.handle, SEND + RECEIVE), SEND, 0)

    @case(name, "EPERM")
    def carried_handle_gets_more_rights(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0, 0, 1))
        return (m.t, *m.handle, 1, HANDLE, *w.copied(m.t, *m.handle, SEND + GRANT), RECEIVE, 0)

    @case(name, "EPROTO")
    def receiver_takes_no_handles(w: World) -> Arguments:
        m = receiver_waits(w)
        return (m.t, *m.handle, 1, HANDLE, *m.handle, SEND, 0)

    @case(name, "EPROTO")
    def receiver_has_no_slot(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0, 0, 1))
        full(w, m)
        return (m.t, *m.handle, 1, HANDLE, *m.handle, SEND, 0)

    @case(name, "EPROTO")
    def receiver_takes_no_pages(w: World) -> Arguments:
        m = receiver_waits(w)
        return (m.t, *m.handle, 1, SHARE, 0x100, 1, 1, 1)

    @case(name, "EPROTO")
    def pages_were_not_moved(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0x4000, 8, 0))
        return (m.t, *m.handle, 1, MOVE, 0x100, 8, 3, 7)

    @case(name, "EMSGSIZE")
    def more_pages_than_the_window(w: World) -> Arguments:
        m = receiver_waits(w, accept=(0x4000, 8, 0))
        return (m.t, *m.handle, 1, SHARE, 0x100, 9, 3, 9)

    @case(name, "EPIPE")
    def nobody_can_receive(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *without_receivers(w, m.t, *m.handle), 1, *NOTHING, 0)

    @case(name, "EAGAIN")
    def would_have_to_wait(w: World) -> Arguments:
        m = meeting(w)
        return (m.t, *m.handle, 0, *NOTHING, 0)

    @case(name, "EAGAIN")
    def would_have_to_queue(w: World) -> Arguments:
        m = sender_waits(w)
        return (m.t, *m.handle, 0, *NOTHING, 0)


_sends("message_send")
_sends("message_call")


# Faults.


def paged(w: World, core: int = 0) -> Meeting:
    """The process of both has the endpoint as its pager, by a handle with a badge."""
    m = meeting(w, core)
    w.do("pager_set", m.t, w.k.thread[m.t].process, *w.copied(m.t, *m.handle, SEND, 6))
    return m


@case("message_fault")
def pager_waits(w: World) -> Arguments:
    m = paged(w)
    w.do("message_receive", w.run(m.u), *m.handle, 1, 0)
    return (w.run(m.t), FAULT)


@case("message_fault")
def pager_is_busy(w: World) -> Arguments:
    return (paged(w).t, FAULT)


@case("message_fault", "EINVAL")
def fault_of_one_that_does_not_run(w: World) -> Arguments:
    m = paged(w)
    return (m.u, FAULT)


@case("message_fault", "EINVAL")
def fault_nowhere(w: World) -> Arguments:
    return (paged(w).t, 0)


@case("message_fault", "ESRCH")
def no_pager(w: World) -> Arguments:
    return (w.running(), FAULT)


@case("message_fault", "EPIPE")
def pager_is_gone(w: World) -> Arguments:
    m = paged(w)
    w.do("handle_close", m.t, *m.handle)
    return (m.t, FAULT)


# Receiving.


@case("message_receive")
def sender_is_queued(w: World) -> Arguments:
    m = sender_waits(w)
    return (m.t, *m.handle, 1, 0)


@case("message_receive")
def caller_is_queued(w: World) -> Arguments:
    m = sender_waits(w, "message_call")
    return (m.t, *m.handle, 0, 0)


@case("message_receive")
def first_of_two_senders(w: World) -> Arguments:
    m = sender_waits(w)
    w.do("message_send", w.run(w.created_thread(w.run(m.t))[0]), *m.handle, 1, *NOTHING, 0)
    return (w.run(m.t), *m.handle, 1, 0)


@case("message_receive")
def queued_pages(w: World) -> Arguments:
    m = sender_waits(w, item=(SHARE, 0x100, 3, 1))
    w.do("message_accept", m.t, 0x4000, 4, 0)
    return (m.t, *m.handle, 1, 3)


@case("message_receive")
def queued_handle(w: World) -> Arguments:
    m = meeting(w)
    w.do("message_call", w.run(m.u), *m.handle, 1, HANDLE, *m.handle, SEND, 0)
    w.do("message_accept", w.run(m.t), 0, 0, 1)
    return (m.t, *m.handle, 1, 0)


@case("message_receive")
def fault_is_queued(w: World) -> Arguments:
    m = paged(w)
    w.do("message_fault", w.run(m.u), FAULT)
    return (w.run(m.t), *m.handle, 1, 0)


@case("message_receive")
def nothing_is_there(w: World) -> Arguments:
    m = meeting(w)
    return (m.t, *m.handle, 1, 0)


@case("message_receive")
def others_wait_to_receive(w: World) -> Arguments:
    m = receiver_waits(w)
    return (m.t, *m.handle, 1, 0)


@case("message_receive")
def queue_was_of_senders(w: World) -> Arguments:
    m = sender_waits(w)
    w.do("message_receive", m.t, *m.handle, 1, 0)
    return (m.t, *m.handle, 1, 0)


@case("message_receive")
def signals_are_there(w: World) -> Arguments:
    m = sender_waits(w)
    w.do("endpoint_signal", m.e)
    w.do("endpoint_signal", m.e)
    return (m.t, *m.handle, 1, 0)


@case("message_receive")
def only_a_timer_can_send(w: World) -> Arguments:
    m = meeting(w)
    w.do("timer_bind", m.t, *m.handle, 1)
    return (m.t, *without_senders(w, m.t, *m.handle), 1, 0)


@case("message_receive", "EINVAL")
def receiver_does_not_run(w: World) -> Arguments:
    m = meeting(w)
    w.do("preempt", 0)
    return (m.t, *m.handle, 1, 0)


@case("message_receive", "EBUSY")
def owes_a_reply(w: World) -> Arguments:
    m = caller_waits(w)
    return (m.t, *m.handle, 1, 0)


@case("message_receive", "ESRCH")
def receives_from_nothing(w: World) -> Arguments:
    m = meeting(w)
    return (m.t, m.slot, m.generation + 1, 1, 0)


@case("message_receive", "ESRCH")
def queued_handle_was_closed(w: World) -> Arguments:
    m = meeting(w)
    slot, generation = w.copied(m.t, *m.handle, SEND + GRANT)
    w.do("message_send", w.run(m.u), *m.handle, 1, HANDLE, slot, generation, SEND, 0)
    w.do("message_accept", w.run(m.t), 0, 0, 1)
    w.do("handle_close", m.t, slot, generation)
    return (m.t, *m.handle, 1, 0)


@case("message_receive", "EPERM")
def handle_cannot_receive(w: World) -> Arguments:
    m = meeting(w)
    return (m.t, *w.copied(m.t, *m.handle, SEND), 1, 0)


@case("message_receive", "EPERM")
def queued_handle_may_not_be_passed_on(w: World) -> Arguments:
    m = meeting(w)
    slot, generation = w.copied(m.t, *m.handle, SEND)
    w.do("message_send", w.run(m.u), *m.handle, 1, HANDLE, slot, generation, SEND, 0)
    w.do("message_accept", w.run(m.t), 0, 0, 1)
    return (m.t, *m.handle, 1, 0)


@case("message_receive", "EPROTO")
def queued_pages_without_a_window(w: World) -> Arguments:
    m = sender_waits(w, item=(SHARE, 0x100, 3, 1))
    return (m.t, *m.handle, 1, 3)


@case("message_receive", "EMSGSIZE")
def queued_pages_for_a_small_window(w: World) -> Arguments:
    m = sender_waits(w, item=(SHARE, 0x100, 3, 1))
    w.do("message_accept", m.t, 0x4000, 2, 0)
    return (m.t, *m.handle, 1, 3)


@case("message_receive", "EPIPE")
def nobody_can_send(w: World) -> Arguments:
    m = meeting(w)
    return (m.t, *without_senders(w, m.t, *m.handle), 1, 0)


@case("message_receive", "EAGAIN")
def nothing_is_there_now(w: World) -> Arguments:
    m = meeting(w)
    return (m.t, *m.handle, 0, 0)


# Replies.


@case("message_reply")
def reply_on_the_same_core(w: World) -> Arguments:
    return (caller_waits(w).t, *NOTHING, 0)


@case("message_reply")
def reply_with_pages(w: World) -> Arguments:
    return (caller_waits(w, accept=(0x4000, 2, 0)).t, MOVE, 0x100, 2, 3, 2)


@case("message_reply")
def reply_with_a_handle(w: World) -> Arguments:
    m = caller_waits(w, accept=(0, 0, 1))
    return (m.t, HANDLE, *m.handle, SEND, 0)


@case("message_reply")
def page_for_a_fault(w: World) -> Arguments:
    return (fault_waits(w).t, SHARE, 0x100, 1, 3, 1)


@case("message_reply")
def nothing_for_a_fault(w: World) -> Arguments:
    return (fault_waits(w).t, *NOTHING, 0)


@case("message_reply", "EINVAL")
def replier_does_not_run(w: World) -> Arguments:
    m = caller_waits(w)
    w.do("preempt", 0)
    return (m.t, *NOTHING, 0)


@case("message_reply", "EINVAL")
def reply_with_no_such_item(w: World) -> Arguments:
    return (caller_waits(w).t, 9, 1, 1, 1, 0)


@case("message_reply", "ESRCH")
def nobody_called(w: World) -> Arguments:
    return (w.running(), *NOTHING, 0)


@case("message_reply", "EPROTO")
def caller_takes_no_pages(w: World) -> Arguments:
    return (caller_waits(w).t, SHARE, 0x100, 1, 1, 1)


@case("message_reply", "EMSGSIZE")
def two_pages_for_a_fault(w: World) -> Arguments:
    return (fault_waits(w).t, SHARE, 0x100, 2, 3, 2)


@case("message_reply", "EPERM")
def reply_with_a_handle_that_may_not_be_passed_on(w: World) -> Arguments:
    m = caller_waits(w, accept=(0, 0, 1))
    return (m.t, HANDLE, *w.copied(m.t, *m.handle, SEND), SEND, 0)


@case("message_reply_receive")
def replies_and_waits(w: World) -> Arguments:
    m = caller_waits(w)
    return (m.t, *m.handle, *NOTHING, 0)


@case("message_reply_receive")
def replies_to_another_core_and_waits(w: World) -> Arguments:
    m = caller_waits(w, core=1)
    return (m.t, *m.handle, *NOTHING, 0)


@case("message_reply_receive")
def replies_and_waits_behind_another(w: World) -> Arguments:
    m = caller_waits(w)
    w.do("message_receive", w.run(w.created_thread(m.t)[0]), *m.handle, 1, 0)
    return (w.run(m.t), *m.handle, *NOTHING, 0)


@case("message_reply_receive")
def replies_with_pages_and_waits(w: World) -> Arguments:
    m = caller_waits(w, accept=(0x4000, 2, 0))
    return (m.t, *m.handle, SHARE, 0x100, 2, 3, 2)


@case("message_reply_receive")
def replies_with_a_handle_and_waits(w: World) -> Arguments:
    m = caller_waits(w, accept=(0, 0, 1))
    return (m.t, *m.handle, HANDLE, *m.handle, SEND, 0)


@case("message_reply_receive")
def page_for_a_fault_and_waits(w: World) -> Arguments:
    m = fault_waits(w)
    return (m.t, *m.handle, SHARE, 0x100, 1, 3, 1)


@case("message_reply_receive")
def replies_and_waits_for_a_timer(w: World) -> Arguments:
    m = caller_waits(w)
    w.do("timer_bind", m.t, *m.handle, 1)
    return (m.t, *without_senders(w, m.t, *m.handle), *NOTHING, 0)


@case("message_reply_receive", "EINVAL")
def who_replies_and_waits_does_not_run(w: World) -> Arguments:
    m = caller_waits(w)
    w.do("preempt", 0)
    return (m.t, *m.handle, *NOTHING, 0)


@case("message_reply_receive", "EINVAL")
def replies_with_no_such_item_and_waits(w: World) -> Arguments:
    m = caller_waits(w)
    return (m.t, *m.handle, 1, 1, 1, 9, 0)


@case("message_reply_receive", "ESRCH")
def nobody_called_and_waits(w: World) -> Arguments:
    m = meeting(w)
    return (m.t, *m.handle, *NOTHING, 0)


@case("message_reply_receive", "ESRCH")
def replies_and_waits_nowhere(w: World) -> Arguments:
    m = caller_waits(w)
    return (m.t, m.slot, m.generation + 1, *NOTHING, 0)


@case("message_reply_receive", "EPERM")
def replies_and_cannot_receive(w: World) -> Arguments:
    m = caller_waits(w)
    return (m.t, *w.copied(m.t, *m.handle, SEND), *NOTHING, 0)


@case("message_reply_receive", "EPROTO")
def replies_with_what_is_not_taken(w: World) -> Arguments:
    m = caller_waits(w)
    return (m.t, *m.handle, HANDLE, *m.handle, SEND, 0)


@case("message_reply_receive", "EMSGSIZE")
def replies_with_too_many_pages(w: World) -> Arguments:
    m = caller_waits(w, accept=(0x4000, 2, 0))
    return (m.t, *m.handle, SHARE, 0x100, 3, 3, 3)


@case("message_reply_receive", "EBUSY")
def replies_while_a_message_is_there(w: World) -> Arguments:
    m = caller_waits(w)
    w.do("message_send", w.run(w.created_thread(m.t)[0]), *m.handle, 1, *NOTHING, 0)
    return (w.run(m.t), *m.handle, *NOTHING, 0)


@case("message_reply_receive", "EBUSY")
def replies_while_a_signal_is_there(w: World) -> Arguments:
    m = caller_waits(w)
    w.do("endpoint_signal", m.e)
    return (m.t, *m.handle, *NOTHING, 0)


@case("message_reply_receive", "EPIPE")
def replies_while_nobody_can_send(w: World) -> Arguments:
    m = caller_waits(w)
    return (m.t, *without_senders(w, m.t, *m.handle), *NOTHING, 0)


# Waiting no longer.


@case("message_cancel")
def receiver_gives_up(w: World) -> Arguments:
    return (receiver_waits(w).u, -ETIMEDOUT)


@case("message_cancel")
def sender_gives_up_its_pages(w: World) -> Arguments:
    return (sender_waits(w, item=(SHARE, 0x100, 3, 1)).u, -4095)


@case("message_cancel")
def caller_gives_up_its_reply(w: World) -> Arguments:
    return (caller_waits(w).u, -1)


@case("message_cancel")
def fault_gives_up(w: World) -> Arguments:
    return (fault_waits(w).u, -ETIMEDOUT)


@case("message_cancel")
def queued_fault_gives_up(w: World) -> Arguments:
    m = paged(w)
    w.do("message_fault", w.run(m.u), FAULT)
    return (m.u, -ETIMEDOUT)


@case("message_cancel")
def middle_of_the_queue_gives_up(w: World) -> Arguments:
    m = receiver_waits(w)
    queue = []
    for _ in range(2):
        queue.append(w.created_thread(w.run(m.t))[0])
        w.do("message_receive", w.run(queue[-1]), *m.handle, 1, 0)
    return (queue[0], -ETIMEDOUT)


@case("message_cancel")
def last_at_an_endpoint_that_nothing_names(w: World) -> Arguments:
    m = receiver_waits(w)
    w.do("handle_close", m.t, *m.handle)
    return (m.u, -ETIMEDOUT)


@case("message_cancel", "EINVAL")
def gives_up_nothing(w: World) -> Arguments:
    return (w.running(), -ETIMEDOUT)


@case("message_cancel", "EINVAL")
def gives_up_for_no_error(w: World) -> Arguments:
    return (receiver_waits(w).u, 0)


@case("message_cancel", "EINVAL")
def gives_up_for_what_is_no_error(w: World) -> Arguments:
    return (receiver_waits(w).u, -4096)


@case("message_cancel", "EINVAL")
def no_thread_gives_up(w: World) -> Arguments:
    return (w.k.root, -ETIMEDOUT)


@case("endpoint_signal")
def signal_for_one_who_waits(w: World) -> Arguments:
    return (receiver_waits(w).e,)


@case("endpoint_signal")
def signal_for_the_last_at_an_endpoint(w: World) -> Arguments:
    m = meeting(w)
    w.do("timer_bind", m.t, *m.handle, 1)
    w.do("message_receive", w.run(m.u), *m.handle, 1, 0)
    w.do("handle_close", w.run(m.t), *m.handle)
    return (m.e,)


@case("endpoint_signal")
def signal_for_later(w: World) -> Arguments:
    return (sender_waits(w).e,)


@case("endpoint_signal", "EINVAL")
def signal_for_no_endpoint(w: World) -> Arguments:
    return (w.k.root,)


# Ends of those who wait.


@case("thread_wake", "EINVAL")
def waits_for_a_message(w: World) -> Arguments:
    return (receiver_waits(w).u,)


@case("thread_exit")
def owes_a_reply_and_exits(w: World) -> Arguments:
    return (caller_waits(w, core=1).t, 0)


@case("thread_exit")
def takes_pages_and_exits(w: World) -> Arguments:
    t = w.running()
    w.do("message_accept", t, 5, 5, 1)
    return (t, 0)


def ending(w: World, t: int) -> None:
    """The process of thread t is ending."""
    w.do("process_end", w.k.thread[t].process, 0)


@case("thread_end")
def killed_while_it_receives(w: World) -> Arguments:
    m = receiver_waits(w)
    ending(w, m.t)
    return (m.u,)


@case("thread_end")
def killed_while_it_sends(w: World) -> Arguments:
    m = sender_waits(w, item=(SHARE, 0x100, 3, 1))
    ending(w, m.t)
    return (m.u,)


@case("thread_end")
def killed_while_it_awaits_a_reply(w: World) -> Arguments:
    m = caller_waits(w)
    ending(w, m.t)
    return (m.u,)


@case("thread_end")
def killed_while_it_owes_a_reply(w: World) -> Arguments:
    m = caller_waits(w)
    ending(w, m.t)
    return (m.t,)


@case("thread_end")
def killed_while_its_fault_is_with_the_pager(w: World) -> Arguments:
    m = fault_waits(w)
    ending(w, m.t)
    return (m.u,)


@case("thread_end")
def killed_as_the_last_at_an_endpoint(w: World) -> Arguments:
    m = receiver_waits(w)
    w.do("handle_close", m.t, *m.handle)
    ending(w, m.t)
    return (m.u,)


@case("thread_end")
def ends_as_two_wait_for_it(w: World) -> Arguments:
    m = caller_waits(w)
    u = w.created_thread(m.t)[0]
    S = w.k.process[w.k.thread[m.t].process]
    slot = w.k.thread[m.u].holder_slot
    w.do("thread_join", w.run(u), slot, S.handle_generation[slot])
    ending(w, m.t)
    return (m.t,)


def joined_server(w: World) -> tuple[Meeting, int, int, int]:
    """The other thread receives a call of a third on the same core and is joined by t: (meeting, third, slot,
    generation of the handle to it)."""
    m = meeting(w)
    third = w.created_thread(m.t)[0]
    w.do("message_call", w.run(third), *m.handle, 1, *NOTHING, 0)
    w.do("message_receive", w.run(m.u), *m.handle, 1, 0)
    slot = w.k.thread[m.u].holder_slot
    return m, third, slot, w.k.process[w.k.thread[m.t].process].handle_generation[slot]


@case("thread_exit")
def caller_and_joiner_wait_for_it(w: World) -> Arguments:
    m, _, slot, generation = joined_server(w)
    w.do("thread_join", w.run(m.t), slot, generation)
    return (w.run(m.u), 4)


@case("thread_kill")
def killed_by_another_while_it_owes_a_reply(w: World) -> Arguments:
    m, _, slot, generation = joined_server(w)
    return (w.run(m.t), slot, generation)


@case("thread_kill")
def killed_by_another_while_it_owes_a_reply_and_is_joined(w: World) -> Arguments:
    m, _, slot, generation = joined_server(w)
    joiner = w.created_thread(w.run(m.t))[0]
    w.do("thread_join", w.run(joiner), slot, generation)
    return (w.run(m.t), slot, generation)


@case("thread_kill")
def killed_by_another_while_it_receives(w: World) -> Arguments:
    m = receiver_waits(w)
    slot = w.k.thread[m.u].holder_slot
    return (m.t, slot, w.k.process[w.k.thread[m.t].process].handle_generation[slot])


@case("thread_kill")
def killed_by_another_as_the_last_at_an_endpoint(w: World) -> Arguments:
    m = receiver_waits(w)
    w.do("handle_close", m.t, *m.handle)
    slot = w.k.thread[m.u].holder_slot
    return (m.t, slot, w.k.process[w.k.thread[m.t].process].handle_generation[slot])
