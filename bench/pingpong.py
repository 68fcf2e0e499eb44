"""Two threads on two cores that hand a word of shared memory to and fro: inside a machine and outside, in turns."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Final

from aerostat import Machine
from bench.built import built
from bench.inside_outside import pin_cores
from bench.measure import Result, ratios, result, rounds

ROUNDS: Final = 1_000_000
GOAL: Final = 1.1


def _outside() -> float:
    command = [built("bench/pingpong"), str(ROUNDS)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def _inside() -> float:
    """Nanoseconds a round, by the program's own clock."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as output, Machine("64M", cores=2) as machine:
        program = built("bench/pingpong")
        spawned = machine.spawn(program, [program, str(ROUNDS)], stdout=writer)
        pin_cores(tuple(sorted(os.sched_getaffinity(0)))[:2])
        status = spawned.wait()
        os.close(writer)
        if status != 0: raise RuntimeError(f"pingpong ended with status {status} inside")
        return float(output.read())


def measure(turns: int) -> Iterator[Result]:
    """A round there and back; nothing of it leaves the guest."""
    if len(os.sched_getaffinity(0)) < 2:
        yield result("ping-pong of two threads: not measured", 0.0, "", note="this process may use one CPU only")
        return
    found = rounds(turns, outside=_outside, inside=_inside)
    yield result("shared-memory ping-pong, a round: outside", found["outside"], "ns")
    yield result("shared-memory ping-pong: inside / outside", ratios(found["inside"], found["outside"]), "x", GOAL)


__all__ = ["measure"]
