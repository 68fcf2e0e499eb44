"""Native calls timed inside the machine, one by one, by the CPU's time-stamp counter (``programs/timings.c``).

The floor is the same instructions with nothing done between exit and entry: while the program makes null calls, the
native part answers each at once (``Vcpu.raw_exit_loop``).  All kinds take turns in one program on one vCPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median
from struct import unpack
from typing import Final

from abi.layout import USER_FIRST
from aerostat import Machine, Thread
from bench.built import built
from hv.vcpu import Vcpu

FLOOR: Final = "exit floor"
UNMAPPED_EACH_TIME: Final = "call/reply with a page, unmapped each time"
"""The page of a call is unmapped before the next call, not those of 32 calls at once."""
KINDS: Final = {
    FLOOR: 1, "null": 1, "map a 4 KiB page": 2, "create a thread": 3, "create a process": 4, "call/reply": 5,
    "call/reply with a page": 6, UNMAPPED_EACH_TIME: 7,
}  # fmt: skip
"""By name: what the program is told to time."""
WARM: Final = 20
"""Samples at the start of each turn that do not count: caches and vCPUs are made ready by them."""


@dataclass(frozen=True)
class Distribution:
    """Cycles that calls of one kind took."""

    samples: list[int]

    @property
    def mean(self) -> float:
        return mean(self.samples)

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def p99(self) -> float:
        """What 99 of 100 take at most."""
        ordered = sorted(self.samples)
        return float(ordered[-(-len(ordered) * 99 // 100) - 1])


Turn = dict[str, Distribution]
"""What one turn measured, by kind."""


class Timings:
    """The program ``timings`` in a machine, which makes one turn after another."""

    def __init__(self, machine: Machine, calls: int) -> None:
        self._calls = calls + WARM + 1
        self.turns: list[Turn] = []
        self.cycles_per_us = 0.0
        """Of the time-stamp counter."""
        self._left: list[str] = []
        self._kind = ""
        self._turns = 0
        self._turn: dict[str, Distribution] = {}
        self._between: Callable[[], None] = lambda: None
        self._clocks: list[tuple[int, int]] = []
        """The host's clock and the program's at each order."""
        machine.syscall(USER_FIRST)(self._order)
        self._program = machine.load(built("bench/timings"))

    def run(self, turns: int, between: Callable[[], None] = lambda: None) -> None:
        """Makes ``turns`` turns after one that does not count; ``between`` is called before each."""
        self._turns = turns + 1
        self._between = between
        self._program.start()
        status = self._program.wait()
        if status != 0: raise RuntimeError(f"the program `timings` ended with status {status}")
        (first_ns, first), (last_ns, last) = self._clocks[0], self._clocks[-1]
        self.cycles_per_us = (last - first) / (last_ns - first_ns) * 1000
        del self.turns[0]

    def _order(self, thread: Thread, samples: int, clock: int, *_: int) -> int:
        self._clocks.append((time.perf_counter_ns(), clock))
        vcpu = thread.engine
        assert isinstance(vcpu, Vcpu)
        if self._kind:
            data = thread.process.memory.read(samples, 8 * self._calls)
            # The last sample of the floor has an exit that was dealt with in it.
            self._turn[self._kind] = Distribution(list(unpack(f"<{self._calls}Q", data))[WARM:-1])
        if not self._left:
            if self._turn: self.turns.append(self._turn)
            self._turn, self._kind = {}, ""
            if len(self.turns) == self._turns: return 0
            self._between()
            self._left = list(KINDS)
        self._kind = self._left.pop(0)
        vcpu.regs.rdi = self._calls
        if self._kind == FLOOR:
            vcpu.regs.rax = KINDS[FLOOR]
            vcpu.raw_exit_loop(self._calls)
            return 0
        return KINDS[self._kind]


__all__ = ["FLOOR", "KINDS", "Distribution", "Timings", "Turn"]
