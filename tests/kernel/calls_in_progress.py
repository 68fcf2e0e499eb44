"""Calls that are done in steps, and other things between any two of them: on the kernel alone, nothing by chance.

A ``Scene`` is a container with a family of processes; threads in it make calls, which are gone on with step by step as
the cores of a machine would.
"""

from __future__ import annotations

from abi.layout import BLOCK_SIZE, PAGE_SIZE
from kernel.calls import Operation, System
from kernel.calls.ranges import mapping_around
from kernel.objects import ALIVE, DEAD, NEW, PROCESS, THREAD
from tests.kernel.world import Transition, World, indices

BASE = 0x4000_0000
RANGE = (BASE + BLOCK_SIZE - 2 * PAGE_SIZE, BLOCK_SIZE + 4 * PAGE_SIZE)
"""Address and length: two pages, a whole block, two pages."""
DESTINATION = RANGE[0] + (1 << 32)
"""Where a child sees it that it is shared with."""
ELSEWHERE = 0x7000_0000 - 2 * PAGE_SIZE
RW = 3
QUOTA = (60, 3)
"""Pages and blocks of a scene's container."""

State = dict[str, object]


class Scene:
    """Threads ``ta`` and ``tb`` of process ``a``, whose child ``d`` never started, and process ``sibling``, which has a
    page that ``outside`` maps as well: all but the last in container ``c``, which thread ``boss`` in the root container
    made.  Below it there is a container ``inner`` of process a, with process ``grandchild`` in it, which has a page
    that the sibling maps as well."""

    def __init__(self, pages: int = QUOTA[0], blocks: int = QUOTA[1], memory: int = 10) -> None:
        self.w = w = World(memory, 2)
        self.k = k = w.k
        self.system = System(k, self._step, lambda *_: None)
        self.calls: dict[int, Operation] = {}
        """By thread: the call it is in."""
        self.results: dict[str, int] = {}
        """By name: what calls returned."""
        self._names: dict[int, str] = {}
        with w.unchecked():
            while w.root.pages <= pages: w.do("quota_split", k.root)
            self.boss = w.running()
            self.c, slot, generation = w.container(self.boss, pages, blocks)
            self.c_handle = generation << 16 | slot
            self.a, self.tb = w.inside(self.boss, slot, generation)
            self.ta_handle = w.do("thread_create", self.tb)
            self.ta = k.process[self.a].handle_object[self.ta_handle & 0xFFFF]
            self.sibling, _ = w.inside(self.boss, slot, generation)
            self.d_handle = w.do("process_create", self.ta)
            self.d = k.process[self.a].handle_object[self.d_handle & 0xFFFF]
            self.outside = w.process()
            w.map(self.sibling, 0x1000)
            w.do("share_page", self.sibling, *indices(0x1000), self.outside, *indices(0x2000), 1)
            self.inner, inner_slot, inner_generation = w.container(self.ta, 8, 0)
            self.inner_handle = inner_generation << 16 | inner_slot
            self.grandchild, _ = w.inside(self.ta, inner_slot, inner_generation)
            w.map(self.grandchild, 0x3000)
            w.do("share_page", self.grandchild, *indices(0x3000), self.sibling, *indices(0x3000), 1)

    def _step(self, transition: Transition, *arguments: int) -> int:
        return self.w.call(transition.__name__, *arguments)

    # Calls.

    def begin(self, name: str, t: int, call: str, *arguments: int) -> None:
        """Thread t makes a call, which gets a name for ``results``."""
        result = getattr(self.system, call)(t, *arguments)
        if isinstance(result, Operation):
            self.calls[t] = result
            self._names[t] = name
        else:
            self.results[name] = result
        self._look_after_threads()

    def go_on(self, t: int) -> bool:
        """A step of the call that thread t is in.  False if it is in none, or that has ended."""
        operation = self.calls.get(t)
        if operation is None: return False
        if operation.advance(1):
            assert operation.result is not None
            del self.calls[t]
            self.results[self._names.pop(t)] = operation.result
        self._look_after_threads()
        return t in self.calls

    def step(self) -> bool:
        """A step of the call of thread ta, or of what nobody waits for.  False if there is nothing left to do."""
        if self.ta in self.calls: self.go_on(self.ta)
        elif self.system.operations.orphans: self.reap()
        return bool(self.calls or self.system.operations.orphans)

    def reap(self) -> None:
        """A step of what nobody waits for."""
        self.system.operations.reap(1)
        self._look_after_threads()

    def end(self, s: int) -> None:
        """The host ends process s."""
        self.system.end(s, 137)
        self._look_after_threads()

    def _look_after_threads(self) -> None:
        """What nobody waits for any more, since its thread is gone."""
        for t, operation in list(self.calls.items()):
            if self.k.page[t].kind == THREAD and self.k.thread[t].state != DEAD: continue
            del self.calls[t], self._names[t]
            self.system.operations.adopt(operation)

    def finish(self, first: int = 0) -> None:
        """Goes on with all calls until they have ended: of thread ``first`` alone as long as there is one, then of
        each in its turn, and what nobody waits for."""
        while self.go_on(first): pass
        while self.calls or self.system.operations.orphans:
            for t in list(self.calls):
                self.go_on(t)
            if self.system.operations.orphans: self.reap()

    # What came of it.

    def alive(self, s: int) -> bool:
        """Whether process s has not begun to end."""
        return self.k.page[s].kind == PROCESS and self.k.process[s].state in (NEW, ALIVE)

    def state(self) -> State:
        """What programs can tell: what the calls returned, what is mapped with which permissions, what is left of the
        quota."""
        k, C = self.k, self.k.container[self.c]
        maps = {
            name: {v: (k.process[s].map_permission[v], k.page[p].kind) for v, p in k.process[s].map_page.items() if p}
            for name, s in (("a", self.a), ("sibling", self.sibling), ("d", self.d))
        }
        return {"results": dict(sorted(self.results.items())), "maps": maps, "quota": C.pages + 512 * C.blocks}

    def mapped(self, s: int, address: int = RANGE[0]) -> set[int]:
        """The pages of process s, counted from this address, within the length of ``RANGE``, that something is mapped
        at."""
        first, rows = address // PAGE_SIZE, self.k.process[s].map_page
        found = set()
        for i in range(RANGE[1] // PAGE_SIZE):
            if mapping_around(self.k, s, first + i) >= 0: found.add(i)
        assert bool(rows) or not found
        return found

    def end_all(self) -> None:
        """Nothing is in progress any more, the state is right, and when everything is ended all memory is free."""
        w, k, operations = self.w, self.k, self.system.operations
        for left in operations.holders, operations.endings, operations.orphans, self.calls: assert not left
        w.checker.audit()
        with w.unchecked():
            w.end_everything()
        C = w.root
        assert (C.used_pages, C.used_blocks, C.used_giants, C.processes, C.child_count) == (1, 0, 0, 0, 0)
        assert sum(P.kind != 0 for P in k.page.values()) == 1
        w.checker.audit()
