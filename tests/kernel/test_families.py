"""Calls that end processes, threads and containers, and give cores, on the kernel alone: also between any two steps of
each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from abi.errors import EBUSY, ECHILD, EINVAL, ENOMEM, ESRCH
from abi.layout import PAGE_SIZE, USER_MIN
from abi.queries import BLOCKS_LEFT, CORES, CORES_OWNED, PAGES_LEFT, PAGES_USED, PROCESSES
from kernel.calls import System
from kernel.calls.operations import Operation
from kernel.objects import ALIVE, CONTAINER, DEAD, ENDED, KILLED, PROCESS, READY
from tests.kernel.world import World


class Family:
    """A root process with a running thread, and ways to have it and others make calls."""

    def __init__(self, cores: int = 2, blocks: int = 4) -> None:
        self.w = World(blocks=blocks, cores=cores)
        self.k = self.w.k
        self.system = System(self.k, self.w.checker.step, lambda *started: None)
        self.t = self.w.running()
        self.s = self.k.thread[self.t].process

    def call(self, t: int, name: str, *arguments: int) -> int:
        """A call of thread t, whatever it does, to its end; what nobody waits for goes on."""
        return self.system.complete(getattr(self.system, name)(t, *arguments))

    def do(self, t: int, name: str, *arguments: int) -> int:
        """A call that has to succeed."""
        result = self.call(t, name, *arguments)
        assert result >= 0, (name, arguments, result)
        return result

    def settle(self) -> None:
        """What has ended is gone, and the state is sound."""
        self.system.operations.drain()
        self.w.checker.audit()

    def process(self, t: int, container: int = 0) -> tuple[int, int, int]:
        """A process that thread t creates, in a container of its own or one that it names, with a ready thread and
        some memory: (handle, process, thread)."""
        handle = self.do(t, "process_create_in", container) if container else self.do(t, "process_create")
        s = self.system.named(t, handle, PROCESS)
        self.do(t, "process_start", handle, USER_MIN, USER_MIN, 0)
        u = self.k.process[s].threads[0]
        self.do(u, "mmap", 1 << 30, 3 * PAGE_SIZE, 3)
        return handle, s, u

    def container(self, t: int, pages: int = 100, cores: int = 0) -> tuple[int, int]:
        """A container that thread t creates: (handle, container)."""
        handle = self.do(t, "container_create", pages, 0, 0, cores)
        return handle, self.system.named(t, handle, CONTAINER)

    def alive(self, *processes: int) -> list[bool]:
        """Which of them are."""
        return [self.k.process[s].state == ALIVE for s in processes]

    def left(self) -> int:
        """Pages that the root container may still use, however its quota is split."""
        asked = [self.call(self.t, "container_query", 0, what) for what in (PAGES_LEFT, BLOCKS_LEFT)]
        return asked[0] + 512 * asked[1]

    def used(self) -> int:
        """Pages that the root container is charged for."""
        return self.w.root.used_pages


@pytest.fixture
def family() -> Family:
    return Family()


def test_kill_takes_all_descendants_and_nobody_else(family: Family) -> None:
    before = family.used()
    handle, child, u = family.process(family.t)
    _, grandchild, v = family.process(u)
    _, great, _ = family.process(v)
    _, other, _ = family.process(family.t)
    family.do(family.t, "process_kill", handle)
    assert family.k.process[child].state == ENDED, "its status is kept"
    assert [family.k.page[s].kind for s in (grandchild, great)] == [0, 0]
    assert family.alive(other) == [True]
    assert family.call(family.t, "process_kill", handle) == -ECHILD
    assert family.do(family.t, "process_wait", handle) == KILLED
    family.settle()
    family.system.end(other, 0)
    family.settle()
    assert family.used() == before + 1, "but for the other one's status"


def test_kill_of_a_chain_as_deep_as_there_is_room(family: Family) -> None:
    before = family.used()
    handle, _, u = family.process(family.t)
    depth = 1
    while family.w.root.pages + 512 * family.w.root.blocks > 20:
        _, _, u = family.process(u)
        depth += 1
    assert depth > 100
    family.do(family.t, "process_kill", handle)
    family.do(family.t, "process_wait", handle)
    family.settle()
    assert family.used() == before


def test_children_of_who_exits_pass_to_its_parent_and_are_killed_with_it(family: Family) -> None:
    handle, child, u = family.process(family.t)
    middle_handle, middle, v = family.process(u)
    _, low, _ = family.process(v)
    family.do(family.w.run(v), "process_exit", 7)
    family.settle()
    assert family.k.process[low].parent == child
    assert family.do(family.w.run(u), "process_wait", middle_handle) == 7
    assert family.alive(child, low) == [True, True]
    family.do(family.w.run(family.t), "process_kill", handle)
    assert family.k.page[low].kind == 0
    assert middle != low


def test_children_of_who_has_no_parent_go_on_without_one(family: Family) -> None:
    _, child, _ = family.process(family.t)
    family.system.end(family.s, 0)
    family.settle()
    assert family.alive(child) == [True]
    assert family.k.process[child].parent == 0


@pytest.mark.parametrize("killed", [True, False])
def test_containers_end_with_who_created_them(family: Family, killed: bool) -> None:
    before = family.used()
    handle, child, u = family.process(family.t)
    held, c = family.container(u)
    _, inner, v = family.process(u, held)
    _, below = family.container(v, 20)
    left, left_c = family.container(family.t, 20)
    if killed: family.do(family.t, "process_kill", handle)
    else: family.do(family.w.run(u), "process_exit", 0)
    family.settle()
    assert [family.k.page[o].kind for o in (c, inner, below)] == [0, 0, 0]
    family.do(family.w.run(family.t), "process_wait", handle)
    assert family.k.page[left_c].kind == CONTAINER, "its creator goes on"
    family.do(family.t, "container_kill", left)
    assert family.used() == before
    assert family.k.page[child].kind == 0


def test_nothing_is_created_by_a_process_that_is_ending(family: Family) -> None:
    _, child, u = family.process(family.t)
    held, _ = family.container(u)
    family.w.do("process_end", child, 0)
    assert family.call(u, "thread_create", USER_MIN, USER_MIN, 0) == -EBUSY
    assert family.call(u, "process_create") == -EBUSY
    assert family.call(u, "process_create_in", held) == -EBUSY
    assert family.call(u, "container_create", 1, 0, 0, 0) == -EBUSY


def test_a_killed_thread_can_be_joined_once(family: Family) -> None:
    handle = family.do(family.t, "thread_create", USER_MIN, USER_MIN, 0)
    family.do(family.t, "thread_kill", handle)
    u = family.system.named(family.t, handle, 6)
    assert family.k.thread[u].state == DEAD
    assert family.call(family.t, "thread_kill", handle) == -ECHILD
    assert family.call(family.t, "thread_affinity", handle, 0) == -ECHILD
    assert family.do(family.t, "thread_join", handle) == KILLED
    assert family.call(family.t, "thread_kill", handle) == -ESRCH


# Cores.


def test_a_container_runs_on_its_own_cores_and_its_parent_on_the_others() -> None:
    family = Family(cores=4)
    threads = [family.do(family.t, "thread_create", USER_MIN, USER_MIN, 0) for _ in range(12)]
    held, c = family.container(family.t, cores=2)
    assert [family.call(family.t, "container_query", h, CORES) for h in (0, held)] == [2, 2]
    assert {family.k.core[r].placed_count for r in (2, 3)} == {0}
    assert sum(family.k.core[r].placed_count for r in (0, 1)) == len(threads) + 1
    inner = [family.process(family.t, held)[2] for _ in range(4)]
    assert {family.k.thread[u].core for u in inner} == {2, 3}
    _, deeper = family.container(inner[0], 20, cores=1)
    assert [family.k.container[n].core_count for n in (family.k.root, c, deeper)] == [2, 1, 1]
    assert len({family.k.thread[u].core for u in inner}) == 1, "moved from the core that was given"
    family.do(family.t, "container_kill", held)
    family.settle()
    assert family.call(family.t, "container_query", 0, CORES_OWNED) == 4


def test_cores_that_cannot_be_given_are_refused_and_nothing_changes() -> None:
    family = Family(cores=3)
    placed = [family.k.core[r].placed_count for r in range(3)]
    left = family.left()
    for cores in (3, 4, 64, 1 << 63, (1 << 64) - 1):
        assert family.call(family.t, "container_create", 1, 0, 0, cores) == -ENOMEM
    assert family.call(family.t, "container_create", 1 << 30, 0, 0, 1) == -ENOMEM
    held, _ = family.container(family.t)
    _, _, u = family.process(family.t, held)
    assert family.call(u, "container_create", 1, 0, 0, 1) == -ENOMEM, "its container owns none"
    assert family.call(family.t, "thread_affinity", 0, 3) == -EINVAL
    family.do(family.t, "container_kill", held)
    family.settle()
    assert [family.k.core[r].placed_count for r in range(3)] == placed
    assert family.left() == left


def test_quotas_and_cores_come_back_from_a_tree(family: Family) -> None:
    asked = (PAGES_USED, CORES, CORES_OWNED, PROCESSES)
    left = family.left()
    before = [family.call(family.t, "container_query", 0, what) for what in asked]
    held, _ = family.container(family.t, 200, cores=1)
    for _ in range(3):
        _, _, u = family.process(family.t, held)
        for _ in range(2): family.process(u, family.container(u, 20)[0])
    family.do(family.t, "container_kill", held)
    family.settle()
    assert [family.call(family.t, "container_query", 0, what) for what in asked] == before
    assert family.left() == left


# Between two steps.


def creation(family: Family) -> Operation:
    """The creation of a container with a core on which five threads are placed."""
    for _ in range(10): family.do(family.t, "thread_create", USER_MIN, USER_MIN, 0)
    begun = family.system.container_create(family.t, 20, 0, 0, 1)
    assert isinstance(begun, Operation)
    return begun


def kill_of_a_family(family: Family) -> Operation:
    """The kill of a process with a child, a grandchild and a container with a process."""
    handle, _, u = family.process(family.t)
    held, _ = family.container(u)
    family.process(u, held)
    _, _, v = family.process(u)
    family.process(v)
    begun = family.system.process_kill(family.t, handle)
    assert isinstance(begun, Operation)
    return begun


def kill_of_a_container(family: Family) -> Operation:
    """The kill of a container that owns a core, with a tree of processes and one of containers."""
    held, _ = family.container(family.t, 200, cores=1)
    _, _, u = family.process(family.t, held)
    family.process(u)
    below, _ = family.container(u, 50)
    family.process(u, below)
    begun = family.system.container_kill(family.t, held)
    assert isinstance(begun, Operation)
    return begun


def caller_ends(family: Family) -> None:
    family.system.end(family.s, 9)


def thread_is_created(family: Family) -> None:
    family.call(family.t, "thread_create", USER_MIN, USER_MIN, 0)


def cores_are_taken(family: Family) -> None:
    family.call(family.t, "container_create", 5, 0, 0, 1)


def family_grows(family: Family) -> None:
    """Every process that can has another child."""
    for t in [t for t, T in list(family.k.thread.items()) if T.state == READY]:
        family.call(t, "process_create")


def all_threads_move(family: Family) -> None:
    for t, T in list(family.k.thread.items()):
        if T.state == READY: family.call(t, "thread_affinity", 0, 0)


@pytest.mark.parametrize("begin", [creation, kill_of_a_family, kill_of_a_container])
@pytest.mark.parametrize(
    "meanwhile", [caller_ends, thread_is_created, cores_are_taken, family_grows, all_threads_move]
)
def test_between_any_two_steps(begin: Callable[[Family], Operation], meanwhile: Callable[[Family], None]) -> None:
    """After each number of steps something else happens; then all of it comes to an end, and everything back."""
    steps = 0
    over = False
    while not over:
        family = Family()
        operation = begin(family)
        over = operation.advance(steps) if steps else False
        meanwhile(family)
        if family.k.process[family.s].state != ALIVE: family.system.operations.adopt(operation)
        else: operation.complete()
        family.settle()
        family.w.end_everything()
        assert (family.w.root.used_pages, family.w.root.core_count) == (1, 2)
        steps += 1
    assert steps > 3
