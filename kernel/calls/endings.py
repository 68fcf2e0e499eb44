"""The ends of processes and containers: everything they hold is taken from them, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abi.errors import OK
from kernel.calls.memory import MemoryCalls
from kernel.objects import (
    ACTIVE,
    ALIVE,
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
    from kernel import container, device, process, thread
else:
    from kernel.journaled import container, device, process, thread


INHERITED: Final = (MAPPED, MAPPED_BLOCK, MAPPED_GIANT, ENDPOINT, DEVICE)
"""What outlives its container, with the parent."""


class Endings(MemoryCalls):
    """Taking down what is ending."""

    def take_down(self, s: int) -> None:
        """Takes from process s, if it is ending, all that it holds, step by step: children that it never started and
        containers end with it, and, if it was killed, all its descendants; else these pass to its parent."""
        k, step = self.k, self.step
        ending = self.killed_with(s)
        while ending:
            s = ending.pop()
            S = k.process[s]
            if k.page[s].kind != PROCESS or S.state != ENDING: continue
            while S.thread_count:
                step(thread.thread_end, S.threads[S.thread_count - 1])
            self.release_devices(s)
            for v, p in list(S.map_page.items()):
                if p: self.unmap_piece(s, v, k.page[p].kind == MAPPED_BLOCK)
            while S.child_count:
                step(process.child_inherit, S.children[S.child_count - 1])
            for slot, o in list(S.handle_object.items()):
                if o == 0: continue
                step(process.handle_drop, s, slot)
                if k.page[o].kind == PROCESS: ending.append(o)
                elif k.page[o].kind == ENDPOINT: self.hang_up(o)
                elif k.page[o].kind == CONTAINER: self.take_down_container(o)
            pager = S.pager
            result = step(process.process_finish, s)
            assert result == OK, result
            if k.page[pager].kind == ENDPOINT: self.hang_up(pager)

    def release_devices(self, s: int) -> None:
        """Takes its devices from process s, which is ending, so that nothing reaches its memory; then its domains."""
        k, step = self.k, self.step
        held = [o for o in k.process[s].handle_object.values() if o and k.page[o].kind in (DEVICE, DOMAIN)]
        for o in held:
            if k.page[o].kind != DEVICE: continue
            e = k.device[o].endpoint
            step(device.device_release, o)
            if e: self.hang_up(e)
        for m in held:
            if k.page[m].kind != DOMAIN: continue
            for w, p in list(k.domain[m].map_page.items()):
                if p: self.unmap_for_devices(m, w)
            step(device.domain_release, m)

    def unmap_for_devices(self, m: int, w: int) -> None:
        """Removes what domain m maps at I/O virtual page w."""
        result = self.step(device.domain_unmap, m, w)
        assert result == OK, result
        M = self.k.domain[m]
        M.map_page.pop(w, None)  # what is kept is what is mapped, not all that ever was
        M.map_permission.pop(w, None)

    def killed_with(self, s: int) -> list[int]:
        """Process s and, if it was killed, all its descendants, which are then killed too: each behind its parent."""
        k, step = self.k, self.step
        family = [s]
        for above in family:
            S = k.process[above]
            if k.page[above].kind != PROCESS or S.killed == 0: continue
            for i in range(S.child_count):
                if k.process[S.children[i]].killed == 0: step(process.child_kill, S.children[i])
                family.append(S.children[i])
        return family

    def take_down_container(self, c: int) -> None:
        """Takes everything from the subtree of container c, which is ending, step by step, and its quota back to the
        parent; pages that others still map pass to the parent."""
        k, step = self.k, self.step
        subtree = [c]
        for above in subtree:
            C = k.container[above]
            for i in range(C.child_count):
                child = C.children[i]
                if k.container[child].state == ACTIVE: step(container.container_end, child)
                subtree.append(child)
        for ending in reversed(subtree):
            C = k.container[ending]
            while C.processes:
                s = C.members[C.processes - 1]
                if k.process[s].state in (NEW, ALIVE): step(process.process_end, s, KILLED)
                self.take_down(s)
                if k.page[s].kind == PROCESS and k.process[s].state == ENDED: step(process.process_forget, s)
            for p in [p for p, P in k.page.items() if P.owner == ending and P.kind in INHERITED]:
                step(container.page_inherit, p)
            result = step(container.container_finish, ending)
            assert result == OK, result
