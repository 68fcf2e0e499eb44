"""The call that prints: the hypervisor's, as the kernel has no files."""

from __future__ import annotations

from typing import Final

from abi.calls.call import Call, pointer, u64
from abi.errors import EFAULT, EINVAL

PRINTING: Final[tuple[Call, ...]] = (
    Call(
        0x1001,
        "debug_print",
        (pointer("text", "bytes to print"), u64("length", "how many, at most 65536")),
        "the number of bytes printed",
        ((EINVAL, "length above 65536"), (EFAULT, "text is not readable throughout")),
        "Prints bytes on the standard output that the host gave the program.",
    ),
)

__all__ = ["PRINTING"]
