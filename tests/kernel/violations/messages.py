"""Violations of what is invariant in threads that wait with an endpoint."""

from __future__ import annotations

from kernel.objects import RECEIVING, SENDING
from tests.kernel.scene import Scene
from tests.kernel.violations import violates


@violates("message_wait")
def waits_in_no_known_way(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].waits = 7


@violates("message_wait")
def receives_nowhere(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].waits = RECEIVING


@violates("message_wait")
def receives_while_it_runs(scene: Scene) -> None:
    scene.k.thread[scene.running].waits = RECEIVING


@violates("message_item")
def badge_of_one_that_sends_nothing(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].badge = 1


@violates("message_item")
def pages_of_one_that_receives(scene: Scene) -> None:
    scene.k.thread[scene.receivers[0]].item = 1
    scene.k.thread[scene.receivers[0]].item_count = 1


@violates("message_item")
def first_page_of_nothing(scene: Scene) -> None:
    scene.k.thread[scene.senders[1]].item_first = 1


@violates("message_item")
def no_pages_to_send(scene: Scene) -> None:
    scene.k.thread[scene.senders[0]].item_count = 0


@violates("message_window")
def takes_two(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].takes = 2


@violates("message_window")
def fault_that_is_with_nobody(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].fault = 5


@violates("message_queue")
def queue_of_senders_without_a_way_back(scene: Scene) -> None:
    scene.k.thread[scene.senders[2]].previous = scene.senders[0]


@violates("message_queue")
def tickets_of_an_endpoint_start_again(scene: Scene) -> None:
    scene.k.endpoint[scene.outbox].ticket = 1


@violates("message_queue")
def receiver_among_senders(scene: Scene) -> None:
    T = scene.k.thread[scene.senders[1]]
    T.waits = RECEIVING
    T.badge = 0


@violates("message_queue")
def ring_that_no_endpoint_leads_to(scene: Scene) -> None:
    """Two threads link to each other, apart from the queue of their endpoint, which is empty."""
    T, U = scene.k.thread[scene.sleeper], scene.k.thread[scene.blocked]
    scene.k.endpoint[scene.quiet].ticket = 3
    for A, B, rank in ((T, U, 1), (U, T, 2)):
        A.waits, A.endpoint, A.rank = SENDING, scene.quiet, rank
        A.next = A.previous = B.id


@violates("message_queue")
def later_message_ranks_first(scene: Scene) -> None:
    A, B = scene.k.thread[scene.senders[1]], scene.k.thread[scene.senders[0]]
    C = scene.k.thread[scene.senders[2]]
    assert B.rank < A.rank < C.rank
    A.rank = C.rank


@violates("message_partner")
def reply_that_nobody_owes(scene: Scene) -> None:
    scene.k.thread[scene.server].caller = 0


@violates("message_caller")
def reply_owed_twice(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].caller = scene.caller
