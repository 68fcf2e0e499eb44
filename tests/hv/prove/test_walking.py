"""Walks of what is stored: every obligation is proved, each outcome can be, wrong encodings and walks are refuted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import z3

from hv.page_tables import ACCESSED, DIRTY, LARGE, NO_EXECUTE, USER, WRITABLE, encode_entry
from hv.prove import walking
from hv.prove.entries import PERMISSIONS_VALID, effects_of
from hv.prove.walking import ADDRESS, WIDTH, cr3, in_the_kernel, known, load
from kernel.objects import MAPPED, MAPPED_BLOCK, MAPPED_GIANT
from kernel.prove.hardware.obligation import PROVED, REFUTED
from kernel.prove.hardware.walk import Load, Processor, Walk, walk
from tests.hv.prove.test_entries import with_encoding

SECONDS = 60.0


@pytest.mark.parametrize("obligation", tuple(walking.obligations()), ids=lambda obligation: obligation.name)
def test_is_proved(obligation: Any) -> None:
    verdict = obligation.prove(SECONDS, 0)
    assert verdict.status == PROVED, verdict.counterexample


@pytest.mark.parametrize("giant_entries", [True, False])
@pytest.mark.parametrize("permission", PERMISSIONS_VALID)
@pytest.mark.parametrize("kind", [MAPPED, MAPPED_BLOCK, MAPPED_GIANT])
def test_every_mapping_can_be(kind: int, permission: int, giant_entries: bool) -> None:
    """What is known of the tables does not exclude what is proved about: each size with each permission occurs."""
    level = next(level for level, leaf in walking.LEAVES.items() if leaf == kind)
    leaf = walking.Entry(level)
    mapped, _, rights = in_the_kernel()
    found = walk(load, cr3(), ADDRESS, Processor(WIDTH, giant_entries))
    solver = z3.Solver()
    solver.add(*known(giant_entries, effects_of), mapped, rights == permission, leaf.maps, leaf.kind == kind)
    solver.add(*[walking.Entry(above).leads_down for above in range(level + 1, 5)])
    solver.add(found.translated == (permission != 0))
    assert solver.check() == z3.sat


def wrong(change: Callable[[int, Any], Any], *, of_tables: bool = False, shift: int = 0) -> Any:
    def encode(target: Any, permissions: Any, *, table: bool, large: bool) -> int:
        entry = encode_entry(target << shift if shift else target, permissions, table=table, large=large)
        return change(entry, permissions) if table == of_tables and entry else entry

    return with_encoding(encode)


def without(entry: Any, bit: int) -> Any:
    """An entry, Word or vector, without a bit."""
    return entry & ((1 << 64) - 1 & ~bit)


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(wrong(lambda entry, _: entry, shift=1), id="shift"),
        pytest.param(wrong(lambda entry, _: without(entry, NO_EXECUTE)), id="executable"),
        pytest.param(wrong(lambda entry, _: entry | WRITABLE), id="writable"),
        pytest.param(wrong(lambda entry, _: without(entry, USER)), id="supervisor"),
        pytest.param(wrong(lambda entry, _: without(entry, LARGE)), id="small"),
        pytest.param(wrong(lambda entry, _: without(entry, 1)), id="absent"),
        pytest.param(wrong(lambda entry, _: without(entry, WRITABLE), of_tables=True), id="table restricts writing"),
        pytest.param(wrong(lambda entry, _: entry | NO_EXECUTE, of_tables=True), id="table restricts execution"),
        pytest.param(wrong(lambda entry, _: entry | 1 << 51), id="reserved"),
        pytest.param(wrong(lambda entry, _: entry + 0x1000), id="next page"),
        pytest.param(wrong(lambda entry, _: entry + 0x1000, of_tables=True), id="next table"),
    ],
)  # fmt: skip
def test_a_wrong_encoding_is_refuted(layer: Any) -> None:
    verdict = walking.translation(layer)(SECONDS, 0)
    assert verdict.status == REFUTED
    assert "address 0x" in verdict.counterexample
    assert "the processor:" in verdict.counterexample


def test_a_permission_of_none_that_is_present_for_ring_0_is_refuted() -> None:
    def encode(target: Any, permissions: Any, *, table: bool, large: bool) -> int:
        if not table and not permissions: return target | 1 | ACCESSED | DIRTY | (LARGE if large else 0)
        return encode_entry(target, permissions, table=table, large=large)

    layer = with_encoding(encode)
    assert walking.supervisor(layer)(SECONDS, 0).status == REFUTED


@pytest.mark.parametrize(("bit", "of_tables"), [(ACCESSED, True), (ACCESSED, False), (DIRTY, False)])
def test_an_entry_that_the_processor_would_write_is_refuted(bit: int, of_tables: bool) -> None:
    layer = wrong(lambda entry, _: without(entry, bit), of_tables=of_tables)
    assert walking.unwritten(layer)(SECONDS, 0).status == REFUTED


def test_a_reserved_bit_is_refuted() -> None:
    assert walking.reserved(wrong(lambda entry, _: entry | 1 << 13))(SECONDS, 0).status == REFUTED
    assert walking.reserved(wrong(lambda entry, _: entry | LARGE, of_tables=True))(SECONDS, 0).status == REFUTED


def reading(change: Callable[[z3.BitVecRef], z3.BitVecRef]) -> walking.Walker:
    """A processor that reads entries in another way."""

    def walker(load: Load, cr3: z3.BitVecRef, linear: z3.BitVecRef, processor: Processor) -> Walk:
        return walk(lambda address: change(load(address)), cr3, linear, processor)

    return walker


def at(change: Callable[[z3.BitVecRef], z3.BitVecRef]) -> walking.Walker:
    """A processor that walks for another address."""
    return lambda load, cr3, linear, processor: walk(load, cr3, change(linear), processor)


@pytest.mark.parametrize(
    "walker",
    [
        pytest.param(reading(lambda entry: without(entry, LARGE)), id="ignores PS"),
        pytest.param(reading(lambda entry: without(entry, NO_EXECUTE)), id="ignores XD"),
        pytest.param(reading(lambda entry: entry | WRITABLE), id="ignores R/W"),
        pytest.param(reading(lambda entry: entry | 1 | USER), id="ignores P and U/S"),
        pytest.param(at(lambda linear: linear & (1 << 48) - 1), id="ignores bits 63 to 48"),
        pytest.param(at(lambda linear: linear ^ 1 << 21), id="wrong index"),
        pytest.param(at(lambda linear: linear ^ 1), id="wrong offset"),
    ],
)
def test_another_walk_is_refuted(walker: walking.Walker) -> None:
    """The kernel's tables and their encoding are right for no processor but this one."""
    assert walking.translation(walker=walker)(SECONDS, 0).status == REFUTED
