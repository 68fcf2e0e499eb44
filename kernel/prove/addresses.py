"""Virtual pages as four indices of nine bits: two that are the same have the same indices.

A solver finds that out for itself, by trying; told so about the addresses that a step is about, it need not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kernel.prove.state import State
from kernel.prove.terms import Integer, Term, Truth, add, all_of, at_most, equal, implies, read

Indices = tuple[Integer, Integer, Integer, Integer]
"""From that of level 4 down to that of level 1."""


def number(indices: Sequence[Integer]) -> Integer:
    """The virtual page that four indices name."""
    total: Integer = 0
    for index, shift in zip(indices, (27, 18, 9, 0), strict=True): total = add(total, index, 1 << shift)
    return total


def unique(a: Indices, b: Indices) -> Truth:
    """Where the lower three indices of both are below 512, they name the same page only if they are the same."""
    within = [all_of((at_most(0, index), at_most(index, 511))) for index in (*a[1:], *b[1:])]
    same = [equal(x, y) for x, y in zip(a, b, strict=True)]
    return implies(all_of((*within, equal(number(a), number(b)))), all_of(same))


def entry_addresses(x: Integer, i: Integer) -> Iterator[Indices]:
    """What entry i of table x can translate: for each level that x can be of, by the slots of the tables above it."""
    parent = read("table.parent", x)
    grandparent = read("table.parent", parent)
    yield read("table.slot", grandparent), read("table.slot", parent), read("table.slot", x), i
    yield read("table.slot", parent), read("table.slot", x), i, 0
    yield read("table.slot", x), i, 0, 0


def indices_of(v: Integer) -> Indices | None:
    """The indices that a sum of indices is of; None if it is none."""
    if not isinstance(v, Term): return None
    parts: dict[int, Integer] = {}
    for term, factor in v.args[1:] if v.args and isinstance(v.args[0], int) else ():
        parts[factor] = term
    if v.args[:1] != (0,) or not parts or set(parts) - {1, 1 << 9, 1 << 18, 1 << 27}: return None
    return parts.get(1 << 27, 0), parts.get(1 << 18, 0), parts.get(1 << 9, 0), parts.get(1, 0)


def uniqueness(state: State, reads: Iterable[Term]) -> Iterator[Truth]:
    """That the entries of tables which are read here translate the pages that are mapped or unmapped in a state only
    where the indices are the same."""
    pages: dict[Indices, None] = {}
    for write in state.writes.get("process.map_permission", ()):
        indices = None if write.index is None else indices_of(write.index)
        if indices is not None: pages[indices] = None
    entries = dict.fromkeys(term.args[1:] for term in reads if term.args[0] == "table.entry")
    for x, i in entries:
        for its in entry_addresses(x, i):
            for page in pages: yield unique(its, page)


__all__ = ["indices_of", "number", "unique", "uniqueness"]
