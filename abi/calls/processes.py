"""Calls on processes."""

from __future__ import annotations

from typing import Final

from abi.calls.call import ADDRESS, HANDLE, LENGTH, PROTECTION, RANGE_ERROR, Call, pointer, u64
from abi.errors import EBUSY, ECHILD, EEXIST, EFAULT, EINVAL, ENOMEM, ENOSPC, ESRCH

PROCESSES: Final[tuple[Call, ...]] = (
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
        "Creates a child process in the caller's container: an empty address space, no thread.  A process that was not "
        "started ends with its parent.",
    ),
    Call(
        0x100A,
        "process_share",
        (
            HANDLE,
            ADDRESS,
            LENGTH,
            u64("destination", "where the child sees them, a multiple of 4096"),
            PROTECTION,
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a process's"),
            (ECHILD, "the process has ended"),
            RANGE_ERROR,
            (EINVAL, "protection wider than the caller's own, or a 2 MiB or 1 GiB page cut or not aligned alike"),
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
            HANDLE,
            pointer("entry", "where its first thread starts"),
            pointer("stack", "its first stack pointer"),
            u64("argument", "given to it in rdi"),
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
        (u64("status", "what process_wait returns; the low 32 bits"),),
        "does not return",
        (),
        "Ends the calling process: all its threads, its address space, its charges, and the containers that it "
        "created.  Its children go on: they pass to its parent, and to nobody if it has none.",
        returns=False,
    ),
    Call(
        0x100D,
        "process_wait",
        (HANDLE,),
        "the process's exit status",
        (
            (ESRCH, "no such handle, or not a process's"),
            (EBUSY, "another thread waits for it"),
            (EINVAL, "the process was never started"),
        ),
        "Waits until the child process has ended, and closes the handle.",
    ),
    Call(
        0x1021,
        "process_kill",
        (HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a process's"),
            (ECHILD, "it has ended"),
        ),
        "Ends a process with all its descendants, and the containers that they created, whatever they do; its status "
        "is 137.  It returns when all is gone.  The handle stays open until process_wait.",
    ),
)

__all__ = ["PROCESSES"]
