"""Calls on containers."""

from __future__ import annotations

from typing import Final

from abi.calls.call import HANDLE, Call, u64
from abi.errors import EBUSY, EINVAL, ENOMEM, ENOSPC, ESRCH

CONTAINERS: Final[tuple[Call, ...]] = (
    Call(
        0x100E,
        "container_create",
        (
            u64("pages", "4 KiB pages it may use"),
            u64("blocks", "2 MiB blocks it may use"),
            u64("giants", "1 GiB giants it may use"),
            u64("cores", "cores it owns, of those that the caller's container does; 0: it uses the caller's"),
        ),
        "a handle of the new container",
        (
            (EBUSY, "the calling process or its container is ending"),
            (ENOSPC, "no free handle, or the tree of containers would be deeper than 128"),
            (ENOMEM, "the caller's container has not that much, and a page for the container itself"),
            (ENOMEM, "it does not own that many cores, and one that it keeps"),
        ),
        "Creates a container below the caller's, with a quota and cores taken out of the caller's own; threads placed "
        "on those cores move to others.  It is killed at the latest when the calling process ends.",
    ),
    Call(
        0x100F,
        "container_kill",
        (HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EBUSY, "it is ending already"),
        ),
        "Ends a container with all below it: every process, every page.  It returns when all is gone and the quota is "
        "back; if its thread is ended before, the rest goes on all the same.  Pages that others still map pass to the "
        "caller's container.",
    ),
    Call(
        0x1010,
        "process_create_in",
        (HANDLE,),
        "a handle of the new process",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EBUSY, "the container, or the calling process, is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "the container has no quota for the process's page and its root table"),
        ),
        "Creates a process in a container below the caller's: an empty address space, no thread.  It has no parent "
        "there: it ends when it exits, is killed by this handle, or its container is.",
    ),
    Call(
        0x1023,
        "container_query",
        (
            u64("handle", "a handle of a container; 0: the caller's own"),
            u64("what", "one of AERO_QUERY_..."),
        ),
        "the number asked for",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EINVAL, "no such question"),
        ),
        "Tells one number about a container: what it may still use, what it uses, its cores, its place in the tree.",
    ),
)

__all__ = ["CONTAINERS"]
