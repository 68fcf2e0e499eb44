"""A guest thread as the hypervisor has it: its registers, in a vCPU of its own or saved for the next free one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hv.engine import Context, Engine, Registers
from hv.personality import Fault

if TYPE_CHECKING:
    from hv.events import Timer, Watch
    from hv.machine import Machine
    from hv.process import Process
    from kernel.calls import Operation


class Thread:
    """One thread of a process.  Hold the big lock; registers only while it does not run."""

    __slots__ = (
        "begin", "context", "deadline", "fault", "gone", "id", "leaving", "machine", "operation", "process", "result",
        "retried", "retries", "retry", "trapped", "vcpu", "watch",
    )  # fmt: skip

    def __init__(
        self, machine: Machine, process: Process, id: int, rip: int, rsp: int, rdi: int = 0, fs_base: int = 0
    ) -> None:
        self.machine = machine
        self.process = process
        self.id = id
        self.begin = (rip, rsp, rdi, fs_base)
        self.vcpu: Engine | None = None
        self.context: Context | None = None
        self.result: int | None = None
        """What rax becomes when it has a vCPU again."""
        self.operation: Operation | None = None
        """The call it is in, if that is done in steps: its core goes on with that instead of running it."""
        self.retry = False
        """The call it was blocked in is to be dispatched again."""
        self.retried = (0, 0)
        self.retries = 0
        """How often the instruction at ``retried`` (rip, address) faulted though it may do what it does."""
        self.watch: Watch | None = None
        """The descriptor that debug_print waits for."""
        self.deadline: Timer | None = None
        """When it waits for a message no longer."""
        self.fault: Fault | None = None
        """The page fault that is with its pager."""
        self.gone = False
        self.leaving = False
        """It was moved to another core, and the one that it ran on still has its vCPU."""
        self.trapped: Fault | None = None
        """A fault that it came out of the guest with when it was moved."""

    @property
    def engine(self) -> Engine:
        """The vCPU that holds its registers, given to it now if it had none."""
        return self.vcpu or self.machine.thread_vcpus.attach(self)

    @property
    def regs(self) -> Registers:
        """Its general registers, live."""
        return self.engine.regs

    @property
    def rip(self) -> int:
        """Where it goes on."""
        return self.engine.rip

    @rip.setter
    def rip(self, value: int) -> None:
        self.engine.rip = value

    @property
    def rsp(self) -> int:
        """Its stack pointer."""
        return self.engine.rsp

    @rsp.setter
    def rsp(self, value: int) -> None:
        self.engine.rsp = value

    @property
    def rflags(self) -> int:
        """Its flags; only those a program may set are taken."""
        return self.engine.rflags

    @rflags.setter
    def rflags(self, value: int) -> None:
        self.engine.rflags = value

    @property
    def fs_base(self) -> int:
        """Its FS base: thread-local storage."""
        return self.engine.fs_base

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self.engine.fs_base = value

    @property
    def gs_base(self) -> int:
        """Its GS base."""
        return self.engine.gs_base

    @gs_base.setter
    def gs_base(self, value: int) -> None:
        self.engine.gs_base = value

    def block(self) -> None:
        """Takes it, which runs, off its core until ``wake``.

        What will wake it has to be known to ``machine.events`` (a time, a descriptor) or be another thread: where
        neither is left, who waits for the program finds it deadlocked."""
        self.machine.block(self)

    def wake(self, result: int) -> None:
        """Makes it, which is blocked, ready; rax becomes ``result``, or with RETRY its call is dispatched again.  No
        effect on a thread that is not blocked or is gone."""
        self.machine.wake(self, result)

    def exit(self, status: int = 0) -> None:
        """Ends it, which runs; with the last thread its process ends with this status."""
        self.machine.exit_thread(self, status)

    def kick(self) -> None:
        """Makes it, if it runs, come out of the guest, where its personality can look after it."""
        if self.vcpu is not None: self.vcpu.kick()


__all__ = ["Thread"]
