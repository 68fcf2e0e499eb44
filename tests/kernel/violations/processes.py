"""Violations of what is invariant in processes and handles."""

from __future__ import annotations

from kernel.handles import open_handle
from kernel.objects import ALIVE, ENDED, NEW
from kernel.page_allocator import free_page
from tests.kernel.scene import Scene
from tests.kernel.violations import breaks, charge_to_another, second_container, violates


@violates("process_charge")
def process_in_no_known_state(scene: Scene) -> None:
    scene.k.process[scene.empty].state = 0


@violates("process_charge")
def process_is_charged_to_another_container(scene: Scene) -> None:
    charge_to_another(scene, scene.empty)


@violates("process_charge")
def freed_process_leaves_its_status(scene: Scene) -> None:
    scene.k.process[scene.free_pages[0]].status = 3


@violates("process_charge")
def freed_process_leaves_its_parent(scene: Scene) -> None:
    scene.k.process[scene.free_pages[0]].parent = scene.s


@violates("process_parent")
def child_its_parent_forgot(scene: Scene) -> None:
    scene.S.children[0] = 0
    scene.S.child_count = 0


@violates("process_parent")
def orphan_has_a_place(scene: Scene) -> None:
    scene.k.process[scene.d].position = 1


@violates("process_parent")
def child_that_was_born_before_its_parent(scene: Scene) -> None:
    scene.k.process[scene.child].born = 1


@violates("process_parent")
def two_processes_are_each_others_parents(scene: Scene) -> None:
    S, C = scene.S, scene.k.process[scene.child]
    C.children[0], C.child_count = scene.s, 1
    S.parent, S.position = scene.child, 0


@breaks("process_parent")
def child_in_another_container_than_its_parent(scene: Scene) -> None:
    scene.k.process[scene.child].container = second_container(scene)


@breaks("process_parent")
def child_that_has_ended_and_has_a_parent(scene: Scene) -> None:
    scene.k.process[scene.child].state = ENDED


@breaks("process_parent")
def child_of_what_is_no_process(scene: Scene) -> None:
    k, t = scene.k, scene.running
    C, T = k.process[scene.child], k.process[t]
    C.parent, C.position = t, 0
    T.container, T.born, T.state, T.child_count, T.children[0] = k.root, 1, ALIVE, 1, scene.child


@breaks("handle_object")
def child_that_says_another_holds_it(scene: Scene) -> None:
    scene.k.process[scene.child].holder = 1 << 40


@breaks("process_root")
def ended_process_with_a_root(scene: Scene) -> None:
    scene.k.process[scene.ended].root = scene.x4


@breaks("process_root")
def ended_process_with_a_thread(scene: Scene) -> None:
    scene.k.process[scene.ended].thread_count = 1


@breaks("process_root")
def ended_process_with_a_mapping(scene: Scene) -> None:
    scene.k.process[scene.ended].mappings = 1


@violates("process_child")
def child_is_listed_twice(scene: Scene) -> None:
    scene.S.children[1] = scene.child
    scene.S.child_count = 2


@violates("process_family")
def new_process_has_a_child(scene: Scene) -> None:
    S, C = scene.k.process[scene.empty], scene.k.process[scene.child]
    scene.S.children[0] = scene.S.child_count = 0
    S.children[0], S.child_count = scene.child, 1
    C.parent = scene.empty


@violates("process_family")
def killed_process_goes_on(scene: Scene) -> None:
    scene.k.process[scene.d].killed = 1


@violates("process_family")
def process_of_the_future(scene: Scene) -> None:
    scene.k.process[scene.d].born = scene.root_container.born + 1


@violates("process_root")
def process_without_a_root(scene: Scene) -> None:
    S = scene.k.process[scene.empty]
    X = scene.k.table[S.root]
    X.level = X.process = 0
    free_page(scene.k, S.root)
    S.root = 0


@violates("process_root")
def ended_process_has_a_handle(scene: Scene) -> None:
    S = scene.k.process[scene.empty]
    S.holder_slot = open_handle(scene.k, scene.ended, scene.empty)
    S.holder, S.hosted = scene.ended, 0
    assert scene.k.process[scene.ended].state == ENDED


@violates("process_threads")
def new_process_has_threads(scene: Scene) -> None:
    scene.k.process[scene.d].state = NEW


@violates("process_threads")
def living_process_has_no_thread(scene: Scene) -> None:
    scene.k.process[scene.empty].state = ALIVE


@violates("process_thread")
def thread_is_listed_twice(scene: Scene) -> None:
    S = scene.S
    S.threads[S.thread_count] = S.threads[0]
    S.thread_count += 1


@violates("process_mappings")
def mappings_are_miscounted(scene: Scene) -> None:
    scene.S.mappings += 1


@violates("process_handles")
def handles_are_miscounted(scene: Scene) -> None:
    scene.S.handle_count += 1


@violates("process_handles")
def handle_slot_is_lost(scene: Scene) -> None:
    """The slot on top of the stack is neither open nor ever opened again."""
    scene.S.handle_stack[scene.S.handle_listed] = 0
    scene.S.handle_listed -= 1


@violates("handle_object")
def two_handles_to_one_thread(scene: Scene) -> None:
    open_handle(scene.k, scene.s, scene.blocked)


@violates("handle_object")
def closed_slot_has_a_generation(scene: Scene) -> None:
    scene.S.handle_generation[scene.S.handle_stack[1]] = 1


@violates("handle_object")
def generation_of_the_future(scene: Scene) -> None:
    scene.S.handle_generation[scene.blocked_slot] = scene.S.handle_opened + 1


@violates("handle_stack")
def slot_is_on_the_stack_twice(scene: Scene) -> None:
    scene.S.handle_stack[1] = scene.S.handle_stack[2]


@violates("handle_stack")
def open_slot_is_on_the_stack(scene: Scene) -> None:
    S = scene.S
    S.handle_stack[1] = scene.blocked_slot
    S.handle_position[scene.blocked_slot] = 1


@violates("process_holder")
def ended_process_nobody_will_collect(scene: Scene) -> None:
    scene.k.process[scene.ended].hosted = 0


@violates("process_holder")
def held_by_who_has_no_handle(scene: Scene) -> None:
    S = scene.k.process[scene.empty]
    S.hosted, S.holder = 0, scene.d


@violates("process_holder")
def held_and_hosted(scene: Scene) -> None:
    scene.k.process[scene.child].hosted = 1


@violates("process_waiter")
def waiter_that_does_not_wait(scene: Scene) -> None:
    scene.k.process[scene.d].waiter = scene.sleeper
