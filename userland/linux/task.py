"""What Linux keeps for a process and for each of its threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.layout import USER_END
from hv.personality import BLOCKED, RETRY, UserFault
from userland.linux.descriptors import DescriptorTable
from userland.linux.errors import EINTR
from userland.linux.memory import AddressSpace
from userland.linux.user_access import UserAccess

if TYPE_CHECKING:
    from collections.abc import Iterable

    from userland.linux.futex import FutexWaiter
    from userland.linux.hypervisor import Cancellable, Process, Thread
    from userland.linux.paths import Place
    from userland.linux.personality import LinuxPersonality
    from userland.linux.signals import Action, Signal


class Wait:
    """Why a thread is blocked, and what its system call keeps until it is tried again."""

    __slots__ = ("deadline", "expired", "futex", "handles", "interrupted", "progress")

    def __init__(self) -> None:
        self.deadline: float | None = None
        """Monotonic seconds."""
        self.expired = False
        self.interrupted = False
        """A signal ended the wait: the call returns EINTR, or what it has done so far."""
        self.progress = 0
        """Bytes that earlier tries of a write have moved."""
        self.futex: FutexWaiter | None = None
        self.handles: list[Cancellable] = []

    def disarm(self) -> None:
        """Nothing will wake the thread any more."""
        handles, self.handles = self.handles, []
        for handle in handles:
            handle.cancel()
        if self.futex is not None:
            self.futex.leave()
            self.futex = None


class LinuxProcess:
    """One process: its address space, descriptors, working directory and signal actions."""

    def __init__(
        self, personality: LinuxPersonality, process: Process, pid: int, executable: bytes, arguments: list[bytes]
    ) -> None:
        self.personality = personality
        self.process = process
        self.pid = pid
        self.executable = executable
        self.arguments = arguments
        self.name = executable.rpartition(b"/")[2][:15]
        self.space = AddressSpace(process, limit=personality.memory_limit, mistake=personality.mistake_in_memory_call)
        self.memory = UserAccess(process, self.space)
        self.files = DescriptorTable()
        self.cwd: Place | None = None
        """None: where the personality starts programs, not looked up yet."""
        self.umask = personality.umask
        self.tasks: dict[int, Task] = {}
        self.actions: dict[int, Action] = {}
        self.pending: list[Signal] = []
        self.futexes: dict[int, list[FutexWaiter]] = {}
        self.alarm: Cancellable | None = None
        self.alarm_at = 0.0
        self.alarm_interval = 0.0
        self.ended = False
        self.killed_by = 0
        """The signal whose default action ended the process; 0: none."""
        self._terminals: list[tuple[int, list[object]]] = []

    def remember_terminal(self, fd: int) -> None:
        """Before the program changes a terminal's modes: they are set back when it ends."""
        import os
        import termios

        if not self._terminals:
            self._terminals.append((os.dup(fd), termios.tcgetattr(fd)))

    def terminate(self, status: int) -> None:
        """Ends the process with ``status`` (its low 8 bits)."""
        self.keep_shared()
        self.process.exit(status & 0xFF)

    def abort(self, status: int, reason: str, culprit: Task) -> None:
        """Ends the process with a report."""
        self.keep_shared()
        culprit.thread.machine.end_process(self.process, status, reason, culprit.thread)

    def keep_shared(self) -> None:
        """Writes what the process changed in shared file mappings into the files, as far as they take it."""
        self.space.work.complete()
        try:
            self.space.write_back(0, USER_END)
        except (OSError, UserFault):
            # The disk is full, say, or the program has unmapped the pages by a native call.
            pass

    def end(self) -> None:
        """Lets go of everything the host lent: files, timers, mappings.  Idempotent."""
        if self.ended:
            return
        self.ended = True
        if self.alarm is not None:
            self.alarm.cancel()
        for task in self.tasks.values():
            if task.wait is not None:
                task.wait.disarm()
                task.wait = None
        for fd, modes in self._terminals:
            import os
            import termios

            termios.tcsetattr(fd, termios.TCSADRAIN, modes)  # type: ignore[arg-type]
            os.close(fd)
        self.files.close_all()
        if self.cwd is not None:
            self.cwd.close()
            self.cwd = None
        self.space.close()


class Task:
    """One thread."""

    __slots__ = (
        "altstack", "attention", "awaited", "blocked", "clear_child_tid", "ended", "files", "floating", "leftover",
        "memory", "name", "pending", "process", "restore_mask", "robust_list", "thread", "tid", "wait",
    )  # fmt: skip

    def __init__(self, process: LinuxProcess, thread: Thread, tid: int) -> None:
        self.process = process
        self.thread = thread
        self.tid = tid
        self.memory = process.memory
        self.files = process.files
        self.name = process.name
        self.attention = False
        """Something is to be done before the thread goes on: a signal, or the end of a wait."""
        self.wait: Wait | None = None
        self.blocked = 0
        """Signal mask: bit n-1 for signal n."""
        self.pending: list[Signal] = []
        self.restore_mask: int | None = None
        """The mask to return to once a signal that sigsuspend or ppoll let through has been delivered."""
        self.altstack = (0, 0, 0)
        """Lowest address, flags, size of sigaltstack."""
        self.floating: list[tuple[int, bytes]] = []
        """Extended registers saved under the signal frames at these addresses."""
        self.awaited = 0
        """Signals that sigtimedwait waits for, although they are blocked."""
        self.leftover = 0
        """Where a sleep that a signal ends writes the rest of its time; 0: nowhere."""
        self.clear_child_tid = 0
        self.robust_list = 0
        self.ended = False

    def block_on(self, ready: Iterable[tuple[int, str]] = (), *, deadline: float | None = None) -> int:
        """Blocks the thread until a host descriptor is ready ("r" or "w"), the deadline (monotonic seconds), or a
        signal; the system call is then tried again from its start, with ``wait`` as it was left."""
        wait = self.wait
        if wait is None:
            if any(not self.blocked >> signal.number - 1 & 1 for signal in (*self.pending, *self.process.pending)):
                # It is to be delivered first.
                return -EINTR
            wait = self.wait = Wait()
            self.attention = True
        wait.deadline = deadline
        events = self.thread.machine.events
        for fd, direction in ready:
            wait.handles.append(events.when_ready(fd, direction, self.retry))
        if deadline is not None:
            wait.handles.append(events.at(deadline, self._expire))
        self.thread.block()
        return BLOCKED

    def retry(self) -> None:
        """The blocked system call is tried again."""
        if self.wait is not None:
            self.wait.disarm()
            self.thread.wake(RETRY)

    def finish(self, result: int) -> None:
        """The blocked system call has its result."""
        if self.wait is not None:
            self.wait.disarm()
            self.wait = None
            self.thread.wake(result)

    def _expire(self) -> None:
        if self.wait is not None:
            self.wait.expired = True
            self.retry()

    def send(self, number: int) -> None:
        """A signal to this thread from the system itself."""
        from userland.linux.signals import Signal, send_to_task

        send_to_task(self, Signal(number))

    def interrupt(self) -> None:
        """A signal has come: a blocked call ends; a running program is stopped to take it."""
        self.attention = True
        if self.wait is None:
            self.process.personality.stop(self)
        elif not self.wait.interrupted:
            self.wait.interrupted = True
            self.retry()


__all__ = ["LinuxProcess", "Task", "Wait"]
