"""What serves the system calls below 0x1000 of the processes it is attached to: the seam for the Linux personality.

A personality keeps files, signals and the like itself; memory, threads and processes it changes only through the
process and thread it is given, that is, through the kernel's transitions.  Its methods are called with the big lock
held and must not block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from abi.image import Image
    from hv.process import Process
    from hv.thread import Thread
    from kernel.calls import Operation

BLOCKED: Final = 1 << 65
"""A system call's result that leaves rax alone: the thread was blocked, has ended, or had its registers replaced."""
RETRY: Final = (1 << 65) + 1
"""Given to ``Thread.wake``: the same system call is dispatched again."""


class UserFault(Exception):
    """A program's own access to this address would have faulted; its call gets EFAULT."""

    def __init__(self, address: int) -> None:
        super().__init__(f"address {address:#x}")
        self.address = address


class Fault(NamedTuple):
    """An exception of a program: its vector and error code (Intel SDM volume 3, chapter 6), for page faults the
    address, and where the program was."""

    vector: int
    error_code: int
    fault_address: int
    rip: int


class Personality(Protocol):
    """Serves one or more processes; ``attach`` is called once for each, before its first instruction."""

    def attach(self, process: Process, image: Image, argv: Sequence[bytes], env: Sequence[bytes]) -> None:
        """The image is mapped and the first stack built; the first thread has not run."""

    def syscall(self, thread: Thread, number: int) -> int | Operation:
        """Serves one call; returns what rax becomes (``-errno`` for an error), BLOCKED, or what brings it to its end in
        steps.  Raises SpaceBusy for one that is to be made again when another call has ended."""

    def fault(self, thread: Thread, fault: Fault) -> bool:
        """True if the cause is repaired and the instruction can be tried again; False kills the process."""

    def process_exited(self, process: Process) -> None:
        """The process has ended: give back what was held for it."""
