"""What a number is decides, never which of the interpreter's objects it is: before every step, and between a transition
and its check, all numbers in the state are made anew."""

from __future__ import annotations

import pytest

from abi.layout import PAGE_SIZE
from kernel.audit import audit
from kernel.calls import Operation, System
from kernel.objects import CONTAINER, Kernel, Row
from tests.kernel.pure import with_sources
from tests.kernel.scenarios import CASES, Case, V, W
from tests.kernel.scene import Scene
from tests.kernel.state import fields, objects
from tests.kernel.test_families import Family
from tests.kernel.violations import second_container
from tests.kernel.world import Transition, World, indices

pytestmark = with_sources


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


MANY = 300
"""More than the interpreter has one object each for."""


class Crowd:
    """A state in which every count is large: of handles, threads, processes, children, mappings, and what is left."""

    def __init__(self) -> None:
        self.w = w = World(blocks=(MANY + 3) * 512, cores=1)
        self.k = w.k
        self.t = t = w.running()
        self.s = s = self.k.thread[t].process
        self.e, slot, generation = w.endpoint(t)
        self.named = (slot, generation)
        with w.unchecked():
            for _ in range(20): w.do("quota_split", self.k.root)
            w.map(s, V)
            domain = w.do("domain_create", t)
            self.domain = (domain % 65536, domain // 65536)
            for n in range(MANY):
                w.copied(t, slot, generation, 7)
                w.created_thread(t)
                w.process()
                w.child(t, start=False)
                w.do("share_page", s, *indices(V), s, *indices(V + 1 + n), 7)
                w.do("endpoint_signal", self.e)
                w.do("domain_map", t, *self.domain, *indices(V), n, 3)
                w.container(t, 1)
        k = self.k
        C, S, E, R = w.root, k.process[s], k.endpoint[self.e], k.core[0]
        for count in (C.processes, C.child_count, C.used_pages, C.pages, C.blocks, C.giants, S.thread_count,
                      S.child_count, S.handle_count, S.mappings, E.references, E.signals, R.placed_count,
                      k.page[S.map_page[V]].references):  # fmt: skip
            assert count > 256

    def do(self, name: str, *arguments: int) -> int:
        """A transition that has to succeed, on numbers that are made anew, and its check."""
        renew(self.k)
        self.k.journal.clear()
        result = self.w.transitions[name](self.k, *map(anew, arguments))
        assert result >= 0, (name, result)
        renew(self.k)
        self.w.checker.check(name, tuple(map(anew, arguments)), anew(result))
        return result

    def handle(self, name: str, *arguments: int) -> tuple[int, int]:
        """As ``do``, of what returns a handle: (slot, generation)."""
        handle = self.do(name, *arguments)
        return handle % 65536, handle // 65536


def test_counts_that_are_large() -> None:
    crowd = Crowd()
    k, t, s, do, handle = crowd.k, crowd.t, crowd.s, crowd.do, crowd.handle
    do("handle_close", t, *handle("handle_copy", t, *crowd.named, 3, MANY))
    for what in ("endpoint_create", "domain_create"): handle(what, t)
    do("container_kill", t, *handle("container_create", t, MANY, MANY, MANY))
    do("container_kill", t, *handle("container_create", t, 1, 0, 0))
    child = handle("process_create", t)
    do("process_start", t, *child)
    do("process_kill", t, *child)
    s2 = do("process_spawn", k.root)
    u = do("thread_start", s2)
    do("process_end", s2, MANY)
    do("thread_end", u)
    do("process_finish", s2)
    do("process_collect", s2)
    thread = handle("thread_create", t)
    do("thread_kill", t, *thread)
    do("thread_join", t, *thread)
    do("share_page", s, *indices(V), s, *indices(V + 2 * MANY), 3)
    do("protect_page", s, *indices(V + 2 * MANY), 1)
    do("unmap_page", s, *indices(V + 2 * MANY))
    do("map_page", s, *indices(V + 2 * MANY), 3)
    do("grant_page", s, *indices(V + 2 * MANY), s, *indices(V + 3 * MANY), 3)
    do("map_block", s, *indices(W)[:3], 7)
    do("map_giant", s, *indices(W + 2**27)[:2], 7)
    for change in ("quota_split", "giant_split", "quota_merge"): do(change, k.root)
    do("endpoint_signal", crowd.e)
    do("domain_map", t, *crowd.domain, *indices(V), 2 * MANY, 3)
    do("domain_unmap", k.process[s].handle_object[crowd.domain[0]], 2 * MANY)
    device = do("device_add", k.root)
    lent = handle("device_open", device, s)
    do("device_attach", t, *lent, *crowd.domain)
    do("interrupt_bind", t, *lent, *crowd.named)
    do("message_receive", t, *crowd.named, 1, 0)
    do("preempt", 0)
    do("schedule", 0)
    do("thread_yield", k.core[0].current)
