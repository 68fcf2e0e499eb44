"""The machine's own slot of every address space: programs reach nothing there, or one page of two instructions.

The tables below it are those that ``Gate`` writes, as bytes; the entry that leads to them is what ``Effects`` stores
when a root table is made.  Where KVM enters the gate without leaving ring 3 (``lstar_cpl`` 3), programs can read and
execute the gate's page, and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Final, cast

import z3

from abi.layout import PAGE_SIZE, SYSTEM_BASE, SYSTEM_PHYSICAL, SYSTEM_SLOT, TABLE_ENTRIES
from hv.effects import Effects
from hv.gate import GATE, MAX_VCPUS, Gate
from hv.guest_memory import GuestMemory
from hv.kvm import Vm
from hv.page_tables import TableFrames
from hv.prove.entries import FRAME, NO_DEVICES, TABLE_ID, a_frame, placed
from hv.prove.vectors import Memory, Word, ways
from hv.prove.walking import ADDRESS, WIDTH, Walker, address_of, cr3, frame
from kernel.objects import FREE, TABLE
from kernel.prove.hardware.obligation import Obligation, Prove, Verdict, all_proved, decide, number, sentence, truth
from kernel.prove.hardware.walk import Processor, Walk, canonical, walk

MakeGate = Callable[[Vm, int], Gate]

_MEMSLOTS: Final = SimpleNamespace(new_slot=lambda: 0, set_memslot=lambda *_: None)
"""What a Gate wants of a virtual machine: a memslot for its pages."""


@cache
def tables(lstar_cpl: int, gate_of: MakeGate = Gate) -> tuple[int, dict[int, int]]:
    """The entry of the slot, and the words of a gate's memory that are not 0, by physical address.  All vCPUs are
    there: what of them is not, has no entries."""
    gate = gate_of(cast(Vm, _MEMSLOTS), lstar_cpl)
    for vcpu in range(MAX_VCPUS): gate.add_vcpu(vcpu)
    words = struct.unpack(f"<{len(gate._memory) // 8}Q", gate._memory[:])
    found = {SYSTEM_PHYSICAL + 8 * n: word for n, word in enumerate(words) if word}
    return gate.system_pml4_entry(), found


def _memory(lstar_cpl: int, gate_of: MakeGate) -> Callable[[z3.BitVecRef], z3.BitVecRef]:
    """Physical memory: an arbitrary root table in its frame, with its entry for the slot, and the gate's tables.

    Of the gate's pages those that tables name are looked at; the others are arbitrary."""
    entry, words = tables(lstar_cpl, gate_of)
    named = {
        page: _runs_of([words.get(at, 0) for at in range(page, page + PAGE_SIZE, 8)])
        for page in _table_pages(entry, words)
    }
    elsewhere = z3.Function("other_memory", z3.BitVecSort(64), z3.BitVecSort(64))

    def load(address: z3.BitVecRef) -> z3.BitVecRef:
        word = elsewhere(address)
        index = z3.ZeroExt(55, z3.Extract(11, 3, address))
        for page, runs in named.items():
            here = z3.BitVecVal(0, 64)
            for first, count, start, step in runs:
                here = z3.If(z3.ULT(index - first, count), start + (index - first) * step, here)
            word = z3.If(z3.LShR(address, 12) == page // PAGE_SIZE, here, word)
        return z3.If(address == address_of(placed(frame(4), z3.BitVecVal(SYSTEM_SLOT, 64))), entry, word)

    return load


def _runs_of(words: list[int]) -> list[tuple[int, int, int, int]]:
    """A table's entries as runs that go up by 0 or by a page: first index, count, first word, step."""
    found: list[tuple[int, int, int, int]] = []
    for i, word in enumerate(words):
        if found:
            first, count, start, step = found[-1]
            if count == 1 and word - start in (0, PAGE_SIZE): step = word - start
            if word == start + (i - first) * step:
                found[-1] = (first, count + 1, start, step)
                continue
        found.append((i, 1, word, 0))
    return found


def _table_pages(entry: int, words: dict[int, int]) -> list[int]:
    """Physical addresses of the pages that are tables below the slot's entry, whatever else they may be: three levels
    of present entries, followed."""
    mask = 0x000F_FFFF_FFFF_F000
    found = [entry & mask]
    level = list(found)
    for _ in range(2):
        level = [words[at] & mask for page in level for at in range(page, page + PAGE_SIZE, 8) if words.get(at, 0) & 1]
        found += level
    return list(dict.fromkeys(found))


def shown(found: Walk, model: z3.ModelRef) -> str:
    """An address of the slot, and what the processor finds there."""
    rights = [
        name
        for name, right in (
            ("translated", found.translated), ("user", found.user), ("writable", found.writable),
            ("executable", found.executable), ("reserved bit set", found.reserved), ("unmarked", found.to_be_marked),
        )
        if truth(model, right)
    ]  # fmt: skip
    return f"address {number(model, ADDRESS):#x}: {number(model, found.physical):#x}, {', '.join(rights)}"


def _of_the_slot(claim: Callable[[Walk, int], z3.BoolRef], gate_of: MakeGate, walker: Walker) -> Prove:
    def verdicts(timeout: float, seed: int) -> Iterator[Verdict]:
        for lstar_cpl in (0, 3):
            for giant_entries in (True, False):
                found = walker(_memory(lstar_cpl, gate_of), cr3(), ADDRESS, Processor(WIDTH, giant_entries))
                facts = [
                    canonical(ADDRESS), z3.Extract(47, 39, ADDRESS) == SYSTEM_SLOT, z3.ULE(WIDTH, 52),
                    z3.UGE(WIDTH, 39), a_frame(frame(4)),
                ]  # fmt: skip
                yield decide(facts, claim(found, lstar_cpl), partial(shown, found), timeout, seed)

    return lambda timeout, seed: all_proved(verdicts(timeout, seed))


def out_of_reach(gate_of: MakeGate = Gate, walker: Walker = walk) -> Prove:
    """Programs can read, write and execute nothing in the machine's slot, but read and execute the gate's page where
    KVM enters it in ring 3."""

    def claim(found: Walk, lstar_cpl: int) -> z3.BoolRef:
        at_gate = z3.And(z3.UGE(ADDRESS, GATE), z3.ULT(ADDRESS, GATE + PAGE_SIZE), lstar_cpl == 3)
        return z3.And(
            z3.Not(found.writable_by_programs),
            found.readable_by_programs == at_gate, found.executable_by_programs == at_gate,
        )  # fmt: skip

    return _of_the_slot(claim, gate_of, walker)


def its_own(gate_of: MakeGate = Gate, walker: Walker = walk) -> Prove:
    """The machine's slot translates to the machine's own pages, in their order, and nothing in it is both writable and
    executable; no reserved bit is set, and no access writes a flag."""

    def claim(found: Walk, _lstar_cpl: int) -> z3.BoolRef:
        pages = 4 + MAX_VCPUS
        return z3.And(
            found.translated == z3.ULT(ADDRESS - SYSTEM_BASE, pages * PAGE_SIZE),
            z3.Implies(found.translated, found.physical == ADDRESS - SYSTEM_BASE + SYSTEM_PHYSICAL),
            z3.Implies(found.translated, z3.Not(z3.And(found.writable, found.executable))),
            z3.Not(found.reserved), z3.Not(found.to_be_marked),
        )  # fmt: skip

    return _of_the_slot(claim, gate_of, walker)


SYSTEM_ENTRY: Final = z3.BitVec("system_entry", 64)
LEVEL: Final = z3.BitVec("level", 64)


class _Frames(TableFrames):
    def __init__(self) -> None:
        self.memory = Memory(_unread)
        self._words = cast("memoryview[int]", self.memory)
        self._frames = {}

    def _take(self) -> int:
        return cast(int, Word(FRAME, (1 << 25) - 1))


def _unread(at: z3.BitVecRef) -> z3.BitVecRef:
    raise LookupError(f"word {at} of the tables' memory is read before anything was written there")


def _root_made(layer: type[Effects]) -> list[tuple[z3.BitVecRef, z3.BitVecRef]]:
    table = SimpleNamespace(level=Word(LEVEL))
    k: Any = SimpleNamespace(table={TABLE_ID: table}, page={TABLE_ID: SimpleNamespace(kind=TABLE)})
    gate = SimpleNamespace(system_pml4_entry=lambda: Word(SYSTEM_ENTRY))
    frames = _Frames()
    effects = layer(k, cast(GuestMemory, None), frames, cast(Gate, gate), cast(Any, None), NO_DEVICES)
    effects._before_entries({TABLE_ID: FREE})
    return frames.memory.stores


def in_every_root(layer: type[Effects] = Effects) -> Prove:
    """A table that is made gets a frame, which is zeroed, with the machine's entry in it if it is a root and nothing
    else."""

    def verdicts(timeout: float, seed: int) -> Iterator[Verdict]:
        place = placed(FRAME, z3.BitVecVal(SYSTEM_SLOT, 64))
        for way in ways(lambda: _root_made(layer), [a_frame(FRAME)]):
            stores = way.result
            one = len(stores) == 1
            right = z3.And(stores[0][0] == place, stores[0][1] == SYSTEM_ENTRY) if one else z3.BoolVal(not stores)
            yield decide(
                [a_frame(FRAME), way.condition], z3.And((LEVEL == 4) == one, right),
                lambda model, stores=str(stores): f"a table of level {number(model, LEVEL)} is made with: {stores}",  # type: ignore[misc]
                timeout, seed,
            )  # fmt: skip

    return lambda timeout, seed: all_proved(verdicts(timeout, seed))


def obligations() -> Iterator[Obligation]:
    """What is proved of the machine's slot."""
    for prove in (out_of_reach, its_own): yield _obligation(prove.__name__, prove, prove())
    yield _obligation("in_every_root", in_every_root, in_every_root())


def _obligation(name: str, maker: object, prove: Prove) -> Obligation:
    return Obligation(f"system_slot.{name}", "the machine's slot", sentence(maker), prove)


assert TABLE_ENTRIES * 8 == PAGE_SIZE
