"""Violations of what is invariant in cores: whose they are, and who is placed on them."""

from __future__ import annotations

from kernel.placement import displace, place
from tests.kernel.scene import Scene
from tests.kernel.violations import second_container, violates


@violates("core_place")
def core_its_container_forgot(scene: Scene) -> None:
    scene.root_container.cores[3] = 0
    scene.root_container.core_count = 3


@violates("core_place")
def fewer_threads_than_none(scene: Scene) -> None:
    scene.k.core[3].placed_count = -1


@violates("container_owns")
def core_is_listed_twice(scene: Scene) -> None:
    scene.root_container.cores[4] = 3
    scene.root_container.core_count = 5


@violates("container_owns")
def container_lists_the_core_of_another(scene: Scene) -> None:
    second_container(scene)
    scene.root_container.cores[3] = 3
    scene.root_container.core_count = 4


@violates("container_core")
def container_before_its_first_core(scene: Scene) -> None:
    scene.root_container.core = -1


@violates("container_core")
def container_uses_cores_that_it_has_not(scene: Scene) -> None:
    c = scene.w.container(scene.running, 3)[0]
    scene.k.container[c].cores_of = c


@violates("container_core")
def container_uses_cores_above_its_own(scene: Scene) -> None:
    scene.k.container[second_container(scene)].cores_of = scene.k.root


@violates("container_core")
def container_uses_cores_of_one_beside_it(scene: Scene) -> None:
    n = scene.w.container(scene.running, 3)[0]
    scene.k.container[n].cores_of = second_container(scene)


@violates("container_core")
def freed_container_owns_a_core(scene: Scene) -> None:
    scene.k.container[scene.free_pages[0]].core = 1


@violates("thread_core")
def thread_on_no_core(scene: Scene) -> None:
    displace(scene.k, scene.sleeper)
    T = scene.k.thread[scene.sleeper]
    T.core, T.place = scene.k.cores, 0


@violates("thread_core")
def thread_on_another_containers_core(scene: Scene) -> None:
    second_container(scene)
    displace(scene.k, scene.sleeper)
    place(scene.k, scene.sleeper, 3)


@violates("thread_core")
def thread_its_core_forgot(scene: Scene) -> None:
    T = scene.k.thread[scene.sleeper]
    core = T.core
    displace(scene.k, scene.sleeper)
    T.core, T.place = core, 0


@violates("thread_core")
def freed_thread_has_a_place(scene: Scene) -> None:
    scene.k.thread[scene.free_pages[0]].place = 2


@violates("thread_position")
def living_thread_is_placed_nowhere(scene: Scene) -> None:
    displace(scene.k, scene.sleeper)


@violates("core_placed")
def thread_is_placed_twice(scene: Scene) -> None:
    R = scene.k.core[1]
    R.placed[R.placed_count] = R.placed[0]
    R.placed_count += 1
