"""What the effect layer stores for an entry: ``Effects`` and ``TableFrames`` themselves, run on 64-bit vectors.

One arbitrary entry that a transition wrote is carried out (``Effects._write_entries``): any table in any frame, any
index, whatever the entry leads to, whatever was there before.  ``content`` is the word that then stands there, as a
formula; it is taken from the run, and what a processor makes of it is ``hv.prove.walking``'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, cast

import z3

from abi.layout import BLOCK_PAGES, BLOCK_SIZE, DATA_LIMIT, PAGE_SHIFT, TABLE_ENTRIES
from hv.devices import Devices
from hv.effects import Effects
from hv.gate import Gate
from hv.guest_memory import GuestMemory
from hv.page_tables import TableFrames
from hv.prove.vectors import Memory, Way, Word, ask, pick, ways
from kernel.objects import FREE, KIND_NAMES, MAPPED, MAPPED_BLOCK, MAPPED_GIANT, PAGES_OF, TABLE
from kernel.prove.hardware.obligation import (
    Describe,
    Obligation,
    Prove,
    Verdict,
    all_proved,
    decide,
    number,
    sentence,
)  # fmt: skip

PERMISSIONS_VALID: Final = (0, 1, 3, 5, 7)
"""What invariant map_permission and transitions let a permission be."""
TARGET_KINDS: Final = (MAPPED, MAPPED_BLOCK, MAPPED_GIANT, TABLE)
"""What invariant entry_target lets an entry lead to."""
TABLE_ID: Final = 7
"""An id to call the table by; the code uses it as a key only."""
LAST_PAGE: Final = (DATA_LIMIT >> PAGE_SHIFT) - 1
"""The last 4 KiB page that a machine's data memory can have; there are at most as many tables."""


def _word(name: str) -> z3.BitVecRef:
    return z3.BitVec(name, 64)


FRAME: Final = _word("frame")
"""The frame of the table, counted from TABLES_BASE."""
INDEX: Final = _word("index")
TARGET: Final = _word("target")
"""The page that the entry leads to, by the kernel; 0 for none."""
KIND: Final = _word("kind")
"""What that page is."""
PERMISSION: Final = _word("permission")
TARGET_FRAME: Final = _word("target_frame")
"""The frame of that page if it is a table."""
STAND_IN: Final = _word("stand_in")
"""The frame that stands in for the 1 GiB entry that was, or will be, there."""
NTH: Final = _word("nth")
"""One arbitrary entry of the frame that stands in."""
PAGE_BEFORE_KIND: Final = _word("kind_of_page_before")
"""What the page that the entry led to is now."""
PAGE_BEFORE_FREED: Final = z3.Bool("page_before_freed")


def placed(frame: z3.BitVecRef, index: z3.BitVecRef) -> z3.BitVecRef:
    """Number of the 64-bit word of an entry, from TABLES_BASE on."""
    return z3.simplify((frame << TABLE_ENTRIES.bit_length() - 1) + index)


PLACE: Final = placed(FRAME, INDEX)
BEFORE: Final = _word("before")
"""What the entry was."""
FIRST: Final = _word("first")
"""What the first entry of the frame that stands in was."""
_FIRST_PLACE: Final = placed(STAND_IN, z3.BitVecVal(0, 64))


def _before(at: z3.BitVecRef) -> z3.BitVecRef:
    """The words from TABLES_BASE on that are looked at, as they were."""
    if at.eq(PLACE): return BEFORE
    if at.eq(_FIRST_PLACE): return FIRST
    raise LookupError(f"word {at} of the tables' memory is read, and nothing is known of it")


@dataclass(frozen=True)
class Machine:
    """``giant_entries``: vCPUs know 1 GiB entries.  ``stood_in``: they do not, and the entry was one."""

    giant_entries: bool
    stood_in: bool


MACHINES: Final = (Machine(True, False), Machine(False, False), Machine(False, True))


@dataclass(frozen=True)
class Stored:
    """What is there after the entry was carried out."""

    stores: tuple[tuple[z3.BitVecRef, z3.BitVecRef], ...]
    """Numbers of words, from TABLES_BASE on, and what they were given, in order."""
    stands_in: bool
    dropped: tuple[tuple[z3.BitVecRef, int], ...]
    """Pages, and how many, whose translations are to be dropped."""

    @property
    def word(self) -> z3.BitVecRef:
        """The word of the entry.  (That no other store is one to it is obligation ``alone``.)"""
        return next((value for at, value in reversed(self.stores) if at.eq(PLACE)), BEFORE)


class _Frames(TableFrames):
    """The frames of a machine whose memory is not known."""

    def __init__(self, machine: Machine) -> None:
        self._words = cast("memoryview[int]", Memory(_before))
        self._frames = cast("dict[int, int]", _FrameOf())
        self._giant_entries = machine.giant_entries
        self.stand_ins = {}
        if machine.stood_in: self.stand_ins[TABLE_ID, cast(int, _INDEX)] = cast(int, Word(STAND_IN, LAST_PAGE))

    def _take(self) -> int:
        return cast(int, Word(STAND_IN, LAST_PAGE))

    def _retire(self, frame: int) -> None:
        """The frame is not looked at any more: nothing leads to it."""


class _FrameOf:
    """The frame of a table: of the one, or of the one its entry leads to."""

    def __getitem__(self, table: Any) -> Word:
        return Word(FRAME if table is TABLE_ID else TARGET_FRAME, LAST_PAGE)


_INDEX: Final = Word(INDEX, TABLE_ENTRIES - 1)


class _Pages:
    """What pages are: the one the entry leads to, and the one it led to."""

    def __init__(self, target: Word) -> None:
        self._target = target

    def __getitem__(self, page: Any) -> Any:
        if page is self._target: return SimpleNamespace(kind=pick(Word(KIND), TARGET_KINDS))
        return SimpleNamespace(kind=pick(Word(PAGE_BEFORE_KIND), (*PAGES_OF, FREE)))


class _Freed:
    """The pages whose kind this transition changes."""

    def __contains__(self, page: object) -> bool:
        return ask(PAGE_BEFORE_FREED)


NO_DEVICES: Final = cast(
    Devices, SimpleNamespace(registers=SimpleNamespace(frames={}, next_address=0, dropped=lambda address: None))
)
"""Of a machine without devices: no entry leads to registers."""

EffectLayer = Callable[[Any, TableFrames], Effects]


def effects_of(k: Any, frames: TableFrames, devices: Devices = NO_DEVICES) -> Effects:
    """The effect layer of a machine with this kernel, these frames and devices."""
    gate = SimpleNamespace(system_pml4_entry=lambda: 0)
    return Effects(k, cast(GuestMemory, None), frames, cast(Gate, gate), cast(Any, None), devices)


def carried_out(machine: Machine, layer: EffectLayer) -> Stored:
    """What an entry is, when it was carried out."""
    target = Word(TARGET, LAST_PAGE)
    table = SimpleNamespace(entry={_INDEX: target}, permission={_INDEX: Word(PERMISSION)})
    k = SimpleNamespace(table={TABLE_ID: table}, page=_Pages(target))
    frames = _Frames(machine)
    effects = layer(k, frames)
    effects._write_entries({(TABLE_ID, cast(int, _INDEX)): None}, cast("dict[int, int]", _Freed()))
    dropped = tuple((cast(Word, page).vector, count) for page, count in effects._drops)
    return Stored(tuple(cast(Memory, frames._words).stores), bool(frames.stand_ins), dropped)


def in_memory(page: z3.BitVecRef, kind: z3.BitVecRef) -> z3.BoolRef:
    """A page, block or giant lies within what a machine's data memory can be at most, and starts at a multiple of its
    size; page 0 is nobody's.  (Proved: translation.within_memory.)"""
    return z3.And(page != 0, *[
        z3.Implies(kind == of, z3.And(z3.ULE(page, LAST_PAGE + 1 - count), page & (count - 1) == 0))
        for of, count in ((MAPPED, 1), (MAPPED_BLOCK, PAGES_OF[MAPPED_BLOCK]), (MAPPED_GIANT, PAGES_OF[MAPPED_GIANT]))
    ], z3.Implies(kind == TABLE, z3.ULE(page, LAST_PAGE)))  # fmt: skip


def a_frame(frame: z3.BitVecRef) -> z3.BoolRef:
    """A frame is one of as many as a machine has at most: TableFrames is given the size of its data memory."""
    return z3.ULE(frame, LAST_PAGE)


def one_of(word: z3.BitVecRef, among: tuple[int, ...]) -> z3.BoolRef:
    """A word is one of these ints."""
    return z3.Or(*[word == value for value in among])


def target_known() -> list[z3.BoolRef]:
    """What holds of an entry that leads somewhere, or nowhere."""
    return [
        one_of(KIND, TARGET_KINDS), one_of(PERMISSION, PERMISSIONS_VALID), a_frame(TARGET_FRAME),
        z3.Implies(TARGET != 0, in_memory(TARGET, KIND)),
    ]  # fmt: skip


def anywhere() -> list[z3.BoolRef]:
    """What holds of every entry that is carried out, whatever it was before."""
    return [
        a_frame(FRAME), z3.ULT(INDEX, TABLE_ENTRIES), *target_known(), a_frame(STAND_IN), STAND_IN != FRAME,
        STAND_IN != TARGET_FRAME,
        # What the entry led to is what it was, or was freed in this transition (kernel.prove.hardware.changes).
        one_of(PAGE_BEFORE_KIND, (*PAGES_OF, FREE)), (PAGE_BEFORE_KIND == FREE) == PAGE_BEFORE_FREED,
    ]  # fmt: skip


def known(machine: Machine, layer: EffectLayer = effects_of) -> list[z3.BoolRef]:
    """What holds before an entry is carried out."""
    facts = anywhere()
    led = z3.And(TARGET != 0, KIND == MAPPED_GIANT)
    if machine.stood_in:
        # It was a giant: it is one still, or the entry is gone (kernel.prove.hardware.changes).
        giant, rights = _word("giant_before"), _word("permission_before")
        block = instance(content(True, layer), giant, z3.BitVecVal(MAPPED_BLOCK, 64), rights, giant, giant)
        facts += [
            z3.Or(TARGET == 0, led), table_entry(STAND_IN, layer) == BEFORE, block == FIRST,
            in_memory(giant, z3.BitVecVal(MAPPED_GIANT, 64)), one_of(rights, PERMISSIONS_VALID[1:]),
        ]  # fmt: skip
    elif not machine.giant_entries:
        # Nothing stood in for it, so it was no giant: nothing, or a table.
        other = _word("some_frame")
        facts += [z3.Implies(led, z3.Or(BEFORE == 0, table_entry(other, layer) == BEFORE)), a_frame(other)]
    return facts


@cache
def runs(machine: Machine, layer: EffectLayer = effects_of) -> tuple[Way[Stored], ...]:
    """All ways of carrying out an entry."""
    return tuple(ways(lambda: carried_out(machine, layer), known(machine, layer)))


@cache
def content(giant_entries: bool, layer: EffectLayer = effects_of) -> z3.BitVecRef:
    """The word of an entry that was empty before, once it was carried out.  (That it is the same whatever was there
    before is obligation ``same``.)"""
    machine = Machine(giant_entries, False)
    empty = [*anywhere(), BEFORE == 0, PAGE_BEFORE_FREED]
    merged: z3.BitVecRef | None = None
    for way in ways(lambda: carried_out(machine, layer), empty):
        word = z3.simplify(z3.substitute(way.result.word, (BEFORE, z3.BitVecVal(0, 64))))
        merged = word if merged is None else z3.If(way.condition, word, merged)
    assert merged is not None
    return merged


def instance(
    formula: z3.BitVecRef, target: z3.BitVecRef, kind: z3.BitVecRef, permission: z3.BitVecRef,
    target_frame: z3.BitVecRef, stand_in: z3.BitVecRef,
) -> z3.BitVecRef:  # fmt: skip
    """``content`` for one particular entry."""
    return cast(z3.BitVecRef, z3.substitute(
        formula, (TARGET, target), (KIND, kind), (PERMISSION, permission), (TARGET_FRAME, target_frame),
        (STAND_IN, stand_in),
    ))  # fmt: skip


def table_entry(frame: z3.BitVecRef, layer: EffectLayer = effects_of) -> z3.BitVecRef:
    """The word of an entry that leads to the table in this frame."""
    none = z3.BitVecVal(0, 64)
    return instance(content(True, layer), z3.BitVecVal(1, 64), z3.BitVecVal(TABLE, 64), none, frame, none)


def shown(model: z3.ModelRef) -> str:
    """An entry that a counterexample is about."""
    target = number(model, TARGET)
    kind = KIND_NAMES[number(model, KIND)] if target else "nothing"
    return (
        f"entry {number(model, INDEX)} of the table in frame {number(model, FRAME):#x}: it is to lead to {kind}"
        f" (page {target:#x}, permissions {number(model, PERMISSION)});\nbefore it was {number(model, BEFORE):#x}"
    )


Question = Callable[[Machine, Stored], tuple[list[z3.BoolRef], z3.BoolRef]]
"""What else is known where an entry was stored in this way, and what is claimed."""


def _of_all_ways(layer: EffectLayer, question: Question, describe: Describe = shown) -> Prove:
    def verdicts(timeout: float, seed: int) -> Iterator[Verdict]:
        for machine in MACHINES:
            basis = known(machine, layer)
            for way in runs(machine, layer):
                more, claim = question(machine, way.result)
                yield decide([*basis, way.condition, *more], claim, describe, timeout, seed)

    return lambda timeout, seed: all_proved(verdicts(timeout, seed))


def exact(layer: EffectLayer = effects_of) -> Prove:
    """Words are the ints that Python computes: none is wider than 64 bits."""

    def verdicts(timeout: float, seed: int) -> Iterator[Verdict]:
        for machine in MACHINES:
            for way in runs(machine, layer):
                yield decide([*known(machine, layer), way.condition], z3.And(*way.exact), shown, timeout, seed)

    return lambda timeout, seed: all_proved(verdicts(timeout, seed))


def alone(layer: EffectLayer = effects_of) -> Prove:
    """No other word of the tables' memory is written, but those of the frame that stands in."""

    def question(_machine: Machine, stored: Stored) -> tuple[list[z3.BoolRef], z3.BoolRef]:
        elsewhere = [at for at, _ in stored.stores if not at.eq(PLACE)]
        if not stored.stands_in: return [], z3.BoolVal(not elsewhere)
        return [], z3.And(*[z3.LShR(at, TABLE_ENTRIES.bit_length() - 1) == STAND_IN for at in elsewhere])

    return _of_all_ways(layer, question, lambda model: f"{shown(model)}\nanother word is written as well")


def same(layer: EffectLayer = effects_of) -> Prove:
    """What an entry is does not depend on what it was."""

    def question(machine: Machine, stored: Stored) -> tuple[list[z3.BoolRef], z3.BoolRef]:
        return [], stored.word == content(machine.giant_entries, layer)

    return _of_all_ways(layer, question)


def dropped(layer: EffectLayer = effects_of) -> Prove:
    """Where an entry that led to memory changes, the translations of all that memory are dropped, or it is freed."""

    def question(machine: Machine, stored: Stored) -> tuple[list[z3.BoolRef], z3.BoolRef]:
        was, now = BEFORE, stored.word
        if machine.stood_in:
            was = FIRST
            now = next((value for at, value in stored.stores if not at.eq(PLACE)), FIRST)
            if not stored.stands_in: now = z3.BitVecVal(0, 64)
        page = z3.ZeroExt(24, z3.Extract(51, 12, was))
        led = z3.And(was & 1 == 1, z3.ULE(page, LAST_PAGE))
        covered = [
            z3.And(start == page, *[z3.Implies(kind == PAGE_BEFORE_KIND, count >= of) for kind, of in PAGES_OF.items()])
            for start, count in stored.dropped
        ]
        return [led, now != was], z3.Or(PAGE_BEFORE_FREED, *covered)

    return _of_all_ways(layer, question)


def stand_in(layer: EffectLayer = effects_of) -> Prove:
    """A table stands in for an entry exactly where vCPUs do not know what it is, and its entries are those of the 512
    blocks of the giant."""

    def question(machine: Machine, stored: Stored) -> tuple[list[z3.BoolRef], z3.BoolRef]:
        wanted = z3.And(TARGET != 0, KIND == MAPPED_GIANT, PERMISSION != 0, not machine.giant_entries)
        if not stored.stands_in: return [], z3.Not(wanted)
        parts = [(at, value) for at, value in stored.stores if not at.eq(PLACE)]
        nth = FIRST + NTH * BLOCK_SIZE  # as it was: by this same obligation, when it was stored
        claims = [wanted, stored.word == table_entry(STAND_IN, layer)]
        if parts:
            # The nth store is one to the nth entry, of the first one's value and n blocks: so it is for any n.
            first = parts[0][1]
            claims.append(z3.BoolVal(len(parts) == TABLE_ENTRIES))
            for n, (at, value) in enumerate(parts):
                claims.append(at == placed(STAND_IN, z3.BitVecVal(n, 64)))
                claims.append(value == first + n * BLOCK_SIZE)
            nth = first + NTH * BLOCK_SIZE
        block = instance(
            content(True, layer), TARGET + NTH * BLOCK_PAGES, z3.BitVecVal(MAPPED_BLOCK, 64), PERMISSION, TARGET_FRAME,
            STAND_IN,
        )  # fmt: skip
        return [z3.ULT(NTH, TABLE_ENTRIES)], z3.And(*claims, nth == block)

    return _of_all_ways(
        layer, question, lambda model: f"{shown(model)}\nentry {number(model, NTH)} of what stands in for it"
    )


def obligations() -> Iterator[Obligation]:
    """What is proved of storing an entry."""
    for prove in (exact, alone, same, dropped, stand_in):
        yield Obligation(f"entries.{prove.__name__}", "page-table bytes", sentence(prove), prove())
