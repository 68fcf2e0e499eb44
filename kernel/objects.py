"""The kernel's state: every object of a kind in one flat table at the top, objects naming each other by id.

An object's id is the number of the 4 KiB page it is charged for; 0 is nil.  Every relation has a back reference, so
that each removal is O(1) and an invariant speaks of one arbitrary object and its neighbours.  A table and a row are
total: what was never written reads as a blank object or 0, on concrete state as under the prover.

Source: Atmosphere (SOSP'25), sections 3 and 4: flat permission maps, objects of one page.
"""

from __future__ import annotations

from typing import ClassVar, Final

from abi.layout import BLOCK_PAGES, GIANT_PAGES
from kernel.storage import Row as Row
from kernel.storage import Table as Table
from kernel.written import Object as Object

# What a page is (Page.kind): the one tag that is the type system of the kernel.
FREE: Final = 0
MAPPED: Final = 1
"""A 4 KiB page that address spaces map."""
MAPPED_BLOCK: Final = 2
"""The first page of a 2 MiB block that address spaces map by one entry."""
TABLE: Final = 3
CONTAINER: Final = 4
PROCESS: Final = 5
THREAD: Final = 6
ENDPOINT: Final = 7
MAPPED_GIANT: Final = 8
"""The first page of a 1 GiB giant that address spaces map by one entry."""
DEVICE: Final = 9
DOMAIN: Final = 10

KIND_NAMES: Final = (
    "free", "mapped", "mapped 2 MiB", "table", "container", "process", "thread", "endpoint", "mapped 1 GiB", "device",
    "domain",
)  # fmt: skip

PAGES_OF: Final = {MAPPED: 1, MAPPED_BLOCK: BLOCK_PAGES, MAPPED_GIANT: GIANT_PAGES}
"""4 KiB pages in what one entry maps, by the kind of its first."""

# What a 2 MiB block is (Block.kind).
BLOCK_FREE: Final = 0
BLOCK_WHOLE: Final = 1
"""Mapped as one 2 MiB page: its 512 pages are merged."""
BLOCK_SPLIT: Final = 2
"""Its pages are handed out one by one."""
BLOCK_GIANT: Final = 3
"""The first block of a giant that is mapped as one 1 GiB page."""

# What a 1 GiB giant is (Giant.kind).
GIANT_FREE: Final = 0
GIANT_WHOLE: Final = 1
"""Mapped as one 1 GiB page: its 512 blocks are merged."""
GIANT_SPLIT: Final = 2
"""Its blocks are handed out one by one."""

# Thread states.
RUNNING: Final = 1
READY: Final = 2
BLOCKED: Final = 3
DEAD: Final = 4

# What a blocked thread waits for with an endpoint (Thread.waits).
SENDING: Final = 1
"""In the queue of an endpoint with a message that nobody has received."""
CALLING: Final = 2
"""The same; who receives the message is to reply."""
RECEIVING: Final = 3
"""In the queue of an endpoint, for a message."""
AWAITING: Final = 4
"""Its call was received: it waits for the reply."""

# What a handle to an endpoint allows: any sum of these.
SEND: Final = 1
RECEIVE: Final = 2
GRANT: Final = 4
"""Passing the handle on to other processes."""

# What a message carries besides its words (Thread.item).
SHARE: Final = 1
"""Pages, mapped by both from then on."""
MOVE: Final = 2
"""Pages, with their charge: the sender has them no more."""
HANDLE: Final = 3

# IOMMU domains.
DOMAIN_PAGES: Final = 1 << 36
"""4 KiB pages of I/O virtual addresses: 48 bits of them, in bytes."""
DOMAIN_MAPPINGS: Final = 65535
"""Mappings in a domain at most: what VFIO takes by default."""
REGION_BLOCK: Final = 513
"""What Domain.regions counts where one 2 MiB block is mapped: more than 512 pages could be."""

# Process states.
NEW: Final = 1
"""Created, no thread yet."""
ALIVE: Final = 2
ENDING: Final = 3
"""Ended; what it holds is being taken from it, step by step."""
ENDED: Final = 4
"""Only its status is left, for the holder of its handle."""

# Container states.
ACTIVE: Final = 1
CLOSING: Final = 2
"""Being ended: nothing is created in it any more, and what is in it is taken away, step by step."""

KILLED: Final = 137
"""Status of a thread or process that another one killed, and of what is ended with its container: 128 + SIGKILL."""
DEPTH_LIMIT: Final = 128
"""How deep the tree of containers can be; the root is at depth 0."""
HANDLES: Final = 4096
"""Handles a process can hold at once."""


class Memory(Object):
    """The page allocator's own state (one object, id 0)."""

    __slots__ = ("blocks", "giants", "fresh", "free_count", "free_stack", "partial_giant_count", "partial_giant_stack",
                 "free_blocks", "partial_count", "partial_stack", "free_pages",
                 "promised_pages", "promised_blocks", "promised_giants")  # fmt: skip
    table_name: ClassVar[str] = "memory"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.blocks: int = 0
        """2 MiB blocks in the machine; they are numbered 1 to blocks, block 0 is never handed out."""
        self.giants: int = 0
        """1 GiB giants that can be mapped as one; they are numbered 1 to giants.  Giant 0, which lacks a block, and the
        one behind the last, if the machine has a part of it, are always split."""
        self.fresh: int = 1
        """Giants from here on were never used."""
        self.free_count: int = 0
        self.free_stack: Row = Row()
        """Free giants that were used before: entries 1 to free_count."""
        self.partial_giant_count: int = 0
        self.partial_giant_stack: Row = Row()
        """Split giants with a free block: entries 1 to partial_giant_count."""
        self.free_blocks: int = 0
        """Free blocks in split giants."""
        self.partial_count: int = 0
        self.partial_stack: Row = Row()
        """Split blocks with a free page: entries 1 to partial_count."""
        self.free_pages: int = 0
        """Free pages in split blocks."""
        self.promised_pages: int = 0
        """Sum of what containers may still allocate: 4 KiB pages."""
        self.promised_blocks: int = 0
        """Sum of what containers may still allocate: 2 MiB blocks."""
        self.promised_giants: int = 0
        """Sum of what containers may still allocate: 1 GiB giants."""


class Giant(Object):
    """A 1 GiB giant; its id is its first block's number divided by 512."""

    __slots__ = ("kind", "owner", "position", "carved", "listed", "stack")
    table_name: ClassVar[str] = "giant"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.kind: int = GIANT_FREE
        self.owner: int = 0
        """The container charged for it, if whole."""
        self.position: int = 0
        """Its place in Memory.free_stack or Memory.partial_giant_stack; 0 in neither."""
        self.carved: int = 0
        """If split: blocks handed out at least once, from the giant's start (and block 0)."""
        self.listed: int = 0
        self.stack: Row = Row()
        """If split: its blocks that were handed out and came back: entries 1 to listed."""


class Block(Object):
    """A 2 MiB block, or the 1 GiB giant that starts with it; its id is its first page's number divided by 512."""

    __slots__ = ("kind", "owner", "giant", "position", "carved", "listed", "stack")
    table_name: ClassVar[str] = "block"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.kind: int = BLOCK_FREE
        self.owner: int = 0
        """The container charged for it, if it is whole or starts a giant that is."""
        self.giant: int = 0
        """The giant it was carved from, or starts."""
        self.position: int = 0
        """Its place in Giant.stack while it is free, in Memory.partial_stack while it has a free page; else 0."""
        self.carved: int = 0
        """If split: pages handed out at least once, from the block's start."""
        self.listed: int = 0
        self.stack: Row = Row()
        """If split: its pages that were handed out and came back: entries 1 to listed."""


class Page(Object):
    """A 4 KiB page, or the 2 MiB block or 1 GiB giant that starts with it."""

    __slots__ = ("kind", "owner", "references", "block", "rank")
    table_name: ClassVar[str] = "page"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.kind: int = FREE
        self.owner: int = 0
        """The container charged for it."""
        self.references: int = 0
        """Address-space entries that map it."""
        self.block: int = 0
        """The block it was carved from, or starts; 0 if it never was."""
        self.rank: int = 0
        """Its place in Block.stack while it is free."""


class Container(Object):
    """A container: what it may still allocate, what it is charged for, its children, its processes."""

    __slots__ = (
        "state", "parent", "depth", "path", "position", "child_count", "children", "holder", "holder_slot", "hosted",
        "pages", "blocks", "giants", "used_pages", "used_blocks", "used_giants", "processes", "members", "born",
        "core", "cores_of", "core_count", "cores",
    )  # fmt: skip
    table_name: ClassVar[str] = "container"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.state: int = 0
        self.parent: int = 0
        self.depth: int = 0
        self.path: Row = Row()
        """Its ancestors by depth, the root at 0: entries 0 to depth - 1."""
        self.position: int = 0
        """Its place among its parent's children."""
        self.child_count: int = 0
        self.children: Row = Row()
        """Entries 0 to child_count - 1."""
        self.holder: int = 0
        """The process that has a handle to it; 0 for none."""
        self.holder_slot: int = 0
        self.hosted: int = 0
        """1 if the host created it and will end it."""
        self.pages: int = 0
        """4 KiB pages it may still allocate."""
        self.blocks: int = 0
        """2 MiB blocks it may still allocate."""
        self.giants: int = 0
        """1 GiB giants it may still allocate."""
        self.used_pages: int = 0
        self.used_blocks: int = 0
        self.used_giants: int = 0
        self.processes: int = 0
        self.members: Row = Row()
        """Its processes: entries 0 to processes - 1."""
        self.born: int = 0
        """Processes ever created in it."""
        self.core: int = 0
        """The core that its next thread is placed on: an index among those it uses, of which the first follows the
        last."""
        self.cores_of: int = 0
        """The container whose cores it uses: itself, or the nearest ancestor that owns some."""
        self.core_count: int = 0
        self.cores: Row = Row()
        """The cores it owns: entries 0 to core_count - 1."""


class Process(Object):
    """A process: an address space, threads, handles.

    ``map_page[v]`` and ``map_permission[v]`` are the address space as an abstract map from the virtual page number v
    to the page mapped there (of a block or giant the first) and its permissions; the concrete tables below ``root``
    refine it.
    """

    __slots__ = ("container", "place", "born", "parent", "position", "child_count", "children", "killed",
                 "state", "status", "root", "mappings", "map_page", "map_permission",
                 "thread_count", "threads", "holder", "holder_slot", "hosted", "waiter",
                 "handle_count", "handle_opened", "handle_carved", "handle_listed", "handle_stack", "handle_position",
                 "handle_object", "handle_generation", "handle_rights", "handle_badge",
                 "pager", "pager_badge")  # fmt: skip
    table_name: ClassVar[str] = "process"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.container: int = 0
        self.place: int = 0
        """Its place in Container.members."""
        self.born: int = 0
        """Its number among the processes of its container, in the order of their creation: a parent's is less."""
        self.parent: int = 0
        """The process of the same container that it descends from; 0 for none, and once it has ended."""
        self.position: int = 0
        """Its place among its parent's children."""
        self.child_count: int = 0
        self.children: Row = Row()
        """Entries 0 to child_count - 1."""
        self.killed: int = 0
        """1 while it is ending and its descendants end with it."""
        self.state: int = 0
        self.status: int = 0
        self.root: int = 0
        """Its level-4 table."""
        self.mappings: int = 0
        """Entries in map_page."""
        self.map_page: Row = Row()
        self.map_permission: Row = Row()
        self.thread_count: int = 0
        self.threads: Row = Row()
        """Its threads that have not ended: entries 0 to thread_count - 1."""
        self.holder: int = 0
        """The process that has a handle to it; 0 for none."""
        self.holder_slot: int = 0
        self.hosted: int = 0
        """1 if the host started it and will collect its status."""
        self.waiter: int = 0
        """The thread blocked in process_wait for it."""
        self.handle_count: int = 0
        self.handle_opened: int = 0
        """Handles ever opened: the generation of the last one."""
        self.handle_carved: int = 0
        """Slots used at least once, from 0."""
        self.handle_listed: int = 0
        self.handle_stack: Row = Row()
        """Slots that came back: entries 1 to handle_listed."""
        self.handle_position: Row = Row()
        """Where in handle_stack a slot is; 0 if it is open or was never used."""
        self.handle_object: Row = Row()
        self.handle_generation: Row = Row()
        """Of open handles; 0 where the slot is empty."""
        self.handle_rights: Row = Row()
        """Of handles to endpoints: SEND + RECEIVE + GRANT; 0 for other handles."""
        self.handle_badge: Row = Row()
        """Of handles to endpoints: the number that receivers are told of messages sent by it."""
        self.pager: int = 0
        """The endpoint that its page faults are sent to; 0 for none."""
        self.pager_badge: int = 0


class Thread(Object):
    """A thread.  Its registers are the hypervisor's; the kernel knows its state, queue, and what it waits for."""

    __slots__ = ("process", "position", "state", "status", "core", "place", "next", "previous", "rank",
                 "holder_slot", "joiner", "waiting_for", "result",
                 "waits", "endpoint", "partner", "caller", "badge", "item", "item_first", "item_count", "item_rights",
                 "window", "window_pages", "takes", "fault")  # fmt: skip
    table_name: ClassVar[str] = "thread"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.process: int = 0
        self.position: int = 0
        """Its place in Process.threads."""
        self.state: int = 0
        self.status: int = 0
        self.core: int = 0
        """The core it is placed on; 0 if it has ended."""
        self.place: int = 0
        """Its place in Core.placed; -1 if it has ended."""
        self.next: int = 0
        self.previous: int = 0
        """Neighbours in its core's run queue, if ready; in the queue of an endpoint, if it waits in one."""
        self.rank: int = 0
        """Its ticket in the queue: ranks grow from head to tail."""
        self.holder_slot: int = 0
        """Slot of the handle its process has to it; -1 for none."""
        self.joiner: int = 0
        """The thread blocked in thread_join for it."""
        self.waiting_for: int = 0
        """The thread or process whose end it waits for."""
        self.result: int = 0
        """What the call it was blocked in returns."""
        self.waits: int = 0
        """SENDING, CALLING, RECEIVING or AWAITING; 0 if it waits for no message."""
        self.endpoint: int = 0
        """The endpoint in whose queue it is."""
        self.partner: int = 0
        """The thread that received its call, if it is AWAITING."""
        self.caller: int = 0
        """The thread that waits for its reply."""
        self.badge: int = 0
        """That of the handle by which it sends, while it waits in a queue."""
        self.item: int = 0
        """What its message carries, while it waits in a queue: SHARE, MOVE, HANDLE or 0."""
        self.item_first: int = 0
        """The first virtual page, or the handle's slot."""
        self.item_count: int = 0
        """Pages, or the handle's generation."""
        self.item_rights: int = 0
        """The permissions, or rights, that the receiver gets."""
        self.window: int = 0
        """The first virtual page of where it takes pages that a message carries."""
        self.window_pages: int = 0
        """How many it takes; 0 for none."""
        self.takes: int = 0
        """1 if it takes handles that messages carry."""
        self.fault: int = 0
        """The virtual page that its pager is asked for; 0 if it waits for no pager."""


class Endpoint(Object):
    """Where threads meet: a FIFO of those that wait to send, or of those that wait to receive."""

    __slots__ = ("head", "tail", "ticket", "receiving", "references", "senders", "receivers", "signals", "timer")
    table_name: ClassVar[str] = "endpoint"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.head: int = 0
        self.tail: int = 0
        self.ticket: int = 0
        """The rank of the next thread in the queue."""
        self.receiving: int = 0
        """1 if those in the queue wait to receive; of no meaning while it is empty."""
        self.references: int = 0
        """Handles to it, and processes whose pager it is."""
        self.senders: int = 0
        """Those of them that can send."""
        self.receivers: int = 0
        """Those of them that can receive."""
        self.signals: int = 0
        """Interrupts and expiries that nobody has received."""
        self.timer: int = 0
        """1 if a timer is bound to it."""


class Device(Object):
    """A device that the host lends: held by one process, in one IOMMU domain, or in none and then without DMA."""

    __slots__ = ("holder", "holder_slot", "domain", "place", "endpoint")
    table_name: ClassVar[str] = "device"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.holder: int = 0
        """The process that has the handle to it; 0: the host may give it to one."""
        self.holder_slot: int = 0
        self.domain: int = 0
        """The domain it is attached to."""
        self.place: int = 0
        """Its place among the domain's devices."""
        self.endpoint: int = 0
        """Where its interrupts are signalled; 0 for nowhere."""


class Domain(Object):
    """An IOMMU domain: what memory the devices attached to it can reach, by I/O virtual page numbers."""

    __slots__ = ("holder", "holder_slot", "device_count", "devices", "mappings", "map_page", "map_permission",
                 "regions")  # fmt: skip
    table_name: ClassVar[str] = "domain"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.holder: int = 0
        self.holder_slot: int = 0
        self.device_count: int = 0
        self.devices: Row = Row()
        """Entries 0 to device_count - 1."""
        self.mappings: int = 0
        """Entries in map_page."""
        self.map_page: Row = Row()
        """I/O virtual page -> the page, or a block's first page, there."""
        self.map_permission: Row = Row()
        """READ, or READ | WRITE: what a device may do."""
        self.regions: Row = Row()
        """By 2 MiB of addresses: 4 KiB pages mapped there, or REGION_BLOCK."""


class PageTable(Object):
    """A 512-entry table page of one address space, level 4 (root) to 1."""

    __slots__ = ("level", "process", "parent", "slot", "base", "used", "entry", "permission")
    table_name: ClassVar[str] = "table"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.level: int = 0
        self.process: int = 0
        self.parent: int = 0
        self.slot: int = 0
        self.base: int = 0
        """The virtual page number that its entry 0 translates."""
        self.used: int = 0
        """Entries that are not empty."""
        self.entry: Row = Row()
        """A table of the next level, a page (level 1), or the first page of a block (level 2) or giant (level 3); 0 if
        empty."""
        self.permission: Row = Row()
        """Of entries that map a page: READ | WRITE | EXECUTE."""


class Core(Object):
    """A core: the thread it runs, the FIFO of those that are ready to, and all that are placed on it."""

    __slots__ = ("container", "position", "current", "head", "tail", "ticket", "placed_count", "placed")
    table_name: ClassVar[str] = "core"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.container: int = 0
        """The container that owns it."""
        self.position: int = 0
        """Its place in Container.cores."""
        self.current: int = 0
        self.head: int = 0
        self.tail: int = 0
        self.ticket: int = 1
        self.placed_count: int = 0
        self.placed: Row = Row()
        """The threads placed on it, whatever their state: entries 0 to placed_count - 1."""


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


class Ledger:
    """Counts and sums over all objects, kept beside the state for the invariants to speak of (kernel.ledgers)."""

    __slots__ = ("owned", "owned_blocks", "owned_giants", "in_use", "blocks_in_use", "mappings", "used", "mapped",
                 "handles", "regions", "reachable", "namings", "senders", "receivers", "free_pages", "free_blocks",
                 "promised_pages", "promised_blocks", "promised_giants")  # fmt: skip

    def __init__(self) -> None:
        self.owned: Row = Row()
        """container -> pages (and whole blocks and giants, by their first page) whose owner it is"""
        self.owned_blocks: Row = Row()
        """container -> whole blocks (and giants, by their first block) whose owner it is"""
        self.owned_giants: Row = Row()
        """container -> whole giants whose owner it is"""
        self.in_use: Row = Row()
        """block -> pages carved from it that are not free"""
        self.blocks_in_use: Row = Row()
        """giant -> blocks carved from it that are not free"""
        self.mappings: Row = Row()
        """page -> (process, virtual page) pairs mapped to it"""
        self.used: Row = Row()
        """table -> entries that are not empty"""
        self.mapped: Row = Row()
        """process -> virtual pages mapped"""
        self.handles: Row = Row()
        """process -> handles open"""
        self.regions: Row = Row()
        """domain and region (Domain.regions), as one number -> what is mapped there"""
        self.reachable: Row = Row()
        """domain -> I/O virtual pages mapped"""
        self.namings: Row = Row()
        """endpoint -> handles to it and processes whose pager it is"""
        self.senders: Row = Row()
        """endpoint -> those of them that can send"""
        self.receivers: Row = Row()
        """endpoint -> those of them that can receive"""
        self.free_pages: int = 0
        self.free_blocks: int = 0
        """Of split giants, as if each had 512 blocks."""
        self.promised_pages: int = 0
        self.promised_blocks: int = 0
        self.promised_giants: int = 0


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
        self.journal: list[tuple[Object, str, int] | tuple[Object, str, int, int]] = []
        """What the transition since the last clear wrote: (object, field, old) or (object, row, index, old)."""
        self.log = self.journal.append


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


def fields_of(of: type[object]) -> tuple[str, ...]:
    """The fields and rows of a kernel object, or ledgers, of this class."""
    names: tuple[str, ...] | None = getattr(of, "__slots__", None)
    if names is None: names = getattr(of, "__mypyc_attrs__")  # noqa: B009  (where the kernel is compiled)
    return tuple(name for name in names if name not in ("id", "written"))
