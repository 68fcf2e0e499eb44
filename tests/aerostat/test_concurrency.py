"""Several machines, several host threads; closing a machine while something goes on."""

from __future__ import annotations

import threading

import pytest

from aerostat import Machine, MachineFailed, ProgramEnded
from hv.personality import BLOCKED
from tests.aerostat.programs import (
    API,
    GUARD,
    Capture,
    NewMachine,
    Pipe,
    assert_idle,
    built,
    open_files,
    run,
    succeeds,
    wait,
)

pytestmark = pytest.mark.kvm


def test_two_machines_at_once() -> None:
    with Machine("16M", cores=2) as one, Machine("16M", check="off") as two, Pipe() as output:
        hammer = one.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")
        for _ in range(3):
            assert succeeds(two, "tests/cycles", "40", linux=False)
            assert run(two, "tests/faults", "hlt", linux=False).status == 139
        hammer.kill()
        assert wait(hammer) == 137
        assert_idle(one)
        assert_idle(two)
        one.close()
        assert succeeds(two, "demo/hello", linux=False)


@pytest.mark.parametrize("cores", [1, 2])
def test_many_host_threads_use_one_machine(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine("48M", cores=cores, check="off")
    wrong: list[object] = []

    def user(number: int) -> None:
        try:
            for i in range(6):
                with Capture() as output:
                    program = machine.spawn(API, ["api"], stdout=output.fd, linux=bool(number % 2))
                    if wait(program) != 0: wrong.append(program.status)
                fault = run(machine, "tests/faults", ("hlt", "ud2")[i % 2], linux=False)
                if fault.status != (139, 132)[i % 2]: wrong.append(fault)
                machine.statistics()
                if number == 0: machine.audit()
        except BaseException as error:
            wrong.append(error)

    users = [threading.Thread(target=user, args=(number,)) for number in range(5)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(GUARD)
    assert not wrong
    assert_idle(machine)


def test_a_machine_made_in_one_thread_and_closed_in_another() -> None:
    made: list[Machine] = []

    def make() -> None:
        made.append(Machine("16M"))
        assert succeeds(made[0], "demo/hello", linux=False)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join(GUARD)
    assert succeeds(made[0], "demo/hello", linux=False)
    made[0].close()


def test_concurrent_closing() -> None:
    machine = Machine("16M", cores=2)
    with Pipe() as output:
        machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")
        closers = [threading.Thread(target=machine.close) for _ in range(4)]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(GUARD)
            assert not closer.is_alive()
    machine.close()


@pytest.mark.parametrize("cores", [1, 2])
def test_closing_a_machine_while_a_program_runs(cores: int) -> None:
    machine = Machine("16M", cores=cores)
    ended: list[object] = []
    with Pipe() as output:
        program = machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")

        def waiter() -> None:
            try:
                ended.append(program.wait())
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=waiter)
        thread.start()
        machine.close()
        thread.join(GUARD)
    assert ended == [137]
    assert (program.status, program.wait()) == (137, 137)
    for use in (lambda: machine.spawn(API), lambda: machine.load(API), machine.audit):
        with pytest.raises(MachineFailed, match="was closed"):
            use()
    with pytest.raises(ProgramEnded):
        program.read("main", 1)
    with pytest.raises(ProgramEnded):
        program.call("main")
    program.kill()
    machine.statistics()
    machine.close()


def test_closing_a_machine_during_a_call() -> None:
    machine = Machine("16M")
    program = machine.load(API, linux=False)
    begun = threading.Event()
    ended: list[object] = []
    machine.syscall(0x2001)(lambda thread, *_: begun.set() or thread.block() or BLOCKED)  # type: ignore[func-returns-value]

    def caller() -> None:
        try:
            ended.append(program.call("forever"))
        except BaseException as error:
            ended.append(type(error))

    thread = threading.Thread(target=caller)
    thread.start()
    while program.read("count", 8) == bytes(8):
        pass
    machine.close()
    thread.join(GUARD)
    assert ended == [ProgramEnded]


def test_an_exception_in_the_with_block_closes_the_machine() -> None:
    before = open_files()

    def use() -> None:
        with Machine("16M") as machine:
            machine.spawn(built("tests/spin"), linux=False)
            raise LookupError("the user's own")

    with pytest.raises(LookupError, match="the user's own"):
        use()
    assert open_files() == before
