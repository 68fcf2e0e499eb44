"""Calls on threads."""

from __future__ import annotations

from typing import Final

from abi.calls.call import HANDLE, Call, pointer, u64
from abi.errors import EBUSY, ECHILD, EDEADLK, EINVAL, ENOMEM, ENOSPC, ESRCH

THREADS: Final[tuple[Call, ...]] = (
    Call(0x1000, "null", (), "0", (), "Does nothing: the cost of entering the kernel."),
    Call(0x1002, "thread_yield", (), "0", (), "Lets the next ready thread of this core run."),
    Call(
        0x1006,
        "thread_create",
        (
            pointer("entry", "where the thread starts"),
            pointer("stack", "its first stack pointer"),
            u64("argument", "given to it in rdi"),
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
        (u64("status", "what thread_join returns; the low 32 bits"),),
        "does not return",
        (),
        "Ends the calling thread; the last one of a process ends the process with this status.",
        returns=False,
    ),
    Call(
        0x1008,
        "thread_join",
        (HANDLE,),
        "the thread's exit status",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (EBUSY, "another thread waits for it"),
            (EDEADLK, "it is the calling thread"),
        ),
        "Waits until the thread has ended, and closes the handle.",
    ),
    Call(
        0x1020,
        "thread_kill",
        (HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (EINVAL, "it is the calling thread"),
            (ECHILD, "it has ended"),
        ),
        "Ends another thread of the calling process, whatever it does, with status 137.  The handle stays open until "
        "thread_join.",
    ),
    Call(
        0x1022,
        "thread_affinity",
        (
            u64("handle", "a handle of a thread of the calling process; 0: the calling thread"),
            u64("core", "which core: 0 for the first of those that the container uses"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (ECHILD, "the thread has ended"),
            (EINVAL, "the container does not use that many cores"),
        ),
        "Moves a thread to another core, where it stays until it is moved again or the core is given to a container.",
    ),
)

__all__ = ["THREADS"]
