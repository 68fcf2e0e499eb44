"""What a processor finds for an address is what the kernel's tables say of it: for every 64-bit address.

The tables on the way of an arbitrary address are in arbitrary frames; each entry on the way is any that the kernel's
invariants allow at its level (kernel.invariants.address_spaces.entry_target) and stands in memory as the effect layer
stores it (``hv.prove.entries``).  The walk is the processor's own (kernel.prove.hardware.walk).  That the kernel's
tables in turn say what the abstract map says is kernel.prove.hardware.translation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import z3

from abi.layout import BLOCK_PAGES, PAGE_SHIFT, SYSTEM_SLOT, TABLES_BASE
from hv.page_tables import TableFrames
from hv.prove.entries import (
    PERMISSIONS_VALID,
    EffectLayer,
    a_frame,
    content,
    effects_of,
    in_memory,
    instance,
    one_of,
    placed,
)  # fmt: skip
from hv.prove.vectors import Word
from kernel.objects import KIND_NAMES, MAPPED, MAPPED_BLOCK, MAPPED_GIANT, TABLE
from kernel.prove.hardware.obligation import Obligation, Prove, Verdict, all_proved, decide, number, sentence, truth
from kernel.prove.hardware.walk import Load, Processor, Walk, canonical, walk

Walker = Callable[[Load, z3.BitVecRef, z3.BitVecRef, Processor], Walk]

LEAVES: Final = {4: None, 3: MAPPED_GIANT, 2: MAPPED_BLOCK, 1: MAPPED}
"""What an entry maps, by the level of its table (invariant entry_target)."""
ADDRESS: Final = z3.BitVec("address", 64)
WIDTH: Final = z3.BitVec("physical_width", 64)
load: Final = z3.Function("physical_memory", z3.BitVecSort(64), z3.BitVecSort(64))
"""The 64-bit words of physical memory, by address."""


def _word(name: str, level: int) -> z3.BitVecRef:
    return z3.BitVec(f"{name}{level}", 64)


def index(level: int) -> z3.BitVecRef:
    """The index that an address has in a table of this level, as 64 bits."""
    low = PAGE_SHIFT + 9 * (level - 1)
    return z3.ZeroExt(55, z3.Extract(low + 8, low, ADDRESS))


@dataclass(frozen=True)
class Entry:
    """The entry of an address in its table of one level, as the kernel has it."""

    level: int

    @property
    def target(self) -> z3.BitVecRef:
        """The page it leads to; 0 for none."""
        return _word("target", self.level)

    @property
    def kind(self) -> z3.BitVecRef:
        """What that is."""
        return _word("kind", self.level)

    @property
    def permission(self) -> z3.BitVecRef:
        """Where it maps memory, what of that programs may do."""
        return _word("permission", self.level)

    @property
    def leads_down(self) -> z3.BoolRef:
        """It leads to a table."""
        return z3.And(self.target != 0, self.kind == TABLE)

    @property
    def maps(self) -> z3.BoolRef:
        """It maps memory."""
        return z3.And(self.target != 0, self.kind != TABLE)

    def allowed(self) -> list[z3.BoolRef]:
        """What the kernel's invariants say of it."""
        kinds = [LEAVES[self.level]] if self.level == 1 else [TABLE, LEAVES[self.level]]
        facts = [
            one_of(self.kind, tuple(kind for kind in kinds if kind is not None)),
            one_of(self.permission, PERMISSIONS_VALID), z3.Implies(self.target != 0, in_memory(self.target, self.kind)),
        ]  # fmt: skip
        if self.level == 4: facts.append(z3.Implies(z3.UGE(index(4), SYSTEM_SLOT), self.target == 0))
        return facts


ENTRIES: Final = tuple(Entry(level) for level in (4, 3, 2, 1))


def frame(level: int) -> z3.BitVecRef:
    """The frame of the address's table of this level."""
    return _word("frame", level)


def address_of(place: z3.BitVecRef) -> z3.BitVecRef:
    """Physical address of a word of the tables' memory: TableFrames has KVM map it from TABLES_BASE on."""
    return TABLES_BASE + (place << 3)


def stored(giant_entries: bool, layer: EffectLayer, leaf: z3.BitVecRef | None = None) -> list[z3.BoolRef]:
    """The entries on the way stand in memory as the effect layer stores them; that of level 1 as ``leaf``, if given."""
    facts = []
    for entry in ENTRIES:
        level = entry.level
        below = frame(level - 1) if level > 1 else frame(1)
        stand_in = _word("stand_in", level)
        word = instance(content(giant_entries, layer), entry.target, entry.kind, entry.permission, below, stand_in)
        if level == 1 and leaf is not None: word = leaf
        facts += [a_frame(frame(level)), a_frame(stand_in)]
        facts.append(load(address_of(placed(frame(level), index(level)))) == word)
    if not giant_entries:
        # What stands in for a giant: obligation entries.stand_in.
        giant = ENTRIES[1]
        block = instance(
            content(True, layer), giant.target + index(2) * BLOCK_PAGES, z3.BitVecVal(MAPPED_BLOCK, 64),
            giant.permission, frame(1), _word("stand_in", 3),
        )  # fmt: skip
        facts.append(z3.Implies(
            z3.And(ENTRIES[0].leads_down, giant.maps, giant.permission != 0),
            load(address_of(placed(_word("stand_in", 3), index(2)))) == block,
        ))  # fmt: skip
    return facts


def in_the_kernel() -> tuple[z3.BoolRef, z3.BitVecRef, z3.BitVecRef]:
    """What the kernel's tables say of the address: whether memory is mapped there, which page, which permissions."""
    fourth, third, second, first = ENTRIES
    page = z3.ZeroExt(28, z3.Extract(47, 12, ADDRESS))
    giant = z3.And(fourth.leads_down, third.maps)
    block = z3.And(fourth.leads_down, third.leads_down, second.maps)
    small = z3.And(fourth.leads_down, third.leads_down, second.leads_down, first.maps)
    return (
        z3.And(canonical(ADDRESS), z3.Or(giant, block, small)),
        z3.If(
            giant, third.target + (page & (1 << 18) - 1),
            z3.If(block, second.target + (page & (1 << 9) - 1), first.target),
        ),
        z3.If(giant, third.permission, z3.If(block, second.permission, first.permission)),
    )  # fmt: skip


def cr3() -> z3.BitVecRef:
    """CR3 of the address space: what TableFrames.gpa says of its root."""
    frames = object.__new__(TableFrames)
    frames._frames = {0: Word(frame(4), 1 << 25)}  # type: ignore[dict-item]
    found: object = frames.gpa(0)
    assert isinstance(found, Word)
    return found.vector


def known(giant_entries: bool, layer: EffectLayer, leaf: z3.BitVecRef | None = None) -> list[z3.BoolRef]:
    """All that is known of the tables on the way of the address, and of the processor.  ``leaf``: as for ``stored``."""
    return [
        z3.ULE(WIDTH, 52), z3.UGE(WIDTH, 39), *stored(giant_entries, layer, leaf),
        *[fact for entry in ENTRIES for fact in entry.allowed()],
        # The machine's own slot is hv.prove.system_slot's.
        z3.Not(z3.And(canonical(ADDRESS), index(4) == SYSTEM_SLOT)),
    ]  # fmt: skip


def shown(model: z3.ModelRef) -> str:
    """The address of a counterexample, and the entries on its way."""
    lines = [f"address {number(model, ADDRESS):#x} (MAXPHYADDR {number(model, WIDTH)})"]
    for entry in ENTRIES:
        target = number(model, entry.target)
        kind = KIND_NAMES[number(model, entry.kind)] if target else "nothing"
        word = number(model, load(address_of(placed(frame(entry.level), index(entry.level)))))
        lines.append(
            f"  level {entry.level}, entry {number(model, index(entry.level)):3}: {kind} {target:#x}, permissions"
            f" {number(model, entry.permission)}; in memory {word:#018x}"
        )
    mapped, page, permission = in_the_kernel()
    said = f"page {number(model, page):#x} with permissions {number(model, permission)}"
    lines.append(f"  the kernel: {said if truth(model, mapped) else 'nothing is mapped'}")
    return "\n".join(lines)


def _found(found: Walk, model: z3.ModelRef) -> str:
    rights = [
        name
        for name, right in (
            ("read", found.readable_by_programs), ("written", found.writable_by_programs),
            ("executed", found.executable_by_programs),
        )
        if truth(model, right)
    ]  # fmt: skip
    where = f"{number(model, found.physical):#x} can be {', '.join(rights)}" if rights else "no access"
    return f"{shown(model)}\n  the processor: {where}"


Claim = Callable[[Walk], z3.BoolRef]


def _of_every_address(claim: Claim, layer: EffectLayer, walker: Walker) -> Prove:
    def verdicts(timeout: float, seed: int) -> Iterator[Verdict]:
        for giant_entries in (True, False):
            found = walker(load, cr3(), ADDRESS, Processor(WIDTH, giant_entries))
            yield decide(known(giant_entries, layer), claim(found), partial(_found, found), timeout, seed)

    return lambda timeout, seed: all_proved(verdicts(timeout, seed))


def translation(layer: EffectLayer = effects_of, walker: Walker = walk) -> Prove:
    """Programs can read, write and execute exactly what the kernel's tables say, at the page that they say."""

    def claim(found: Walk) -> z3.BoolRef:
        mapped, page, permission = in_the_kernel()
        physical = (page << PAGE_SHIFT) | (ADDRESS & (1 << PAGE_SHIFT) - 1)
        return z3.And(
            found.readable_by_programs == z3.And(mapped, permission != 0),
            found.writable_by_programs == z3.And(mapped, permission & 2 != 0),
            found.executable_by_programs == z3.And(mapped, permission & 4 != 0),
            z3.Implies(found.readable_by_programs, found.physical == physical),
        )

    return _of_every_address(claim, layer, walker)


def supervisor(layer: EffectLayer = effects_of, walker: Walker = walk) -> Prove:
    """Ring 0, where only the machine's own code runs, finds nothing that programs cannot reach."""
    return _of_every_address(lambda found: z3.Implies(found.translated, found.readable_by_programs), layer, walker)


def reserved(layer: EffectLayer = effects_of, walker: Walker = walk) -> Prove:
    """No entry that is present has a reserved bit set, on any processor with 39 to 52 physical address bits."""
    return _of_every_address(lambda found: z3.Not(found.reserved), layer, walker)


def unwritten(layer: EffectLayer = effects_of, walker: Walker = walk) -> Prove:
    """No access makes the processor write an accessed or dirty flag: tables hold what the kernel wrote."""
    return _of_every_address(lambda found: z3.Not(found.to_be_marked), layer, walker)


def obligations() -> Iterator[Obligation]:
    """What is proved of walks."""
    for prove in (translation, supervisor, reserved, unwritten):
        yield Obligation(f"walk.{prove.__name__}", "page walk", sentence(prove), prove())
