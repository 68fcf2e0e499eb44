"""Storing entries: every obligation is proved, and wrong effect layers are refuted by the one that is about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from hv import effects
from hv.effects import Effects
from hv.gate import Gate
from hv.page_tables import TableFrames, encode_entry
from hv.prove import entries
from hv.prove.entries import NO_DEVICES, EffectLayer, effects_of
from kernel.prove.hardware.obligation import PROVED, REFUTED

SECONDS = 60.0


@pytest.mark.parametrize("obligation", tuple(entries.obligations()), ids=lambda obligation: obligation.name)
def test_is_proved(obligation: Any) -> None:
    verdict = obligation.prove(SECONDS, 0)
    assert verdict.status == PROVED, verdict.counterexample


def with_encoding(encode: Callable[..., int]) -> EffectLayer:
    """An effect layer that encodes entries in another way."""

    class Other(Effects):
        def _write_entries(self, *arguments: Any) -> None:
            with mock.patch.object(effects, "encode_entry", encode), mock.patch("hv.page_tables.encode_entry", encode):
                super()._write_entries(*arguments)

    return made_by(Other)


def with_frames(**methods: Any) -> EffectLayer:
    """An effect layer on frames some of whose methods are others."""

    def layer(k: Any, frames: TableFrames) -> Effects:
        frames.__class__ = type("OtherFrames", (type(frames),), methods)
        return effects_of(k, frames)

    return layer


def made_by(of: type[Effects]) -> EffectLayer:
    """An effect layer of another class."""
    return lambda k, frames: of(k, None, frames, mock.Mock(Gate), None, NO_DEVICES)  # type: ignore[arg-type]


def refuted(prove: Callable[[EffectLayer], Any], layer: EffectLayer) -> str:
    verdict = prove(layer)(SECONDS, 0)
    assert verdict.status == REFUTED, verdict
    assert "frame" in verdict.counterexample
    return str(verdict.counterexample)


def test_a_neighbour_that_is_written_as_well_is_refuted() -> None:
    def set_entry(frames: Any, table: int, index: Any, value: Any) -> None:
        TableFrames.set_entry(frames, table, index, value)
        frames._words[frames._frames[table] * 512 + index + 1] = 0

    refuted(entries.alone, with_frames(set_entry=set_entry))


def test_the_wrong_slot_is_refuted() -> None:
    def set_entry(frames: Any, table: int, index: Any, value: Any) -> None:
        frames._words[frames._frames[table] * 512 + (index & 510)] = value

    refuted(entries.alone, with_frames(set_entry=set_entry))


def test_an_entry_that_keeps_something_of_what_was_there_is_refuted() -> None:
    def set_entry(frames: Any, table: int, index: Any, value: Any) -> None:
        TableFrames.set_entry(frames, table, index, TableFrames.entry(frames, table, index) & 1 << 63 | value)

    refuted(entries.same, with_frames(set_entry=set_entry))


def test_translations_that_are_kept_are_refuted() -> None:
    class Keeps(Effects):
        def _write_entries(self, *arguments: Any) -> None:
            super()._write_entries(*arguments)
            self._drops.clear()

    refuted(entries.dropped, made_by(Keeps))


def test_translations_that_are_kept_of_a_part_are_refuted() -> None:
    class DropsOne(Effects):
        def _write_entries(self, *arguments: Any) -> None:
            super()._write_entries(*arguments)
            self._drops = [(page, 1) for page, _ in self._drops]

    refuted(entries.dropped, made_by(DropsOne))


def test_a_stand_in_of_equal_blocks_is_refuted() -> None:
    def set_giant(frames: Any, table: int, index: Any, value: Any) -> None:
        with mock.patch("hv.page_tables.BLOCK_SIZE", 0):
            TableFrames.set_giant(frames, table, index, value)

    refuted(entries.stand_in, with_frames(set_giant=set_giant))


def test_a_giant_entry_where_none_is_known_is_refuted() -> None:
    def set_giant(frames: Any, table: int, index: Any, value: Any) -> None:
        frames.set_entry(table, index, value)

    refuted(entries.stand_in, with_frames(set_giant=set_giant))


def test_an_entry_wider_than_64_bits_is_refuted() -> None:
    def encode(target: Any, permissions: Any, *, table: bool, large: bool) -> int:
        return encode_entry(target << 40, permissions, table=table, large=large)

    refuted(entries.exact, with_encoding(encode))
