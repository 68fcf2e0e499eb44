"""What this personality needs of the machine below it: processes, threads, their memory, and events.

Structural types, not imported when the program runs: the hypervisor's own classes satisfy them, and so does the double
that the tests use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hv.engine import Context
from kernel.calls.operations import Operation


class Registers(Protocol):
    """The general registers of a stopped thread, as the program will see them when it goes on."""

    rax: int
    rbx: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    rbp: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int


class UserMemory(Protocol):
    """A program's memory with the program's own rights: each call raises UserFault where the program would fault."""

    def read(self, va: int, length: int, /) -> bytes: ...
    def write(self, va: int, data: bytes, /) -> None: ...
    def views(self, va: int, length: int, /, *, write: bool) -> list[memoryview]: ...
    def loader_views(self, va: int, length: int, /) -> list[memoryview]:
        """As views, whatever the permissions."""


class PageRange(Protocol):
    """Pages that the loader maps for an image."""

    @property
    def address(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def permissions(self) -> int: ...


class Image(Protocol):
    """The program that was loaded: its file's name, and its pages."""

    @property
    def name(self) -> str: ...
    @property
    def end(self) -> int: ...
    def pages(self) -> Sequence[PageRange]: ...


class Cancellable(Protocol):
    """A timer or a watch that has not fired yet."""

    def cancel(self) -> None: ...


class Events(Protocol):
    """Calls back with the machine's big lock held."""

    def at(self, deadline: float, callback: Callable[[], object], /) -> Cancellable: ...
    def when_ready(self, fd: int, direction: str, callback: Callable[[], object], /) -> Cancellable: ...


class Engine(Protocol):
    """The vCPU that holds a stopped thread's registers, all of them."""

    def save(self) -> Context: ...
    def load(self, context: Context, cr3: int, /) -> None: ...


class System(Protocol):
    """The kernel's native calls."""

    def thread_yield(self, t: int, /) -> int: ...


class Machine(Protocol):
    @property
    def system(self) -> System: ...
    @property
    def frames(self) -> Any:
        """Page-table frames: ``gpa(root)`` is what CR3 holds."""

    @property
    def kernel(self) -> Any: ...
    @property
    def events(self) -> Events: ...
    @property
    def ticks(self) -> dict[int, Callable[[Any], None]]:
        """By process id: called when one of its threads was stopped between two instructions."""

    def end_process(self, process: Any, status: int, reason: str, culprit: Any = None, /) -> None:
        """Ends a process with a report."""


class Process(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def memory(self) -> UserMemory: ...
    @property
    def threads(self) -> Sequence[Thread]: ...
    def begin_map(self, va: int, length: int, permissions: int, /) -> int | Operation: ...
    def begin_unmap(self, va: int, length: int, /) -> int | Operation: ...
    def begin_protect(self, va: int, length: int, permissions: int, /) -> int | Operation: ...
    def map(self, va: int, length: int, permissions: int, /) -> int: ...
    def unmap(self, va: int, length: int, /) -> int: ...
    def protect(self, va: int, length: int, permissions: int, /) -> int: ...
    def permissions(self, va: int, /) -> int | None: ...
    def create_thread(self, rip: int, rsp: int, *, rdi: int = 0, fs_base: int = 0) -> Thread | int: ...
    def exit(self, status: int, /) -> None: ...


class Thread(Protocol):
    rip: int
    rsp: int
    rflags: int
    fs_base: int
    gs_base: int

    @property
    def id(self) -> int: ...
    @property
    def process(self) -> Process: ...
    @property
    def regs(self) -> Registers: ...
    @property
    def machine(self) -> Machine: ...
    @property
    def engine(self) -> Engine: ...
    def exit(self, status: int = 0, /) -> None: ...
    def block(self) -> None: ...
    def kick(self) -> None: ...
    def wake(self, result: int, /) -> None: ...


__all__ = [
    "Cancellable", "Engine", "Events", "Image", "Machine", "PageRange", "Process", "Registers", "System", "Thread",
    "UserMemory",
]  # fmt: skip
