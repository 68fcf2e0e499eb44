"""A process as the hypervisor has it: its image, its memory, its threads, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.layout import BLOCK_PAGES, GIANT_PAGES, PAGE_SHIFT
from hv.personality import Personality
from hv.thread import Thread
from hv.user_memory import UserMemory
from kernel.calls.ranges import mapping_around
from kernel.objects import ALIVE, NEW

if TYPE_CHECKING:
    from abi.image import Image
    from hv.events import Timer
    from hv.function_call import FunctionCalls
    from hv.machine import Machine
    from hv.report import Report
    from kernel.calls import Operation


class Process:
    """One process.  Its methods want the big lock held, ``wait`` and ``kill`` excepted."""

    def __init__(
        self, machine: Machine, id: int, name: str, image: Image | None = None, personality: Personality | None = None
    ) -> None:
        self.machine = machine
        self.id = id
        self.name = name
        self.image = image
        self.personality = personality
        self.output = -1
        """Host descriptor that debug_print writes to; -1 for none."""
        self.ancestor: Process | None = None
        """The program of the host that it descends from, and with which it ends; None for that program itself."""
        self.memory = UserMemory(machine.kernel, machine.memory, id)
        self.entry = (0, 0)
        """Where its first thread starts, and with which stack pointer."""
        self.function_calls: FunctionCalls | None = None
        self.limit: Timer | None = None
        """What ends it when its time is over."""
        self.observed: object = None
        """What an observer keeps about it."""
        self.status: int | None = None
        """Exit status, once it has ended: of the program, or 128 + n when a fault or a limit ended it."""
        self.report: Report | None = None
        """Why it was ended, if it did not end itself."""

    @property
    def threads(self) -> list[Thread]:
        """Its threads that have not ended."""
        S = self.machine.kernel.process[self.id]
        found = (self.machine.threads.get(S.threads[i]) for i in range(S.thread_count))
        return [thread for thread in found if thread is not None]

    @property
    def alive(self) -> bool:
        """Whether it has not begun to end."""
        return self.status is None and self.machine.kernel.process[self.id].state in (NEW, ALIVE)

    def map(self, va: int, length: int, permissions: int) -> int:
        """Maps zeroed pages at exactly this range: 0, -EINVAL, -EEXIST or -ENOMEM, as the native mmap.  For a process
        with a personality nothing larger than 2 MiB is mapped as one, as it unmaps parts of what it maps."""
        return self.machine.system.complete(self.begin_map(va, length, permissions))

    def unmap(self, va: int, length: int) -> int:
        """Removes mappings: 0, -EINVAL or -EFAULT, as the native munmap."""
        return self.machine.system.complete(self.begin_unmap(va, length))

    def protect(self, va: int, length: int, permissions: int) -> int:
        """Changes permissions: 0, -EINVAL or -EFAULT, as the native mprotect."""
        return self.machine.system.complete(self.begin_protect(va, length, permissions))

    def begin_map(self, va: int, length: int, permissions: int) -> int | Operation:
        """As ``map``: the result, or what brings it about in steps."""
        largest = GIANT_PAGES if self.personality is None else BLOCK_PAGES
        return self.machine.system.map_range(self.id, va, length, permissions, largest)

    def begin_unmap(self, va: int, length: int) -> int | Operation:
        """As ``unmap``: the result, or what brings it about in steps."""
        return self.machine.system.unmap_range(self.id, va, length)

    def begin_protect(self, va: int, length: int, permissions: int) -> int | Operation:
        """As ``protect``: the result, or what brings it about in steps."""
        return self.machine.system.protect_range(self.id, va, length, permissions)

    def permissions(self, va: int) -> int | None:
        """What the program may do at this address, or None where nothing is mapped."""
        k = self.machine.kernel
        S = k.process[self.id]
        v = mapping_around(k, self.id, va >> PAGE_SHIFT)
        return S.map_permission[v] if v >= 0 else None

    def create_thread(self, rip: int, rsp: int, *, rdi: int = 0, fs_base: int = 0) -> Thread | int:
        """Adds a ready thread; -EINVAL if the process has ended, -ENOMEM without quota for it."""
        t = self.machine.system.start_thread(self.id)
        if t < 0: return t
        return self.machine.add_thread(self, t, rip, rsp, rdi, fs_base)

    def exit(self, status: int) -> None:
        """Ends it with all its threads, which do not run any more; its memory goes later.  No effect if it has
        ended."""
        self.machine.system.end(self.id, status & 0xFF)

    def call(self, address: int, *arguments: int, timeout: float | None = None) -> int:
        """Calls a function of the program; takes the big lock itself.  See FunctionCalls.call."""
        from hv.function_call import FunctionCalls

        if self.function_calls is None: self.function_calls = FunctionCalls(self)
        return self.function_calls.call(address, arguments, timeout)

    def kill(self, status: int = 137, reason: str = "killed") -> None:
        """Ends it from outside and waits until it has ended; takes the big lock itself.  No effect if it has ended.
        From within a system call nothing is waited for."""
        machine = self.machine
        with machine.lock:
            if self.status is None and not machine.stopping: machine.end_process(self, status, reason)
            while self.status is None and not machine.stopping and not machine.lock.in_core():
                machine.lock.wait()

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended and returns its status.  TimeoutError after ``timeout`` seconds; what stopped the
        machine (CheckFailed, MachineFailed), if something did."""
        return self.machine.wait(self, timeout)


__all__ = ["Process"]
