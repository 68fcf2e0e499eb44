"""The specifications: what each transition returns, what it changes, and that it changes nothing else.

A specification has the transition's name and arguments, and besides the state before (``old``), the state after
(``new``), the result, and a frame ``f`` in which it names every field that may have changed.  It shares no code with
the transitions and speaks of abstract maps, quotas and objects; the concrete tables and the allocator's stacks may
change wherever they do, as the invariants tie them to what is said here.

Source: Atmosphere, section 4.3 (specifications of system calls, with what did not change).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

State = Any
"""A Kernel, or the view of what it was (kernel.view.OldKernel)."""
Specification = Callable[..., bool]

SPECIFICATIONS: Final[dict[str, Specification]] = {}


def specification(function: Specification) -> Specification:
    """Registers a specification under its name, which is its transition's."""
    assert function.__name__ not in SPECIFICATIONS, function.__name__
    SPECIFICATIONS[function.__name__] = function
    return function


class Frame:
    """The fields a transition may have changed: ``allowed`` has the bit of each write of the journal that is among
    them.  ``written`` is by table what the written objects were (``kernel.check``)."""

    __slots__ = ("written", "journal", "allowed", "allocator", "tables", "kinds")

    ALLOCATOR: Final = frozenset({
        ("memory", "fresh"), ("memory", "free_count"), ("memory", "free_stack"), ("memory", "partial_giant_count"),
        ("memory", "partial_giant_stack"), ("memory", "free_blocks"), ("memory", "partial_count"),
        ("memory", "partial_stack"), ("memory", "free_pages"), ("memory", "promised_pages"),
        ("memory", "promised_blocks"), ("memory", "promised_giants"), ("giant", "kind"), ("giant", "owner"),
        ("giant", "position"), ("giant", "carved"), ("giant", "listed"), ("giant", "stack"), ("block", "kind"),
        ("block", "owner"), ("block", "giant"), ("block", "position"), ("block", "carved"), ("block", "listed"),
        ("block", "stack"), ("page", "rank"), ("page", "block"),
    })  # fmt: skip
    TABLES: Final = frozenset(
        ("table", field)
        for field in ("level", "process", "parent", "slot", "base", "used", "entry", "permission")
    )

    def __init__(self, written: Mapping[str, Mapping[int, Any]], journal: Sequence[tuple[Any, ...]]) -> None:
        self.written = written
        self.journal = journal
        self.allowed = self.allocator = self.tables = 0
        self.kinds: tuple[tuple[int, int], ...] = ()
        """(before, after) of the kinds of pages whose kind and owner may have changed."""

    def begin(self, allocator: int, tables: int) -> None:
        """Allows nothing yet; the bits of what ``allocates`` and ``rebuilds_tables`` will allow."""
        self.allowed = 0
        self.allocator = allocator
        self.tables = tables
        self.kinds = ()

    def may(self, table: str, id: int, *fields: str) -> None:
        """These fields of this object may change."""
        was = self.written[table].get(id)
        if was is None: return
        bits = was.bits.get(fields)
        if bits is None:
            bits = 0
            for field in fields: bits |= was.bits.get((field,), 0)
            was.bits[fields] = bits
        self.allowed |= bits

    def may_item(self, table: str, id: int, row: str, index: int) -> None:
        """This item of this row may change."""
        was = self.written[table].get(id)
        if was is None: return
        for j, bit in was.entries.get(row, ()):
            if self.journal[j][2] == index: self.allowed |= bit

    def allocates(self) -> None:
        """The allocator's own state may change."""
        self.allowed |= self.allocator

    def rebuilds_tables(self, free: int, table: int) -> None:
        """Page tables may change, and pages become tables or stop being some (kinds ``free`` and ``table``)."""
        self.allowed |= self.tables
        self.kinds = ((free, table), (table, free))


class _Nothing(Frame):
    """The frame for a journal that is empty."""

    __slots__ = ()

    def may(self, table: str, id: int, *fields: str) -> None:
        pass

    def may_item(self, table: str, id: int, row: str, index: int) -> None:
        pass


NOTHING: Final = _Nothing({}, ())

from kernel.specs import (  # noqa: E402  (they register themselves)
    address_spaces,
    containers,
    devices,
    endpoints,
    messages,
    processes,
    quotas,
    scheduling,
    sharing,
    threads,
)

__all__ = [
    "NOTHING", "SPECIFICATIONS", "Frame", "Specification", "State", "address_spaces", "containers", "devices",
    "endpoints", "messages", "processes", "quotas", "scheduling", "sharing", "specification", "threads",
]  # fmt: skip
