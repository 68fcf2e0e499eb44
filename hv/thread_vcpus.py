"""Which vCPU a thread runs on: a free one, a new one, or one of a thread that waits, whose state is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hv.engine import Engine
from hv.failures import MachineFailed
from hv.vcpu import Vcpu
from kernel.objects import RUNNING

if TYPE_CHECKING:
    from hv.machine import Machine
    from hv.thread import Thread


class ThreadVcpus:
    """Gives the threads of a machine vCPUs.  Hold the big lock."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def attach(self, thread: Thread) -> Engine:
        """Gives a thread a vCPU with its registers in it: a free one, a new one, or one of a thread that waits."""
        vcpu = self._take()
        cr3 = self._machine.frames.gpa(self._machine.kernel.process[thread.process.id].root)
        if thread.context is not None:
            vcpu.load(thread.context, cr3)
            thread.context = None
        else:
            rip, rsp, rdi, fs_base = thread.begin
            vcpu.start(cr3, rip, rsp, rdi=rdi, fs_base=fs_base)
        if thread.result is not None:
            vcpu.regs.rax = thread.result & 0xFFFF_FFFF_FFFF_FFFF
            thread.result = None
        thread.vcpu = vcpu
        return vcpu

    def _take(self) -> Vcpu:
        vcpu = self._machine.vcpus.take()
        if vcpu is None: raise MachineFailed(f"all {len(self._machine.vcpus)} vCPUs are running")
        return vcpu

    def reclaim(self) -> Vcpu | None:
        """The vCPU of a thread that does not run, whose state is saved; None if every one of them runs."""
        busy = {id(core.vcpu) for core in self._machine.cores if core.vcpu is not None}
        for other in self._machine.threads.values():
            taken = other.vcpu
            if taken is None or id(taken) in busy or self._machine.kernel.thread[other.id].state == RUNNING: continue
            other.context = taken.save()
            other.vcpu = None
            assert isinstance(taken, Vcpu)
            return taken
        return None

    def borrow(self, s: int) -> Engine:
        """A vCPU in the address space of process s that runs nothing; ``vcpus.give_back`` it."""
        vcpu = self._take()
        vcpu.start(self._machine.frames.gpa(self._machine.kernel.process[s].root), 0, 0)
        return vcpu


__all__ = ["ThreadVcpus"]
