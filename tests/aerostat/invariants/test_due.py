"""Invariants about kernel objects: evaluated for those that were written, or read what was; at audits for all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from aerostat import Violation
from aerostat.invariants.due import Due
from aerostat.invariants.kernel_view import KernelView, Seen
from kernel.objects import CONTAINER, PROCESS, Kernel
from tests.aerostat.invariants.conftest import Load
from tests.aerostat.programs import wait
from tests.kernel.driver import Driver
from tests.kernel.world import World


class Watching:
    """Objects of one kind of a small kernel, without a machine: what is due, and evaluations of it."""

    def __init__(self, w: World, table: str) -> None:
        self.seen = Seen()
        self.view = KernelView(w.k, self.seen)
        self.due = Due(self.view.of_kind(table), table)
        self.table = table
        w.checker.observed = lambda of: self.due.wrote(of.table_name, of.id)

    def evaluate(self, predicate: Any) -> dict[int, Any]:
        """What a predicate gives for each object that is due."""
        found = {}
        for id in self.due.take():
            self.seen.objects.clear()
            self.seen.more = False
            found[id] = predicate(self.view, self.view.of_kind(self.table)[id])
            self.due.evaluated(id, self.seen)
        return found


def state(_: KernelView, of: Any) -> Any:
    return of.state


def test_all_at_first_then_those_that_were_written() -> None:
    w = World()
    s, d = w.process(), w.process()
    watching = Watching(w, "process")
    assert set(watching.evaluate(state)) == {s, d}
    assert watching.evaluate(state) == {}
    w.thread(s)
    assert set(watching.evaluate(state)) == {s}
    w.process()
    assert len(watching.evaluate(state)) == 1
    w.do("process_end", d, 3)
    assert set(watching.evaluate(state)) == {d}


def test_one_that_is_gone_is_not_due() -> None:
    w = World()
    s = w.process()
    watching = Watching(w, "process")
    w.end(s, 3)
    w.do("process_collect", s)
    assert watching.evaluate(state) == {}


def test_who_read_another_object_is_due_when_that_is_written() -> None:
    w = World()
    t = w.thread(w.process())
    u = w.thread(w.process(), 1)
    watching = Watching(w, "thread")

    def core_of(k: Any, thread: Any) -> Any:
        return k.cores[thread.core].current == thread.id

    assert watching.evaluate(core_of) == {t: False, u: False}
    w.run(t)
    assert watching.evaluate(core_of) == {t: True}
    w.run(u)
    assert watching.evaluate(core_of) == {u: True}


@pytest.mark.parametrize("look", [
    lambda k, of: len(k.threads), lambda k, of: [thread.id for thread in k.threads], lambda k, of: k.threads.ids(),
])  # fmt: skip
def test_who_looked_at_which_objects_there_are_stays_due(look: Any) -> None:
    w = World()
    s, d = w.process(), w.process()
    watching = Watching(w, "process")
    for _ in range(2): assert set(watching.evaluate(look)) == {s, d}


def test_all_of_them_at_an_audit() -> None:
    w = World()
    s, d = w.process(), w.process()
    watching = Watching(w, "process")
    watching.evaluate(state)
    watching.due.all()
    assert set(watching.evaluate(state)) == {s, d}


def neighbours(k: Any, thread: Any) -> Any:
    """Something of many kinds of objects, by fields and rows, and whether others exist."""
    if thread.process not in k.processes: return None
    process = k.processes[thread.process]
    container = k.containers[process.container]
    return (
        thread.state, thread.rank, process.state, process.threads[0], process.handle_object[1], container.pages,
        container.members[0], k.cores[thread.core].current, k.memory.free_pages, thread.waiting_for in k.processes,
        [k.pages[process.map_page[v]].references for v in range(4) if process.map_page.get(v)], k.root.used_pages,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_what_is_not_due_has_not_changed(seed: int) -> None:
    """After each of some hundred random transitions, a thread that was not evaluated again would give what it gave."""
    driver = Driver(seed, level="off")
    watching = Watching(driver.w, "thread")
    last: dict[int, Any] = {}
    evaluated = there = 0
    for _ in range(250):
        driver.run(1)
        again = watching.evaluate(neighbours)
        last |= again
        threads = watching.view.threads.ids()
        evaluated += len(again)
        there += len(threads)
        now = {t: neighbours(watching.view, watching.view.threads[t]) for t in threads}
        assert now == {t: last[t] for t in threads}
    assert 0 < evaluated < there


# In a machine.


@pytest.mark.kvm
def test_exits_that_write_no_container_evaluate_none(load: Load) -> None:
    program = load("count", "20")
    looked: list[int] = []
    always: list[int] = []
    marks: list[tuple[int, int]] = []

    @program.machine.invariant("container")
    def pages(m: Any, container: Any) -> bool:
        looked.append(container.pages)
        return True

    @program.machine.invariant("container")
    def pages_and_the_program(m: Any, container: Any) -> bool:
        always.append(m.program.count)
        return True

    @program.machine.invariant(at="null")
    def marking(m: Any) -> bool:
        marks.append((len(looked), len(always)))
        return True

    program.start()
    assert wait(program) == 0
    assert looked
    assert len(marks) == 20
    assert marks[1][0] == marks[-1][0]
    assert all(before[1] < after[1] for before, after in pairwise(marks))


@pytest.mark.kvm
def test_a_guard_that_says_no_leaves_it_due(load: Load) -> None:
    program = load("count", "20")
    guarded = [True]
    looked: list[int] = []

    @program.machine.invariant("container", unless=lambda m: guarded[0])
    def pages(m: Any, container: Any) -> bool:
        looked.append(container.id)
        return True

    @program.machine.invariant(at="null")
    def at_last(m: Any) -> bool:
        if m.program.count == 15: guarded[0] = False
        return True

    program.start()
    assert wait(program) == 0
    assert looked


@pytest.mark.kvm
def test_an_audit_evaluates_it_for_every_object_and_stops_the_machine_where_it_does_not_hold(load: Load) -> None:
    program = load("count", "3")
    machine = program.machine
    looked: list[int] = []
    holds = [True]

    @machine.invariant("page")
    def pages(m: Any, page: Any) -> bool:
        """A page is as it should be."""
        looked.append(page.id)
        return holds[0]

    assert looked == []
    machine.audit()
    k = machine.hypervisor.kernel
    every = [p for p, P in k.page.items() if P.kind]
    assert sorted(looked) == sorted(every)
    assert {kind_of(k, p) for p in looked} >= {CONTAINER, PROCESS}
    holds[0] = False
    with pytest.raises(Violation, match="pages") as caught: machine.audit()
    assert "an audit" in str(caught.value)
    assert machine.violations == [caught.value]
    with pytest.raises(Violation): machine.audit()


def kind_of(k: Kernel, p: int) -> int:
    """What a page is."""
    return k.page[p].kind
