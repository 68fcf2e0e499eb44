"""The native system calls: one table that yields the dispatch, the C header and the reference page.

Registers as in the Linux x86-64 convention: number in ``rax``; arguments in ``rdi rsi rdx r10 r8 r9``; the result in
``rax``, an error as ``-errno`` in [-4095, -1]; ``rcx`` and ``r11`` are lost.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from abi.errors import (
    EBUSY,
    ECHILD,
    EDEADLK,
    EEXIST,
    EFAULT,
    EINVAL,
    ENOMEM,
    ENOSPC,
    ESRCH,
)


class Argument(NamedTuple):
    """One argument: its name, its C type, and what it means with unit and range."""

    name: str
    c_type: str
    meaning: str


class Call(NamedTuple):
    """One native system call.  ``name`` is the name of the transition, of the spec and of ``aero_<name>`` in C."""

    number: int
    name: str
    arguments: tuple[Argument, ...]
    result: str
    errors: tuple[tuple[int, str], ...]
    summary: str
    returns: bool = True


def _u64(name: str, meaning: str) -> Argument:
    return Argument(name, "uint64_t", meaning)


def _pointer(name: str, meaning: str) -> Argument:
    return Argument(name, "const void *", meaning)


_ADDRESS = _u64("address", "first address, a multiple of 4096")
_LENGTH = _u64("length", "bytes, a positive multiple of 4096")
_PROTECTION = _u64("protection", "AERO_READ | AERO_WRITE | AERO_EXECUTE; WRITE and EXECUTE imply READ; 0 for none")
_HANDLE = _u64("handle", "a handle of the calling process")
_RANGE_ERROR = (EINVAL, "not page aligned, empty, or outside 0x10000 .. 0x7f7fffffffff")

CALLS: Final[tuple[Call, ...]] = (
    Call(0x1000, "null", (), "0", (), "Does nothing: the cost of entering the kernel."),
    Call(
        0x1001,
        "debug_print",
        (_pointer("text", "bytes to print"), _u64("length", "how many, at most 65536")),
        "the number of bytes printed",
        ((EINVAL, "length above 65536"), (EFAULT, "text is not readable throughout")),
        "Prints bytes on the standard output that the host gave the program.",
    ),
    Call(0x1002, "thread_yield", (), "0", (), "Lets the next ready thread of this core run."),
    Call(
        0x1003,
        "mmap",
        (_ADDRESS, _LENGTH, _PROTECTION),
        "0",
        (
            _RANGE_ERROR,
            (EINVAL, "unknown bits in protection"),
            (EEXIST, "a page of the range is mapped"),
            (ENOMEM, "the container's quota does not cover the pages and their page tables"),
        ),
        "Maps zeroed pages at exactly this range.  Whole aligned 2 MiB stretches are mapped by 2 MiB pages while "
        "the quota has them.",
    ),
    Call(
        0x1004,
        "munmap",
        (_ADDRESS, _LENGTH),
        "0",
        (
            _RANGE_ERROR,
            (EFAULT, "a page of the range is not mapped"),
            (EINVAL, "the range cuts a 2 MiB page"),
        ),
        "Removes the mappings.  A page that nothing maps any more is zeroed and its charge refunded.",
    ),
    Call(
        0x1005,
        "mprotect",
        (_ADDRESS, _LENGTH, _PROTECTION),
        "0",
        (
            _RANGE_ERROR,
            (EINVAL, "unknown bits in protection, or the range cuts a 2 MiB page"),
            (EFAULT, "a page of the range is not mapped"),
        ),
        "Changes what the program may do with the pages.",
    ),
    Call(
        0x1006,
        "thread_create",
        (
            _pointer("entry", "where the thread starts"),
            _pointer("stack", "its first stack pointer"),
            _u64("argument", "given to it in rdi"),
        ),
        "a handle of the new thread",
        (
            (EINVAL, "entry or stack outside the program's addresses"),
            (EBUSY, "the calling process is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "no quota for the thread's page"),
        ),
        "Creates a ready thread in the calling process.",
    ),
    Call(
        0x1007,
        "thread_exit",
        (_u64("status", "what thread_join returns; the low 32 bits"),),
        "does not return",
        (),
        "Ends the calling thread; the last one of a process ends the process with this status.",
        returns=False,
    ),
    Call(
        0x1008,
        "thread_join",
        (_HANDLE,),
        "the thread's exit status",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (EBUSY, "another thread waits for it"),
            (EDEADLK, "it is the calling thread"),
        ),
        "Waits until the thread has ended, and closes the handle.",
    ),
    Call(
        0x1009,
        "process_create",
        (),
        "a handle of the new process",
        (
            (EBUSY, "the calling process or its container is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "no quota for the process's page and its root table"),
        ),
        "Creates a child process in the caller's container: an empty address space, no thread.",
    ),
    Call(
        0x100A,
        "process_share",
        (
            _HANDLE,
            _ADDRESS,
            _LENGTH,
            _u64("destination", "where the child sees them, a multiple of 4096"),
            _PROTECTION,
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a process's"),
            (ECHILD, "the process has ended"),
            _RANGE_ERROR,
            (EINVAL, "protection wider than the caller's own, or a 2 MiB page cut or not aligned alike"),
            (EFAULT, "a page of the source is not mapped"),
            (EEXIST, "a page of the destination is mapped"),
            (ENOMEM, "no quota for the child's page tables"),
        ),
        "Maps the caller's own pages in a child process as well: both see the same memory.",
    ),
    Call(
        0x100B,
        "process_start",
        (
            _HANDLE,
            _pointer("entry", "where its first thread starts"),
            _pointer("stack", "its first stack pointer"),
            _u64("argument", "given to it in rdi"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a process's"),
            (ECHILD, "the process has ended"),
            (EBUSY, "the process has a thread already"),
            (EINVAL, "entry or stack outside the program's addresses"),
            (ENOMEM, "no quota for the thread's page"),
        ),
        "Creates the first thread of a child process.",
    ),
    Call(
        0x100C,
        "process_exit",
        (_u64("status", "what process_wait returns; the low 32 bits"),),
        "does not return",
        (),
        "Ends the calling process: all its threads, its address space, its charges.",
        returns=False,
    ),
    Call(
        0x100D,
        "process_wait",
        (_HANDLE,),
        "the process's exit status",
        (
            (ESRCH, "no such handle, or not a process's"),
            (EBUSY, "another thread waits for it"),
            (EINVAL, "the process was never started"),
        ),
        "Waits until the child process has ended, and closes the handle.",
    ),
    Call(
        0x100E,
        "container_create",
        (
            _u64("pages", "4 KiB pages it may use"),
            _u64("blocks", "2 MiB blocks it may use"),
        ),
        "a handle of the new container",
        (
            (EBUSY, "the calling process or its container is ending"),
            (ENOSPC, "no free handle, or the tree of containers would be deeper than 128"),
            (ENOMEM, "the caller's container has not that much, and a page for the container itself"),
        ),
        "Creates a container below the caller's, with a quota taken out of the caller's own.",
    ),
    Call(
        0x100F,
        "container_kill",
        (_HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EBUSY, "it is ending already"),
        ),
        "Ends a container with all below it: every process, every page; the quota comes back.  Pages that others still "
        "map pass to the caller's container.",
    ),
    Call(
        0x1010,
        "process_create_in",
        (_HANDLE,),
        "a handle of the new process",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EBUSY, "the container, or the calling process, is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "the container has no quota for the process's page and its root table"),
        ),
        "Creates a child process in a container below the caller's: an empty address space, no thread.",
    ),
    Call(
        0x1020,
        "thread_kill",
        (_HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (EINVAL, "it is the calling thread"),
            (ECHILD, "it has ended"),
        ),
        "Ends another thread of the calling process, whatever it does, with status 137.  The handle stays open until "
        "thread_join.",
    ),
)

BY_NUMBER: Final[dict[int, Call]] = {call.number: call for call in CALLS}
BY_NAME: Final[dict[str, Call]] = {call.name: call for call in CALLS}
