"""Calls on the caller's memory."""

from __future__ import annotations

from typing import Final

from abi.calls.call import ADDRESS, LENGTH, PROTECTION, RANGE_ERROR, Call
from abi.errors import EEXIST, EFAULT, EINVAL, ENOMEM

MEMORY: Final[tuple[Call, ...]] = (
    Call(
        0x1003,
        "mmap",
        (ADDRESS, LENGTH, PROTECTION),
        "0",
        (
            RANGE_ERROR,
            (EINVAL, "unknown bits in protection"),
            (EEXIST, "a page of the range is mapped"),
            (ENOMEM, "the container's quota does not cover the pages and their page tables, or no longer does before "
             "all are mapped: then none stay"),
        ),
        "Maps zeroed pages at exactly this range.  Whole aligned 1 GiB and 2 MiB stretches are mapped by pages of that "
        "size while the quota has them.",
    ),
    Call(
        0x1004,
        "munmap",
        (ADDRESS, LENGTH),
        "0",
        (
            RANGE_ERROR,
            (EFAULT, "a page of the range is not mapped"),
            (EINVAL, "the range cuts a 2 MiB or 1 GiB page"),
        ),
        "Removes the mappings.  A page that nothing maps any more is zeroed and its charge refunded.  Other threads "
        "run meanwhile; what they call on the same address space comes before or after the whole.",
    ),
    Call(
        0x1005,
        "mprotect",
        (ADDRESS, LENGTH, PROTECTION),
        "0",
        (
            RANGE_ERROR,
            (EINVAL, "unknown bits in protection, or the range cuts a 2 MiB or 1 GiB page"),
            (EFAULT, "a page of the range is not mapped"),
        ),
        "Changes what the program may do with the pages.",
    ),
)

__all__ = ["MEMORY"]
