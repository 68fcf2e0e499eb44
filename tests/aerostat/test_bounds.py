"""What a program can make the host keep, and what stops the machine: bounds that hold however long a program runs."""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import threading
import time
from collections.abc import Generator, Iterable
from typing import Any

import pytest

from abi.errors import ENOMEM
from abi.layout import BLOCK_SIZE, PAGE_SIZE, READ, WRITE
from aerostat import CheckFailed, Machine, MachineFailed
from hv.events import SWEEP_AT
from kernel.specs import SPECIFICATIONS
from tests.aerostat.programs import API, NewMachine, Pipe, assert_idle, built, run, wait
from tests.kernel.pure import with_sources

pytestmark = pytest.mark.kvm

FAR = 1 << 40


def test_addresses_that_were_mapped_once_are_forgotten(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    process, k = program.process, machine.hypervisor.kernel
    with machine.hypervisor.lock:
        S = k.process[process.id]
        before = len(S.map_page), len(S.map_permission)
        for i in range(100):
            length = (PAGE_SIZE, 3 * PAGE_SIZE, BLOCK_SIZE)[i % 3]
            address = FAR + i * BLOCK_SIZE
            assert process.map(address, length, READ | WRITE) == 0
            assert process.protect(address, length, READ) == 0
            assert process.unmap(address, length) == 0
        assert (len(S.map_page), len(S.map_permission)) == before
    machine.audit()
    program.kill()
    assert wait(program) == 137
    assert_idle(machine)


def test_cancelled_timers_are_forgotten(machine: Machine) -> None:
    events = machine.hypervisor.events
    called: list[int] = []
    with machine.hypervisor.lock:
        now = time.monotonic()
        soon = events.at(now + 1000, lambda: called.append(1))
        for i in range(20 * SWEEP_AT):
            events.at(now + 3600 + i, lambda: called.append(2)).cancel()
        assert len(events._timers) <= SWEEP_AT
        assert events.pending()
        soon.cancel()
        assert not events.pending()
    assert called == []


@with_sources
def test_a_range_that_cannot_be_paid_for_costs_no_more_than_one_that_can(
    new_machine: NewMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = new_machine("256M", check="off")
    program = machine.load(API, linux=False)
    hypervisor, process = machine.hypervisor, program.process
    system, C = hypervisor.system, hypervisor.kernel.container[hypervisor.kernel.root]
    looked: list[int] = []
    original = system.counting_tables

    def counting(s: int, pieces: Iterable[tuple[int, int]], whole: int) -> Generator[None, None, int]:
        looked.append(whole)
        return original(s, pieces, whole)

    monkeypatch.setattr(system, "counting_tables", counting)
    with hypervisor.lock:
        assert process.map(FAR, (C.pages - 3) * PAGE_SIZE, READ) == 0
        looked.clear()
        before = C.pages, C.blocks
        assert process.map(2 * FAR, C.blocks * BLOCK_SIZE, READ) == -ENOMEM
        assert (C.pages, C.blocks) == before
        assert len(looked) == 1
        assert process.map(2 * FAR, (C.blocks - 1) * BLOCK_SIZE, READ) == 0


@pytest.mark.parametrize("what", ["check", "effects"])
def test_what_fails_in_a_thread_of_the_users_stops_the_guests(
    two_cores: Machine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    hypervisor = two_cores.hypervisor
    running = [two_cores.spawn(built("tests/spin"), ["spin", "calls"], linux=False) for _ in range(2)]

    def fails(*_: object) -> None:
        monkeypatch.undo()
        if what == "check": raise CheckFailed("process_spawn", "a clause", (1,), "made up")
        raise OSError("made up")

    with hypervisor.lock:
        if what == "check": monkeypatch.setitem(SPECIFICATIONS, "process_spawn", fails)
        else: monkeypatch.setattr(hypervisor.checker, "carry_out", fails)
        with pytest.raises(CheckFailed if what == "check" else OSError, match="made up"):
            hypervisor.step(_spawn(), hypervisor.kernel.root)
        assert hypervisor.stopping
        exits = hypervisor.exits()
    for core in hypervisor.cores:
        core.join()  # what was in its guest came out; nothing of it was served
    assert hypervisor.exits() - exits <= len(hypervisor.cores)
    for program in running:
        with pytest.raises(CheckFailed if what == "check" else MachineFailed, match="made up"):
            program.wait()
        program.kill()
    with pytest.raises(CheckFailed if what == "check" else MachineFailed, match="made up"):
        two_cores.spawn(API)


def _spawn() -> Any:
    return importlib.import_module("kernel.journaled.process").process_spawn


def test_translations_that_cannot_be_dropped_stop_the_machine(
    two_cores: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hypervisor = two_cores.hypervisor
    running = two_cores.spawn(built("tests/spin"), ["spin", "calls"], linux=False)
    program = two_cores.load(API, linux=False)

    def fails(*_: object) -> None:
        raise OSError("made up")

    def take() -> None:
        with hypervisor.lock:
            assert program.process.map(FAR, PAGE_SIZE, READ | WRITE) == 0
            monkeypatch.setattr(hypervisor.memory, "release", fails)
            assert program.process.unmap(FAR, PAGE_SIZE) == 0

    with pytest.raises(OSError, match="made up"):
        take()
    with pytest.raises(MachineFailed, match="made up"):
        running.wait()
    two_cores.close()


def test_ctrl_c_during_a_call(machine: Machine) -> None:
    """The function that was abandoned does not go on on the thread, and with the result, of the next call."""
    program = machine.load(API, linux=False)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while program.read("count", 8) == bytes(8):
            pass
        signal.pthread_kill(main, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        program.call("forever")
    interrupter.join()
    assert wait(program) == 130
    assert program.report is not None
    assert "abandoned" in program.report.reason
    assert_idle(machine)
    assert run(machine, "demo/hello", linux=False).status == 0


def test_arguments_that_are_no_numbers(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    for _ in range(2):
        with pytest.raises(TypeError):
            program.call("add", "one", 2)  # type: ignore[arg-type]
        assert program.call("add", 1, 2) == 3


def test_what_a_killed_program_waited_for_is_forgotten(new_machine: NewMachine) -> None:
    """It printed into a full pipe.  As long as that counted as something to happen, no deadlock would be found."""
    machine = new_machine("16M")
    hypervisor = machine.hypervisor
    with Pipe() as full:
        os.write(full.fd, bytes(fcntl.fcntl(full.fd, fcntl.F_GETPIPE_SZ)))
        printing = machine.spawn(built("tests/calls"), ["calls", "print", "3"], stdout=full.fd, linux=False)
        pending = False
        while not pending:
            with hypervisor.lock:
                pending = hypervisor.events.pending()
        printing.kill()
        assert wait(printing) == 137
        with hypervisor.lock:
            assert not hypervisor.events.pending()
        assert run(machine, "tests/deadlock", "pair", linux=False).status == 134
    assert_idle(machine)
