"""System calls that Python serves: ``@machine.syscall``."""

from __future__ import annotations

import pytest

from aerostat import Machine, MachineFailed, Thread
from aerostat.program import Program
from tests.aerostat.programs import (
    API,
    GUARD,
    Capture,
    NewMachine,
    api,
    assert_idle,
    built,
    open_files,
    run,
    succeeds,
    wait,
)

pytestmark = pytest.mark.kvm


def test_a_call_served_in_python(machine: Machine) -> None:
    seen: list[tuple[int, ...]] = []

    @machine.syscall(0x2000)
    def ask(thread: Thread, *arguments: int) -> int:
        seen.append(arguments)
        memory = thread.process.memory
        assert memory.read_cstring(arguments[5]) == b"written by the program"
        memory.write(arguments[5], b"from python\0")
        assert thread.regs.rax == 0x2000
        return 250

    outcome = run(machine, "tests/api", "ask", linux=False)
    assert outcome.status == 250
    assert len(seen) == 1
    assert seen[0][:5] == (1, 2, 3, 4, (1 << 64) - 1)
    assert_idle(machine)


@pytest.mark.parametrize(("result", "status", "output"), [(-22, 99, "EINVAL"), (-12, 99, "ENOMEM"), (-5000, 120, "")])
def test_results_of_a_call_served_in_python(machine: Machine, result: int, status: int, output: str) -> None:
    machine.syscall(0x2000)(lambda thread, *_: result)
    outcome = run(machine, "tests/api", "ask", linux=False)
    assert outcome.status & 255 == status
    assert outcome.output == output


def test_bad_pointers_in_a_call_served_in_python(machine: Machine) -> None:
    @machine.syscall(0x2000)
    def touch(thread: Thread, address: int, *_: int) -> int:
        memory = thread.process.memory
        memory.write_u64(address, memory.read_u64(address))
        return 0

    assert succeeds(machine, "tests/api", "ask-bad", linux=False) == "api: ok\n"
    assert_idle(machine)


@pytest.mark.parametrize("number", [0x1FFF, 0x3000, 0, 1, 0x1000, -1, 1 << 40])
def test_numbers_that_are_not_for_users(machine: Machine, number: int) -> None:
    with pytest.raises(ValueError, match="not within 0x2000 to 0x2fff"):
        machine.syscall(number)(lambda thread, *_: 0)


def test_a_number_that_is_taken(machine: Machine) -> None:
    machine.syscall(0x2000)(lambda thread, *_: 1)
    with pytest.raises(ValueError, match="defined already"):
        machine.syscall(0x2000)(lambda thread, *_: 2)
    machine.syscall(0x2FFF)(lambda thread, *_: 2)
    assert run(machine, "tests/api", "ask", linux=False).status == 1


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_an_exception_in_a_call_stops_the_machine_and_is_told(kind: type[BaseException]) -> None:
    error = kind("mine")
    before = open_files()
    with Machine("16M") as machine:

        @machine.syscall(0x2000)
        def broken(thread: Thread, *_: int) -> int:
            raise error

        program = api(machine, "ask")
        with pytest.raises(MachineFailed, match="mine") as caught:
            program.wait(GUARD)
        assert caught.value.__cause__ is error
        with pytest.raises(MachineFailed, match="mine"):
            machine.spawn(API)
    assert open_files() == before


@pytest.mark.parametrize("result", [None, "text", 1.5, b""])
def test_a_call_that_returns_no_number(result: object) -> None:
    with Machine("16M") as machine:
        machine.syscall(0x2000)(lambda thread, *_: result)  # type: ignore[arg-type]
        program = api(machine, "ask")
        with pytest.raises(MachineFailed):
            program.wait(GUARD)


def test_the_machine_is_of_use_within_a_call(new_machine: NewMachine) -> None:
    """What takes the machine's lock works in a call that Python serves; what would wait says that it cannot."""
    machine = new_machine("24M", cores=2)
    refused: list[str] = []
    others: list[Program] = []

    @machine.syscall(0x2000)
    def busy(thread: Thread, *arguments: int) -> int:
        program = programs[0]
        assert program.read("text", 7) == b"written"
        program.write("text", b"changed")
        assert program.registers()["rax"] == 0x2000
        assert machine.statistics()["programs"] >= 1
        assert machine.audit() > 0
        others.append(machine.spawn(built("demo/hello"), stdout=output.fd, linux=False))
        for wrong in (lambda: others[0].wait(), lambda: program.call("add", 1, 2), machine.close):
            with pytest.raises(RuntimeError, match="not possible within a system call") as caught:
                wrong()
            refused.append(str(caught.value))
        return 5

    with Capture() as output:
        programs = [machine.load(API, ["api", "ask"], linux=False)]
        programs[0].start()
        assert wait(programs[0]) == 5
        assert len(refused) == 3
        assert wait(others[0]) == 0
        assert output.text() == "hello from ring 3\n"
    assert_idle(machine)


def test_a_call_that_ends_its_own_program(machine: Machine) -> None:
    programs: list[Program] = []
    machine.syscall(0x2000)(lambda thread, *_: programs[0].kill() or 3)  # type: ignore[func-returns-value]
    programs.append(machine.load(API, ["api", "ask"], linux=False))
    programs[0].start()
    assert wait(programs[0]) == 137
    assert_idle(machine)


def test_a_linux_program_makes_calls_served_in_python(machine: Machine) -> None:
    machine.syscall(0x2000)(lambda thread, *_: 6)
    with Capture() as output:
        assert wait(machine.spawn(API, ["api", "ask"], stdout=output.fd, linux=True)) == 6
