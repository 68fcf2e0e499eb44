"""A machine without a CPU: the part of hv's interface that a personality uses, over plain dictionaries.

Pages are 4 KiB or 2 MiB as the kernel makes them, permissions are honoured, a page limit can be set.  A test plays the
program: it sets registers and asks the personality as a core would.
"""

from __future__ import annotations

import os
import select
import time
from collections import defaultdict
from collections.abc import Callable

from abi.layout import BLOCK_SIZE, PAGE_SIZE, READ, STACK_TOP, USER_END, USER_MIN, WRITE
from hv.engine import Context
from hv.personality import BLOCKED, RETRY, Fault, UserFault
from kernel.calls.operations import Operation, Steps
from userland.linux.personality import LinuxPersonality

EFAULT, EINVAL, EEXIST, ENOMEM, ESRCH = 14, 22, 17, 12, 3
IMAGE_START = 0x40_0000
IMAGE_END = 0x41_0000


class FakePage:
    """A 4 KiB or 2 MiB page."""

    def __init__(self, size: int, permissions: int) -> None:
        self.bytes = bytearray(size)
        self.permissions = permissions


class FakeMemory:
    def __init__(self, process: FakeProcess) -> None:
        self._process = process

    def _views(self, va: int, length: int, need: int) -> list[memoryview]:
        if va < 0 or length < 0 or va + length > USER_END:
            raise UserFault(va)
        views: list[memoryview] = []
        end = va + length
        while va < end:
            base, page = self._process.find(va)
            if page is None or page.permissions & need != need:
                raise UserFault(va)
            count = min(base + len(page.bytes), end) - va
            views.append(memoryview(page.bytes)[va - base : va - base + count])
            va += count
        return views

    def views(self, va: int, length: int, *, write: bool) -> list[memoryview]:
        return self._views(va, length, WRITE if write else READ)

    def loader_views(self, va: int, length: int) -> list[memoryview]:
        return self._views(va, length, 0)

    def read(self, va: int, length: int) -> bytes:
        return b"".join(self.views(va, length, write=False))

    def write(self, va: int, data: bytes) -> None:
        for view in self.views(va, len(data), write=True):
            view[:] = data[: len(view)]
            data = data[len(view) :]


class FakeProcess:
    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        self.id = len(machine.processes) + 1
        self.small: dict[int, FakePage] = {}
        self.blocks: dict[int, FakePage] = {}
        self.memory = FakeMemory(self)
        self.threads: list[FakeThread] = []
        self.status: int | None = None
        self.maps = 0
        self.reason = ""

    def find(self, va: int) -> tuple[int, FakePage | None]:
        base = va & -PAGE_SIZE
        page = self.small.get(base)
        if page is None:
            base = va & -BLOCK_SIZE
            page = self.blocks.get(base)
        return base, page

    def _pieces(self, va: int, length: int) -> list[tuple[int, int]]:
        pieces = []
        end = va + length
        while va < end:
            size = BLOCK_SIZE if va % BLOCK_SIZE == 0 and va + BLOCK_SIZE <= end else PAGE_SIZE
            pieces.append((va, size))
            va += size
        return pieces

    @staticmethod
    def _bad(va: int, length: int) -> bool:
        return bool(va % PAGE_SIZE or length % PAGE_SIZE or length <= 0 or va < USER_MIN or va + length > USER_END)

    def map(self, va: int, length: int, permissions: int) -> int:
        if self._bad(va, length):
            return -EINVAL
        if any(self.find(page)[1] for page in range(va, va + length, PAGE_SIZE)):
            return -EEXIST
        if self.machine.used() + length > self.machine.limit:
            return -ENOMEM
        self.maps += 1
        for start, size in self._pieces(va, length):
            (self.blocks if size == BLOCK_SIZE else self.small)[start] = FakePage(size, permissions)
        return 0

    def _whole(self, va: int, length: int) -> list[tuple[int, FakePage]] | int:
        if self._bad(va, length):
            return -EINVAL
        found = {}
        for address in range(va, va + length, PAGE_SIZE):
            base, page = self.find(address)
            if page is None:
                return -EFAULT
            if base < va or base + len(page.bytes) > va + length:
                return -EINVAL
            found[base] = page
        return list(found.items())

    def unmap(self, va: int, length: int) -> int:
        found = self._whole(va, length)
        if isinstance(found, int):
            return found
        for base, page in found:
            del (self.blocks if len(page.bytes) == BLOCK_SIZE else self.small)[base]
        return 0

    def protect(self, va: int, length: int, permissions: int) -> int:
        found = self._whole(va, length)
        if isinstance(found, int):
            return found
        for _, page in found:
            page.permissions = permissions
        return 0

    def begin_map(self, va: int, length: int, permissions: int) -> int | Operation:
        return self._in_steps(self.map(va, length, permissions), length)

    def begin_unmap(self, va: int, length: int) -> int | Operation:
        return self._page_by_page(self.unmap, va, length)

    def begin_protect(self, va: int, length: int, permissions: int) -> int | Operation:
        return self._page_by_page(self.protect, va, length, permissions)

    def _page_by_page(self, change: Callable[..., int], va: int, length: int, *how: int) -> int | Operation:
        """What is found wrong is so at once; else a page or block is a step."""
        whole = self._whole(va, length)
        if isinstance(whole, int) or len(whole) == 1:
            return change(va, length, *how)

        def steps(this: Operation) -> Steps:
            for base, page in whole:
                if self.status is not None:
                    return -ESRCH
                assert change(base, len(page.bytes), *how) == 0
                yield None
            return 0

        return Operation(steps)

    @staticmethod
    def _in_steps(result: int, length: int) -> int | Operation:
        """Done already, but told only after a step for each page."""
        def wait(this: Operation) -> Steps:
            for _ in range(length // PAGE_SIZE):
                yield None
            return result

        return Operation(wait) if length > PAGE_SIZE and result == 0 else result

    def permissions(self, va: int) -> int | None:
        page = self.find(va)[1]
        return page.permissions if page else None

    def create_thread(self, rip: int, rsp: int, *, rdi: int = 0, fs_base: int = 0) -> FakeThread | int:
        thread = FakeThread(self, rip, rsp)
        thread.regs.rdi = rdi
        thread.fs_base = fs_base
        return thread

    def exit(self, status: int) -> None:
        if self.status is None:
            self.status = status
            self.threads.clear()
            self.small.clear()
            self.blocks.clear()
            self.machine.personality.process_exited(self)


class FakeRegisters:
    def __init__(self) -> None:
        self.rax = self.rbx = self.rcx = self.rdx = self.rsi = self.rdi = self.rbp = 0
        self.r8 = self.r9 = self.r10 = self.r11 = self.r12 = self.r13 = self.r14 = self.r15 = 0


class FakeEngine:
    """The extended registers alone."""

    def __init__(self) -> None:
        self.extended = b"initial"

    def save(self) -> Context:
        return Context(b"", b"", self.extended)

    def load(self, context: Context, cr3: int) -> None:
        self.extended = context.extended


class FakeThread:
    def __init__(self, process: FakeProcess, rip: int = IMAGE_START, rsp: int = STACK_TOP - 4096) -> None:
        self.process = process
        self.machine = process.machine
        self.id = id(self)
        self.regs = FakeRegisters()
        self.rip = rip
        self.rsp = rsp
        self.rflags = 0x202
        self.fs_base = 0
        self.gs_base = 0
        self.blocked = False
        self.retry = False
        self.engine = FakeEngine()
        process.threads.append(self)

    def exit(self, status: int = 0) -> None:
        self.process.threads.remove(self)
        if not self.process.threads:
            self.process.exit(status)

    def block(self) -> None:
        assert not self.blocked
        self.blocked = True

    def wake(self, result: int) -> None:
        if not self.blocked:
            return
        self.blocked = False
        if result == RETRY:
            self.retry = True
        else:
            self.regs.rax = result & 0xFFFF_FFFF_FFFF_FFFF

    def kick(self) -> None:
        pass

    # What a program and its core do.

    def call(self, number: int, *arguments: int) -> int:
        """Makes a system call and returns its result as a signed number, or BLOCKED."""
        regs = self.regs
        for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments, strict=False):
            setattr(regs, name, value & 0xFFFF_FFFF_FFFF_FFFF)
        regs.rax = number
        return self.dispatch()

    def dispatch(self) -> int:
        """What the core does after a system call, and after a wake with RETRY."""
        self.retry = False
        result = self.machine.personality.syscall(self, self.regs.rax)
        if isinstance(result, Operation):
            result = result.complete()
        if result == BLOCKED:
            return BLOCKED
        assert -4096 < result < 1 << 63, hex(result)
        self.regs.rax = result & 0xFFFF_FFFF_FFFF_FFFF
        return result

    def settle(self) -> int:
        """Lets a blocked call go on until it has a result; events are waited for."""
        while True:
            if self.retry:
                result = self.dispatch()
                if result != BLOCKED or not self.blocked:
                    return result
            elif self.blocked:
                self.machine.events.run_one()
            else:
                rax = self.regs.rax
                return rax - (1 << 64) if rax >> 63 else rax

    def touch(self, address: int, *, write: bool = False, fetch: bool = False) -> bool:
        """A load, store or fetch: False when the program would be killed."""
        need = WRITE if write else 4 if fetch else READ
        for _ in range(3):
            permissions = self.process.permissions(address)
            if permissions is not None and permissions & need:
                return True
            code = 4 | (permissions is not None) | 2 * write | 16 * fetch
            rip = self.rip
            if not self.machine.personality.fault(self, Fault(14, code, address, rip)):
                return False
            if self.rip != rip:
                return True
        raise AssertionError("the same access faults for ever")


class FakeEvent:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback
        self.deadline = 0.0
        self.fd = -1
        self.events = 0

    def cancel(self) -> None:
        self.callback = None


class FakeEvents:
    def __init__(self) -> None:
        self.waiting: list[FakeEvent] = []

    def at(self, deadline: float, callback: Callable[[], object]) -> FakeEvent:
        event = FakeEvent(callback)
        event.deadline = deadline
        self.waiting.append(event)
        return event

    def when_ready(self, fd: int, direction: str, callback: Callable[[], object]) -> FakeEvent:
        event = FakeEvent(callback)
        event.fd = fd
        event.events = select.POLLIN if direction == "r" else select.POLLOUT
        self.waiting.append(event)
        return event

    def live(self) -> list[FakeEvent]:
        self.waiting = [event for event in self.waiting if event.callback]
        return self.waiting

    def run_one(self) -> None:
        """Waits for the first event and calls back."""
        events = self.live()
        assert events, "a thread waits for nothing"
        timers = sorted((event for event in events if event.fd < 0), key=lambda event: event.deadline)
        poller = select.poll()
        for event in events:
            if event.fd >= 0:
                poller.register(event.fd, event.events)
        timeout = max(timers[0].deadline - time.monotonic(), 0) * 1000 if timers else 5000
        ready = {fd for fd, _ in poller.poll(timeout)}
        due = [event for event in events if event.fd in ready] or timers[:1]
        assert due, "nothing happened"
        callback, due[0].callback = due[0].callback, None
        assert callback is not None
        callback()


class FakeSystem:
    def thread_yield(self, t: int) -> int:
        return 0


class FakeFrames:
    def gpa(self, root: int) -> int:
        return 0


class FakeKernel:
    """Knows the root tables of processes, which nothing here needs."""

    def __init__(self) -> None:
        self.process: dict[int, FakeKernel] = defaultdict(FakeKernel)
        self.root = 0


class FakeRange:
    address = IMAGE_START
    length = IMAGE_END - IMAGE_START
    permissions = READ | WRITE


class FakeImage:
    name = "/bin/program"
    end = IMAGE_END

    def pages(self) -> list[FakeRange]:
        return [FakeRange()]


class FakeMachine:
    """A machine with one process, whose image is 64 KiB of readable and writable memory at ``IMAGE_START``."""

    def __init__(self, personality: LinuxPersonality, *, limit: int = 1 << 30) -> None:
        self.personality = personality
        self.limit = limit
        self.events = FakeEvents()
        self.processes: list[FakeProcess] = []
        self.ticks: dict[int, Callable[[FakeThread], None]] = {}
        self.system = FakeSystem()
        self.frames = FakeFrames()
        self.kernel = FakeKernel()
        self.process = self.spawn()
        self.thread = self.process.threads[0]

    def used(self) -> int:
        return sum(
            PAGE_SIZE * len(process.small) + BLOCK_SIZE * len(process.blocks) for process in self.processes
        )

    def spawn(self) -> FakeProcess:
        """Another process with the same image."""
        process = FakeProcess(self)
        self.processes.append(process)
        FakeThread(process)
        assert process.map(IMAGE_START, IMAGE_END - IMAGE_START, READ | WRITE) == 0
        assert process.map(STACK_TOP - (256 << 10), 256 << 10, READ | WRITE) == 0
        self.personality.attach(process, FakeImage(), [b"program"], [])
        return process

    def end_process(self, process: FakeProcess, status: int, reason: str, culprit: FakeThread | None = None) -> None:
        process.reason = reason
        process.exit(status)

    def close(self) -> None:
        for process in self.processes:
            process.exit(0)

    def __enter__(self) -> FakeMachine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_descriptors() -> set[str]:
    """The descriptors this process has open, to see that none is leaked."""
    return set(os.listdir("/proc/self/fd"))
