"""The NVMe benchmark measures what it says: work is done, and with doorbell buffers hardly a register is written."""

from __future__ import annotations

import os

import pytest

from bench import nvme_paths
from bench.nvme import linked
from drivers.nvme.backing import in_memory


@pytest.mark.parametrize("write", [False, True])
def test_driver_and_model_in_turns(write: bool) -> None:
    with linked(in_memory(1 << 20)) as one, one.model.without_thread():
        timing = one.in_turns(write=write, batch=32)
        assert timing.operations == 40_000
        assert one.model.counts()["writes" if write else "reads"] == 40_000
        assert 0 < timing.submit < timing.ticks
        assert 0 < timing.poll < timing.ticks
        assert timing.doorbells < 1000


def test_operations_in_progress_with_a_thread_and_without() -> None:
    with linked(in_memory(1 << 20)) as one:
        assert one.at_depth() > 0
        with one.model.without_thread():
            assert one.at_depth(inline=True, write=True) > 0
        assert one.model.counts()["writes"] > 0


@pytest.mark.kvm
def test_another_block_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvme_paths, "number_of", lambda block: block + (block == 1000))
    cpus = tuple(sorted(os.sched_getaffinity(0)))[:2]
    with pytest.raises(RuntimeError, match="something was wrong with what passed"): nvme_paths.one("driver", cpus)
