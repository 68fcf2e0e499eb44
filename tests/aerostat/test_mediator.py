"""The mediator of userland/demo/brokered.toml, run under its automaton, with isolation looked at after each exit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from abi.calls import BY_NUMBER
from aerostat import Machine
from aerostat.description.assembly import DescribedMachine
from aerostat.description.file import parse_description
from hv.engine import SYSCALL, Engine
from hv.process import Process
from hv.thread import Thread
from kernel.objects import RECEIVE, SEND
from kernel.prove.isolation import concrete
from kernel.prove.isolation.mediator import LISTENING, SERVING, Automaton, NotAllowed
from tests.aerostat.programs import REPOSITORY

pytestmark = pytest.mark.kvm

BROKERED = REPOSITORY / "userland" / "demo" / "brokered.toml"
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")


class Watch:
    """Follows the broker's calls by the automaton; looks at isolation when something has been served."""

    def __init__(self, machine: DescribedMachine) -> None:
        k = self.k = machine.hypervisor.kernel
        self.broker = machine.programs["broker"].process.id
        self.a, self.b = (machine.containers[name].id for name in "ab")
        S = k.process[self.broker]
        handles = {S.handle_rights[i]: S.handle_generation[i] << 16 | i for i in range(S.handle_carved)}
        self.automaton = Automaton(k, self.broker, handles[RECEIVE], handles[SEND])
        self.states: set[str] = set()
        self.broken: list[str] = []
        self.calls: list[str] = []

    def arrived(self, thread: Thread, engine: Engine, trap: int) -> None:
        if trap != SYSCALL or thread.process.id != self.broker: return
        call = BY_NUMBER[engine.regs.rax]
        self.states |= self.automaton.states(thread.id)
        self.calls.append(call.name)
        self.automaton.call(thread.id, call.name, tuple(getattr(engine.regs, name) for name in ARGUMENTS))

    def served(self, thread: Thread) -> None:
        self.broken += concrete.broken(self.k, self.a, self.b)

    def ending(self, process: Process) -> None:
        pass


@contextmanager
def brokered(change: tuple[str, str] = ("", "")) -> Iterator[tuple[DescribedMachine, Watch]]:
    text = BROKERED.read_text().replace(*change) if change[0] else BROKERED.read_text()
    with Machine.from_description(parse_description(text, directory=str(BROKERED.parent))) as machine:
        watch = Watch(machine)
        machine.hypervisor.observer = watch
        yield machine, watch


def test_the_broker_keeps_to_its_automaton_and_a_and_b_stay_apart() -> None:
    with brokered() as (machine, watch):
        machine.start()
        assert machine.wait() == 0
        assert watch.broken == []
        assert watch.states >= {LISTENING, SERVING}
        assert watch.automaton.held == set()
        assert watch.calls.count("message_call") == 2


def test_what_was_held_for_b_is_released_when_b_is_gone() -> None:
    with brokered(("container = \"b\"", "container = \"b\"\narguments = [\"1\"]")) as (machine, watch):
        machine.start()
        machine.wait()
        assert watch.broken == []
        assert watch.automaton.held == set()
        assert watch.calls.count("message_reply") == 3
        assert watch.calls.count("handle_close") == 2


def test_a_broker_that_passes_on_what_it_is_not_to() -> None:
    """The automaton's word on calls that the program does not make."""
    with brokered() as (machine, watch):
        its, process = watch.automaton, machine.hypervisor.kernel.process[watch.broker]
        assert process.handle_count == 2
        thread = process.threads[0]  # none yet, which owes nobody a reply
        for name, arguments in (
            ("message_reply", (0, 0)), ("message_call", (its.answer, 0, 0, 0)), ("message_accept", (0, 0, 1)),
            ("endpoint_create", ()), ("message_receive", (its.answer, 0)), ("process_exit", (0,)),
            ("handle_close", (its.answer,)),
        ):  # fmt: skip
            with pytest.raises(NotAllowed): its.call(thread, name, arguments)
