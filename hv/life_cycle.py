"""What begins, wakes and ends in the kernel, and what that means here: for vCPUs, events, and waiting hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hv.process import Process
from kernel.objects import KILLED

if TYPE_CHECKING:
    from hv.machine import Machine


class LifeCycle:
    """Is told of it by the effects of the kernel's transitions (``hv.effects.Listener``)."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def thread_ready(self, t: int, core: int) -> None:
        if self._machine.cores[core].idle: self._machine.lock.notify_all()
        ready = self._machine.threads.get(t)
        if ready is not None and ready.deadline is not None: self._machine.messages.settled(ready)

    def thread_left(self, t: int, core: int) -> None:
        left = self._machine.threads.get(t)
        if left is None or left.vcpu is None or self._machine.cores[core].vcpu is not left.vcpu: return
        # The core has yet to say what the vCPU came out of the guest with.  Until then no other runs it.
        left.leaving = True
        self._machine.bring_out(self._machine.cores[core])

    def thread_woken(self, t: int, result: int) -> None:
        woken = self._machine.threads[t]
        if result < 0 and woken.fault is not None and self._machine.messages.failed(woken): return
        if woken.vcpu is not None: woken.vcpu.regs.rax = result & 0xFFFF_FFFF_FFFF_FFFF
        else: woken.result = result

    def thread_gone(self, t: int) -> None:
        gone = self._machine.threads.pop(t, None)
        if gone is None: return
        gone.gone = True
        if gone.operation is not None: self._machine.system.operations.adopt(gone.operation)
        if gone.watch is not None: gone.watch.cancel()  # nothing is going to happen by it any more
        self._machine.messages.settled(gone)
        if gone.process.function_calls is not None: self._machine.lock.notify_all()  # it may be the one that was called
        vcpu = gone.vcpu
        if vcpu is None: return
        if not any(core.vcpu is vcpu for core in self._machine.cores):
            self._machine.vcpus.give_back(vcpu)
            return
        # Its core gives it back.  It must be out of the guest before the tables it runs on go.
        for core in self._machine.cores:
            if core.in_guest is vcpu: self._machine.bring_out(core)

    def process_ending(self, s: int) -> None:
        # Only when a program's own doing ends it: where the host does, it was interrupted somewhere, and who ends it is
        # not prepared for what an observer raises.
        if self._machine.observer is None or not self._machine.lock.in_core(): return
        process = self._machine.processes.get(s)
        if process is not None: self._machine.observer.ending(process)

    def endpoint_gone(self, e: int) -> None:
        self._machine.messages.endpoint_gone(e)
        gone = self._machine.endpoints.pop(e, None)
        if gone is not None: gone.gone = True

    def container_gone(self, c: int) -> None:
        gone = self._machine.containers.pop(c, None)
        if gone is None: return
        gone.gone = True
        self._machine.lock.notify_all()

    def process_ended(self, s: int, status: int) -> None:
        process = self._machine.processes.pop(s, None)
        if process is None: return
        process.status = status
        if process.limit is not None: process.limit.cancel()
        self._machine.ticks.pop(s, None)
        if process.personality is not None: process.personality.process_exited(process)
        # A limit or a kill is for all that a program started; nobody could end a child that has outlived it.
        for child in self.descendants(process):
            self._machine.system.end(child.id, KILLED)
        self._machine.recycle_tables()
        self._machine.lock.notify_all()

    def descendants(self, process: Process) -> list[Process]:
        """The processes that a program started, and those that these did."""
        return [other for other in self._machine.processes.values() if other.ancestor is process]

    def thread_started(self, t: int, entry: int, stack: int, argument: int) -> None:
        """A program created thread t by a native call."""
        s = self._machine.kernel.thread[t].process
        process = self._machine.processes.get(s)
        if process is None:  # a child process's first thread
            process = self._machine.processes[s] = Process(self._machine, s, f"child {s}")
            parent = self._machine.processes.get(self._machine.kernel.process[s].holder)
            if parent is not None:
                process.name, process.output = f"{parent.name} (child)", parent.output
                process.ancestor = parent.ancestor or parent
        self._machine.add_thread(process, t, entry, stack, argument)


__all__ = ["LifeCycle"]
