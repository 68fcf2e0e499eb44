"""Entries that lead to registers: every obligation is proved, each outcome can be, wrong effect layers are refuted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import z3

from abi.layout import EXECUTE, WRITE
from hv import effects
from hv.devices import Devices
from hv.effects import Effects, encode_register_entry
from hv.gate import Gate
from hv.page_tables import TableFrames, encode_entry
from hv.prove import registers
from hv.prove.entries import KIND, PERMISSION, PERMISSIONS_VALID, TARGET, effects_of
from hv.prove.registers import REGISTERS, RegisterLayer, content, in_the_window
from hv.prove.walking import ADDRESS, ENTRIES, WIDTH, cr3, known, load
from hv.register_pages import Mapping
from kernel.objects import MAPPED
from kernel.prove.hardware.obligation import PROVED, REFUTED
from kernel.prove.hardware.walk import Processor, walk

SECONDS = 60.0


@pytest.mark.parametrize("obligation", tuple(registers.obligations()), ids=lambda obligation: obligation.name)
def test_is_proved(obligation: Any) -> None:
    verdict = obligation.prove(SECONDS, 0)
    assert verdict.status == PROVED, verdict.counterexample


@pytest.mark.parametrize("permission", PERMISSIONS_VALID)
def test_every_mapping_of_registers_can_be(permission: int) -> None:
    first = ENTRIES[3]
    word = z3.substitute(content(), (TARGET, first.target), (KIND, first.kind), (PERMISSION, first.permission))
    found = walk(load, cr3(), ADDRESS, Processor(WIDTH, True))
    solver = z3.Solver()
    solver.add(*known(True, effects_of, leaf=word), *[entry.leads_down for entry in ENTRIES[:3]], first.maps)
    solver.add(first.kind == MAPPED, first.permission == permission, in_the_window(REGISTERS))
    solver.add(found.translated == (permission != 0))
    assert solver.check() == z3.sat


def with_encoding(encode: Callable[..., int]) -> RegisterLayer:
    """An effect layer that encodes entries of registers in another way."""

    class Other(Effects):
        def _write_entries(self, *arguments: Any) -> None:
            with mock.patch.object(effects, "encode_register_entry", encode): super()._write_entries(*arguments)

    return made_by(Other)


def made_by(of: type[Effects]) -> RegisterLayer:
    """An effect layer of another class."""

    def layer(k: Any, frames: TableFrames, devices: Devices) -> Effects:
        return of(k, None, frames, mock.Mock(Gate), None, devices)  # type: ignore[arg-type]

    return layer


def refuted(prove: Any, wrong: Any) -> None:
    verdict = prove(wrong)(SECONDS, 0)
    assert verdict.status == REFUTED, verdict
    assert "page" in verdict.counterexample


@pytest.mark.parametrize(
    "encode",
    [
        lambda gpa, permissions: encode_entry(gpa, permissions, table=False, large=False),  # what it holds is executed
        lambda gpa, permissions: encode_register_entry(gpa, permissions | WRITE),
        lambda gpa, permissions: encode_register_entry(gpa, permissions & EXECUTE),
        lambda gpa, permissions: encode_register_entry(gpa + 4096, permissions),  # the next page
        lambda gpa, permissions: encode_register_entry(gpa & (1 << 37) - 1, permissions),  # memory
    ],
)
def test_a_wrong_encoding_is_refuted(encode: Callable[..., int]) -> None:
    refuted(registers.entry, with_encoding(encode))
    refuted(registers.access, with_encoding(encode))


def test_registers_that_are_cached_in_another_way_are_refuted() -> None:
    refuted(registers.entry, with_encoding(lambda gpa, permissions: encode_register_entry(gpa, permissions) | 1 << 4))


def test_an_entry_that_leads_to_the_page_itself_is_refuted() -> None:
    class Memory(Effects):
        def _write_entries(self, *arguments: Any) -> None:
            with mock.patch.object(self._registers, "frames", {}): super()._write_entries(*arguments)

    refuted(registers.entry, made_by(Memory))


def test_registers_that_stay_reachable_are_refuted() -> None:
    class Keeps(Effects):
        def _write_entries(self, *arguments: Any) -> None:
            with mock.patch.object(self._registers, "dropped"): super()._write_entries(*arguments)

    refuted(registers.dropped, made_by(Keeps))


@pytest.mark.parametrize(
    "address",
    [
        lambda mapping, page: mapping.address + page * 2048,
        lambda mapping, page: mapping.address + (page + 1) * 4096,  # the last one is the next call's first
        lambda mapping, page: mapping.address + (1 << 37) + page * 4096,  # page tables
        lambda mapping, page: Mapping.page_address(mapping, page & 31),
    ],
)
def test_pages_of_registers_in_the_wrong_place_are_refuted(address: Callable[..., Any]) -> None:
    refuted(registers.addresses, address)
