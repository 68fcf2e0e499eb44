"""What a transition touched: the instances of invariants that its writes can have broken.

The clauses about a written object itself are those that mention a field that was written.  A clause about another
object can break only if it reads the written one, and then each leads to the other: every relation has a back
reference.  Where a clause reads across one is said here, once; the rest follows (``kernel.evaluation``).  What a write
could break beyond that breaks a clause in here with it: what is freed must be blank, and counts are ledgers.  Along a
queue or a tree it breaks one after another, up to one in here (``kernel.prove.chains``).  That nothing is missing is
proved clause by clause, whatever is written (``kernel.prove.completeness``).
"""

from __future__ import annotations

from typing import Final

from kernel.invariants import INVARIANTS, Clause
from kernel.objects import CLASSES, TABLES

Beyond = tuple[str, str, tuple[str, ...], tuple[str, ...]]

BEYOND: Final[dict[str, tuple[Beyond, ...]]] = {
    "page": (
        ("owner", "container", ("owner",), ("container_charges",)),
        ("block", "block", ("kind", "owner", "block"), ("block_used", "block_kind")),
    ),
    "block": (
        ("owner", "container", ("owner",), ("container_charges",)),
        ("giant", "giant", ("kind", "owner", "giant"), ("giant_used", "giant_kind")),
    ),
    "giant": (("owner", "container", ("owner",), ("container_charges",)),),
    "table": (("process", "process", ("level", "process"), ("process_root",)),),
    "process": (
        ("root", "table", ("root",), ("table_place",)),
        ("waiter", "thread", ("waiter",), ("thread_waits",)),
        ("pager", "endpoint", ("pager",), ("endpoint_references",)),
    ),
    "thread": (
        ("core", "core", ("state", "core", "next", "previous"), ("core_current", "core_queue")),
        ("next", "thread", ("state", "core", "next", "rank"), ("thread_queue",)),
        ("previous", "thread", ("state", "core", "previous", "rank"), ("thread_queue",)),
        ("endpoint", "endpoint", ("endpoint", "next", "previous", "waits"), ("endpoint_queue",)),
        ("next", "thread", ("endpoint", "next", "rank", "waits"), ("message_queue",)),
        ("previous", "thread", ("endpoint", "previous", "rank", "waits"), ("message_queue",)),
        ("partner", "thread", ("partner", "waits"), ("message_caller",)),
        ("caller", "thread", ("caller", "state"), ("message_partner",)),
        ("joiner", "thread", ("joiner",), ("thread_waits",)),
        ("waiting_for", "thread", ("waiting_for", "process"), ("thread_joiner",)),
        ("waiting_for", "process", ("state", "waiting_for", "process"), ("process_waiter",)),
    ),
    "endpoint": (
        ("head", "thread", ("head", "receiving"), ("message_queue",)),
        ("tail", "thread", ("tail", "ticket", "receiving"), ("message_queue",)),
    ),
    "device": (
        ("endpoint", "endpoint", ("endpoint",), ("endpoint_references",)),
    ),
    "core": (
        ("current", "thread", ("current",), ("thread_running",)),
        ("head", "thread", ("head",), ("thread_queue",)),
        ("tail", "thread", ("tail", "ticket"), ("thread_queue",)),
    ),
}
"""By table: a field that names another object, that object's table, and the clauses about that object that read these
fields of the one that was written."""

ROWS_BEYOND: Final[dict[tuple[str, str], tuple[tuple[str, tuple[str, ...]], ...]]] = {
    ("table", "entry"): (("table", ("table_place",)),),
    ("process", "map_page"): (("page", ("page_references",)),),
    ("process", "threads"): (("thread", ("thread_position",)),),
    ("process", "children"): (("process", ("process_parent",)),),
    ("process", "handle_object"): (
        ("thread", ("thread_handle",)), ("process", ("process_holder",)), ("container", ("container_holder",)),
        ("endpoint", ("endpoint_references",)), ("device", ("device_holder",)), ("domain", ("domain_holder",)),
    ),
    ("domain", "devices"): (("device", ("device_domain",)),),
    ("domain", "map_page"): (("page", ("page_references",)),),
    ("container", "children"): (("container", ("container_place",)),),
    ("container", "members"): (("process", ("process_place",)),),
    ("container", "cores"): (("core", ("core_place",)),),
    ("core", "placed"): (("thread", ("thread_core",)),),
    ("memory", "free_stack"): (("giant", ("giant_position",)),),
    ("memory", "partial_giant_stack"): (("giant", ("giant_position",)),),
    ("memory", "partial_stack"): (("block", ("block_position",)),),
}
"""By row: the table of the objects that its items name, and the clauses about those that read the item."""

ITEM_OF: Final[dict[tuple[str, str], str]] = {
    ("table", "permission"): "table.entry",
    ("process", "map_permission"): "process.map_page",
    ("process", "handle_generation"): "process.handle_object",
    ("process", "handle_rights"): "process.handle_object",
    ("process", "handle_badge"): "process.handle_object",
    ("domain", "map_permission"): "domain.map_page",
}
"""Rows whose items clauses over another row of the same object are about, at the same index."""

LEFT_OPEN: Final[dict[tuple[str, str], tuple[str, ...]]] = {("process", "handle_rights"): ("handle_object",)}
"""Rows of which clauses over another row of the same object do not read the item, but which has to be 0 with it: a
handle without rights is not counted among those of its endpoint, which could be freed."""

BESIDE: Final[dict[tuple[str, str], tuple[str, str, tuple[str, ...]]]] = {
    ("process", "handle_rights"): ("handle_object", "endpoint", ("endpoint_references",)),
}
"""Rows beside one whose items name objects: that row, the objects' table, and the clauses about them that read the row
beside at the same index."""

LED_TO: Final[dict[str, tuple[tuple[str, str, str, tuple[str, ...]], ...]]] = {
    "page": (("block.stack", "block", "rank", ("kind", "block", "rank")),),
    "giant": (
        ("memory.free_stack", "", "position", ("kind", "position")),
        ("memory.partial_giant_stack", "", "position", ("kind", "position", "carved", "listed")),
    ),
    "block": (
        ("giant.stack", "giant", "position", ("kind", "giant", "position")),
        ("memory.partial_stack", "", "position", ("kind", "position", "carved", "listed")),
    ),
    "table": (("table.entry", "parent", "slot", ("parent", "slot")),),
    "process": (
        ("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),
        ("container.members", "container", "place", ("container", "place")),
        ("process.children", "parent", "position", ("parent", "position")),
    ),
    "device": (
        ("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),
        ("domain.devices", "domain", "place", ("domain", "place")),
    ),
    "domain": (("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),),
    "container": (
        ("process.handle_object", "holder", "holder_slot", ("holder", "holder_slot")),
        ("container.children", "parent", "position", ("parent", "position")),
    ),
    "core": (("container.cores", "container", "position", ("container", "position")),),
    "thread": (
        ("process.threads", "process", "position", ("process", "position", "state")),
        ("core.placed", "core", "place", ("core", "place")),
        ("process.handle_object", "process", "holder_slot", ("process", "holder_slot")),
    ),
}
"""By table: the row whose item leads to an object, the fields that name the row's holder and the index, and all fields
of the object that the clauses about such an item read."""

LEFT_BY: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {"thread": (("core.placed", "core", "place"),)}
"""By table: the row whose item leads to an object, and the fields that name the row's holder and the index, where an
object may have nothing but 0 in these and be led to all the same: its page is then freed without a write to them."""

COUNTS: Final[dict[tuple[str, str], tuple[str, int, tuple[str, ...]]]] = {
    ("memory", "free_count"): ("free_stack", 1, ("giant_position",)),
    ("memory", "partial_giant_count"): ("partial_giant_stack", 1, ("giant_position",)),
    ("memory", "partial_count"): ("partial_stack", 1, ("block_position",)),
    ("block", "listed"): ("stack", 1, ()),
    ("giant", "listed"): ("stack", 1, ()),
    ("process", "thread_count"): ("threads", 0, ("thread_position",)),
    ("process", "handle_listed"): ("handle_stack", 1, ()),
    ("process", "child_count"): ("children", 0, ("process_parent",)),
    ("domain", "device_count"): ("devices", 0, ("device_domain",)),
    ("container", "depth"): ("path", 0, ()),
    ("container", "child_count"): ("children", 0, ("container_place",)),
    ("container", "processes"): ("members", 0, ("process_place",)),
    ("container", "core_count"): ("cores", 0, ("core_place",)),
    ("core", "placed_count"): ("placed", 0, ("thread_core",)),
}
"""By field that counts the items in use of a row: that row, its first index, and the clauses about what an item names
that read the count."""

OF_OTHERS: Final = frozenset({("table_place", "entry"), ("process_parent", "children")})
"""Clauses about an object of a table that read this field of others of that table alone."""

UNBOUNDED: Final[dict[tuple[str, str], str]] = {
    ("core", "container"): "live.placed_count",
    ("container", "cores_of"): "live.processes or live.child_count or old.processes or old.child_count",
    ("container", "core_count"): "live.core_count <= 0 and (live.child_count or old.child_count)",
    ("process", "born"): "live.child_count",
    ("container", "born"): "live.processes and live.born < old.born",
    ("page", "kind"): "old.kind != live.kind and old.kind != 0 and live.kind != 0",
    ("domain", "holder"): "old.holder != live.holder and live.device_count",
    ("container", "depth"): "old.depth != live.depth and old.state != 0 and live.state != 0",
    ("container", "parent"): "old.parent != live.parent and old.state != 0 and live.state != 0",
    ("container", "path"): "old.state != 0 and live.state != 0",
    ("process", "container"): "old.container != live.container and old.state != 0 and live.state != 0",
    ("process", "handle_carved"): "live.handle_carved < old.handle_carved and live.handle_carved != 0",
    ("table", "level"): "old.level != live.level and old.level != 0 and live.level != 0",
    ("table", "process"): "old.process != live.process and old.level != 0 and live.level != 0",
    ("table", "base"): "old.base != live.base and old.level != 0 and live.level != 0",
    ("block", "kind"): "old.kind != live.kind and old.kind != 0 and live.kind != 0",
    ("block", "carved"): "old.kind == live.kind and live.carved < old.carved",
    ("giant", "kind"): "old.kind != live.kind and old.kind != 0 and live.kind != 0",
    ("giant", "carved"): "old.kind == live.kind and live.carved < old.carved",
    ("memory", "blocks"): "live.blocks != old.blocks",
    ("memory", "giants"): "live.giants != old.giants",
}
"""Fields that clauses about any number of objects read, or that do not change while their object is what it is: under
what condition on the written object ``live``, that was ``old``, such a clause can have broken.  No transition writes
them under it: where one did, everything would be evaluated."""

RANGES: Final[dict[tuple[str, str], str]] = {("memory", "fresh"): "giant"}
"""Fields below which all objects of a table were used."""

COARSER: Final = {("domain", "map_page"): ("domain.regions", 512)}
"""Rows of which so many items at a time are counted in an item of another."""

FINER: Final = {("domain", "regions"): ("domain.map_page", 512)}
"""Rows of which an item says something of so many items of another: of the first, to which the others are held by the
count."""

UNMAPPED: Final = ("process", "map_page")
"""What had been mapped there: where it is not any more, no entry on the walk of the tables from the process's root may
map it."""
EMPTIED: Final = ("table", "entry")
"""What an entry led to: where it does not any more, the abstract map may not have it."""

BY_INDEX: Final = frozenset({"block.stack", "giant.stack"})
"""Rows on which an object is if its index is not 0."""

FROM_ZERO: Final = frozenset({"core", "giant"})
"""Tables whose object 0 is one like others."""

LONGEST: Final = 4096
"""By how much a count can change in one transition."""

OBJECTS: Final[dict[str, dict[str, Clause]]] = {
    table: {clause.name: clause for clause in INVARIANTS.values() if clause.domain == (table,)}
    for table in (of.table_name for of in CLASSES)
}
ITEMS: Final[dict[str, list[Clause]]] = {
    domain: [clause for clause in INVARIANTS.values() if clause.domain == (domain,)]
    for domain in {clause.domain[0] for clause in INVARIANTS.values()} if "." in domain
}  # fmt: skip
KINDS: Final = {table: kind for kind, table in TABLES.items()}

__all__ = [
    "BESIDE", "BEYOND", "BY_INDEX", "COARSER", "COUNTS", "EMPTIED", "FINER", "FROM_ZERO", "ITEMS", "ITEM_OF", "KINDS",
    "LED_TO", "LEFT_BY", "LEFT_OPEN", "LONGEST", "OBJECTS", "OF_OTHERS", "RANGES", "ROWS_BEYOND", "UNBOUNDED",
    "UNMAPPED",
]  # fmt: skip
