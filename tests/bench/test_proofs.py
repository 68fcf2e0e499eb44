"""Proofs of machines with many objects: they are made, of something that can be, and what fails is told."""

from __future__ import annotations

import pytest

from bench import proofs
from tests.kernel.prove.planted import plant


@pytest.mark.parametrize("count", [1, 10**9])
def test_a_proof_of_many_objects(count: int) -> None:
    assert proofs.proved("thread_yield", count) > 0


def test_machines_that_cannot_be_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which anything could be proved."""
    monkeypatch.setattr(proofs, "at_least", lambda count: False)
    with pytest.raises(RuntimeError, match="no machine has 7 of each"): proofs.proved("thread_yield", 7)


def test_what_is_not_proved_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "kernel.page_allocator", "quota_split", "C.pages + BLOCK_PAGES", "C.pages + 511")
    with pytest.raises(RuntimeError, match="quota_split of 1: memory_counts is refuted"):
        proofs.proved("quota_split", 1)
