"""Violations of what is invariant in threads, cores and run queues."""

from __future__ import annotations

from kernel.handles import close_handle
from kernel.objects import BLOCKED, DEAD, READY, RUNNING
from kernel.placement import displace, place
from tests.kernel.scene import Scene
from tests.kernel.violations import charge_to_another, violates


@violates("thread_charge")
def thread_in_no_known_state(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].state = 9


@violates("thread_charge")
def thread_is_charged_to_another_container(scene: Scene) -> None:
    charge_to_another(scene, scene.sleeper)


@violates("thread_charge")
def freed_thread_leaves_its_result(scene: Scene) -> None:
    scene.k.thread[scene.free_pages[0]].result = 1


@violates("thread_position")
def thread_its_process_forgot(scene: Scene) -> None:
    S, T = scene.S, scene.k.thread[scene.sleeper]
    S.thread_count -= 1
    last = S.threads[S.thread_count]
    S.threads[T.position] = last
    scene.k.thread[last].position = T.position
    S.threads[S.thread_count] = 0


@violates("thread_position")
def ended_thread_has_a_position(scene: Scene) -> None:
    scene.k.thread[scene.dead].position = 2


@violates("thread_running")
def thread_runs_on_no_core(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].state = RUNNING


@violates("thread_queue")
def blocked_thread_is_linked(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].next = scene.queue[0]


@violates("thread_queue")
def queue_without_a_way_back(scene: Scene) -> None:
    scene.k.thread[scene.queue[2]].previous = scene.queue[0]


@violates("thread_queue")
def tickets_start_again(scene: Scene) -> None:
    scene.k.core[2].ticket = 1


@violates("thread_queue")
def ring_that_no_core_leads_to(scene: Scene) -> None:
    """Two threads link to each other, apart from the queue of their core, which is empty."""
    T, U = scene.k.thread[scene.sleeper], scene.k.thread[scene.blocked]
    scene.k.core[3].ticket = 3
    for A, B, rank in ((T, U, 1), (U, T, 2)):
        displace(scene.k, A.id)
        place(scene.k, A.id, 3)
        A.state, A.rank = READY, rank
        A.next = A.previous = B.id


@violates("thread_queue")
def later_thread_ranks_first(scene: Scene) -> None:
    B, C = scene.k.thread[scene.queue[1]], scene.k.thread[scene.queue[2]]
    B.rank, C.rank = C.rank, B.rank


@violates("thread_queue")
def two_threads_of_one_rank(scene: Scene) -> None:
    scene.k.thread[scene.queue[1]].rank = scene.k.thread[scene.queue[2]].rank


@violates("thread_waits")
def waits_for_who_does_not_know(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].waiting_for = scene.blocked


@violates("thread_joiner")
def joiner_that_does_not_wait(scene: Scene) -> None:
    scene.k.thread[scene.blocked].joiner = scene.sleeper


@violates("thread_handle")
def handle_that_leads_elsewhere(scene: Scene) -> None:
    scene.k.thread[scene.sleeper].holder_slot = 77


@violates("thread_handle")
def ended_thread_nobody_can_join(scene: Scene) -> None:
    T = scene.k.thread[scene.dead]
    close_handle(scene.k, scene.s, T.holder_slot)
    T.holder_slot = -1
    assert T.state == DEAD


@violates("core_current")
def core_runs_a_blocked_thread(scene: Scene) -> None:
    scene.k.core[1].current = scene.sleeper
    assert scene.k.thread[scene.sleeper].state == BLOCKED


@violates("core_queue")
def queue_with_one_end(scene: Scene) -> None:
    scene.k.core[3].tail = scene.sleeper
