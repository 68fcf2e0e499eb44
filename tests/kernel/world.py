"""A small kernel to set scenes in: journalled transitions by name, addresses as virtual page numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kernel.boot import boot
from kernel.calls import System
from kernel.check import Checker
from kernel.journaled import TRANSITIONS as MODULES
from kernel.objects import ACTIVE, CONTAINER, DEVICE, ENDED, ENDING, MAPPED_BLOCK, MAPPED_GIANT, PROCESS, Kernel
from kernel.specs import SPECIFICATIONS

Transition = Callable[..., int]
RWX = 7


def transitions(package: str) -> dict[str, Transition]:
    """All transitions by name, from ``kernel`` or ``kernel.journaled``."""
    modules = [importlib.import_module(f"{package}.{name}") for name in MODULES]
    return {name: getattr(module, name) for name in SPECIFICATIONS for module in modules
            if getattr(getattr(module, name, None), "__module__", None) == module.__name__}  # fmt: skip


JOURNALED = transitions("kernel.journaled")
PLAIN = transitions("kernel")


def indices(v: int) -> tuple[int, int, int, int]:
    """The four table indices of a virtual page number."""
    return v >> 27, v >> 18 & 511, v >> 9 & 511, v & 511


def page_at(i4: int, i3: int, i2: int, i1: int = 0) -> int:
    """The virtual page number of four table indices."""
    return ((i4 << 9 | i3) << 9 | i2) << 9 | i1


class World:
    """A kernel with a checker, and short ways to bring it into some state."""

    def __init__(
        self,
        blocks: int = 3,
        cores: int = 2,
        level: str = "touched",
        with_transitions: dict[str, Transition] | None = None,
    ) -> None:
        self.k: Kernel = boot(blocks, cores)
        self.checker = Checker(self.k, level)
        self.transitions = with_transitions or JOURNALED
        self.root = self.k.container[self.k.root]

    def call(self, name: str, *arguments: int) -> int:
        """One transition, checked."""
        return self.checker.step(self.transitions[name], *arguments)

    def do(self, name: str, *arguments: int) -> int:
        """One transition that has to succeed."""
        result = self.call(name, *arguments)
        assert result >= 0, (name, arguments, result)
        return result

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Calls within are not checked: for long sequences that others check."""
        level, self.checker = self.checker.level, Checker(self.k, "off")
        yield
        self.checker = Checker(self.k, level)

    def process(self) -> int:
        """A process that the host started, without a thread."""
        return self.do("process_spawn", self.k.root)

    def thread(self, s: int, core: int = 0) -> int:
        """A ready thread of process s on this core."""
        self.root.core = core
        return self.do("thread_start", s)

    def run(self, t: int) -> int:
        """Brings a ready thread onto its core.  Returns it."""
        r = self.k.core[self.k.thread[t].core]
        if r.current == t: return t
        while self.do("schedule", r.id) if r.current == 0 else self.do("preempt", r.id) == 0:
            if r.current == t: return t
        raise AssertionError(f"thread {t} is not ready")

    def running(self, core: int = 0) -> int:
        """A running thread in a process of its own."""
        if self.k.core[core].current: self.do("preempt", core)
        return self.run(self.thread(self.process(), core))

    def created_thread(self, t: int, core: int = 0) -> tuple[int, int, int]:
        """A thread that running thread t creates on this core: (thread, slot, generation)."""
        self.root.core = core
        handle = self.do("thread_create", t)
        slot, generation = handle % 65536, handle // 65536
        return self.k.process[self.k.thread[t].process].handle_object[slot], slot, generation

    def child(self, t: int, start: bool = True) -> tuple[int, int, int]:
        """A process that running thread t creates, its first thread on core 0: (process, slot, generation)."""
        self.root.core = 0
        handle = self.do("process_create", t)
        slot, generation = handle % 65536, handle // 65536
        if start: self.do("process_start", t, slot, generation)
        return self.k.process[self.k.thread[t].process].handle_object[slot], slot, generation

    def container(self, t: int, pages: int = 20, blocks: int = 0, giants: int = 0) -> tuple[int, int, int]:
        """A container that thread t creates: (container, slot, generation)."""
        handle = self.do("container_create", t, pages, blocks, giants)
        slot, generation = handle % 65536, handle // 65536
        return self.k.process[self.k.thread[t].process].handle_object[slot], slot, generation

    def endpoint(self, t: int) -> tuple[int, int, int]:
        """An endpoint that running thread t creates: (endpoint, slot, generation)."""
        handle = self.do("endpoint_create", t)
        slot, generation = handle % 65536, handle // 65536
        return self.k.process[self.k.thread[t].process].handle_object[slot], slot, generation

    def copied(self, t: int, slot: int, generation: int, rights: int, badge: int = 0) -> tuple[int, int]:
        """Another handle of running thread t to an endpoint, with these rights: (slot, generation)."""
        handle = self.do("handle_copy", t, slot, generation, rights, badge)
        return handle % 65536, handle // 65536

    def inside(self, t: int, slot: int, generation: int) -> tuple[int, int]:
        """A process that thread t creates in the container it names, and its ready thread: (process, thread)."""
        handle = self.do("process_create_in", t, slot, generation)
        s = self.k.process[self.k.thread[t].process].handle_object[handle % 65536]
        self.do("process_start", t, handle % 65536, handle // 65536)
        return s, self.k.process[s].threads[0]

    def map(self, s: int, v: int, permission: int = RWX) -> int:
        """Maps a page at virtual page v; returns the page."""
        self.do("map_page", s, *indices(v), permission)
        return self.k.process[s].map_page[v]

    def map_block(self, s: int, v: int, permission: int = RWX) -> int:
        """Maps a block at virtual page v; returns its first page."""
        self.do("map_block", s, *indices(v)[:3], permission)
        return self.k.process[s].map_page[v]

    def map_giant(self, s: int, v: int, permission: int = RWX) -> int:
        """Maps a giant at virtual page v; returns its first page."""
        self.do("map_giant", s, *indices(v)[:2], permission)
        return self.k.process[s].map_page[v]

    def limit(self, pages: int, blocks: int | None = None, giants: int | None = None) -> None:
        """Takes from the root container's quota what exceeds this, as if it had never been there."""
        m, C = self.k.memory, self.root
        m.promised_pages -= C.pages - pages
        C.pages = pages
        if blocks is not None:
            m.promised_blocks -= C.blocks - blocks
            C.blocks = blocks
        if giants is not None:
            m.promised_giants -= C.giants - giants
            C.giants = giants
        self.checker = Checker(self.k, self.checker.level)

    def leave(self, pages: int, blocks: int | None = None) -> None:
        """Has another process use up the root container's quota but this much."""
        with self.unchecked():
            self._leave(pages, blocks)

    def _leave(self, pages: int, blocks: int | None) -> None:
        hog = self.process()
        if blocks is not None:
            v = page_at(200, 0, 0)
            while self.root.blocks > blocks:
                self.map_block(hog, v)
                v += 512
        v = page_at(100, 0, 0)
        self.map(hog, v)
        while self.root.pages > pages:
            v += 1
            if v & 511 == 0 and self.root.pages == pages + 1:  # the next one takes a page and a table
                self.do("unmap_page", hog, *indices(v - 2))
            self.map(hog, v)
        assert self.root.pages == pages, f"{self.root.pages} pages are left already"

    def end(self, s: int, status: int = 0) -> None:
        """Ends process s as the hypervisor does, step by step, with its children that never started."""
        k = self.k
        S = k.process[s]
        if S.state != ENDING: self.do("process_end", s, status)
        while S.thread_count: self.do("thread_end", S.threads[S.thread_count - 1])
        for _ in self._system().releasing_devices(s): pass
        for v, p in list(S.map_page.items()):
            if p == 0: continue
            if k.page[p].kind == MAPPED_GIANT: self.do("unmap_giant", s, *indices(v)[:2])
            elif k.page[p].kind == MAPPED_BLOCK: self.do("unmap_block", s, *indices(v)[:3])
            else: self.do("unmap_page", s, *indices(v))
        while S.child_count:
            child = S.children[S.child_count - 1]
            if S.killed == 0:
                self.do("child_inherit", child)
                continue
            if k.process[child].killed == 0: self.do("child_kill", child)
            self.end(child)
        for slot, o in list(S.handle_object.items()):
            if o == 0: continue
            self.do("handle_drop", s, slot)
            if k.page[o].kind == PROCESS and k.process[o].state == ENDING: self.end(o)
            if k.page[o].kind == CONTAINER: self.take_down_container(o)
        self.do("process_finish", s)

    def take_down_container(self, c: int) -> None:
        """Ends what is in container c, which is ending, as the hypervisor does."""
        system = self._system()
        system.end_container(c).complete()
        system.operations.drain()

    def _system(self) -> System:
        """The calls, on the transitions of this world."""
        return System(self.k, lambda transition, *arguments: self.do(transition.__name__, *arguments), _not_started)

    def end_everything(self) -> None:
        """Ends all containers but the root and all processes, and collects these; then no page is in use but the root
        container's."""
        k = self.k
        while self.root.child_count:
            c = self.root.children[0]
            if k.container[c].state == ACTIVE: self.do("container_close", c)
            self.take_down_container(c)
        alive = [s for s, S in k.process.items() if k.page[s].kind == PROCESS]
        for s in alive:
            if k.page[s].kind == PROCESS and k.process[s].state != ENDED: self.end(s)
        for s in alive:
            if k.page[s].kind == PROCESS: self.do("process_collect", s)
        for o in [p for p, P in k.page.items() if P.kind == DEVICE]:
            self.do("device_remove", o)


def _not_started(thread: int, entry: int, stack: int, argument: int) -> None:
    raise AssertionError("nothing is started while something ends")
