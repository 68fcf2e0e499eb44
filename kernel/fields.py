"""Sets of fields of kernel objects, as numbers: each field of a class has a bit."""

from __future__ import annotations

from typing import Final

from kernel.objects import CLASSES, fields_of

BITS: Final[dict[str, dict[str, int]]] = {
    of.table_name: {field: 1 << i for i, field in enumerate(sorted(fields_of(of)))} for of in CLASSES
}
"""By table: the bit that stands for each field in a set of them."""
SETS: Final[dict[str, dict[tuple[str, ...], int]]] = {of.table_name: {} for of in CLASSES}
"""By table: sets of fields that were asked for, by the fields' names."""
NUMBERS: Final[dict[str, int]] = {of.table_name: number for number, of in enumerate(CLASSES)}
"""The number of each table, as objects' classes are numbered."""


def field_set(table: str, names: tuple[str, ...]) -> int:
    """The set of those of these fields that the table's objects have."""
    known = SETS[table].get(names)
    if known is None:
        bits = BITS[table]
        known = 0
        for name in names:
            known |= bits.get(name, 0)
        SETS[table][names] = known
    return known


__all__ = ["BITS", "NUMBERS", "SETS", "field_set"]
