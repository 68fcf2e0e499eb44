"""The whole state: a table of each kind of object, and the journal of what is written."""

from __future__ import annotations

from typing import Final

from kernel.objects.container import Container
from kernel.objects.core import Core
from kernel.objects.device import Device, Domain
from kernel.objects.endpoint import Endpoint
from kernel.objects.ledger import Ledger
from kernel.objects.memory import (
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDPOINT,
    PROCESS,
    TABLE,
    THREAD,
    Block,
    Giant,
    Memory,
    Page,
)
from kernel.objects.page_table import PageTable
from kernel.objects.process import Process
from kernel.objects.thread import Thread
from kernel.storage import Row, Table
from kernel.written import Object

TABLES: Final[dict[int, str]] = {
    CONTAINER: "container", PROCESS: "process", THREAD: "thread", ENDPOINT: "endpoint", DEVICE: "device",
    DOMAIN: "domain", TABLE: "table",
}  # fmt: skip
"""The table that holds the object a page of this kind is charged for."""

CLASSES: Final[tuple[type[Object], ...]] = (
    Memory, Page, Block, Giant, Container, Process, Thread, Endpoint, Device, Domain, PageTable, Core,
)  # fmt: skip
"""The classes of all kernel objects."""
TABLE_NAMES: Final = tuple(of.table_name for of in CLASSES if of is not Memory)
"""The tables of a kernel."""


class Kernel:
    """The whole state of the microkernel."""

    __slots__ = ("memory", "page", "block", "giant", "container", "process", "thread", "endpoint", "device", "domain",
                 "table", "core", "cores", "root", "ledger", "journal", "log")  # fmt: skip

    def __init__(self) -> None:
        self.memory: Memory = Memory(0)
        self.page: Table[Page] = Table(Page)
        self.block: Table[Block] = Table(Block)
        self.giant: Table[Giant] = Table(Giant)
        self.container: Table[Container] = Table(Container)
        self.process: Table[Process] = Table(Process)
        self.thread: Table[Thread] = Table(Thread)
        self.endpoint: Table[Endpoint] = Table(Endpoint)
        self.device: Table[Device] = Table(Device)
        self.domain: Table[Domain] = Table(Domain)
        self.table: Table[PageTable] = Table(PageTable)
        self.core: Table[Core] = Table(Core)
        self.cores: int = 0
        self.root: int = 0
        self.ledger: Ledger | None = None
        from kernel.journal import Journal  # which needs the classes of objects

        self.journal: Journal = Journal()
        """What the transition since the last clear wrote."""
        self.log = self.journal.append


def copy_row(k: Kernel, target: Object, row: str, source: Row) -> None:
    """Gives a blank row of ``target`` the items of another: the one bulk store of transitions."""
    items: Row = getattr(target, row)
    for index, value in source.items():
        if value != 0:
            k.log((target, row, index, items[index]))
            items[index] = value


def clear_row(k: Kernel, target: Object, row: str) -> None:
    """Makes a row of ``target`` blank again."""
    items: Row = getattr(target, row)
    for index, value in list(items.items()):
        if value != 0:
            k.log((target, row, index, value))
            items[index] = 0


def fields_of(of: type[object]) -> tuple[str, ...]:
    """The fields and rows of a kernel object, or ledgers, of this class."""
    names: tuple[str, ...] | None = getattr(of, "__slots__", None)
    if names is None: names = getattr(of, "__mypyc_attrs__")  # noqa: B009  (where the kernel is compiled)
    return tuple(name for name in names if name not in ("id", "written"))
