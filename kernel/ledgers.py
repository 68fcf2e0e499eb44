"""Counts and sums over all objects: kept current from the journal, recounted by the audit.

An invariant is about one arbitrary object, so "the container is charged for exactly the pages it owns" needs the count
as a value.  A ledger is such a value; it is never part of a decision of the kernel, only of its checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from abi.layout import BLOCK_PAGES, GIANT_BLOCKS
from kernel.objects import (
    BLOCK_FREE,
    BLOCK_SPLIT,
    DOMAIN_REGIONS,
    FREE,
    GIANT_SPLIT,
    RECEIVE,
    SEND,
    Block,
    Container,
    Device,
    Domain,
    Giant,
    Kernel,
    Ledger,
    Page,
    PageTable,
    Process,
    Row,
    fields_of,
)  # fmt: skip


def block_free_pages(kind: int, carved: int, listed: int) -> int:
    """Free pages of a block as part of Memory.free_pages: none unless it is split."""
    return BLOCK_PAGES - carved + listed if kind == BLOCK_SPLIT else 0


def giant_free_blocks(kind: int, carved: int, listed: int) -> int:
    """Free blocks of a giant, as if it had 512: none unless it is split."""
    return GIANT_BLOCKS - carved + listed if kind == GIANT_SPLIT else 0


def _move(row: Row, before: int, after: int) -> None:
    """One item of a count changes its key; key 0 is not counted."""
    if before != after:
        if before != 0: row[before] -= 1
        if after != 0: row[after] += 1


def _owned(ledger: Ledger, page: Page, old: Page) -> None:
    _move(ledger.owned, old.owner, page.owner)


def _in_use(ledger: Ledger, page: Page, old: Page) -> None:
    _move(ledger.in_use, old.block if old.kind != FREE else 0, page.block if page.kind != FREE else 0)


def _owned_blocks(ledger: Ledger, block: Block, old: Block) -> None:
    _move(ledger.owned_blocks, old.owner, block.owner)


def _free_pages(ledger: Ledger, block: Block, old: Block) -> None:
    ledger.free_pages += block_free_pages(block.kind, block.carved, block.listed)
    ledger.free_pages -= block_free_pages(old.kind, old.carved, old.listed)


def _blocks_in_use(ledger: Ledger, block: Block, old: Block) -> None:
    # Not by _move: giant 0 is counted as well.
    if old.kind != BLOCK_FREE: ledger.blocks_in_use[old.giant] -= 1
    if block.kind != BLOCK_FREE: ledger.blocks_in_use[block.giant] += 1


def _owned_giants(ledger: Ledger, giant: Giant, old: Giant) -> None:
    _move(ledger.owned_giants, old.owner, giant.owner)


def _free_blocks(ledger: Ledger, giant: Giant, old: Giant) -> None:
    ledger.free_blocks += giant_free_blocks(giant.kind, giant.carved, giant.listed)
    ledger.free_blocks -= giant_free_blocks(old.kind, old.carved, old.listed)


def _promised_pages(ledger: Ledger, container: Container, old: Container) -> None:
    ledger.promised_pages += container.pages - old.pages


def _promised_blocks(ledger: Ledger, container: Container, old: Container) -> None:
    ledger.promised_blocks += container.blocks - old.blocks


def _promised_giants(ledger: Ledger, container: Container, old: Container) -> None:
    ledger.promised_giants += container.giants - old.giants


def _used(ledger: Ledger, table: PageTable, old: PageTable, index: int) -> None:
    ledger.used[table.id] += (table.entry[index] != 0) - (old.entry[index] != 0)


def _mapped(ledger: Ledger, process: Process, old: Process, index: int) -> None:
    before, after = old.map_page[index], process.map_page[index]
    _move(ledger.mappings, before, after)
    ledger.mapped[process.id] += (after != 0) - (before != 0)


def _handles(ledger: Ledger, process: Process, old: Process, index: int) -> None:
    ledger.handles[process.id] += (process.handle_object[index] != 0) - (old.handle_object[index] != 0)


def _name(ledger: Ledger, endpoint: int, rights: int, by: int) -> None:
    """A handle with these rights, if it names an endpoint, counts ``by`` more."""
    if endpoint == 0 or rights == 0: return
    ledger.namings[endpoint] += by
    if rights & SEND: ledger.senders[endpoint] += by
    if rights & RECEIVE: ledger.receivers[endpoint] += by


def _endpoint_names(ledger: Ledger, process: Process, old: Process, slot: int) -> None:
    _name(ledger, old.handle_object[slot], old.handle_rights[slot], -1)
    _name(ledger, process.handle_object[slot], process.handle_rights[slot], 1)


def region_of(m: int, w: int) -> int:
    """The region of domain m that holds I/O virtual page w, as one number."""
    return m * DOMAIN_REGIONS + w // BLOCK_PAGES


def _reachable(ledger: Ledger, domain: Domain, old: Domain, index: int) -> None:
    before, after = old.map_page[index], domain.map_page[index]
    _move(ledger.mappings, before, after)
    ledger.reachable[domain.id] += (after != 0) - (before != 0)
    ledger.regions[region_of(domain.id, index)] += (after != 0) - (before != 0)


def _interrupts(ledger: Ledger, device: Device, old: Device) -> None:
    _name(ledger, old.endpoint, SEND, -1)
    _name(ledger, device.endpoint, SEND, 1)


def _pager(ledger: Ledger, process: Process, old: Process) -> None:
    _name(ledger, old.pager, SEND, -1)
    _name(ledger, process.pager, SEND, 1)


Rule = Callable[..., None]

RULES: Final[dict[str, tuple[tuple[frozenset[str], Rule], ...]]] = {
    "page": ((frozenset({"owner"}), _owned), (frozenset({"kind", "block"}), _in_use)),
    "block": (
        (frozenset({"owner"}), _owned_blocks),
        (frozenset({"kind", "giant"}), _blocks_in_use),
        (frozenset({"kind", "carved", "listed"}), _free_pages),
    ),
    "giant": ((frozenset({"owner"}), _owned_giants), (frozenset({"kind", "carved", "listed"}), _free_blocks)),
    "container": (
        (frozenset({"pages"}), _promised_pages),
        (frozenset({"blocks"}), _promised_blocks),
        (frozenset({"giants"}), _promised_giants),
    ),
    "table": ((frozenset({"entry"}), _used),),
    "process": (
        (frozenset({"map_page"}), _mapped),
        (frozenset({"handle_object"}), _handles),
        (frozenset({"handle_object", "handle_rights"}), _endpoint_names),
        (frozenset({"pager"}), _pager),
    ),
    "device": ((frozenset({"endpoint"}), _interrupts),),
    "domain": ((frozenset({"map_page"}), _reachable),),
}  # fmt: skip
"""By table: how a ledger follows an object of which any of these fields was written, given what it was; where they are
rows, at one index that was written."""


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
        mapped = [page for page in process.map_page.values() if page != 0]
        if mapped: ledger.mapped[process.id] = len(mapped)
        for number in mapped:
            ledger.mappings[number] += 1
        handles = sum(1 for value in process.handle_object.values() if value != 0)
        if handles: ledger.handles[process.id] = handles
        for slot, rights in process.handle_rights.items():
            _name(ledger, process.handle_object[slot], rights, 1)
        _name(ledger, process.pager, SEND, 1)
    for device in k.device.values():
        _name(ledger, device.endpoint, SEND, 1)
    for domain in k.domain.values():
        for index, number in domain.map_page.items():
            if number == 0: continue
            ledger.mappings[number] += 1
            ledger.reachable[domain.id] += 1
            ledger.regions[region_of(domain.id, index)] += 1
    for container in k.container.values():
        ledger.promised_pages += container.pages
        ledger.promised_blocks += container.blocks
        ledger.promised_giants += container.giants
    for block in k.block.values():
        _move(ledger.owned_blocks, 0, block.owner)
        if block.kind != BLOCK_FREE: ledger.blocks_in_use[block.giant] += 1
        ledger.free_pages += block_free_pages(block.kind, block.carved, block.listed)
    for giant in k.giant.values():
        _move(ledger.owned_giants, 0, giant.owner)
        ledger.free_blocks += giant_free_blocks(giant.kind, giant.carved, giant.listed)
    return ledger


def differences(kept: Ledger, counted: Ledger) -> list[str]:
    """Where the ledgers kept from the journal differ from the counted ones, one sentence each; empty if nowhere."""
    found = []
    for name in fields_of(Ledger):
        a, b = getattr(kept, name), getattr(counted, name)
        if isinstance(a, Row):
            found += [f"{name}[{i}] is {a[i]}, counted {b[i]}" for i in sorted(set(a) | set(b)) if a[i] != b[i]]
        elif a != b:
            found.append(f"{name} is {a}, counted {b}")
    return found
