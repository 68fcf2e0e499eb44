"""The host calls functions of a program that is loaded, or that runs."""

from __future__ import annotations

import threading

import pytest

from aerostat import Machine, ProgramEnded, Thread
from aerostat.program import Program
from hv.personality import BLOCKED
from tests.aerostat.programs import (
    API,
    GUARD,
    NewMachine,
    Pipe,
    api,
    assert_idle,
    wait,
)

pytestmark = pytest.mark.kvm


def test_calling_functions_of_a_loaded_program(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    assert program.call("add", 2, 3) == 5
    assert program.call("add", -1, -1) == (1 << 64) - 2
    assert program.call("add", 1 << 64, 1) == 1
    assert program.call(program.symbol("six"), 1, 2, 3, 4, 5, 6) == 654321
    assert program.call("aligned") == 1
    assert program.call("overflows", 10) == sum(range(11))
    data = bytes(range(64))
    program.write("text", data)
    assert program.call("sum", program.symbol("text"), 64) == sum(data)
    assert program.call("forges_return") == 77, "its own result, whichever way it returns"
    assert program.call("add", 1, 2) == 3
    with pytest.raises(ValueError, match="at most 6"):
        program.call("six", *range(7))
    with pytest.raises(KeyError):
        program.call("nothing_of_that_name")
    program.kill()
    assert program.wait() == 137
    assert_idle(machine)


@pytest.mark.parametrize("cores", [1, 2])
def test_calling_functions_of_a_running_program(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine(cores=cores)
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n")
        for i in range(50):
            assert program.call("add", i, i) == 2 * i
        program.write("go", b"\1")
        assert wait(program) == 41, "its own thread was not disturbed"
    assert_idle(machine)


@pytest.mark.parametrize("started", [False, True])
def test_a_called_function_that_faults(machine: Machine, started: bool) -> None:
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd) if started else machine.load(API, linux=False)
        with pytest.raises(ProgramEnded, match="page fault"):
            program.call("fault", 0x10)
        assert program.status == 139
        assert program.report is not None
        assert "fault" in (program.report.where() or "")
        with pytest.raises(ProgramEnded):
            program.call("add", 1, 2)
        assert program.wait() == 139
    assert_idle(machine)


def test_a_called_function_that_overflows_its_stack(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    with pytest.raises(ProgramEnded, match="page fault"):
        program.call("overflows", 1000)
    assert program.wait() == 139
    assert_idle(machine)


@pytest.mark.parametrize("address", [0, 0x7F80_0000_0000, 1 << 47, 0xFFFF_FFFF_8000_0000])
def test_calling_what_is_no_function(machine: Machine, address: int) -> None:
    program = machine.load(API, linux=False)
    with pytest.raises((ProgramEnded, ValueError)):
        program.call(address)
    program.kill()
    assert program.wait() in (137, 139)
    assert_idle(machine)


def test_a_called_function_that_does_not_return_in_time(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    assert program.call("add", 1, 2, timeout=GUARD) == 3
    with pytest.raises(TimeoutError, match=r"did not return within 0\.02 s"):
        program.call("forever", timeout=0.02)
    assert program.wait() == 124
    assert program.report is not None
    assert program.report.registers["rip"]
    assert_idle(machine)


def test_a_called_function_that_ends_the_program(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    with pytest.raises(ProgramEnded, match="has ended"):
        program.call("ends_program", 9)
    assert (program.wait(), program.report) == (9, None)
    assert_idle(machine)


def test_a_called_function_that_ends_its_thread(machine: Machine) -> None:
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n")
        with pytest.raises(ProgramEnded, match="ended its thread"):
            program.call("ends_thread", 3)
        assert program.status is None
        assert program.call("add", 3, 4) == 7, "another thread serves the next call"
        program.write("go", b"\1")
        assert wait(program) == 41
    assert_idle(machine)


def test_a_called_function_that_waits_for_ever(machine: Machine) -> None:
    @machine.syscall(0x2001)
    def never(thread: Thread, *_: int) -> int:
        thread.block()
        return BLOCKED

    program = machine.load(API, linux=False)
    with pytest.raises(ProgramEnded, match="deadlock"):
        program.call("joins_nobody")
    assert program.wait() == 134
    assert_idle(machine)


def test_calls_by_several_host_threads_take_turns(new_machine: NewMachine) -> None:
    machine = new_machine(cores=2)
    program = machine.load(API, linux=False)
    wrong: list[object] = []

    def caller(number: int) -> None:
        try:
            for i in range(40):
                found = program.call("six", number, i, 0, 0, 0, 0)
                if found != number + 10 * i: wrong.append((number, i, found))
        except BaseException as error:
            wrong.append(error)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(GUARD)
    assert not wrong
    program.kill()
    assert_idle_after_kill(machine, program)


def assert_idle_after_kill(machine: Machine, program: Program) -> None:
    assert program.wait() == 137
    assert_idle(machine)


def test_no_room_to_call_a_function(new_machine: NewMachine) -> None:
    machine = new_machine("4M")
    program = machine.load(API, linux=False)
    taken = 0
    while program.process.map(0x10_0000_0000 + taken * 4096, 4096, 3) == 0:
        taken += 1
    for _ in range(2):
        with pytest.raises(MemoryError):
            program.call("add", 1, 2)
    assert program.process.unmap(0x10_0000_0000, taken * 4096) == 0
    assert program.call("add", 1, 2) == 3
    program.kill()
    assert program.wait() == 137
    assert_idle(machine)
