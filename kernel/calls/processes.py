"""Calls on processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.errors import EINVAL, OK
from kernel.calls.endings import Endings
from kernel.calls.operations import Operation
from kernel.calls.ranges import start_valid
from kernel.objects import PROCESS

if TYPE_CHECKING:
    from kernel import handles, hosting, process
else:
    from kernel.journaled import handles, hosting, process


class ProcessCalls(Endings):
    """process_create, process_start, process_exit, process_wait, process_kill; and what the host asks of a process."""

    def process_create(self, t: int) -> int:
        k = self.k
        return self.funded(k.process[k.thread[t].process].container, 2, process.process_create, t)

    def process_start(self, t: int, handle: int, entry: int, stack: int, argument: int) -> int:
        k = self.k
        d = self.named(t, handle, PROCESS)
        if d < 0: return d
        if not start_valid(entry, stack): return -EINVAL
        result = self.funded(k.process[d].container, 1, process.process_start, t, handle % 65536, handle >> 16)
        if result == OK: self.started(k.process[d].threads[0], entry, stack, argument)
        return result

    def process_exit(self, t: int, status: int) -> int:
        s = self.k.thread[t].process
        self.step(process.process_exit, t, status & 0xFFFF_FFFF)
        self.begin_ending(s)
        return OK

    def process_wait(self, t: int, handle: int) -> int:
        return self.step(process.process_wait, t, handle % 65536, handle >> 16)

    def process_kill(self, t: int, handle: int) -> int | Operation:
        k = self.k
        s = handles.object_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        result = self.step(process.process_kill, t, handle % 65536, handle >> 16)
        return self.begin_ending(s) if result == OK else result

    def spawn(self, c: int) -> int:
        """A new process of container c, for the host.  Its id, -EINVAL or -ENOMEM."""
        return self.funded(c, 2, process.process_spawn, c)

    def spawn_endpoint(self, s: int, c: int, rights: int, badge: int) -> int:
        """A new endpoint of container c, to which process s, which the host spawned and has not started, has the first
        handle.  The handle, -EINVAL, -EBUSY, -ENOSPC or -ENOMEM."""
        return self.funded(c, 1, hosting.endpoint_spawn, s, c, rights, badge)

    def assign(self, s: int, e: int, rights: int, badge: int) -> int:
        """A handle to endpoint e for process s, which the host spawned and has not started.  The handle, -EINVAL,
        -EBUSY or -ENOSPC."""
        return self.step(hosting.handle_assign, s, e, rights, badge)

    def assign_pager(self, s: int, e: int, badge: int) -> int:
        """Endpoint e is the pager of process s, which the host spawned and has not started.  0, -EINVAL or -EBUSY."""
        return self.step(hosting.pager_assign, s, e, badge)

    def assign_timer(self, e: int) -> int:
        """Endpoint e has a timer, whose time is the host's.  0, -EINVAL or -EBUSY."""
        return self.step(hosting.timer_assign, e)

    def end(self, s: int, status: int) -> int:
        """Begins to end process s: from now on nothing of it runs.  -EINVAL if it is ending, or has ended, already."""
        result = self.step(process.process_end, s, status & 0xFFFF_FFFF)
        if result == OK: self.begin_ending(s)
        return result

    def collect(self, s: int) -> int:
        """The status of a process that the host spawned and that has ended, of which then nothing is left."""
        return self.step(process.process_collect, s)
