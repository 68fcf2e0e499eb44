"""What a number is decides, never which of the interpreter's objects it is: before every step, and between a transition
and its check, all numbers in the state are made anew."""

from __future__ import annotations

import pytest

from abi.layout import PAGE_SIZE
from kernel.audit import audit
from kernel.calls import Operation, System
from kernel.objects import CONTAINER, Kernel, Row
from tests.kernel.scenarios import CASES, Case
from tests.kernel.scene import Scene
from tests.kernel.state import fields, objects
from tests.kernel.test_families import Family
from tests.kernel.violations import second_container
from tests.kernel.world import Transition


def anew(number: int) -> int:
    """The same number; where it is not a small one, another object."""
    return int(str(number))


def renew(k: Kernel) -> None:
    """Makes all numbers in the state, and in the journal, anew."""
    k.root, k.cores = anew(k.root), anew(k.cores)
    for obj in objects(k):
        obj.id = anew(obj.id)
        for field in fields(obj):
            value = getattr(obj, field)
            if isinstance(value, Row): value.update({index: anew(item) for index, item in value.items()})
            else: setattr(obj, field, anew(value))
    k.journal.replace([(*entry[:-1], anew(entry[-1])) for entry in k.journal.entries()])


def test_numbers_made_anew_are_equal_and_others() -> None:
    k = Scene().k
    t = k.core[0].current
    s = k.thread[t].process
    renew(k)
    assert k.thread[t].process == s
    assert k.thread[t].process is not s


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_transition_and_its_check(case: Case) -> None:
    w, arguments = case.build()
    renew(w.k)
    w.k.journal.clear()
    result = w.transitions[case.transition](w.k, *map(anew, arguments))
    assert case.ends_so(result), result
    renew(w.k)
    w.checker.check(case.transition, tuple(map(anew, arguments)), anew(result))


def test_invariants() -> None:
    scene = Scene()
    second_container(scene)
    renew(scene.k)
    scene.k.ledger = None
    _, failures = audit(scene.k)
    assert [str(failure) for failure in failures] == []


class Renewed(Family):
    """A family whose calls meet numbers that are made anew before every step."""

    def __init__(self) -> None:
        super().__init__(cores=3, blocks=8)
        self.system = System(self.k, self._step, lambda *started: None)

    def _step(self, transition: Transition, *arguments: int) -> int:
        renew(self.k)
        result = self.w.checker.step(transition, *map(anew, arguments))
        renew(self.k)
        return anew(result)


def test_calls_on_a_tree_of_containers() -> None:
    family = Renewed()
    k, t, before = family.k, family.t, family.left()
    handle, c = family.container(t, 200, cores=1)
    _, s, u = family.process(t, handle)
    inner_handle, inner = family.container(u, 60)
    _, inside, v = family.process(u, inner_handle)
    family.process(v)
    given = family.do(u, "process_create")
    ending = family.system.process_share(u, given, 1 << 30, 3 * PAGE_SIZE, 1 << 31, 3)
    assert isinstance(ending, Operation)
    assert family.system.complete(ending) == 0
    family.w.run(t)
    killed = family.system.container_kill(t, handle)
    assert isinstance(killed, Operation)
    killed.advance(6)
    assert family.alive(s, inside) == [False, False], "all of it stops first"
    assert k.container[inner].state != k.container[k.root].state
    assert family.system.complete(killed) == 0
    family.settle()
    assert (k.page[c].kind, k.page[inner].kind) != (CONTAINER, CONTAINER)
    assert family.left() == before


def test_a_process_and_its_threads_end() -> None:
    family = Renewed()
    handle, s, u = family.process(family.t)
    family.do(u, "thread_create", 1 << 30, 1 << 30, 0)
    family.w.run(u)
    family.w.run(family.t)
    family.do(family.t, "process_kill", handle)
    family.settle()
    assert family.alive(s) == [False]
