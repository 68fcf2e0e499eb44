"""The native call ``debug_print``: the kernel alone has no files to print to."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

from abi.errors import EFAULT, EINVAL
from hv.personality import BLOCKED, RETRY, UserFault

if TYPE_CHECKING:
    from hv.machine import Machine

LONGEST_PRINT: Final = 65536
"""Bytes a call prints at most."""


def _writable(fd: int) -> bool:
    """Whether PIPE_BUF bytes can be written without waiting, or an error be learnt."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def debug_print(machine: Machine, t: int, text: int, length: int) -> int:
    """Prints bytes of the calling thread's memory; returns how many, -EFAULT, -EINVAL, or BLOCKED while nothing can be
    printed without waiting."""
    if length > LONGEST_PRINT: return -EINVAL
    caller = machine.threads[t]
    process = caller.process
    try:
        data = process.memory.read(text, length)
    except UserFault:
        return -EFAULT
    if process.output < 0: return length
    printed = 0
    while printed < length:
        # Never wait with the big lock held: a full pipe is waited for with the thread blocked.
        if not _writable(process.output):
            if printed: break
            caller.watch = machine.events.when_ready(process.output, "w", lambda: caller.wake(RETRY))
            machine.block(caller)
            return BLOCKED
        try:
            printed += os.write(process.output, data[printed : printed + select.PIPE_BUF])
        except OSError:
            return length  # nobody reads any more: what is printed for debugging is then lost
    return printed


__all__ = ["debug_print"]
