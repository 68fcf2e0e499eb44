"""The seam behind which the CPU is: what the rest of the hypervisor asks of whatever executes a program's instructions.

``hv.vcpu.Vcpu`` is the one on KVM.  An emulated CPU over the same guest memory and page tables can take its place.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

SYSCALL: Final = 1
"""The program made a system call; the registers are the program's, ``rip`` is behind its ``syscall``."""
FAULT: Final = 2
"""An exception: ``vector``, ``error_code``, for page faults ``fault_address``; ``rip`` is at the instruction."""
PREEMPTED: Final = 3
"""A kick, the end of a time slice or a signal; the program's state is untouched."""
MMIO: Final = 4
"""An access to a guest-physical address that no memory backs; for reads, set ``mmio_data`` before the next run."""
CRASHED: Final = 5
"""The virtual CPU cannot go on; ``crash_reason`` says why.  A program cannot bring this about."""

TRAP_NAMES: Final = {SYSCALL: "syscall", FAULT: "fault", PREEMPTED: "preempted", MMIO: "mmio", CRASHED: "crashed"}

# Exception vectors that the layers above tell apart (Intel SDM vol. 3, table 6-1).
DIVIDE_ERROR: Final = 0
DEBUG: Final = 1
BREAKPOINT: Final = 3
INVALID_OPCODE: Final = 6
GENERAL_PROTECTION: Final = 13
PAGE_FAULT: Final = 14
ALIGNMENT_CHECK: Final = 17

# Error code of a page fault.
PAGE_FAULT_PRESENT: Final = 1
PAGE_FAULT_WRITE: Final = 2
PAGE_FAULT_USER: Final = 4
PAGE_FAULT_FETCH: Final = 16


REGISTERS: Final = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags",
)  # fmt: skip


class Registers(Protocol):
    """A program's general registers; unsigned 64-bit values, an OverflowError for others."""

    rax: int
    rbx: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    rsp: int
    rbp: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    rip: int
    rflags: int


class Context(NamedTuple):
    """All of a program thread's CPU state, in a form only the engine that made it reads."""

    registers: bytes
    segments: bytes
    extended: bytes


class Translation(NamedTuple):
    """What an address leads to, by the CPU's own page walk."""

    physical: int
    valid: bool
    writable: bool
    user: bool


class Engine(Protocol):
    """One virtual CPU.  One host thread at a time may use it; ``kick`` alone may come from any thread."""

    @property
    def regs(self) -> Registers: ...
    @property
    def vector(self) -> int: ...
    @property
    def error_code(self) -> int: ...
    @property
    def fault_address(self) -> int: ...
    @property
    def mmio_address(self) -> int: ...
    @property
    def mmio_length(self) -> int: ...
    @property
    def mmio_is_write(self) -> bool: ...
    @property
    def crash_reason(self) -> str: ...

    mmio_data: int
    rip: int
    rsp: int
    rflags: int
    fs_base: int
    gs_base: int

    def run(self) -> int:
        """Lets the program run until one of the traps above."""

    def deliver(self, receiver: Registers, badge: int, item: int, object: int, /) -> None:
        """Gives the program that has these registers the words of a message that this one has in its own, and badge,
        item and object besides (``abi.calls``).  Neither runs."""

    def start(self, cr3: int, rip: int, rsp: int, *, rdi: int = 0, fs_base: int = 0) -> None:
        """Becomes a new program thread; nothing of an earlier one is left."""

    def save(self) -> Context:
        """All state of the program thread, wherever it was stopped."""

    def load(self, context: Context, cr3: int) -> None:
        """Becomes the saved thread, in the address space of ``cr3``."""

    def kick(self) -> None:
        """Makes the run under way, or else the next one, return PREEMPTED."""

    def translate(self, address: int) -> Translation:
        """Walks the page tables that the program runs on."""

    def close(self) -> None:
        """Gives everything back; may be called again."""
