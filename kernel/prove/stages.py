"""Stages of transitions: functions that keep every invariant by themselves, in any state that has them all, where what
they require holds.

A transition that writes nothing but through stages keeps every invariant because they do, one after another: of it
there is nothing left to prove but that each stage is called where what it requires holds.  What passes memory on is
made so.  A grant maps the page a second time, moves its charge, and unmaps it where it was: tables that come need not
be looked at together with tables that go.

Nothing of this is taken for granted.  That a stage keeps the invariants is a task of its own, and so is each call
(kernel.prove.preservation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from abi.errors import OK
from kernel.objects import CONTAINER, MAPPED, MAPPED_BLOCK, MAPPED_GIANT, Kernel
from kernel.page_table import (
    indices_valid,
    permission_valid,
    room_for_block,
    room_for_giant,
    room_for_page,
    table_under,
)  # fmt: skip


def room_to_alias_page(k: Kernel, d: int, i4: int, i3: int, i2: int, i1: int, p: int, permission: int) -> bool:
    """A 4 KiB page is mapped; process d can map it at these indices, and its container pay for the missing tables."""
    if not indices_valid(i4, i3, i2, i1) or not permission_valid(permission): return False
    return k.page[p].kind == MAPPED and room_for_page(k, d, i4, i3, i2, i1, 0) == OK


def room_to_alias_block(k: Kernel, d: int, i4: int, i3: int, i2: int, p: int, permission: int) -> bool:
    """As room_to_alias_page, for a 2 MiB block."""
    if not indices_valid(i4, i3, i2, 0) or not permission_valid(permission): return False
    return k.page[p].kind == MAPPED_BLOCK and room_for_block(k, d, i4, i3, i2) == OK


def room_to_alias_giant(k: Kernel, d: int, i4: int, i3: int, p: int, permission: int) -> bool:
    """As room_to_alias_page, for a 1 GiB giant."""
    if not indices_valid(i4, i3, 0, 0) or not permission_valid(permission): return False
    return k.page[p].kind == MAPPED_GIANT and room_for_giant(k, d, i4, i3) == OK


def quota_for_page(k: Kernel, p: int, c: int, e: int) -> bool:
    """A 4 KiB page is mapped and charged to c, and container e has quota for it."""
    if k.page[p].kind != MAPPED or k.page[p].owner != c: return False
    return k.page[e].kind == CONTAINER and k.container[e].pages >= 1


def quota_for_block(k: Kernel, p: int, c: int, e: int) -> bool:
    """As quota_for_page, of a 2 MiB block."""
    if k.page[p].kind != MAPPED_BLOCK or k.page[p].owner != c: return False
    return k.page[e].kind == CONTAINER and k.container[e].blocks >= 1


def quota_for_giant(k: Kernel, p: int, c: int, e: int) -> bool:
    """As quota_for_page, of a 1 GiB giant."""
    if k.page[p].kind != MAPPED_GIANT or k.page[p].owner != c: return False
    return k.page[e].kind == CONTAINER and k.container[e].giants >= 1


def page_mapped(k: Kernel, s: int, x1: int, i4: int, i3: int, i2: int, i1: int, p: int) -> bool:
    """Process s has 4 KiB page p at these indices, in table x1."""
    if not indices_valid(i4, i3, i2, i1) or x1 == 0: return False
    if table_under(k, table_under(k, table_under(k, k.process[s].root, i4), i3), i2) != x1: return False
    return p != 0 and k.table[x1].entry[i1] == p


def block_mapped(k: Kernel, s: int, x2: int, i4: int, i3: int, i2: int, p: int) -> bool:
    """Process s has 2 MiB block p at these indices, in table x2."""
    if not indices_valid(i4, i3, i2, 0) or x2 == 0: return False
    if table_under(k, table_under(k, k.process[s].root, i4), i3) != x2: return False
    return k.table[x2].entry[i2] == p and k.page[p].kind == MAPPED_BLOCK


def giant_mapped(k: Kernel, s: int, x3: int, i4: int, i3: int, p: int) -> bool:
    """Process s has 1 GiB giant p at these indices, in table x3."""
    if not indices_valid(i4, i3, 0, 0) or x3 == 0: return False
    if table_under(k, k.process[s].root, i4) != x3: return False
    return k.table[x3].entry[i3] == p and k.page[p].kind == MAPPED_GIANT


STAGES: Final[dict[tuple[str, str], Callable[..., bool]]] = {
    ("kernel.sharing", "alias_page"): room_to_alias_page,
    ("kernel.sharing", "alias_block"): room_to_alias_block,
    ("kernel.sharing", "alias_giant"): room_to_alias_giant,
    ("kernel.sharing", "charge_page"): quota_for_page,
    ("kernel.sharing", "charge_block"): quota_for_block,
    ("kernel.sharing", "charge_giant"): quota_for_giant,
    ("kernel.page_table", "remove_page"): page_mapped,
    ("kernel.page_table", "remove_block"): block_mapped,
    ("kernel.page_table", "remove_giant"): giant_mapped,
}
"""What each stage requires of the state before it and of its arguments, by module and name of the function."""

__all__ = ["STAGES"]
