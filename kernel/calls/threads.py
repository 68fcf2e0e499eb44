"""Calls on threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.errors import EINVAL, OK
from kernel.calls.endings import Endings
from kernel.calls.ranges import start_valid
from kernel.objects import ENDING

if TYPE_CHECKING:
    from kernel import handles, placement, scheduler, thread
else:
    from kernel.journaled import handles, placement, scheduler, thread


class ThreadCalls(Endings):
    """thread_create, thread_exit, thread_join, thread_kill, thread_affinity, thread_yield."""

    def null(self, t: int) -> int:
        return OK

    def thread_yield(self, t: int) -> int:
        return self.step(scheduler.thread_yield, t)

    def thread_create(self, t: int, entry: int, stack: int, argument: int) -> int:
        if not start_valid(entry, stack): return -EINVAL
        k = self.k
        s = k.thread[t].process
        handle = self.funded(k.process[s].container, 1, thread.thread_create, t)
        if handle > 0: self.started(handles.object_of(k, s, handle % 65536, handle >> 16), entry, stack, argument)
        return handle

    def thread_exit(self, t: int, status: int) -> int:
        s = self.k.thread[t].process
        self.step(thread.thread_exit, t, status & 0xFFFF_FFFF)
        if self.k.process[s].state == ENDING: self.begin_ending(s)
        return OK

    def thread_join(self, t: int, handle: int) -> int:
        return self.step(thread.thread_join, t, handle % 65536, handle >> 16)

    def thread_kill(self, t: int, handle: int) -> int:
        return self.step(thread.thread_kill, t, handle % 65536, handle >> 16)

    def thread_affinity(self, t: int, handle: int, core: int) -> int:
        return self.step(placement.thread_affinity, t, handle % 65536, handle >> 16, core)

    def start_thread(self, s: int) -> int:
        """A new thread of process s, whose registers the host sets.  Its id, or -EINVAL or -ENOMEM."""
        return self.funded(self.k.process[s].container, 1, thread.thread_start, s)
