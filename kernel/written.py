"""An object of the kernel, and what the check of a transition knows of one that the transition wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from kernel.storage import OldRow


class Object:
    """Base of all kernel objects: which table it is in, and its id there."""

    __slots__ = ("id", "written")
    table_name: ClassVar[str] = ""

    def __init__(self, id: int) -> None:
        self.id = id
        self.written: Written | None = None
        """What is known of the transition's writes to it, while they are checked."""


class Written:
    """A written object: what it was, and which of its fields were written.  A set of fields is a number with the bit of
    each (``kernel.view.BITS``)."""

    __slots__ = ("live", "old", "table", "bits", "sets", "fields", "allowed", "rows")

    def __init__(self, table: int, bits: dict[str, int], sets: dict[tuple[str, ...], int], blank: Object) -> None:
        self.table = table
        """The number of its table in ``kernel.objects.CLASSES``."""
        self.bits = bits
        """The bit of each field of such objects."""
        self.sets = sets
        """The bits of fields that were asked for together."""
        self.live = blank
        """The object."""
        self.old = blank
        """The object as it was: a copy, its rows those of the object but for the written ones."""
        self.fields: int = 0
        """Those that were written."""
        self.allowed: int = 0
        """Those that the specification allows to be written."""
        self.rows: dict[str, OldRow] = {}
        """Rows as they were, by name; of meaning for those that were written."""


class Tally:
    """How many instances of invariants were evaluated."""

    __slots__ = ("clauses",)

    def __init__(self) -> None:
        self.clauses: int = 0


class Unbounded(Exception):
    """What the writes can have broken is not within bounds: everything is to be evaluated."""


__all__ = ["Object", "Tally", "Unbounded", "Written"]
