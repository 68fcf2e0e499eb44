"""The ends of processes and containers: everything they hold is taken from them, step by step.

Ending something begins with what must not wait: what runs in it is stopped.  The rest is an operation that nobody
waits for (``Operations.orphans``), or that the thread that killed a container waits for.  It relies on nothing from one
step to the next but that it alone takes down what it has been given.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import islice
from typing import TYPE_CHECKING, Final

from abi.errors import EBUSY, OK
from abi.layout import BLOCK_PAGES
from kernel.calls.memory import MemoryCalls
from kernel.calls.operations import Operation, Steps
from kernel.objects import (
    ACTIVE,
    ALIVE,
    BLOCK_SPLIT,
    CLOSING,
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDED,
    ENDING,
    ENDPOINT,
    KILLED,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    NEW,
    PROCESS,
)  # fmt: skip

if TYPE_CHECKING:
    from kernel import container, device, placement, process, thread
else:
    from kernel.journaled import container, device, placement, process, thread

MAPPINGS_LISTED: Final = 4096
"""Mappings of a process that are listed at a time: a step that costs more than others, but seldom comes."""

INHERITED: Final = (MAPPED, MAPPED_BLOCK, MAPPED_GIANT, ENDPOINT, DEVICE)
"""What outlives its container, with the parent."""


class Endings(MemoryCalls):
    """Taking down what is ending."""

    def begin_ending(self, s: int) -> Operation:
        """Process s has become ENDING by a transition: its threads that run stop, who holds its address space loses
        it, and an operation that nobody waits for takes it down.  The rest of its threads do not run any more: a core
        that finds one in its queue ends it (``end_thread``).  Nothing new happens if that has been done before."""
        begun = self.operations.endings.get(s)
        if begun is not None: return begun
        k = self.k
        begun = self.operations.endings[s] = Operation(self._take_down, s)
        begun.begun = True
        for core in range(k.cores):
            t = k.core[core].current
            if t != 0 and k.thread[t].process == s: self.step(thread.thread_end, t)
        self.operations.lose(s)
        self.operations.adopt(begun)
        return begun

    def end_thread(self, t: int) -> None:
        """A step of ending its process: thread t, which its core has found in its queue, ends."""
        self.step(thread.thread_end, t)

    def _take_down(self, this: Operation, s: int) -> Steps:
        """Takes from process s, which is ending, all that it holds.  Children that it never started and containers end
        with it, and, if it was killed, all its descendants; else these pass to its parent."""
        k, step = self.k, self.step
        S = k.process[s]
        i = 0
        while S.killed and i < S.child_count:  # first of all nothing of them is to run on
            self._kill_child(S.children[i])
            i += 1
            yield None
        while True:
            while S.thread_count:
                step(thread.thread_end, S.threads[S.thread_count - 1])
                yield None
            yield from self.releasing_devices(s)
            while S.map_page:
                for v in list(islice(S.map_page, MAPPINGS_LISTED)):
                    p = S.map_page[v]
                    if p == 0:
                        S.map_page.pop(v, None)
                        continue
                    self.unmap_piece(s, v)
                    yield None
            while S.child_count:
                child = S.children[S.child_count - 1]
                if S.killed: yield self._kill_child(child)
                else:
                    step(process.child_inherit, child)
                    yield None
            for slot in list(S.handle_object):
                o = S.handle_object[slot]
                if o == 0: continue
                step(process.handle_drop, s, slot)
                yield from self.hanging_up(o)
                if k.page[o].kind == PROCESS and k.process[o].state == ENDING: yield self.begin_ending(o)
                elif k.page[o].kind == CONTAINER: yield self.end_container(o)
                else: yield None
            pager = S.pager
            result = step(process.process_finish, s)
            if result == OK: break
            assert result == -EBUSY, result  # between two steps it was given something
        del self.operations.endings[s]
        yield from self.hanging_up(pager)
        return OK

    def releasing_devices(self, s: int) -> Generator[None, None, None]:
        """Takes its devices from process s, which is ending, so that nothing reaches its memory; then its domains."""
        k, step = self.k, self.step
        handles = k.process[s].handle_object
        for slot in list(handles):
            o = handles[slot]
            if o == 0 or k.page[o].kind != DEVICE: continue
            e = k.device[o].endpoint
            step(device.device_release, o)
            yield
            yield from self.hanging_up(e)
        for slot in list(handles):
            m = handles[slot]
            if m == 0 or k.page[m].kind != DOMAIN: continue
            rows = k.domain[m].map_page
            while rows:
                for w in list(islice(rows, MAPPINGS_LISTED)):
                    if rows[w] == 0:
                        rows.pop(w, None)
                        continue
                    self.unmap_for_devices(m, w)
                    yield
            step(device.domain_release, m)
            yield

    def unmap_for_devices(self, m: int, w: int) -> None:
        """Removes what domain m maps at I/O virtual page w."""
        result = self.step(device.domain_unmap, m, w)
        assert result == OK, result
        M = self.k.domain[m]
        M.map_page.pop(w, None)  # what is kept is what is mapped, not all that ever was
        M.map_permission.pop(w, None)

    def _kill_child(self, s: int) -> Operation:
        """Process s, whose parent was killed, is killed too."""
        if self.k.process[s].killed == 0: self.step(process.child_kill, s)
        return self.begin_ending(s)

    def end_container(self, c: int) -> Operation:
        """Container c has become CLOSING by a transition: the operation that takes it down, with its subtree, and
        gives its quota back to the parent; pages that others still map pass to the parent.  It is advanced by who asks
        for it, or given to ``adopt``."""
        return self._container_ending(c, stopped=0)

    def _container_ending(self, c: int, stopped: int) -> Operation:
        begun = self.operations.endings.get(c)
        if begun is None:
            begun = self.operations.endings[c] = Operation(self._take_down_container, c, stopped)
            begun.begun = True
        return begun

    def _take_down_container(self, this: Operation, c: int, stopped: int) -> Steps:
        """Takes down container c.  ``stopped``: nothing in its subtree runs any more."""
        k, step = self.k, self.step
        if not stopped: yield from self._stop_subtree(c)
        C = k.container[c]
        while True:
            if C.child_count:
                child = C.children[C.child_count - 1]
                if k.container[child].state == ACTIVE: step(container.container_end, child)
                yield self._container_ending(child, stopped=1)
            elif C.processes: yield self._end_member(C.members[C.processes - 1])
            elif C.used_pages or C.used_blocks or C.used_giants: yield from self._pass_on_pages(c)
            elif C.core_count:
                step(placement.core_return, c)
                yield None
            else: break
        result = step(container.container_finish, c)
        assert result == OK, result
        del self.operations.endings[c]
        return OK

    def _stop_subtree(self, c: int) -> Generator[None, None, None]:
        """Ends all containers below c and all processes in them, so that nothing of them runs while they are taken
        down.  What is missed, since others change the tree meanwhile, is ended later."""
        k, step, depth = self.k, self.step, self.k.container[c].depth
        below = [c]
        while below:
            n = below.pop()
            C = k.container[n]
            # Since it was noted it may have come to its end, and another have been created in its page.
            if k.page[n].kind != CONTAINER or C.state != CLOSING or (n != c and C.path[depth] != c): continue
            i = 0
            while i < C.processes:
                s = C.members[i]
                i += 1
                if k.process[s].state not in (NEW, ALIVE): continue
                self._end_member(s)
                yield
            i = 0
            while i < C.child_count:
                child = C.children[i]
                i += 1
                if k.container[child].state != ACTIVE: continue
                step(container.container_end, child)
                below.append(child)
                yield

    def _end_member(self, s: int) -> Operation | None:
        """A step towards the end of process s, whose container is ending; or what has to end for it."""
        k = self.k
        if k.process[s].state in (NEW, ALIVE): self.step(process.process_end, s, KILLED)
        elif k.process[s].state == ENDED:
            self.step(process.process_forget, s)
            return None
        return self.begin_ending(s)

    def _pass_on_pages(self, c: int) -> Generator[None, None, None]:
        """Passes to its parent what others use of the memory of container c, in which no process or container is left:
        pages, blocks and giants that they map, endpoints that they name, devices.  Nothing can be charged to c any
        more, so each block has to be looked at only once."""
        k, C = self.k, self.k.container[c]
        for looked, b in enumerate(range(1, k.memory.blocks + 1), 1):
            if not (C.used_pages or C.used_blocks or C.used_giants): break
            B, first = k.block.get(b), b * BLOCK_PAGES
            if B is not None and B.kind == BLOCK_SPLIT:
                found = [p for p in range(first, first + B.carved) if k.page[p].owner == c]
            else: found = [first] if B is not None and B.owner == c else []
            for p in found:
                if k.page[p].owner != c or k.page[p].kind not in INHERITED: continue
                self.step(container.page_inherit, p)
                yield
            if looked % 16 == 0 or (B is not None and B.kind == BLOCK_SPLIT): yield


__all__ = ["Endings"]
