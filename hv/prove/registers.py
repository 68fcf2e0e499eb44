"""Entries that lead to registers of devices: what ``Effects`` stores for them, and what a processor makes of that.

To the kernel the page is memory like any other; ``hv.register_pages`` says which guest-physical address its entries
lead to instead.  The functions themselves are run on 64-bit vectors, as in ``hv.prove.entries``, for any such address;
walks are those of ``hv.prove.walking``, with such an entry at their end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, cast

import z3

from abi.layout import DATA_LIMIT, DEVICES_BASE, PAGE_SHIFT, PAGE_SIZE, TABLES_BASE
from hv.devices import Devices
from hv.effects import Effects
from hv.page_tables import ADDRESS_MASK, TableFrames
from hv.prove.entries import (
    BEFORE,
    FRAME,
    INDEX,
    KIND,
    PAGE_BEFORE_FREED,
    PERMISSION,
    PLACE,
    TARGET,
    Machine,
    Stored,
    anywhere,
    carried_out,
    effects_of,
)
from hv.prove.vectors import Way, Word, ways
from hv.prove.walking import ADDRESS, ENTRIES, WIDTH, Walker, cr3, known, load
from hv.register_pages import MOST_PAGES, PLACES, Mapping, place_of
from kernel.objects import MAPPED
from kernel.prove.hardware.obligation import Obligation, Prove, Verdict, all_proved, decide, number, sentence
from kernel.prove.hardware.walk import Processor, canonical, walk

REGISTERS: Final = z3.BitVec("registers", 64)
"""The guest-physical address that entries of the page lead to."""
CACHING: Final = 1 << 3 | 1 << 4 | 1 << 7
"""PWT, PCD and, in an entry of a 4 KiB page, PAT: which entry of the PAT says how it is cached (SDM vol. 3, 4.9.2)."""
PLACED: Final = z3.BitVec("place", 64)
"""The place of what one call has mapped, and the number of a page in it."""
PAGE: Final = z3.BitVec("page", 64)

RegisterLayer = Callable[[Any, TableFrames, Devices], Effects]


class _Leads:
    """The page leads to registers."""

    def __contains__(self, page: object) -> bool:
        return True

    def __getitem__(self, page: object) -> Word:
        return Word(REGISTERS, TABLES_BASE - 1)


@dataclass(frozen=True)
class Led:
    """What is there after an entry that leads to registers was carried out.  ``told``: the guest-physical addresses of
    whose translations ``RegisterPages`` was told."""

    stored: Stored
    told: tuple[z3.BitVecRef, ...]


def _carried_out(layer: RegisterLayer) -> Led:
    told: list[Any] = []
    registers = SimpleNamespace(frames=_Leads(), next_address=0, dropped=told.append)
    devices = cast(Devices, SimpleNamespace(registers=registers))
    machine = Machine(giant_entries=True, stood_in=False)
    stored = carried_out(machine, lambda k, frames: layer(k, frames, devices))
    return Led(stored, tuple(address.vector for address in told))


def in_the_window(address: z3.BitVecRef) -> z3.BoolRef:
    """An address is that of a page between memory and page tables.  (Proved: registers.addresses.)"""
    return z3.And(z3.UGE(address, DEVICES_BASE), z3.ULT(address, TABLES_BASE), address & PAGE_SIZE - 1 == 0)


def led() -> list[z3.BoolRef]:
    """What holds where an entry is carried out that leads to registers: only pages of 4 KiB do."""
    return [*anywhere(), TARGET != 0, KIND == MAPPED, in_the_window(REGISTERS)]


@cache
def runs(layer: RegisterLayer = effects_of) -> tuple[Way[Led], ...]:
    """All ways of carrying out such an entry."""
    return tuple(ways(lambda: _carried_out(layer), led()))


def content(layer: RegisterLayer = effects_of) -> z3.BitVecRef:
    """The word of such an entry.  (That it is the same whatever was there before is part of registers.entry.)"""
    merged: z3.BitVecRef | None = None
    for way in runs(layer):
        merged = way.result.stored.word if merged is None else z3.If(way.condition, way.result.stored.word, merged)
    assert merged is not None
    return merged


def shown(model: z3.ModelRef) -> str:
    """An entry that a counterexample is about."""
    return (
        f"entry {number(model, INDEX)} of the table in frame {number(model, FRAME):#x}: page"
        f" {number(model, TARGET):#x}, which leads to registers at {number(model, REGISTERS):#x},"
        f" permissions {number(model, PERMISSION)};\nbefore it was {number(model, BEFORE):#x}"
    )


def _of_all_ways(layer: RegisterLayer, claim: Callable[[Led], z3.BoolRef]) -> Prove:
    def verdicts(timeout: float, seed: int) -> Iterator[Verdict]:
        for way in runs(layer):
            exact = z3.And(*way.exact)
            yield decide([*led(), way.condition], z3.And(exact, claim(way.result)), shown, timeout, seed)

    return lambda timeout, seed: all_proved(verdicts(timeout, seed))


def entry(layer: RegisterLayer = effects_of) -> Prove:
    """An entry of a page of registers leads to them and to nothing else, in no way that the kernel does not permit;
    nothing is fetched there to be executed, and how they are cached is left to the host."""

    def claim(found: Led) -> z3.BoolRef:
        word = found.stored.word
        present = PERMISSION != 0
        return z3.And(
            (word & 1 == 1) == present, z3.Implies(z3.Not(present), word == 0),
            z3.Implies(present, z3.And(
                word & ADDRESS_MASK == REGISTERS, (word & 2 != 0) == (PERMISSION & 2 != 0), word & 4 != 0,
                z3.Extract(63, 63, word) == 1, word & CACHING == 0,
            )),
            *[at == PLACE for at, _ in found.stored.stores], z3.BoolVal(not found.stored.stands_in),
        )  # fmt: skip

    return _of_all_ways(layer, claim)


def dropped(layer: RegisterLayer = effects_of) -> Prove:
    """Where an entry changes that led to registers, RegisterPages is told to drop what is remembered of them; where it
    led to memory, the translations of that are dropped, or it is freed."""

    def claim(found: Led) -> z3.BoolRef:
        was = BEFORE & ADDRESS_MASK
        changed = z3.And(BEFORE & 1 == 1, found.stored.word != BEFORE)
        memory = z3.ULT(was, DATA_LIMIT)
        freed = z3.Or(z3.BoolVal(False), *[start == z3.LShR(was, PAGE_SHIFT) for start, _ in found.stored.dropped])
        return z3.Implies(changed, z3.And(
            z3.Implies(z3.Not(memory), z3.Or(z3.BoolVal(False), *[address == was for address in found.told])),
            z3.Implies(memory, z3.Or(PAGE_BEFORE_FREED, freed)),
        ))  # fmt: skip

    return _of_all_ways(layer, claim)


def addresses(of: Callable[[Mapping, Any], Any] = Mapping.page_address) -> Prove:
    """Each page of each call that maps registers has a guest-physical address of its own, above memory and below page
    tables, by which what the call mapped is found again."""

    def at(place: z3.BitVecRef, page: z3.BitVecRef) -> Word:
        mapping = object.__new__(Mapping)
        mapping.place = cast(int, Word(place, PLACES - 1))
        return cast(Word, of(mapping, Word(page, MOST_PAGES - 1)))

    def one(place: z3.BitVecRef, page: z3.BitVecRef) -> list[z3.BoolRef]:
        return [z3.UGE(place, 1), z3.ULT(place, PLACES), z3.ULT(page, MOST_PAGES)]

    def show(model: z3.ModelRef) -> str:
        address = number(model, at(PLACED, PAGE).vector)
        return f"page {number(model, PAGE)} at place {number(model, PLACED)}: {address:#x}"

    def prove(timeout: float, seed: int) -> Verdict:
        place, page = z3.BitVecs("other_place other_page", 64)
        found = at(PLACED, PAGE)
        returned = cast(Word, place_of(cast(int, found)))
        claim = z3.And(
            in_the_window(found.vector), returned.vector == PLACED,
            z3.Implies(at(place, page).vector == found.vector, z3.And(place == PLACED, page == PAGE)),
        )
        return decide([*one(PLACED, PAGE), *one(place, page)], claim, show, timeout, seed)

    return prove


def access(layer: RegisterLayer = effects_of, walker: Walker = walk) -> Prove:
    """At every address where the kernel maps a page that leads to registers, programs reach these and nothing else, as
    the kernel permits, and execute nothing; ring 0 finds nothing that they do not."""
    first = ENTRIES[3]
    word = z3.substitute(content(layer), (TARGET, first.target), (KIND, first.kind), (PERMISSION, first.permission))

    def show(model: z3.ModelRef) -> str:
        return f"{shown(model)}\naddress {number(model, ADDRESS):#x}, permissions {number(model, first.permission)}"

    def verdicts(timeout: float, seed: int) -> Iterator[Verdict]:
        for giant_entries in (True, False):
            found = walker(load, cr3(), ADDRESS, Processor(WIDTH, giant_entries))
            there = [entry.leads_down for entry in ENTRIES[:3]]
            facts = [
                *known(giant_entries, effects_of, leaf=word), *there, first.maps, first.kind == MAPPED,
                in_the_window(REGISTERS),
            ]  # fmt: skip
            rights = first.permission
            claim = z3.And(
                found.readable_by_programs == z3.And(canonical(ADDRESS), rights != 0),
                found.writable_by_programs == z3.And(canonical(ADDRESS), rights & 2 != 0),
                z3.Not(found.executable_by_programs), z3.Not(found.reserved), z3.Not(found.to_be_marked),
                z3.Implies(found.translated, found.readable_by_programs),
                z3.Implies(found.translated, found.physical == REGISTERS + (ADDRESS & PAGE_SIZE - 1)),
            )
            yield decide(facts, claim, show, timeout, seed)

    return lambda timeout, seed: all_proved(verdicts(timeout, seed))


def obligations() -> Iterator[Obligation]:
    """What is proved of registers."""
    for prove in (entry, dropped, addresses, access):
        yield Obligation(f"registers.{prove.__name__}", "page-table bytes", sentence(prove), prove())
