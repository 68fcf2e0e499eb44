"""The kernel's state: every object of a kind in one flat table at the top, objects naming each other by id.

An object's id is the number of the 4 KiB page it is charged for; 0 is nil.  Every relation has a back reference, so
that each removal is O(1) and an invariant speaks of one arbitrary object and its neighbours.  A table and a row are
total: what was never written reads as a blank object or 0, on concrete state as under the prover.

Source: Atmosphere (SOSP'25), sections 3 and 4: flat permission maps, objects of one page.
"""

from __future__ import annotations

from kernel.objects.container import ACTIVE, CLOSING, DEPTH_LIMIT, Container
from kernel.objects.core import Core
from kernel.objects.device import DOMAIN_MAPPINGS, DOMAIN_PAGES, DOMAIN_REGIONS, REGION_BLOCK, Device, Domain
from kernel.objects.endpoint import GRANT, RECEIVE, SEND, Endpoint
from kernel.objects.ledger import Ledger
from kernel.objects.memory import (
    BLOCK_FREE,
    BLOCK_GIANT,
    BLOCK_SPLIT,
    BLOCK_WHOLE,
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDPOINT,
    FREE,
    GIANT_FREE,
    GIANT_SPLIT,
    GIANT_WHOLE,
    KIND_NAMES,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    PAGES_OF,
    PROCESS,
    TABLE,
    THREAD,
    Block,
    Giant,
    Memory,
    Page,
)
from kernel.objects.page_table import PageTable
from kernel.objects.process import ALIVE, ENDED, ENDING, HANDLES, KILLED, NEW, Process
from kernel.objects.state import CLASSES, TABLE_NAMES, TABLES, Kernel, clear_row, copy_row, fields_of
from kernel.objects.thread import (
    AWAITING,
    BLOCKED,
    CALLING,
    DEAD,
    HANDLE,
    MOVE,
    READY,
    RECEIVING,
    RUNNING,
    SENDING,
    SHARE,
    Thread,
)
from kernel.storage import Row, Table
from kernel.written import Object

__all__ = [
    "FREE", "MAPPED", "MAPPED_BLOCK", "TABLE", "CONTAINER", "PROCESS", "THREAD", "ENDPOINT", "MAPPED_GIANT",
    "DEVICE", "DOMAIN", "KIND_NAMES", "PAGES_OF", "BLOCK_FREE", "BLOCK_WHOLE", "BLOCK_SPLIT", "BLOCK_GIANT",
    "GIANT_FREE", "GIANT_WHOLE", "GIANT_SPLIT",
    "Memory", "Giant", "Block", "Page",
    "PageTable",
    "ACTIVE", "CLOSING", "DEPTH_LIMIT",
    "Container",
    "Core",
    "NEW", "ALIVE", "ENDING", "ENDED", "KILLED", "HANDLES",
    "Process",
    "RUNNING", "READY", "BLOCKED", "DEAD", "SENDING", "CALLING", "RECEIVING", "AWAITING", "SHARE", "MOVE", "HANDLE",
    "Thread",
    "SEND", "RECEIVE", "GRANT",
    "Endpoint",
    "DOMAIN_PAGES", "DOMAIN_REGIONS", "DOMAIN_MAPPINGS", "REGION_BLOCK",
    "Device", "Domain",
    "Ledger",
    "TABLES", "CLASSES", "TABLE_NAMES",
    "Kernel", "copy_row", "clear_row", "fields_of",
    "Object", "Row", "Table",
]  # fmt: skip
