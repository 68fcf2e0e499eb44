"""Calls done in steps: whatever happens between any two of their steps, they are done as a whole or not at all, what is
killed is gone, and nothing is lost.  Every point is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from abi.errors import ENOMEM, ESRCH, OK
from abi.layout import BLOCK_SIZE, PAGE_SIZE
from kernel.calls import Operation
from kernel.calls.operations import BATCH
from kernel.objects import CONTAINER, ENDED, PROCESS
from tests.kernel.calls_in_progress import BASE, DESTINATION, ELSEWHERE, QUOTA, RANGE, RW, Scene, State

Act = Callable[[Scene], None]
PAGES = RANGE[1] // PAGE_SIZE


def both(*acts: Act) -> Act:
    """One after the other."""

    def act(scene: Scene) -> None:
        for one in acts:
            one(scene)

    return act


def mmap(scene: Scene) -> None:
    scene.begin("mmap", scene.ta, "mmap", *RANGE, RW)


def mapped_before(scene: Scene) -> None:
    """The range, and another, are mapped already."""
    with scene.w.unchecked():
        for there in (RANGE, (ELSEWHERE, 4 * PAGE_SIZE)):
            assert scene.system.complete(scene.system.map_range(scene.a, *there, RW)) == OK


def munmap(scene: Scene) -> None:
    scene.begin("munmap", scene.ta, "munmap", *RANGE)


def mprotect(scene: Scene) -> None:
    scene.begin("mprotect", scene.ta, "mprotect", *RANGE, 1)


def share(scene: Scene) -> None:
    scene.begin("share", scene.ta, "process_share", scene.d_handle, *RANGE, DESTINATION, 1)


def kill_inner(scene: Scene) -> None:
    scene.begin("kill", scene.ta, "container_kill", scene.inner_handle)


def exit_process(scene: Scene) -> None:
    scene.w.run(scene.ta)
    scene.begin("exit", scene.ta, "process_exit", 7)


BEGUN: dict[str, Act] = {
    "mmap": mmap, "munmap": munmap, "mprotect": mprotect, "share": share, "container_kill": kill_inner,
    "process_exit": exit_process,
}  # fmt: skip
"""What begins an operation of thread ta."""
NOT_PREPARED = ("mmap", "container_kill")


def prepared(long: str) -> Act:
    """What a long call is about is there."""
    return (lambda scene: None) if long in NOT_PREPARED else mapped_before


def begun(long: str) -> Act:
    """A long call, if its process is there to make it."""
    return lambda scene: BEGUN[long](scene) if scene.alive(scene.a) else None


LONG: dict[str, Act] = {long: both(prepared(long), begun(long)) for long in BEGUN}


def by_tb(call: str, *arguments: int) -> Act:
    """Another thread of the same process makes a call."""

    def make(scene: Scene) -> None:
        if scene.alive(scene.a): scene.begin("other", scene.tb, call, *arguments)

    return make


def kill_container(scene: Scene) -> None:
    scene.begin("outer kill", scene.boss, "container_kill", scene.c_handle)


def kill_calling_thread(scene: Scene) -> None:
    if scene.alive(scene.a): scene.begin("other", scene.tb, "thread_kill", scene.ta_handle)


def sibling_takes_quota(scene: Scene) -> None:
    """All that is left of the quota goes to another process of the container, at once."""
    C, system, at = scene.k.container[scene.c], scene.system, 0x1_0000_0000
    for length in (BLOCK_SIZE, PAGE_SIZE):
        at += BLOCK_SIZE
        while C.blocks or (length == PAGE_SIZE and C.pages):
            if system.complete(system.map_range(scene.sibling, at, length, RW)) != OK: break
            at += length


def ends(*names: str) -> Act:
    """The host ends these processes, one after the other."""

    def end(scene: Scene) -> None:
        for name in names:
            scene.end(getattr(scene, name))

    return end


CALLS: dict[str, Act] = {
    "munmap of the same": by_tb("munmap", *RANGE),
    "mmap of the same": by_tb("mmap", *RANGE, 1),
    "mprotect of the same": by_tb("mprotect", *RANGE, 5),
    "munmap of its first page": by_tb("munmap", RANGE[0], PAGE_SIZE),
    "munmap of its last page": by_tb("munmap", RANGE[0] + RANGE[1] - PAGE_SIZE, PAGE_SIZE),
    "mmap of a page within": by_tb("mmap", RANGE[0] + PAGE_SIZE, PAGE_SIZE, RW),
    "mprotect of a page within": by_tb("mprotect", RANGE[0] + PAGE_SIZE, PAGE_SIZE, 5),
    "mmap elsewhere": by_tb("mmap", ELSEWHERE + BLOCK_SIZE, 5 * PAGE_SIZE, RW),
}
"""What another thread calls between two steps of a long call: all has to look as if one call came after the other."""
KILLS: dict[str, Act] = {
    "the process": ends("a"),
    "the calling thread": kill_calling_thread,
    "the container": kill_container,
    "the partner": ends("d"),
    "the partner, then the process": ends("d", "a"),
    "the process, then its container": both(ends("a"), kill_container),
    "the process in the inner container": ends("grandchild"),
    "all who share": ends("sibling", "outside", "grandchild"),
}


def steps_of(act: Act) -> int:
    """How many steps there are until nothing is left to do."""
    scene = Scene()
    act(scene)
    steps = 1
    while scene.step(): steps += 1
    return steps


def at_each_point(act: Act, other: Act) -> Iterator[Scene]:
    """Scenes in which ``other`` comes after 0, 1, 2 ... steps of ``act``; who goes on with them is up to the caller."""
    for point in range(steps_of(act) + 1):
        scene = Scene()
        act(scene)
        for _ in range(point):
            scene.step()
        other(scene)
        yield scene


def one_after_the_other(*acts: Act) -> State:
    scene = Scene()
    for act in acts:
        act(scene)
        scene.finish()
    return scene.state()


@pytest.mark.parametrize("other", CALLS)
@pytest.mark.parametrize("long", LONG)
def test_another_call_between_two_steps_comes_before_or_after_the_whole(long: str, other: str) -> None:
    act, another = LONG[long], CALLS[other]
    alike = one_after_the_other(act, another), one_after_the_other(prepared(long), another, begun(long))
    for first in ("ta", "tb"):
        for scene in at_each_point(act, another):
            scene.finish(getattr(scene, first))
            assert scene.state() in alike
            scene.w.checker.audit()
    scene.end_all()


@pytest.mark.parametrize("whom", KILLS)
@pytest.mark.parametrize("long", LONG)
def test_kill_between_two_steps_leaves_nothing_half_done_and_nothing_behind(long: str, whom: str) -> None:
    for scene in at_each_point(LONG[long], KILLS[whom]):
        scene.w.checker.audit()
        for s in (scene.a, scene.d):  # what begins to end loses its threads that run, and its address space, at once
            if not scene.alive(s): assert s not in scene.system.operations.holders
        scene.finish()
        if scene.alive(scene.a): assert len(scene.mapped(scene.a)) in (0, PAGES)
        if scene.alive(scene.d): assert len(scene.mapped(scene.d, DESTINATION)) in (0, PAGES)
        if whom in ("the process", "the container", "the process, then its container"):
            assert scene.k.page[scene.a].kind != PROCESS or scene.k.process[scene.a].state == ENDED
        if "container" in whom and "inner" not in whom: assert scene.k.page[scene.c].kind != CONTAINER
        scene.end_all()


@pytest.mark.parametrize("long", ["mmap", "share"])
def test_quota_that_goes_to_another_between_two_steps(long: str) -> None:
    """What was mapped is taken back where the rest cannot be."""
    results = set()
    for scene in at_each_point(LONG[long], sibling_takes_quota):
        scene.finish()
        result = scene.results[long]
        results.add(result)
        mapped = scene.mapped(scene.a) if long == "mmap" else scene.mapped(scene.d, DESTINATION)
        assert len(mapped) == (PAGES if result == OK else 0)
        scene.end_all()
    assert results == {OK, -ENOMEM}


def test_two_kills_of_containers_one_in_the_other() -> None:
    """At each point of the inner one the outer one begins, and both advance in turn."""
    for scene in at_each_point(kill_inner, kill_container):
        scene.finish()
        assert scene.k.page[scene.c].kind == scene.k.page[scene.inner].kind == 0
        assert scene.results["outer kill"] == OK
        scene.end_all()


def test_container_kill_returns_when_the_quota_is_back() -> None:
    scene = Scene()
    root = scene.w.root
    total, used = root.pages + 512 * root.blocks + root.used_pages, root.used_pages
    kill_container(scene)
    while scene.go_on(scene.boss): assert "outer kill" not in scene.results
    assert scene.results["outer kill"] == OK
    assert root.pages + 512 * root.blocks + root.used_pages == total + QUOTA[0] + 512 * QUOTA[1]
    assert root.used_pages == used - 1 + 1  # the container's page is free; one that another maps is charged here now
    scene.finish()
    scene.end_all()


def test_what_was_killed_does_not_run_on_while_it_is_taken_down() -> None:
    scene = Scene()
    for t in (scene.ta, scene.tb): scene.w.run(t)
    scene.end(scene.a)
    assert not any(R.current in (scene.ta, scene.tb) for R in scene.k.core.values())


def test_process_that_cannot_hold_its_address_space_any_more() -> None:
    """The call of a thread that is killed before it could begin is not made at all."""
    scene = Scene()
    mmap(scene)
    scene.go_on(scene.ta)
    scene.begin("other", scene.tb, "munmap", *RANGE)
    scene.go_on(scene.tb)
    scene.w.call("thread_yield", scene.tb)
    waiting = scene.calls[scene.tb]
    scene.end(scene.a)
    scene.finish()
    assert waiting.result == -ESRCH
    scene.end_all()


def test_host_completes_what_a_thread_has_begun_before_its_own() -> None:
    scene = Scene()
    mmap(scene)
    for _ in range(4): scene.go_on(scene.ta)
    assert scene.system.complete(scene.system.unmap_range(scene.a, *RANGE)) == OK
    assert scene.calls[scene.ta].result == OK
    scene.finish()
    assert scene.mapped(scene.a) == set()
    scene.end_all()


def test_batch_is_bounded() -> None:
    """However much there is to do, a batch takes as many transitions as it has steps."""
    scene = Scene(pages=700, blocks=0)
    done = 0
    step = scene.system.step

    def counted(*given: object) -> int:
        nonlocal done
        done += 1
        return step(*given)

    scene.system.step = counted
    where = BASE + PAGE_SIZE, 510 * PAGE_SIZE
    for name, *more in ("mmap", RW), ("mprotect", 1), ("munmap",), ("mmap", RW):
        operation = getattr(scene.system, str(name))(scene.ta, *where, *more)
        assert isinstance(operation, Operation)
        batches = 0
        while operation.result is None:
            done = 0
            operation.advance()
            assert done <= BATCH + 1  # a page that has to be paid for first takes one more
            batches += 1
        assert operation.result == OK
        assert 510 // BATCH < batches <= 510 // BATCH + 2
    scene.end(scene.a)
    while scene.system.operations.orphans:
        done = 0
        scene.system.operations.reap()
        assert done <= BATCH
    scene.end_all()


def test_long_chain_of_processes_that_end_one_with_the_other() -> None:
    """Waiting for what lies below is no recursion."""
    scene = Scene(pages=7_000, memory=30)
    w, k, t = scene.w, scene.k, scene.ta
    with w.unchecked():
        for _ in range(1500):
            handle = w.do("process_create", t)
            child = k.process[k.thread[t].process].handle_object[handle & 0xFFFF]
            w.do("process_start", t, handle & 0xFFFF, handle >> 16)
            t = k.process[child].threads[0]
        kill_container(scene)
        scene.finish()
    assert scene.k.page[scene.c].kind == 0
    scene.end_all()
