"""The paper's configurations move what they say, whatever the device."""

from __future__ import annotations

import os

import pytest

from bench import nic_paths, nvme_paths, paths
from bench.paths import Paths


@pytest.mark.kvm
@pytest.mark.parametrize("configuration", list(paths.CONFIGURATIONS))
@pytest.mark.parametrize("of", [nic_paths.PATHS, nvme_paths.PATHS], ids=lambda of: of.program)
def test_every_configuration_works(of: Paths, configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in two containers as well; no model finds anything wrong, each block is the one asked for."""
    words, batch, _ = paths.CONFIGURATIONS[configuration]
    monkeypatch.setitem(paths.CONFIGURATIONS, configuration, (words, batch, 1))
    cpus = tuple(sorted(os.sched_getaffinity(0)))[:2]
    if configuration == "c2" and len(cpus) < 2: pytest.skip("this process may use one CPU only")
    cycles, exit_ns = paths.one(of, configuration, cpus)
    assert cycles > 0
    assert exit_ns > 0
