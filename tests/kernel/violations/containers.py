"""Violations of the invariants of the tree of containers."""

from __future__ import annotations

from kernel.handles import close_handle, open_handle
from kernel.objects import ACTIVE, CLOSING, GIANT_SPLIT
from tests.kernel.scene import Scene
from tests.kernel.state import snapshot, store
from tests.kernel.violations import second_container, violates


def unheld_container(scene: Scene) -> int:
    """A container below the root, sound, that nobody has a handle to: it is ending."""
    c, slot, _ = scene.w.container(scene.running, 3)
    close_handle(scene.k, scene.s, slot)
    scene.k.container[c].holder = scene.k.container[c].holder_slot = 0
    scene.k.container[c].state = CLOSING
    return c


@violates("container_root")
def nothing_is_left_not_even_the_root(scene: Scene) -> None:
    k = scene.k
    for place in snapshot(k):
        if place[0] != "core" or place[2] in ("current", "head", "tail", "placed", "placed_count"): store(k, place, 0)
    k.memory.fresh = 1
    k.giant[0].kind, k.giant[0].carved = GIANT_SPLIT, 1  # block 0
    k.cores = 0


@violates("container_place")
def root_is_not_at_the_top(scene: Scene) -> None:
    scene.root_container.parent = scene.s


@violates("container_place")
def container_in_no_known_state(scene: Scene) -> None:
    scene.k.container[second_container(scene)].state = 9


@violates("container_place")
def container_its_parent_forgot(scene: Scene) -> None:
    unheld_container(scene)
    scene.root_container.children[0] = 0
    scene.root_container.child_count = 0


@violates("container_place")
def fewer_processes_than_none(scene: Scene) -> None:
    scene.k.container[second_container(scene)].processes = -1


@violates("container_place")
def freed_container_remembers_its_depth(scene: Scene) -> None:
    scene.k.container[scene.free_pages[0]].depth = 1


@violates("container_child")
def container_is_listed_twice(scene: Scene) -> None:
    scene.root_container.children[1] = second_container(scene)
    scene.root_container.child_count = 2


@violates("container_path")
def path_leads_through_a_process(scene: Scene) -> None:
    scene.k.container[second_container(scene)].path[0] = scene.s


@violates("container_path")
def path_is_longer_than_the_depth(scene: Scene) -> None:
    scene.k.container[second_container(scene)].path[1] = scene.k.root


@violates("container_holder")
def container_held_by_who_has_no_handle(scene: Scene) -> None:
    scene.k.container[unheld_container(scene)].holder = scene.d


@violates("container_place")
def freed_container_is_the_hosts(scene: Scene) -> None:
    scene.k.container[scene.free_pages[0]].hosted = 1


@violates("container_holder")
def container_of_the_host_that_a_process_holds(scene: Scene) -> None:
    scene.k.container[second_container(scene)].hosted = 1


@violates("container_holder")
def twice_the_hosts(scene: Scene) -> None:
    scene.k.container[unheld_container(scene)].hosted = 2


@violates("container_holder")
def slot_of_nobody(scene: Scene) -> None:
    scene.k.container[unheld_container(scene)].holder_slot = 3


@violates("container_holder")
def container_nobody_could_kill(scene: Scene) -> None:
    scene.k.container[unheld_container(scene)].state = ACTIVE


@violates("container_member")
def process_is_listed_twice(scene: Scene) -> None:
    C = scene.root_container
    C.members[C.processes] = C.members[0]
    C.processes += 1


@violates("container_member")
def processes_are_miscounted(scene: Scene) -> None:
    scene.root_container.processes += 1


@violates("process_place")
def process_its_container_forgot(scene: Scene) -> None:
    C, S = scene.root_container, scene.k.process[scene.empty]
    C.processes -= 1
    last = C.members[C.processes]
    C.members[S.place] = last
    scene.k.process[last].place = S.place
    C.members[C.processes] = 0


@violates("process_place")
def freed_process_has_a_place(scene: Scene) -> None:
    scene.k.process[scene.free_pages[0]].place = 2


@violates("handle_object")
def two_handles_to_one_container(scene: Scene) -> None:
    open_handle(scene.k, scene.s, second_container(scene))
