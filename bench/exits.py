"""``python -m bench exits``: how fast and how small, against floors measured in the same run."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bench import inside_outside, starting, system_calls
from bench.measure import Result, pinned, run_kvm_table


def measure(turns: int) -> Iterator[Result]:
    """System calls against the raw exit floor, programs against the same programs outside, start-up and memory."""
    with pinned(max(os.sched_getaffinity(0))):
        yield from system_calls.measure(turns)
        yield from inside_outside.measure(max(3, turns // 3))
        yield from starting.measure(turns)
    yield from inside_outside.measure_parallel(max(3, turns // 3))


def main(argv: list[str]) -> int:
    """The command line of this table; 1 where there is no usable KVM."""
    return run_kvm_table("exits", measure, argv)


__all__ = ["main", "measure"]
