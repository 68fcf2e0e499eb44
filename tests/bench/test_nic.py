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
@pytest.mark.parametrize("configuration", list(nic_paths.CONFIGURATIONS))
def test_every_configuration_forwards(configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in two containers as well; the model finds nothing wrong."""
    words, batch, _ = nic_paths.CONFIGURATIONS[configuration]
    monkeypatch.setitem(nic_paths.CONFIGURATIONS, configuration, (words, batch, 1))
    cpus = tuple(sorted(os.sched_getaffinity(0)))[:2]
    if configuration == "c2" and len(cpus) < 2: pytest.skip("this process may use one CPU only")
    cycles, exit_ns = nic_paths.one(configuration, cpus)
    assert cycles > 0
    assert exit_ns > 0
