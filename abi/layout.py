"""Where things lie: page sizes, the virtual address space of a program, the guest-physical map of a machine.

Every address space has the same shape.  The lower half of the canonical range is one 9-bit index (the PML4 slot) times
512 GiB; slots 0 to 254 are the program's, slot 255 holds the machine's own few pages (gate, descriptor tables,
exception stubs, one page a vCPU) and is shared by all spaces.  The upper half is empty.
"""

from __future__ import annotations

from typing import Final

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
BLOCK_PAGES: Final = 512
"""4 KiB pages in a 2 MiB block."""
BLOCK_SIZE: Final = PAGE_SIZE * BLOCK_PAGES
GIANT_BLOCKS: Final = 512
"""2 MiB blocks in a 1 GiB giant."""
GIANT_PAGES: Final = BLOCK_PAGES * GIANT_BLOCKS
GIANT_SIZE: Final = PAGE_SIZE * GIANT_PAGES
TABLE_ENTRIES: Final = 512

# Virtual addresses of a program.
USER_MIN: Final = 0x1_0000
"""Below this nothing can be mapped, so that a null pointer with an offset faults."""
USER_END: Final = 0x7F80_0000_0000
"""One past the last address a program can map: PML4 slots 0 to 254."""
STACK_TOP: Final = 0x7F7F_FFE0_0000
"""A multiple of 2 MiB: the first stack is one 2 MiB page where the quota has one."""
STACK_SIZE: Final = 8 << 20
MMAP_TOP: Final = 0x7F00_0000_0000
"""Where host-placed mappings (the Linux personality's mmap) grow down from."""
CALL_AREA: Final = 0x7F10_0000_0000
"""Where the host places what it needs to call functions of a program: a page of code, and a stack below it."""
IMAGE_BASE: Final = 0x5555_5555_4000
"""Where a position-independent executable is loaded."""

# The reserved slot.
SYSTEM_BASE: Final = 0x7F80_0000_0000
SYSTEM_SLOT: Final = 255

# Guest-physical map: data pages, devices' registers, page-table frames and system pages each live in memslots of their
# own.
DATA_BASE: Final = 0
DATA_LIMIT: Final = 1 << 37
"""128 GiB: the most memory a machine can have."""
DEVICES_BASE: Final = 1 << 37
"""From here to TABLES_BASE: registers of devices, where programs have mapped them."""
TABLES_BASE: Final = 1 << 38
SYSTEM_PHYSICAL: Final = (1 << 38) + (1 << 37)

# Permissions of a mapping; x86-64 pages that can be written or executed can also be read.
READ: Final = 1
WRITE: Final = 2
EXECUTE: Final = 4
PERMISSIONS: Final = READ | WRITE | EXECUTE

# System-call numbers.
NATIVE_FIRST: Final = 0x1000
"""Numbers from here are native calls; below, the Linux personality's."""
USER_FIRST: Final = 0x2000
"""Numbers from here to USER_LAST are free for calls that a user of the Python API defines."""
USER_LAST: Final = 0x2FFF
HOST_RETURN: Final = 0x3000
"""Made by the code at CALL_AREA when a function that the host called has returned."""
