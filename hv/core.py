"""A core: the host thread that runs guest threads on their vCPUs and dispatches what they trap with.

Everything but the guest itself happens under the machine's big lock; it is free exactly while a vCPU runs.

A call that is done in steps (``kernel.calls.operations``) is gone on with by the core that its thread runs on, batch by
batch, as part of the thread's time slice.  What nobody waits for, the taking down of what has ended, is done by cores
that have nothing to run; where there is none, by all of them beside their threads, in at most half of their time.

A time slice is of the core's processor time, and begins anew with each thread that is taken from the queue: threads
that switch to one another by messages share one.
"""

from __future__ import annotations

import threading
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from abi.calls import BY_NAME
from abi.layout import EXECUTE, NATIVE_FIRST, READ, WRITE
from hv.engine import (
    CRASHED,
    FAULT,
    MMIO,
    PAGE_FAULT,
    PAGE_FAULT_FETCH,
    PAGE_FAULT_WRITE,
    PREEMPTED,
    SYSCALL,
    Engine,
)
from hv.personality import BLOCKED, Fault
from hv.vcpu import slice_is_over, slice_start, slice_stop
from kernel.calls.operations import Again, Operation, SpaceBusy
from kernel.objects import ENDING

if TYPE_CHECKING:
    from hv.machine import Machine
    from hv.thread import Thread
    from kernel import scheduler
else:
    from kernel.journaled import scheduler

PERMITTED_RETRIES: Final = 8
TIME_SLICE_NS: Final = 10_000_000
"""A thread that others wait for gives way after at most this long."""


class Core:
    """Core ``index`` of a machine and its host thread."""

    def __init__(self, machine: Machine, index: int) -> None:
        self.machine = machine
        self.index = index
        self.in_guest: Engine | None = None
        """The vCPU that is in KVM_RUN, or about to be; set with the big lock held, cleared before it is taken."""
        self.vcpu: Engine | None = None
        """The vCPU whose thread it is dealing with, in the guest or out of it."""
        self.idle = False
        self.exits = 0
        self.reaps = False
        """It has nothing to run, and takes down what has ended."""
        self._reaped = 0
        """When it last ended a turn of taking down what has ended."""
        self._reap_next = 0
        """When the next one may begin, if there are threads to run."""
        self._host = threading.Thread(target=self._main, name=f"aerostat-core-{index}", daemon=True)

    def start(self) -> None:
        """Starts the host thread."""
        self._host.start()

    def join(self) -> None:
        """Waits for the host thread's end; the machine has to be stopping."""
        if self._host.is_alive(): self._host.join()

    def _main(self) -> None:
        machine = self.machine
        try:
            with machine.lock:
                machine.lock.core_begins()
                try:
                    self._loop()
                except BaseException as error:
                    machine.stop(error)  # before the lock is given up, and with it another core goes on
                finally:
                    machine.lock.core_ends()
        except BaseException as error:
            machine.fail(error)
        finally:
            slice_stop()

    def _loop(self) -> None:
        machine, index = self.machine, self.index
        R = machine.kernel.core[index]
        orphans, processes = machine.system.operations.orphans, machine.kernel.process
        while not machine.stopping:
            if R.current == 0:
                if orphans and (R.head == 0 or self._may_reap()):
                    self.idle = False
                    self._reap()
                    continue
                if R.head == 0:
                    # Said once: two idle cores that woke each other by it would not stop.
                    if not self.idle:
                        self.idle = True
                        machine.lock.notify_all()  # who waits for a process looks whether anything can still happen
                    machine.lock.rest()
                    continue
                self.idle = False
                machine.step(scheduler.schedule, index)
                slice_start(TIME_SLICE_NS)
            thread = machine.threads[R.current]
            if thread.leaving:
                machine.lock.rest()
                continue
            if processes[thread.process.id].state == ENDING:
                machine.system.end_thread(thread.id)
                continue
            if thread.trapped is not None:
                fault, thread.trapped = thread.trapped, None
                self._take(thread, fault)
                if machine.observer is not None: machine.observer.served(thread)
                continue
            if thread.operation is not None:
                self._go_on(thread, thread.operation)
                if machine.observer is not None and thread.operation is None: machine.observer.served(thread)
                continue
            if thread.retry:
                thread.retry = False
                self._syscall(thread, thread.engine)
                if machine.observer is not None: machine.observer.served(thread)
                continue
            self._run(thread)

    def _run(self, thread: Thread) -> None:
        """Runs the core's current thread, and those that it is switched to directly, until something else is to be done
        or the machine stops."""
        machine, raw = self.machine, self.machine.lock.raw
        acquire, release, contend, settle = raw.acquire, raw.release, machine.lock.contend, machine.effects.settle
        R, threads, serve = machine.kernel.core[self.index], machine.threads, machine.devices.registers.serve
        t = thread.id
        self.vcpu = vcpu = thread.engine
        run = vcpu.run
        while True:
            self.in_guest = vcpu
            settle()
            release()
            trap = run()
            while trap == MMIO and serve(vcpu):  # a device's registers: the kernel has no part in it
                self.exits += 1
                trap = run()
            self.in_guest = None
            if not acquire(False): contend()
            self.exits += 1
            if thread.gone or machine.stopping: break
            observer = machine.observer
            if observer is not None: observer.arrived(thread, vcpu, trap)
            if R.current != t:
                self._leave(thread, vcpu, trap)
                break
            if trap == SYSCALL: self._syscall(thread, vcpu)
            elif trap == PREEMPTED: self._preempted(thread)
            elif trap == FAULT: self._fault(thread, vcpu)
            elif trap == CRASHED: machine.crash(thread, vcpu)
            else: machine.stray_access(thread, vcpu)
            if observer is not None and thread.operation is None and not thread.retry: observer.served(thread)
            if machine.stopping or thread.gone or thread.retry: break
            now = R.current
            if now == t: continue
            switched = threads.get(now)
            if switched is None or switched.vcpu is None or thread.leaving or not self._only_to_run(switched): break
            thread, t = switched, now
            self.vcpu = vcpu = switched.vcpu
            run = vcpu.run
        self.vcpu = None
        if thread.leaving:
            thread.leaving = False
            machine.lock.notify_all()
        if trap == CRASHED: machine.vcpus.retire(vcpu)
        elif thread.gone: machine.vcpus.give_back(vcpu)

    def _only_to_run(self, thread: Thread) -> bool:
        """Nothing else is to be done for the core's current thread."""
        if thread.leaving or thread.retry or thread.trapped is not None or thread.operation is not None: return False
        return self.machine.kernel.process[thread.process.id].state != ENDING

    def _syscall(self, thread: Thread, vcpu: Engine) -> None:
        machine, regs = self.machine, vcpu.regs
        number = regs.rax
        machine.last_traps.append((thread.id, number, None))
        native = machine.native.get(number)
        try:
            if native is not None:
                call, arguments = native
                if arguments == 0: result = call(thread.id)
                elif arguments == 1: result = call(thread.id, regs.rdi)
                elif arguments == 2: result = call(thread.id, regs.rdi, regs.rsi)
                elif arguments == 3: result = call(thread.id, regs.rdi, regs.rsi, regs.rdx)
                elif arguments == 4: result = call(thread.id, regs.rdi, regs.rsi, regs.rdx, regs.r10)
                else: result = call(thread.id, *(regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9)[:arguments])
            else:
                result = machine.foreign_call(thread, number)
        except SpaceBusy as busy:
            if busy.call: regs.rax = BY_NAME[busy.call].number
            thread.retry = True
            self._advance(thread, busy.holder)
            return
        except Again as again:
            regs.rax = BY_NAME[again.call].number
            thread.retry = True
            machine.lock.pass_on(0.0)
            return
        if type(result) is Operation:
            thread.operation = result
            self._go_on(thread, result)
            return
        if result != BLOCKED and not thread.gone: regs.rax = result & 0xFFFF_FFFF_FFFF_FFFF

    def _preempted(self, thread: Thread) -> None:
        machine = self.machine
        machine.recycle_tables()
        tick = machine.ticks.get(thread.process.id)
        if tick is not None: tick(thread)
        R = machine.kernel.core[self.index]
        if thread.gone or R.current != thread.id: return
        if R.head != 0 or machine.system.operations.orphans: machine.step(scheduler.preempt, self.index)

    def _go_on(self, thread: Thread, operation: Operation) -> None:
        """Goes on with the call that the core's thread is in, until it ends or the thread's time slice does."""
        if not self._advance(thread, operation): return
        thread.operation = None
        assert operation.result is not None
        if not thread.gone: self.machine.life.thread_woken(thread.id, operation.result)

    def _advance(self, thread: Thread, operation: Operation) -> bool:
        """Advances an operation, in the time of the core's thread.  True if it has ended; else the thread's slice is
        over, or it is gone, or the machine stops."""
        machine, R = self.machine, self.machine.kernel.core[self.index]
        while True:
            began = monotonic_ns()
            if operation.advance(): return True
            machine.lock.pass_on((monotonic_ns() - began) / 1e9)
            if thread.gone or machine.stopping or R.current != thread.id: return False  # it may have been moved
            if slice_is_over() and (R.head != 0 or machine.system.operations.orphans):
                machine.step(scheduler.preempt, self.index)
                return False

    def _may_reap(self) -> bool:
        """Whether a core with threads to run is to take down what has ended now: no other has the time, and it has run
        them for as long as it did that last."""
        return monotonic_ns() >= self._reap_next and not any(core.reaps for core in self.machine.cores)

    def _reap(self) -> None:
        """Takes down what has ended: for as long as nothing else is to be done here, else for as long as other things
        were done since the last time, a time slice at most."""
        machine, operations = self.machine, self.machine.system.operations
        R = machine.kernel.core[self.index]
        begun = now = monotonic_ns()
        turn_end = begun + min(begun - self._reaped, TIME_SLICE_NS)
        while operations.orphans and not machine.stopping:
            self.reaps = R.head == 0
            if not self.reaps and now >= turn_end: break
            began = now
            operations.reap()
            now = monotonic_ns()
            machine.lock.pass_on((now - began) / 1e9)
            now = monotonic_ns()
        self.reaps = False
        self._reaped = now
        self._reap_next = now + min(now - begun, TIME_SLICE_NS)

    def _leave(self, thread: Thread, vcpu: Engine, trap: int) -> None:
        """The thread was moved to another core while it ran: what it trapped with is served there."""
        if trap == SYSCALL: thread.retry = True
        elif trap == FAULT: thread.trapped = self._fault_of(vcpu)
        elif trap == CRASHED: self.machine.crash(thread, vcpu)
        elif trap != PREEMPTED: self.machine.stray_access(thread, vcpu)

    @staticmethod
    def _fault_of(vcpu: Engine) -> Fault:
        return Fault(vcpu.vector, vcpu.error_code, vcpu.fault_address if vcpu.vector == 14 else 0, vcpu.rip)

    def _fault(self, thread: Thread, vcpu: Engine) -> None:
        self._take(thread, self._fault_of(vcpu))

    def _take(self, thread: Thread, fault: Fault) -> None:
        machine = self.machine
        machine.last_traps.append((thread.id, -1 - fault.vector, fault.fault_address))
        if fault.vector == PAGE_FAULT and self._permitted(thread, fault): return
        personality = thread.process.personality
        if personality is not None and personality.fault(thread, fault): return
        if fault.vector == PAGE_FAULT and machine.messages.page_fault(thread, fault): return
        if not thread.gone: machine.kill_for_fault(thread, fault)


    @staticmethod
    def _permitted(thread: Thread, fault: Fault) -> bool:
        """The kernel allows what faulted: hardware may keep an upper-level entry that was replaced, and finds the new
        one when the instruction is tried again.  A few times; then the fault is taken for what it says."""
        allowed = thread.process.permissions(fault.fault_address)
        code = fault.error_code
        need = WRITE if code & PAGE_FAULT_WRITE else EXECUTE if code & PAGE_FAULT_FETCH else READ
        if allowed is None or not allowed & need: return False
        place = (fault.rip, fault.fault_address)
        thread.retries = thread.retries + 1 if thread.retried == place else 1
        thread.retried = place
        return thread.retries <= PERMITTED_RETRIES


assert NATIVE_FIRST == 0x1000
__all__ = ["TIME_SLICE_NS", "Core"]
