"""Violations of what is invariant in endpoints and the handles that name them."""

from __future__ import annotations

from tests.kernel.scene import Scene
from tests.kernel.violations import breaks, violates


@violates("endpoint_charge")
def neither_senders_nor_receivers(scene: Scene) -> None:
    scene.k.endpoint[scene.quiet].receiving = 2


@violates("endpoint_charge")
def freed_endpoint_leaves_its_tickets(scene: Scene) -> None:
    scene.k.endpoint[scene.free_pages[0]].ticket = 1


@violates("endpoint_charge")
def fewer_signals_than_none(scene: Scene) -> None:
    scene.k.endpoint[scene.quiet].signals = -1


@violates("endpoint_references")
def sender_that_is_none(scene: Scene) -> None:
    scene.k.endpoint[scene.quiet].senders += 1


@violates("endpoint_references")
def receiver_that_nobody_counts(scene: Scene) -> None:
    scene.k.endpoint[scene.inbox].receivers = 0


@violates("endpoint_references")
def handle_that_nobody_counts(scene: Scene) -> None:
    scene.k.endpoint[scene.outbox].references = 0


@violates("endpoint_queue")
def queue_of_an_endpoint_with_one_end(scene: Scene) -> None:
    scene.k.endpoint[scene.quiet].tail = scene.sleeper


@violates("message_queue")
def senders_said_to_receive(scene: Scene) -> None:
    scene.k.endpoint[scene.inbox].receiving = 1


@violates("endpoint_queue")
def signal_that_nobody_gets(scene: Scene) -> None:
    scene.k.endpoint[scene.outbox].signals = 1


@violates("handle_rights")
def badge_for_a_thread(scene: Scene) -> None:
    scene.S.handle_badge[scene.blocked_slot] = 1


@violates("handle_rights")
def badge_of_less_than_nothing(scene: Scene) -> None:
    scene.S.handle_badge[scene.inbox_slot] = -1


@violates("handle_rights")
def rights_that_there_are_not(scene: Scene) -> None:
    scene.S.handle_rights[scene.quiet_slot] += 8


@violates("process_pager")
def badge_without_a_pager(scene: Scene) -> None:
    scene.k.process[scene.d].pager_badge = 1


@violates("process_pager")
def badge_for_a_pager_below_zero(scene: Scene) -> None:
    scene.S.pager_badge = -2


def _freed(field: str, value: int) -> None:
    @breaks("endpoint_charge")
    def freed_endpoint_is_not_blank(scene: Scene) -> None:
        setattr(scene.k.endpoint[scene.free_pages[0]], field, value)


for _field in ("references", "senders", "receivers", "signals", "timer", "head", "tail", "ticket", "receiving"):
    _freed(_field, 1)
