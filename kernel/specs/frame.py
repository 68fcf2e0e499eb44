"""What a transition may have changed: a specification names it, field by field; everything else has to be as it was."""

from __future__ import annotations

from typing import Any, Final

from kernel.fields import BITS, NUMBERS, field_set
from kernel.objects import CLASSES, TABLE_NAMES, Kernel, Memory, Page, Table
from kernel.written import Object, Written


class Frame:
    """The fields that a transition may have changed, noted with the objects that it wrote."""

    __slots__ = ("allocating", "rebuilding", "kinds", "numbered", "tables", "_journal")

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

    def __init__(self, k: Kernel) -> None:
        self.tables: dict[str, Table[Any]] = {name: getattr(k, name) for name in TABLE_NAMES}
        memory: Table[Memory] = Table(Memory)
        memory[0] = k.memory
        self.tables["memory"] = memory
        self.numbered: list[Table[Any]] = [self.tables[of.table_name] for of in CLASSES]
        self._journal = k.journal
        self.allocating = False
        self.rebuilding = False
        self.kinds: tuple[tuple[int, int], ...] = ()
        """(before, after) of the kinds of pages whose kind and owner may have changed."""

    def begin(self) -> None:
        """Allows nothing yet."""
        self.allocating = self.rebuilding = False
        self.kinds = ()

    def may(self, table: str, id: int, *fields: str) -> None:
        """These fields of this object may change."""
        live: Object | None = self.tables[table].get(id)
        if live is None: return
        w = live.written
        if w is None: return
        allowed = w.sets.get(fields)
        if allowed is None: allowed = field_set(table, fields)
        w.allowed |= allowed

    def may_set(self, number: int, id: int, fields: int) -> None:
        """``may`` where the kernel is compiled: the table by its number, and the set of the fields."""
        live: Object | None = self.numbered[number].get(id)
        if live is None: return
        w = live.written
        if w is not None: w.allowed |= fields

    def may_item(self, table: str, id: int, row: str, index: int) -> None:
        """This item of this row may change."""
        self.may_set_item(NUMBERS[table], id, row, BITS[table][row], index)

    def may_set_item(self, number: int, id: int, row: str, bit: int, index: int) -> None:
        """``may_item`` where the kernel is compiled: the table by its number, and the row's bit besides its name."""
        live: Object | None = self.numbered[number].get(id)
        if live is None: return
        w = live.written
        if w is None or w.fields & bit == 0: return
        kept = w.rows[row]
        if index not in kept: return
        if not kept.allowed: self._journal.allowing.append(kept)
        kept.allowed.add(index)
        if len(kept.allowed) == len(kept): w.allowed |= bit

    def allocates(self) -> None:
        """The allocator's own state may change."""
        self.allocating = True

    def rebuilds_tables(self, free: int, table: int) -> None:
        """Page tables may change, and pages become tables or stop being some (kinds ``free`` and ``table``)."""
        self.rebuilding = True
        self.kinds = ((free, table), (table, free))

    def beyond(self, w: Written) -> int:
        """The fields of a written object that were written and are not among those that may change."""
        allowed = w.allowed
        if self.allocating: allowed |= _ALLOCATOR[w.table]
        if self.rebuilding:
            allowed |= _TABLES[w.table]
            live, old = w.live, w.old
            if isinstance(live, Page) and isinstance(old, Page) and (old.kind, live.kind) in self.kinds:
                allowed |= _KIND
        return w.fields & ~allowed


def _by_table(fields: frozenset[tuple[str, str]]) -> tuple[int, ...]:
    """The sets of fields by the number of their table."""
    return tuple(
        field_set(of.table_name, tuple(field for table, field in sorted(fields) if table == of.table_name))
        for of in CLASSES
    )


_ALLOCATOR: Final = _by_table(Frame.ALLOCATOR)
_TABLES: Final = _by_table(Frame.TABLES)


_KIND: Final = field_set("page", ("kind", "owner"))


class _Nothing(Frame):
    """The frame for a journal that is empty."""

    __slots__ = ()

    def may(self, table: str, id: int, *fields: str) -> None:
        pass

    def may_set(self, number: int, id: int, fields: int) -> None:
        pass

    def may_set_item(self, number: int, id: int, row: str, bit: int, index: int) -> None:
        pass


NOTHING: Final[Frame] = _Nothing(Kernel())

__all__ = ["NOTHING", "Frame"]
