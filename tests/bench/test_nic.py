"""The bench of the 82599 driver measures what it says."""

from __future__ import annotations

import os

import pytest

from bench import nic, nic_paths


def test_every_kind_of_work_moves_packets() -> None:
    port = nic.Port()
    try:
        for work, batch in nic.GOALS: assert 0 < port.inline(work, batch) < 1e6
    finally:
        port.close()


@pytest.mark.kvm
@pytest.mark.parametrize("work", nic.WORKS)
def test_every_kind_of_work_in_a_machine(work: str) -> None:
    cycles, exit_ns = nic_paths.work(work, 32, 2, tuple(sorted(os.sched_getaffinity(0)))[:1])
    assert 0 < cycles < 1e6
    assert exit_ns > 0
