"""Counts and sums over all objects: kept current from the journal, recounted by the audit.

An invariant is about one arbitrary object, so "the container is charged for exactly the pages it owns" needs the count
as a value.  A ledger is such a value; it is never part of a decision of the kernel, only of its checks.
"""

from __future__ import annotations

from abi.layout import BLOCK_PAGES
from kernel.objects import BLOCK_SPLIT, FREE, Kernel, Ledger, Row
from kernel.view import Overlay


def block_free_pages(kind: int, carved: int, listed: int) -> int:
    """Free pages of a block as part of Memory.free_pages: none unless it is split."""
    return BLOCK_PAGES - carved + listed if kind == BLOCK_SPLIT else 0


def _move(row: Row, before: int, after: int) -> None:
    """One item of a count changes its key; key 0 is not counted."""
    if before != after:
        if before != 0: row[before] -= 1
        if after != 0: row[after] += 1


def update(ledger: Ledger, overlay: Overlay) -> None:
    """Brings the ledgers from the state before the journal's writes to the state after them."""
    for (table, id), old in overlay.items():
        live = old.live
        if table == "page":
            if "owner" in old.fields: _move(ledger.owned, old.fields["owner"], live.owner)  # type: ignore[attr-defined]
            if "kind" in old.fields or "block" in old.fields:
                before = old.block if old.kind != FREE else 0
                after = live.block if live.kind != FREE else 0  # type: ignore[attr-defined]
                _move(ledger.in_use, before, after)
        elif table == "table":
            entries = old.rows.get("entry")
            if entries:
                row = live.entry  # type: ignore[attr-defined]
                for index, before in entries.items():
                    ledger.used[id] += (row[index] != 0) - (before != 0)
        elif table == "process":
            if "container" in old.fields:
                _move(ledger.processes, old.fields["container"], live.container)  # type: ignore[attr-defined]
            pages = old.rows.get("map_page")
            if pages:
                row = live.map_page  # type: ignore[attr-defined]
                for index, before in pages.items():
                    after = row[index]
                    _move(ledger.mappings, before, after)
                    ledger.mapped[id] += (after != 0) - (before != 0)
            handles = old.rows.get("handle_object")
            if handles:
                row = live.handle_object  # type: ignore[attr-defined]
                for index, before in handles.items():
                    ledger.handles[id] += (row[index] != 0) - (before != 0)
        elif table == "container":
            ledger.promised_pages += live.pages - old.pages  # type: ignore[attr-defined]
            ledger.promised_blocks += live.blocks - old.blocks  # type: ignore[attr-defined]
        elif table == "block":
            if "owner" in old.fields:
                _move(ledger.owned_blocks, old.fields["owner"], live.owner)  # type: ignore[attr-defined]
            ledger.free_pages += block_free_pages(live.kind, live.carved, live.listed)  # type: ignore[attr-defined]
            ledger.free_pages -= block_free_pages(old.kind, old.carved, old.listed)


def count(k: Kernel) -> Ledger:
    """The ledgers, counted afresh over the whole state."""
    ledger = Ledger()
    for page in k.page.values():
        _move(ledger.owned, 0, page.owner)
        if page.kind != FREE: _move(ledger.in_use, 0, page.block)
    for table in k.table.values():
        used = sum(1 for value in table.entry.values() if value != 0)
        if used: ledger.used[table.id] = used
    for process in k.process.values():
        _move(ledger.processes, 0, process.container)
        mapped = [page for page in process.map_page.values() if page != 0]
        if mapped: ledger.mapped[process.id] = len(mapped)
        for number in mapped:
            ledger.mappings[number] += 1
        handles = sum(1 for value in process.handle_object.values() if value != 0)
        if handles: ledger.handles[process.id] = handles
    for container in k.container.values():
        ledger.promised_pages += container.pages
        ledger.promised_blocks += container.blocks
    for block in k.block.values():
        _move(ledger.owned_blocks, 0, block.owner)
        ledger.free_pages += block_free_pages(block.kind, block.carved, block.listed)
    return ledger


def differences(kept: Ledger, counted: Ledger) -> list[str]:
    """Where the ledgers kept from the journal differ from the counted ones, one sentence each; empty if nowhere."""
    found = []
    for name in Ledger.__slots__:
        a, b = getattr(kept, name), getattr(counted, name)
        if isinstance(a, Row):
            found += [f"{name}[{i}] is {a[i]}, counted {b[i]}" for i in sorted(set(a) | set(b)) if a[i] != b[i]]
        elif a != b:
            found.append(f"{name} is {a}, counted {b}")
    return found
