"""A machine: guest memory, page tables, vCPUs and cores under one kernel, and the programs it runs."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from abi.calls import CALLS
from abi.errors import EFAULT, ENOMEM, ENOSYS
from abi.layout import (
    BLOCK_SIZE,
    DATA_LIMIT,
    HOST_RETURN,
    NATIVE_FIRST,
    USER_FIRST,
    USER_LAST,
)
from hv.core import Core
from hv.debug_print import debug_print
from hv.device import Device
from hv.devices import Devices, LentDevice
from hv.effects import Effects
from hv.engine import Engine
from hv.events import Events
from hv.failures import MachineFailed, OutOfMemory
from hv.gate import Gate
from hv.guest_memory import GuestMemory
from hv.hosting import Container, Endpoint, Handle, hand_out
from hv.kvm import Kvm
from hv.life_cycle import LifeCycle
from hv.loading import load
from hv.lock import BigLock
from hv.messages import Messages
from hv.observer import Observer, StoppedByObserver
from hv.page_tables import TableFrames
from hv.personality import BLOCKED, RETRY, Fault, Personality, UserFault
from hv.probe import lstar_cpl
from hv.process import Process
from hv.thread import Thread
from hv.thread_vcpus import ThreadVcpus
from hv.vcpu_pool import VcpuPool
from kernel.boot import boot
from kernel.calls import Operation, System
from kernel.check import Checker, CheckFailed
from kernel.objects import KILLED, NEW

if TYPE_CHECKING:
    from abi.image import Image
    from kernel import scheduler
else:
    from kernel.journaled import scheduler

MAX_CORES: Final = 64
MOST_UNKNOWN: Final = 1000
"""Different numbers of unknown calls that are counted one by one; all others together."""
NO_DEVICES: Final[Mapping[str, LentDevice]] = MappingProxyType({})
OTHER: Final = -1
"""Under which these are counted."""


class Machine:
    """A virtual machine and its kernel.

    ``memory``: bytes, rounded up to 2 MiB, at most 128 GiB; programs, their page tables and the kernel's objects are
    charged to it.  ``cores``: 1 to 64.  ``check``: "off", "touched" or "full" (``kernel.check``).  Raises ValueError
    for others, KvmUnavailable (``hv.kvm``) where there is no usable KVM.
    """

    def __init__(self, memory: int = 256 << 20, cores: int = 1, check: str = "touched") -> None:
        blocks = -(-memory // BLOCK_SIZE)
        if blocks < 1 or (blocks + 1) * BLOCK_SIZE > DATA_LIMIT:
            raise ValueError(f"memory of {memory} bytes is not within 2 MiB to 128 GiB")
        if not 1 <= cores <= MAX_CORES: raise ValueError(f"{cores} cores are not within 1 to {MAX_CORES}")
        self.kernel = boot(blocks, cores)
        self.checker = Checker(self.kernel, check)
        self.step: Callable[..., int] = self.checker.step
        """Runs one transition, checks it, and carries out what it means for the machine.  Hold the big lock.  What it
        raises has stopped the machine, whoever called: it was left in the middle of something."""
        self.lock = BigLock(self._settle)
        self.started_at = time.monotonic()
        self.stopping = False
        self.failure: BaseException | None = None
        self.threads: dict[int, Thread] = {}
        self.processes: dict[int, Process] = {}
        self.containers: dict[int, Container] = {}
        """Those of the host's making."""
        self.endpoints: dict[int, Endpoint] = {}
        self.ticks: dict[int, Callable[[Thread], None]] = {}
        """By process: called at each time slice of its threads, for personalities that deliver signals."""
        self.unknown_calls: Counter[int] = Counter()
        self.last_traps: deque[tuple[int, int, int | None]] = deque(maxlen=16)
        self.programs = 0
        self.observer: Observer | None = None
        """Who is told of each exit; set with the big lock held."""
        self._closed = False
        with contextlib.ExitStack() as undo:
            self.kvm = Kvm()
            undo.callback(self.kvm.close)
            cpl = lstar_cpl(self.kvm)
            self.vm = self.kvm.vm()
            undo.callback(self.vm.close)
            self.memory = GuestMemory(self.vm, (blocks + 1) * BLOCK_SIZE)
            undo.callback(self.memory.close)
            self.frames = TableFrames(self.vm, (blocks + 1) * BLOCK_SIZE, giant_entries=self.kvm.giant_pages)
            undo.callback(self.frames.close)
            self.gate = Gate(self.vm, cpl)
            undo.pop_all()
        self.thread_vcpus = ThreadVcpus(self)
        self.vcpus = VcpuPool(self.vm, self.gate, self.thread_vcpus.reclaim)
        self.events = Events(self.lock, self.fail)
        self.life = LifeCycle(self)
        self.devices = Devices(self)
        self.effects = Effects(self.kernel, self.memory, self.frames, self.gate, self.life, self.devices)
        self.system = System(self.kernel, self.step, self.life.thread_started)
        self.messages = Messages(self)
        self.system.operations.orphaned = self._orphaned
        self.checker.carry_out = self.effects.apply
        self.checker.failed = self.stop
        self.native = self._native_calls()
        self.cores = [Core(self, index) for index in range(cores)]
        self._running = False

    # Steps of the kernel.

    def _settle(self) -> None:
        try:
            self.effects.settle()
        except BaseException as error:
            self.stop(error)
            raise

    def _orphaned(self) -> None:
        """There is something to do for cores that have nothing to run."""
        if any(core.idle for core in self.cores): self.lock.notify_all()

    def _native_calls(self) -> dict[int, tuple[Callable[..., int | Operation], int]]:
        special: dict[str, Callable[..., int | Operation]] = {
            "debug_print": partial(debug_print, self), **self.messages.calls(), **self.devices.calls(),
        }  # fmt: skip
        return {
            call.number: (special.get(call.name) or getattr(self.system, call.name), len(call.arguments))
            for call in CALLS
        }

    def define_call(self, number: int, call: Callable[..., int]) -> None:
        """Serves system call ``number``, 0x2000 to 0x2fff, by ``call(thread, a0, ..., a5) -> int``; what it raises
        stops the machine, UserFault excepted, which is -EFAULT to the program.  Raises ValueError for a number that is
        taken or not in the range."""
        if not USER_FIRST <= number <= USER_LAST:
            raise ValueError(f"call number {number:#x} is not within {USER_FIRST:#x} to {USER_LAST:#x}")
        if number in self.native: raise ValueError(f"call number {number:#x} is defined already")
        self._define(number, call)

    def _define(self, number: int, call: Callable[..., int]) -> None:
        def serve(t: int, *arguments: int) -> int:
            try:
                return call(self.threads[t], *arguments)
            except UserFault:
                return -EFAULT

        self.native[number] = (serve, 6)

    def serve_host_return(self, call: Callable[..., int]) -> None:
        """``call`` is told of functions that have returned to the host (``hv.function_call``)."""
        if HOST_RETURN not in self.native: self._define(HOST_RETURN, call)

    def foreign_call(self, thread: Thread, number: int) -> int | Operation:
        """A call that is not the kernel's own: the personality's, or nobody's."""
        personality = thread.process.personality
        if personality is not None and number < NATIVE_FIRST: return personality.syscall(thread, number)
        counted = number in self.unknown_calls or len(self.unknown_calls) < MOST_UNKNOWN
        self.unknown_calls[number if counted else OTHER] += 1
        return -ENOSYS

    # Threads: their registers, blocking and waking, for personalities and the events they wait for.

    def add_thread(self, process: Process, t: int, rip: int, rsp: int, rdi: int = 0, fs_base: int = 0) -> Thread:
        """The registers that the kernel's new thread t begins with."""
        made = self.threads[t] = Thread(self, process, t, rip, rsp, rdi, fs_base)
        return made

    def block(self, blocked: Thread) -> None:
        """See Thread.block."""
        self.step(scheduler.thread_block, blocked.id)

    def wake(self, blocked: Thread, result: int) -> None:
        """See Thread.wake."""
        if blocked.gone: return
        if self.step(scheduler.thread_wake, blocked.id) != 0: return
        if result == RETRY: blocked.retry = True
        elif result != BLOCKED: self.life.thread_woken(blocked.id, result)

    def exit_thread(self, ending: Thread, status: int) -> None:
        """See Thread.exit."""
        self.system.thread_exit(ending.id, status & 0xFF)

    # vCPUs.

    def quiesce(self) -> None:
        """Brings every vCPU out of its guest.  Hold the big lock: as long as it is held they stay out."""
        for core in self.cores:
            self.bring_out(core)

    def bring_out(self, core: Core) -> None:
        """Brings the vCPU that a core runs out of its guest.  Hold the big lock."""
        vcpu = core.in_guest
        while core.in_guest is vcpu and vcpu is not None:
            vcpu.kick()
            time.sleep(0)

    def recycle_tables(self) -> None:
        """Makes freed page-table frames usable again, if enough have come together.  Hold the big lock."""
        if not self.frames.recycle_needed(): return
        self.quiesce()
        self.frames.recycle()

    # Programs.

    def spawn(
        self,
        image: Image,
        argv: Sequence[bytes],
        env: Sequence[bytes] = (),
        *,
        name: str = "",
        personality: Personality | None = None,
        output: int = -1,
        start: bool = True,
        container: int = 0,
        handles: Sequence[Handle] = (),
        devices: Mapping[str, LentDevice] = NO_DEVICES,
    ) -> Process:
        """Loads a program into a new process of a container, by default the root, with handles to endpoints, and to
        devices by the environment variables that tell of them; starts it unless ``start`` is false.

        Raises OutOfMemory, ArgumentsTooLong, BadElf (the file changed under us), what stopped the machine, and
        ValueError for a container that there is not or handles that cannot be given.
        """
        with self.lock:
            self._must_be_open()
            s = self.system.spawn(container or self.kernel.root)
            if s == -ENOMEM: raise OutOfMemory("no memory for another process")
            if s < 0: raise ValueError(f"there is no container {container}")
            process = self.processes[s] = Process(self, s, name or image.name, image, personality)
            process.output = output
            try:
                if handles: env = [*env, *hand_out(self, s, handles)]
                for name, lent in devices.items(): env = [*env, f"{name}={self.devices.give(lent, s, name)}".encode()]
                rsp = load(self, process, image, argv, env)
                if personality is not None: personality.attach(process, image, argv, env)
                if start: self.start(process, image.entry, rsp)
            except BaseException:
                if self.failure is None:
                    if process.status is None:
                        self.system.end(s, 127)
                        self.system.operations.drain()
                    self.system.collect(s)
                raise
            process.entry = (image.entry, rsp)
            self.programs += 1
            return process

    def add_device(self, device: Device, container: int = 0) -> LentDevice:
        """Lends a device to a container, by default the root.  The machine closes it.  Raises OutOfMemory, and
        ValueError for a container that there is not."""
        with self.lock:
            self._must_be_open()
            return self.devices.add(device, container or self.kernel.root)

    def start(self, process: Process, rip: int, rsp: int, *, rdi: int = 0, fs_base: int = 0) -> Thread:
        """Starts a thread of a process at ``rip``.  Hold the big lock.  Raises OutOfMemory."""
        started = process.create_thread(rip, rsp, rdi=rdi, fs_base=fs_base)
        if isinstance(started, int): raise OutOfMemory(f"{process.name}: no memory for a thread")
        self.start_cores()
        return started

    @property
    def running(self) -> bool:
        """The cores run: what is to be gone on with, they do."""
        return self._running

    def start_cores(self) -> None:
        """There is something to run."""
        if self._running: return
        self._running = True
        for core in self.cores:
            core.start()

    def wait(self, process: Process, timeout: float | None = None) -> int:
        """See Process.wait."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            # Those it started end with it, a little later.
            while process.status is None or self.life.descendants(process):
                self.raise_failure()
                if process.status is None and self.kernel.process[process.id].state == NEW:
                    raise ValueError(f"{process.name} was never started")
                if self.stuck():
                    self.end_process(process, 134, "deadlock: every thread waits for another")
                    continue
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0: raise TimeoutError(f"{process.name} still runs after {timeout} s")
                self.lock.wait(left)
            self.raise_failure()
            k = self.kernel
            if k.process.get(process.id) is not None and k.process[process.id].hosted:
                self.system.collect(process.id)
            return process.status

    def stuck(self) -> bool:
        """No core has anything to run, and nothing is going to happen."""
        if not self._running or self.stopping or self.events.pending(): return False
        if self.system.operations.orphans: return False
        return all(core.idle and self.kernel.core[core.index].head == 0 for core in self.cores)

    # Ends of programs.

    def kill_for_fault(self, culprit: Thread, fault: Fault) -> None:
        """A fault that nobody repaired ends the process, with status 128 + the signal Linux would send."""
        from hv.ending import fault_reason
        from hv.report import signal_of

        self.end_process(culprit.process, 128 + signal_of(fault.vector), fault_reason(fault), culprit)

    def crash(self, culprit: Thread, vcpu: Engine) -> None:
        """The vCPU itself gave up: the program ends.  Its core retires the vCPU."""
        self.end_process(culprit.process, 134, f"the virtual CPU failed: {vcpu.crash_reason}", culprit)

    def stray_access(self, culprit: Thread, vcpu: Engine) -> None:
        """An access to guest-physical memory that nothing backs; page tables never lead there.  Or one to a device that
        raised an exception, which stops the machine."""
        failure, self.devices.registers.failure = self.devices.registers.failure, None
        if failure is not None: raise failure
        self.end_process(culprit.process, 135, f"access to unbacked memory at {vcpu.mmio_address:#x}", culprit)

    def end_process(self, process: Process, status: int, reason: str, culprit: Thread | None = None) -> None:
        """Ends a process with a report: nothing of it runs from now on, its memory goes later.  No effect if it is
        ending.  Hold the big lock."""
        if not process.alive: return
        from hv.ending import take_report

        process.report = take_report(self, process, reason, status, culprit)
        self.system.end(process.id, status)
        if not self._running: self.system.operations.drain()  # no core does it

    # The machine as a whole.

    def fail(self, error: BaseException) -> None:
        """Stops everything: a check failed, or something in here did.  Not with the big lock held."""
        with self.lock:
            self.stop(error)

    def stop(self, error: BaseException) -> None:
        """As ``fail``, with the big lock held: no vCPU runs from now on."""
        if self.failure is None: self.failure = error
        self._halt()

    def _halt(self) -> None:
        self.stopping = True
        for core in self.cores:
            vcpu = core.in_guest
            if vcpu is not None: vcpu.kick()
        self.lock.notify_all()

    def raise_failure(self) -> None:
        error = self.failure
        if error is None: return
        if isinstance(error, CheckFailed | StoppedByObserver): raise error
        raise MachineFailed(f"the machine stopped: {error!r}") from error

    def _must_be_open(self) -> None:
        self.raise_failure()
        if self._closed: raise MachineFailed("the machine was closed")

    def audit(self) -> int:
        """Checks the whole state, the page tables' bytes and the CPU's own walk of them (``hv.audit``).  Takes the big
        lock; returns how many comparisons were made, raises CheckFailed."""
        from hv.audit import audit

        with self.lock:
            self._must_be_open()
            self.quiesce()
            return audit(self)

    def exits(self) -> int:
        """Exits from the guest to this process so far."""
        return sum(core.exits for core in self.cores)

    def statistics(self) -> dict[str, Any]:
        """Counts since the start, and what the machine holds now (``hv.statistics``).  Hold the big lock."""
        from hv.statistics import statistics

        return statistics(self)

    def close(self) -> None:
        """Ends all programs and gives everything back.  May be called again.  Raises CheckFailed, with everything given
        back, where a check does not hold at the end."""
        self.lock.refuse_cores("closing the machine")
        with self.lock:
            if self._closed: return
            self._closed = True
            self._halt()
        for core in self.cores:
            core.join()
        self.events.close()
        try:
            with self.lock:
                self._end_programs()
        finally:
            self._give_back()

    def _end_programs(self) -> None:
        try:
            if self.failure is not None: return
            for process in list(self.processes.values()):
                self.system.end(process.id, KILLED)
            for container in list(self.containers.values()):
                if not container.gone: self.system.close_container(container.id)
            self.system.operations.drain()
            if self.checker.level == "full": self.checker.audit()
        except BaseException as error:
            self.failure = error  # for those who still wait for a program
            raise
        finally:
            for process in list(self.processes.values()):
                if process.personality is not None: process.personality.process_exited(process)
            self.lock.notify_all()

    def _give_back(self) -> None:
        self.vcpus.close()
        self.vm.close()
        self.devices.close()
        self.gate.close()
        self.frames.close()
        self.memory.close()
        self.kvm.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


__all__ = ["MAX_CORES", "OTHER", "Machine", "MachineFailed", "OutOfMemory"]
