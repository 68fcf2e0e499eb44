"""The machine's own slot: every obligation is proved, and gates that open something are refuted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hv.effects import Effects
from hv.gate import Gate
from hv.page_tables import NO_EXECUTE, USER, WRITABLE
from hv.prove import system_slot
from kernel.prove.hardware.obligation import PROVED, REFUTED

SECONDS = 60.0


@pytest.mark.parametrize("obligation", tuple(system_slot.obligations()), ids=lambda obligation: obligation.name)
def test_is_proved(obligation: Any) -> None:
    verdict = obligation.prove(SECONDS, 0)
    assert verdict.status == PROVED, verdict.counterexample


def gate_with(change: Callable[[int, int], int]) -> type[Gate]:
    """A gate whose mappings have other flags: by page and flags."""

    class Other(Gate):
        def _map(self, page: int, flags: int) -> None:
            super()._map(page, change(page, flags))

    return Other


@pytest.mark.parametrize("page", [0, 1, 3, 4, 1027])
def test_a_page_that_programs_could_reach_is_refuted(page: int) -> None:
    gate = gate_with(lambda at, flags: flags | USER if at == page else flags)
    verdict = system_slot.out_of_reach(gate)(SECONDS, 0)
    # Page 0 is theirs in ring 3 anyhow, and out of reach by its upper levels otherwise.
    assert verdict.status == (PROVED if page == 0 else REFUTED)
    if page: assert f"address {0x7F80_0000_0000 + page * 4096 >> 12:#x}" in verdict.counterexample


def test_a_gate_that_programs_could_write_is_refuted() -> None:
    gate = gate_with(lambda at, flags: flags | WRITABLE if at == 0 else flags)
    assert system_slot.out_of_reach(gate)(SECONDS, 0).status == REFUTED
    assert system_slot.its_own(gate)(SECONDS, 0).status == REFUTED


def test_a_writable_page_that_could_be_executed_is_refuted() -> None:
    gate = gate_with(lambda at, flags: flags & ~NO_EXECUTE if at == 9 else flags)
    assert system_slot.out_of_reach(gate)(SECONDS, 0).status == PROVED
    assert system_slot.its_own(gate)(SECONDS, 0).status == REFUTED


def test_a_slot_that_is_open_to_programs_is_refuted() -> None:
    class Open(Gate):
        def _entry(self, page: int, index: int, value: int) -> None:
            super()._entry(page, index, value | USER if value else 0)

        def system_pml4_entry(self) -> int:
            return super().system_pml4_entry() | USER

    assert system_slot.out_of_reach(Open)(SECONDS, 0).status == REFUTED


class EveryLevel(Effects):
    """Gives every table the machine's entry."""

    def _before_entries(self, kinds: dict[int, int]) -> None:
        for p in kinds:
            self._frames.create(p)
            self._frames.set_entry(p, 255, self._system_entry)


class NextSlot(Effects):
    """Puts the machine's entry beside its place."""

    def _before_entries(self, kinds: dict[int, int]) -> None:
        for p in kinds:
            self._frames.create(p)
            if self._k.table[p].level == 4: self._frames.set_entry(p, 254, self._system_entry)


@pytest.mark.parametrize("layer", [EveryLevel, NextSlot])
def test_the_machines_entry_in_the_wrong_place_is_refuted(layer: type[Effects]) -> None:
    assert system_slot.in_every_root(layer)(SECONDS, 0).status == REFUTED


def test_runs_are_the_words_they_were_made_of() -> None:
    for words in ([0] * 512, [5, 5, 4101, 8197, 0, 0, 7], [1, 4097, 4097, 8193, 3], [0, 4096, 8192, 1], [9]):
        runs = system_slot._runs_of(words)
        assert [start + n * step for _, count, start, step in runs for n in range(count)] == words
        assert [first for first, *_ in runs] == [sum(run[1] for run in runs[:n]) for n in range(len(runs))]
