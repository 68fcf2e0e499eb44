"""The specifications: what each transition returns, what it changes, and that it changes nothing else.

A specification has the transition's name and arguments, and besides the state before (``old``), the state after
(``new``), the result, and a frame ``f`` in which it names every field that may have changed.  It shares no code with
the transitions and speaks of abstract maps, quotas and objects; the concrete tables and the allocator's stacks may
change wherever they do, as the invariants tie them to what is said here.

Source: Atmosphere, section 4.3 (specifications of system calls, with what did not change).
"""

from __future__ import annotations

from collections.abc import Callable
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
    """The fields a transition may have changed."""

    __slots__ = ("fields", "everywhere", "kinds")

    ALLOCATOR: Final = (
        ("memory", "fresh"), ("memory", "free_count"), ("memory", "free_stack"), ("memory", "partial_count"),
        ("memory", "partial_stack"), ("memory", "free_pages"), ("memory", "promised_pages"),
        ("memory", "promised_blocks"), ("block", "kind"), ("block", "owner"), ("block", "position"),
        ("block", "carved"), ("block", "listed"), ("block", "stack"), ("page", "rank"), ("page", "block"),
    )  # fmt: skip
    TABLES: Final = tuple(
        ("table", field)
        for field in ("level", "process", "parent", "slot", "base", "used", "entry", "permission")
    )

    def __init__(self) -> None:
        self.fields: set[tuple[str, int, str] | tuple[str, int, str, int]] = set()
        self.everywhere: set[tuple[str, str]] = set()
        self.kinds: set[tuple[int, int]] = set()

    def may(self, table: str, id: int, *fields: str) -> None:
        """These fields of this object may change."""
        for field in fields:
            self.fields.add((table, id, field))

    def may_item(self, table: str, id: int, row: str, index: int) -> None:
        """This item of this row may change."""
        self.fields.add((table, id, row, index))

    def allocates(self) -> None:
        """The allocator's own state may change."""
        self.everywhere.update(self.ALLOCATOR)

    def rebuilds_tables(self, free: int, table: int) -> None:
        """Page tables may change, and pages become tables or stop being some (kinds ``free`` and ``table``)."""
        self.everywhere.update(self.TABLES)
        self.kinds.update(((free, table), (table, free)))

    def permits(self, table: str, id: int, field: str, index: int | None, before: int, after: int, kinds: Any) -> bool:
        """True if the specification allows this change; ``kinds`` is (before, after) of the page with this id."""
        if (table, field) in self.everywhere or (table, id, field) in self.fields: return True
        if index is not None: return (table, id, field, index) in self.fields
        return table == "page" and field in ("kind", "owner") and kinds in self.kinds


from kernel.specs import address_spaces, processes, quotas, scheduling, threads  # noqa: E402  (they register themselves)

__all__ = [
    "SPECIFICATIONS", "Frame", "Specification", "State", "address_spaces", "processes", "quotas", "scheduling",
    "specification", "threads",
]  # fmt: skip
