"""What a system call costs: on the vCPU against the raw exit floor, and on the host side alone.

One program makes all the calls (``programs/calls.c``): floor, null call and ``getuid`` are the same guest instructions
on the same vCPU, in turns of 2,000 exits.

The host side is measured by *replay*: everything runs as ever (big lock, entering and leaving the native part, copying
and decoding the registers, dispatch, transition, check, effects), only that in place of the KVM_RUN ioctl the native
part puts back the registers with which the program last arrived at the gate (``Vcpu.replay``).  So nothing is wrapped
or faked in between, no clock is read inside, and a round's time divided by its calls is the time around KVM_RUN.  What
replay cannot show is what caches lose while the guest and KVM run; the difference to the floor, given as well, has it.

The split comes from replaying with one part less each time: touched minus off is the check; off minus the same with
effects not carried out are the effects; what a call then takes longer than the null call is its transition; the rest
is decoding and dispatch.  The call with one transition is an ``mprotect`` that leaves a page's permissions as they are;
``thread_yield`` has two (yield, and schedule, since the core is free then) and gives up the vCPU between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from statistics import median
from typing import Any, Final

from abi.calls import BY_NAME
from abi.layout import PAGE_SIZE, USER_FIRST
from aerostat import Machine, Thread
from bench.built import built
from bench.measure import Result, ratios, result
from hv.vcpu import Vcpu
from userland.linux.numbers import NUMBERS

CALLS: Final = 2000
"""Calls a round: 60 ms where an exit takes 30 us."""

NULL: Final = BY_NAME["null"].number
YIELD: Final = BY_NAME["thread_yield"].number
GETUID: Final = NUMBERS["getuid"]
MPROTECT: Final = BY_NAME["mprotect"].number
NUMBER: Final = {"floor": NULL, "null": NULL, "getuid": GETUID, "mprotect": MPROTECT, "thread_yield": YIELD}
MEASURED: Final = ("null", "getuid", "mprotect", "thread_yield")

GUEST, FLOOR, REPLAY = "guest", "floor", "replay"
Orders = Generator[tuple[str, int], float, None]
"""Yields how, and which call, is to be made CALLS times; is sent how many microseconds one took."""


def follow(machine: Machine, orders: Orders) -> None:
    """Runs the program ``calls`` in the machine and has it carry out the orders."""
    since = 0
    took: Any = None  # what a generator is first sent

    def order(thread: Thread, *_: int) -> int:
        nonlocal since, took
        if since: took = (time.perf_counter_ns() - since) / CALLS / 1000
        since = 0
        vcpu = thread.engine
        assert isinstance(vcpu, Vcpu)
        vcpu.regs.rdi, vcpu.regs.rsi, vcpu.regs.rdx = arguments
        try:
            how, number = orders.send(took)
        except StopIteration:
            return 0
        if how == FLOOR:
            # The program is let go with the order that it would else be given, and is left at the last of its calls.
            vcpu.regs.rax = CALLS << 16 | number
            took = vcpu.raw_exit_loop(CALLS) / CALLS / 1000
            return 0
        if how == REPLAY: vcpu.replay(number, CALLS, USER_FIRST)
        since = time.perf_counter_ns()
        return CALLS << 16 | number if how == GUEST else 0

    machine.syscall(USER_FIRST)(order)
    program = machine.load(built("bench/calls"))
    code = program.image.segments[0]
    arguments = (code.address & -PAGE_SIZE, PAGE_SIZE, code.permissions)  # mprotect's; the others take none
    program.start()
    status = program.wait()
    if status != 0: raise RuntimeError(f"the program `calls` ended with status {status}")


Samples = dict[str, list[float]]


def _record(samples: Samples, turns: int, effects: Callable[[bool], None]) -> Orders:
    """``turns`` turns of everything, after one that does not count."""
    for turn in range(turns + 1):
        for name, number in NUMBER.items():
            took = yield (FLOOR if name == "floor" else GUEST), number
            if turn: samples.setdefault(name, []).append(took)
        for name in MEASURED:
            took = yield REPLAY, NUMBER[name]
            if turn: samples.setdefault(f"{name} replayed", []).append(took)
        effects(False)
        took = yield REPLAY, MPROTECT
        effects(True)
        if turn: samples.setdefault("without effects", []).append(took)


def sample(check: str, turns: int) -> Samples:
    """Microseconds a call by what was called, with the given check level."""
    samples: Samples = {}
    with Machine("64M", check=check) as machine:
        checker = machine.hypervisor.checker
        apply = checker.carry_out

        def effects(carried_out: bool) -> None:
            # Nothing depends on those of this mprotect: it changes no entry.
            checker.carry_out = apply if carried_out else lambda _: None

        follow(machine, _record(samples, turns, effects))
    return samples


LIMITS: Final = {("null", "off"): 1.15, ("null", "touched"): 1.30, ("getuid", "off"): 1.20, ("getuid", "touched"): 1.35}
HOST_LIMITS: Final = {"off": 4.0, "touched": 8.0}


def measure(turns: int) -> Iterator[Result]:
    """System calls against the raw exit floor, and the host side of them."""
    found = {check: sample(check, turns) for check in HOST_LIMITS}
    for check, samples in found.items():
        yield result(f"raw exit floor (run with --check {check})", samples["floor"], "us")
        for name in MEASURED:
            yield result(f"{name}, --check {check}", samples[name], "us")
            yield result(f"{name} / floor, --check {check}", ratios(samples[name], samples["floor"]), "x",
                         LIMITS.get((name, check)))  # fmt: skip
    for check, samples in found.items():
        for name in MEASURED:
            limit = HOST_LIMITS[check] if name != "thread_yield" else None
            yield result(f"{name}: host side, --check {check}", samples[f"{name} replayed"], "us", limit)
            beyond = [one - other for one, other in zip(samples[name], samples["floor"], strict=True)]
            yield result(f"{name}: time over the floor, --check {check}", beyond, "us")
    yield from _split(found["off"], found["touched"])


def _split(off: Samples, touched: Samples) -> Iterator[Result]:
    def middle(samples: Samples, name: str) -> float:
        return median(samples[name])

    decode = middle(off, "null replayed")
    yield result("host side: lock, decode, dispatch (the null call)", decode, "us")
    yield result("host side: personality (getuid over null)", middle(off, "getuid replayed") - decode, "us")
    yield result("host side: a transition (mprotect)", middle(off, "without effects") - decode, "us")
    whole = middle(off, "mprotect replayed")
    yield result("host side: its effects", whole - middle(off, "without effects"), "us")
    yield result("host side: its check, --check touched", middle(touched, "mprotect replayed") - whole, "us")


__all__ = ["follow", "measure", "sample"]
