"""What terms are in a particular kernel: the same formulas that a solver is asked about, evaluated.

Nothing here is used in a proof.  It is how the evaluation on terms is compared with what the kernel's functions do when
they run (tests/kernel/prove), and how a solver's counterexample is tried (kernel.prove.replay).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kernel.objects import Kernel, Ledger
from kernel.prove.state import ROWS, TOTALS, Count, State, Write
from kernel.prove.terms import (
    ALL,
    ANY,
    AT_MOST_0,
    CHOICE,
    NAME,
    NONZERO,
    QUOTIENT,
    READ,
    REMAINDER,
    SUM,
    ZERO,
    Integer,
    Term,
    Truth,
    show,
)

Fields = Callable[[str, tuple[int, ...]], int]
"""What a field, as table.field, holds for these indices; ``ledger.`` and ``#``-versions of fields included."""


class Undefined(Exception):
    """A name that stands for nothing in this kernel was asked for."""


def field_of(k: Kernel, field: str, index: tuple[int, ...]) -> int:
    """What a field of an object, or an item of a row, of a kernel is.  Reading creates no object."""
    table, _, name = field.partition(".")
    if table == "memory": of: object = k.memory
    else:
        objects = getattr(k, table)
        of = objects.get(index[0])
        if of is None: of = objects.blank(index[0])
    value = getattr(of, name)
    return int(value.get(index[1], 0) if field in ROWS else value)


def ledger_of(ledger: Ledger, name: str, index: tuple[int, ...]) -> int:
    """A ledger's number, for a key if it has keys."""
    value = getattr(ledger, name)
    return int(value if name in TOTALS else value.get(index[0], 0))


class Meaning:
    """Values of terms, given those of names and of fields before.  Names may be added to ``names`` while terms that do
    not depend on them are evaluated; ``meant`` are names that stand for terms (State.names, the other way round)."""

    def __init__(self, fields: Fields, names: Mapping[Term, int], meant: Mapping[Term, Integer] | None = None) -> None:
        self.names = dict(names)
        self._fields = fields
        self._meant = meant or {}
        self._known: dict[Term, int] = {}

    def integer(self, a: Integer) -> int:
        """What an integer is.  Raises Undefined if that depends on a name that stands for nothing."""
        if not isinstance(a, Term): return a
        found = self._known.get(a)
        if found is None: found = self._known[a] = self._integer(a)
        return found

    def _integer(self, a: Term) -> int:
        args = a.args
        if a.op == READ: return self._fields(str(args[0]), tuple(self.integer(index) for index in args[1:]))
        if a.op == NAME:
            if a in self.names: return self.names[a]
            if a in self._meant: return self.integer(self._meant[a])
            raise Undefined(show(a))
        if a.op == SUM:
            total = int(args[0])
            for term, factor in args[1:]: total += factor * self.integer(term)
            return total
        if a.op == CHOICE: return self.integer(args[1] if self.truth(args[0]) else args[2])
        if a.op == QUOTIENT: return self.integer(args[0]) // int(args[1])
        assert a.op == REMAINDER
        return self.integer(args[0]) % int(args[1])

    def truth(self, a: Truth) -> bool:
        """Whether a truth holds."""
        if not isinstance(a, Term): return a
        found = self._known.get(a)
        if found is None: found = self._known[a] = int(self._truth(a))
        return bool(found)

    def _truth(self, a: Term) -> bool:
        if a.op in (ALL, ANY): return self._joined(a)
        value = self.integer(a.args[0])
        if a.op == ZERO: return value == 0
        if a.op == NONZERO: return value != 0
        assert a.op == AT_MOST_0
        return value <= 0

    def _joined(self, a: Term) -> bool:
        """Of parts in any order: one that decides does so even if others stand for nothing here."""
        undefined: Undefined | None = None
        for b in a.args:
            try:
                if self.truth(b) is (a.op == ANY): return a.op == ANY
            except Undefined as found:
                undefined = found
        if undefined is not None: raise undefined
        return a.op == ALL

    def after(self, state: State, field: str, *index: int) -> int:
        """What a field is after the writes to a state, looked for among them by number and not by ``State.read``."""
        for write in reversed(state.writes.get(field, ())):
            if not self._hits(write, index) or not self.truth(write.condition): continue
            if callable(write.value): return self.integer(write.value(index[0], index[1] if len(index) > 1 else 0))
            return self.integer(write.value)
        return self._fields(field, index)

    def _hits(self, write: Write, index: tuple[int, ...]) -> bool:
        """True if a write, where it is made, is to this object or item."""
        try:
            if write.id is not None and self.integer(write.id) != index[0]: return False
            return write.index is None or self.integer(write.index) == index[1]
        except Undefined:
            if self.truth(write.condition): raise
            return False

    def written(self, state: State) -> dict[tuple[str, tuple[int, ...]], None]:
        """The single fields and items that the writes to a state are to; those of all objects or items apart."""
        found: dict[tuple[str, tuple[int, ...]], None] = {}
        for field, writes in state.writes.items():
            for write in writes:
                if write.id is None or not self.truth(write.condition): continue
                if field not in ROWS: found[field, (self.integer(write.id),)] = None
                elif write.index is not None: found[field, (self.integer(write.id), self.integer(write.index))] = None
        return found

    def counted(self, state: State) -> dict[tuple[str, tuple[int, ...]], int]:
        """By ledger and key: what the ledgers that were counted in are after the writes to a state."""
        found: dict[tuple[str, tuple[int, ...]], int] = {}
        for ledger, counts in state.counts.items():
            keys = {self._key(count) for count in counts if not count.version and self.truth(count.condition)}
            for key in keys: found[ledger, key] = self.ledger(state, ledger, key)
        return found

    def ledger(self, state: State, ledger: str, key: tuple[int, ...]) -> int:
        """What a ledger is for a key after the writes to a state."""
        total = self._fields(f"ledger.{ledger}", key)
        for count in state.counts.get(ledger, ()):
            if not self.truth(count.condition): continue
            if count.version: total = self._fields(f"ledger.{ledger}#{count.version}", key)
            elif self._key(count) == key: total += self.integer(count.by)
        return total

    def _key(self, count: Count) -> tuple[int, ...]:
        return () if count.key is None else (self.integer(count.key),)


__all__ = ["Fields", "Meaning", "Undefined", "field_of", "ledger_of"]
