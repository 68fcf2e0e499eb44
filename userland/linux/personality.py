"""The Linux x86-64 personality: system calls below 0x1000 of static glibc and musl programs.

It holds files, signals and clocks itself and changes memory, threads and processes only through the machine.  A call
it does not serve returns ENOSYS and is counted by name; no exception leaves ``syscall``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hv.personality import BLOCKED, UserFault
from kernel.calls.operations import Operation, SpaceBusy
from userland.linux.calls import TABLE_SIZE, Handler, resolve
from userland.linux.errors import EFAULT, EINTR, EIO, ENOSYS, LinuxError
from userland.linux.numbers import call_name
from userland.linux.task import LinuxProcess, Task

if TYPE_CHECKING:
    from hv.personality import Fault
    from userland.linux.hypervisor import Image, Process, Thread
    from userland.linux.paths import Resolver
    from userland.linux.policy import FilePolicy

_FIRST_PID: Final = 100
_INTERNAL: Final = 128 + 6
"""Status of a program that a mistake of this personality ends."""


class LinuxPersonality:
    """Serves the Linux processes of one machine.

    ``files`` says which host files programs reach (None: none); ``stdin``, ``stdout`` and ``stderr`` are host
    descriptors, never closed here; ``cwd`` is where programs start, an absolute path (default: the host's current
    directory; ``/`` where that is not granted).  ``memory_limit``: bytes the machine can have, 0 if unknown.  ``uid``
    and ``gid`` are what programs are told they are, by default the host's own.
    """

    def __init__(
        self,
        *,
        files: FilePolicy | None = None,
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
        cwd: str | None = None,
        hostname: str = "aerostat",
        memory_limit: int = 0,
        uid: int | None = None,
        gid: int | None = None,
        cores: int = 1,
    ) -> None:
        self._files = files
        self.streams = (stdin, stdout, stderr)
        self.cwd = os.fsencode(cwd if cwd is not None else os.getcwd())
        self.hostname = hostname.encode()[:64]
        self.memory_limit = memory_limit
        self.uid = os.getuid() if uid is None else uid
        self.gid = os.getgid() if gid is None else gid
        self.cores: int = cores
        # Reading the mask means setting it: to the strictest for that moment.
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        self.unknown: dict[str, int] = {}
        """How often programs made calls that are not served, by name."""
        self.internal_errors: dict[str, int] = {}
        """How often a call failed by a mistake of this personality (the program got EIO), by name."""
        self.counts = [0] * TABLE_SIZE
        """How often each call number was made."""
        self._debug = bool(os.environ.get("AEROSTAT_DEBUG"))
        self._table: list[tuple[Handler, int] | None] = [None] * TABLE_SIZE
        self._processes: dict[Process, LinuxProcess] = {}
        self._tasks: dict[Thread, Task] = {}
        self._next_id = _FIRST_PID
        self._resolver: Resolver | None = None

    @property
    def files(self) -> FilePolicy:
        """The grants; an empty policy if none was given."""
        if self._files is None:
            from userland.linux.policy import FilePolicy

            self._files = FilePolicy()
        return self._files

    @property
    def resolver(self) -> Resolver:
        """Resolves the paths of this machine's programs."""
        if self._resolver is None:
            from userland.linux.paths import Resolver
            from userland.linux.virtual_files import add_virtual_files

            add_virtual_files(self.files)
            self._resolver = Resolver(self.files.root)
        return self._resolver

    def new_id(self) -> int:
        """A process or thread id that was not given before."""
        self._next_id += 1
        return self._next_id - 1

    def attach(self, process: Process, image: Image, argv: list[bytes], env: list[bytes]) -> None:
        """Makes a loaded process a Linux one, before its first thread runs."""
        from userland.linux.streams import standard_stream

        executable = os.path.abspath(os.fsencode(image.name or "program"))
        linux = LinuxProcess(self, process, self.new_id(), executable, list(argv))
        linux.space.adopt(image)
        stdin, stdout, stderr = self.streams
        for host_fd, writable in ((stdin, False), (stdout, True), (stderr, True)):
            linux.files.add(standard_stream(host_fd, writable=writable))
        self._processes[process] = linux

    def process_exited(self, process: Process) -> None:
        """Lets go of what the process held of the host."""
        linux = self._processes.pop(process, None)
        if linux is None:
            return
        for task in linux.tasks.values():
            self._tasks.pop(task.thread, None)
        linux.end()

    def adopt(self, linux: LinuxProcess, thread: Thread) -> Task:
        """The Linux side of a thread; the first one of a process has the process's id."""
        tid = self.new_id() if linux.tasks else linux.pid
        task = Task(linux, thread, tid)
        linux.tasks[tid] = task
        self._tasks[thread] = task
        return task

    def forget(self, task: Task) -> None:
        """The thread has ended."""
        self._tasks.pop(task.thread, None)
        # The process's own id stays taken: signals to the process are sent to it.
        task.process.tasks.pop(task.tid, None)

    def _task(self, thread: Thread) -> Task:
        return self.adopt(self._processes[thread.process], thread)

    def syscall(self, thread: Thread, number: int) -> int | Operation:
        """Serves one call: the result for rax, BLOCKED when rax is not to be written, or what brings the call to its
        end."""
        task = self._tasks.get(thread) or self._task(thread)
        try:
            entry = self._table[number] if number < TABLE_SIZE else None
            if entry is None:
                entry = self._resolve(number)
                if entry is None:
                    return self._unknown(number)
            self.counts[number] += 1
            if task.wait is not None and task.wait.interrupted:
                return self._interrupted(task, number)
            handler, arity = entry
            regs = thread.regs
            if arity == 0:
                result = handler(task)
            elif arity == 1:
                result = handler(task, regs.rdi)
            elif arity == 2:
                result = handler(task, regs.rdi, regs.rsi)
            elif arity == 3:
                result = handler(task, regs.rdi, regs.rsi, regs.rdx)
            elif arity == 4:
                result = handler(task, regs.rdi, regs.rsi, regs.rdx, regs.r10)
            elif arity == 5:
                result = handler(task, regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8)
            else:
                result = handler(task, regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9)
        except SpaceBusy:
            self.counts[number] -= 1  # it is made again
            raise
        except UserFault:
            result = -EFAULT
        except LinuxError as error:
            result = -error.errno
        except OSError as error:
            result = -(error.errno or EIO)
        except Exception:
            if self._debug:
                raise
            self._count_error(call_name(number))
            result = -EIO
        if task.attention:
            if isinstance(result, int):
                return self._attend(task, number, result)
            self.stop(task)  # before it runs on, the signal is delivered
        return result

    def mistake_in_memory_call(self) -> None:
        """To be called where an exception is handled that a step of a memory call has raised."""
        if self._debug:
            raise
        self._count_error("memory call")

    def _count_error(self, name: str) -> None:
        self.internal_errors[name] = self.internal_errors.get(name, 0) + 1

    def _resolve(self, number: int) -> tuple[Handler, int] | None:
        entry = resolve(number)
        if entry is not None:
            self._table[number] = entry
        return entry

    def _unknown(self, number: int) -> int:
        name = call_name(number)
        self.unknown[name] = self.unknown.get(name, 0) + 1
        return -ENOSYS

    def _interrupted(self, task: Task, number: int) -> int:
        """A blocked call whose wait a signal ended."""
        wait, address = task.wait, task.leftover
        assert wait is not None
        task.awaited = task.leftover = 0
        if address and wait.deadline is not None:
            from userland.linux.clock_calls import write_rest

            try:
                write_rest(task, address, wait.deadline)
            except UserFault:
                return self._attend(task, number, -EFAULT)
        return self._attend(task, number, wait.progress or -EINTR)

    def stop(self, task: Task) -> None:
        """Brings a running thread out of the guest, to take a signal."""
        machine = task.thread.machine
        machine.ticks[task.process.process.id] = self.preempted
        task.thread.kick()

    def _attend(self, task: Task, number: int, result: int) -> int:
        """A wait has begun or ended, or a signal is pending."""
        if task.ended or task.process.ended or (result == BLOCKED and task.wait is not None):
            return BLOCKED
        if task.wait is not None:
            task.wait.disarm()
            task.wait = None
        task.attention = False
        if task.pending or task.process.pending or task.restore_mask is not None or result == -EINTR:
            return self._deliver(task, number, result)
        return result

    def _deliver(self, task: Task, number: int, result: int) -> int:
        from userland.linux.signals import deliver

        try:
            return deliver(task, number, result)
        except Exception:
            if self._debug:
                raise
            # The registers may be half a handler's: the program cannot go on.
            self._count_error("signal delivery")
            task.process.terminate(_INTERNAL)
            return BLOCKED

    def preempted(self, thread: Thread) -> None:
        """The thread was stopped between two instructions: a pending signal gets its handler's frame now."""
        task = self._tasks.get(thread)
        if task is not None and task.attention and task.wait is None:
            task.attention = False
            self._deliver(task, -1, BLOCKED)

    def fault(self, thread: Thread, fault: Fault) -> bool:
        """An exception: gives promised memory or runs the program's own handler; False: the program is to be killed."""
        task = self._tasks.get(thread) or self._task(thread)
        from userland.linux.faults import handle_fault

        try:
            return handle_fault(task, fault)
        except Exception:
            if self._debug:
                raise
            self._count_error("page fault" if fault.vector == 14 else "exception")
            return False


__all__ = ["LinuxPersonality"]
