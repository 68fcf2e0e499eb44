"""Loading a program: its image and its first stack, in the memory of a new process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from abi.layout import BLOCK_SIZE, READ, STACK_TOP, WRITE
from abi.stack import ArgumentsTooLong, build_stack
from hv.failures import OutOfMemory

if TYPE_CHECKING:
    from abi.image import Image
    from hv.machine import Machine
    from hv.process import Process

FIRST_STACK: Final = BLOCK_SIZE
"""Bytes of stack that are mapped before a program starts."""


def load(machine: Machine, process: Process, image: Image, argv: Sequence[bytes], env: Sequence[bytes]) -> int:
    """Maps a program's image and first stack in a new process, arguments and environment on it; returns the stack
    pointer.  Hold the big lock.  Raises OutOfMemory, ArgumentsTooLong, BadElf (the file changed under us)."""
    whose = "the machine" if machine.kernel.process[process.id].container == machine.kernel.root else "its container"
    for pages in image.pages():
        if process.map(pages.address, pages.length, pages.permissions) != 0:
            raise OutOfMemory(f"{process.name} needs more memory than {whose} has")
        for copy in pages.copies:
            image.read_into(copy.file_offset, process.memory.loader_views(copy.address, copy.size))
    if process.map(STACK_TOP - FIRST_STACK, FIRST_STACK, READ | WRITE) != 0:
        raise OutOfMemory(f"{process.name} needs more memory than {whose} has: no room for a stack")
    stack = build_stack(image, argv, env, random=os.urandom(16), executable=os.fsencode(image.name))
    if len(stack.data) > FIRST_STACK: raise ArgumentsTooLong("arguments and environment are larger than the stack")
    process.memory.write(stack.rsp, stack.data)
    return stack.rsp


__all__ = ["FIRST_STACK", "load"]
