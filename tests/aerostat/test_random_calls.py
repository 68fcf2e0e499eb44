"""The calls of ``tests.kernel.fuzz`` inside a machine: many guest threads make them at once, with full checks."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter, deque

import pytest

from abi.calls import BY_NAME, CALLS
from abi.layout import EXECUTE, PAGE_SHIFT, PAGE_SIZE, READ, USER_FIRST
from aerostat import Machine, OutOfMemory, Thread
from aerostat.program import Program
from kernel.objects import Kernel
from tests.aerostat.programs import GUARD, NewMachine, assert_idle, built
from tests.kernel.fuzz.arguments import Choose, arguments
from tests.kernel.fuzz.dice import ROLLS, Dice
from tests.kernel.fuzz.run import DOCUMENTED

pytestmark = pytest.mark.kvm

PATIENCE = 0.1
"""Seconds without a call after which nobody is taken to make one any more."""
RETURNING = tuple(call for call in CALLS if call.returns for _ in range(4))
ENDING = tuple(call for call in CALLS if not call.returns)


class Orders:
    """Tells the threads of the program ``orders`` which calls to make."""

    def __init__(self, machine: Machine, seed: int, count: int) -> None:
        self.k: Kernel = machine.hypervisor.kernel
        self.left = count
        self.outcomes: Counter[tuple[str, int]] = Counter()
        self.last: deque[str] = deque(maxlen=100)
        """The last calls ordered."""
        self._random = random.Random(seed)
        self._ordered: dict[Thread, str] = {}
        self._loop = 0
        """The address of the loop in the program."""
        self._others: dict[str, Choose] = {
            "entry": self._entry, "munmap address": self._beside_the_loop, "mprotect address": self._beside_the_loop,
            "process_share address": self._often_the_loop, "process_share protection": self._executable,
        }  # fmt: skip
        machine.syscall(USER_FIRST)(self._order)

    def _order(self, thread: Thread, result: int, *_: int) -> int:
        regs = thread.engine.regs
        before = self._ordered.pop(thread, None)
        if before is not None: self._judge(before, result - (1 << 64) if result >> 63 else result)
        if self._loop == 0: self._loop = regs.rip & -PAGE_SIZE
        dice = Dice(self._random.randbytes(ROLLS))
        self.left -= 1
        call = BY_NAME["process_exit"] if self.left < 0 else dice.pick(ENDING if dice.roll() == 0 else RETURNING)
        given = arguments(call, self.k, thread.id, dice, self._others)
        self.last.append(f"{thread.id}: {call.name} {' '.join(map(hex, given))}")
        if call.returns: self._ordered[thread] = call.name
        regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9 = (*given, 0, 0, 0, 0, 0, 0)[:6]
        return call.number

    def _judge(self, name: str, result: int) -> None:
        self.outcomes[name, min(result, 0)] += 1
        if -4095 <= result < 0 and -result not in DOCUMENTED[name]:
            raise AssertionError(f"{name} returned {result}, which abi.calls does not say")

    # Arguments that keep the loop going.

    def _page(self, t: int) -> int:
        return self.k.process[self.k.thread[t].process].map_page[self._loop >> PAGE_SHIFT]

    def _entry(self, k: Kernel, t: int, dice: Dice) -> int:
        """Where some process has the loop, which may be the one that is started."""
        page = self._page(t)
        places = [v for S in k.process.values() for v, p in S.map_page.items() if p == page]
        return dice.pick(places[:256]) * PAGE_SIZE if page and places and dice.roll() < 240 else self._loop

    def _beside_the_loop(self, k: Kernel, t: int, dice: Dice) -> int:
        page, mapped = self._page(t), k.process[k.thread[t].process].map_page
        places = [v for v, p in mapped.items() if p and (p != page or dice.roll() == 0)]
        return dice.pick(places[:256]) * PAGE_SIZE if places else self._loop

    def _often_the_loop(self, k: Kernel, t: int, dice: Dice) -> int:
        return self._loop if dice.roll() < 128 else self._beside_the_loop(k, t, dice)

    def _executable(self, k: Kernel, t: int, dice: Dice) -> int:
        return READ | EXECUTE if dice.roll() < 128 else dice.roll() & 7


def end(programs: list[Program], orders: Orders) -> None:
    """Waits for the programs; those that make no more calls, since all their threads wait for messages, are ended."""
    made = -1
    while any(program.status is None for program in programs):
        if orders.left == made:
            for program in programs:
                program.kill()
        made = orders.left
        for program in programs:
            with contextlib.suppress(TimeoutError):
                program.wait(PATIENCE)
    for program in programs:
        program.wait()


@pytest.mark.parametrize(("seed", "cores"), [(1, 1), (2, 2), (3, 3)])
def test_random_calls_from_many_threads(new_machine: NewMachine, seed: int, cores: int) -> None:
    machine = new_machine("24M", cores=cores, check="full", time_limit=GUARD)
    orders = Orders(machine, seed, 6000)
    null = os.open(os.devnull, os.O_WRONLY)
    program = built("tests/orders")
    try:
        while orders.left > 0:
            programs = []
            with contextlib.suppress(OutOfMemory):  # what runs already may have taken all there is
                for _ in range(3):
                    programs.append(machine.spawn(program, ["orders"], stdout=null, linux=False))
            assert programs, "what has ended did not give its memory back"
            end(programs, orders)
    except BaseException as error:
        error.add_note("\n".join(orders.last))
        raise
    finally:
        os.close(null)
    machine.audit()
    returned = {name for name, _ in orders.outcomes}
    succeeded = {name for name, result in orders.outcomes if result == 0}
    assert returned == {call.name for call in CALLS if call.returns}
    assert len(succeeded) > len(returned) / 2  # whether a message finds its partner is left to chance here
    assert_idle(machine)
