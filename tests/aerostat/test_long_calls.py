"""Calls that take long in the machine: others go on meanwhile, and who is in one can be killed.  Counted, not timed."""

from __future__ import annotations

import pytest

from aerostat import Machine
from hv.machine import Machine as Hypervisor
from tests.aerostat.programs import NewMachine, Pipe, assert_idle, built, succeeds, wait

pytestmark = pytest.mark.kvm

CORES = pytest.mark.parametrize("cores", [1, 2])


def big(new_machine: NewMachine, cores: int) -> Machine:
    return new_machine("160M", cores=cores)


@CORES
def test_other_threads_go_on_during_a_long_munmap(new_machine: NewMachine, cores: int) -> None:
    machine = big(new_machine, cores)
    assert succeeds(machine, "tests/long", "others", "24576", linux=False) == "long: ok\n"
    assert_idle(machine)


@CORES
def test_thread_killed_by_another_in_the_middle_of_a_long_munmap(new_machine: NewMachine, cores: int) -> None:
    machine = big(new_machine, cores)
    assert succeeds(machine, "tests/long", "kill", "24576", linux=False) == "long: ok\n"
    assert_idle(machine)


def in_a_long_call(hypervisor: Hypervisor) -> bool:
    return any(thread.operation is not None for thread in hypervisor.threads.values())


@CORES
def test_program_killed_in_the_middle_of_a_long_call(new_machine: NewMachine, cores: int) -> None:
    machine = big(new_machine, cores)
    hypervisor = machine.hypervisor
    for _ in range(2):
        with Pipe() as output:
            program = machine.spawn(built("tests/long"), ["long", "hold", "4096"], stdout=output.fd, linux=False)
            output.until("mapped")
            ended = False
            while not ended:
                with hypervisor.lock:
                    if in_a_long_call(hypervisor):
                        hypervisor.end_process(program.process, 137, "killed")
                        assert not in_a_long_call(hypervisor), "a thread that ran goes on in its call"
                        ended = True
            assert wait(program) == 137
        assert_idle(machine)


@CORES
def test_others_go_on_while_a_large_program_is_taken_down(new_machine: NewMachine, cores: int) -> None:
    machine = big(new_machine, cores)
    hypervisor = machine.hypervisor
    with Pipe() as output:
        large = machine.spawn(built("tests/long"), ["long", "keep", "24576"], stdout=output.fd, linux=False)
        output.until("mapped")
        other = machine.spawn(built("tests/spin"), ["spin", "calls"], linux=False)
        while not other.process.threads or hypervisor.exits() == 0: pass
        with hypervisor.lock:
            hypervisor.end_process(large.process, 137, "killed")
            assert large.status is None
            assert hypervisor.statistics()["pages_used"] > 24576
            exits = hypervisor.exits()
        assert wait(large) == 137
        assert hypervisor.exits() > exits
        other.kill()
        assert wait(other) == 137
    assert_idle(machine)


def test_machine_closed_in_the_middle_of_a_long_call() -> None:
    machine = Machine("160M")
    with Pipe() as output:
        program = machine.spawn(built("tests/long"), ["long", "hold", "4096"], stdout=output.fd, linux=False)
        output.until("mapped")
        machine.close()
        assert program.status == 137


def test_hold_time_of_the_big_lock_is_in_the_statistics(machine: Machine) -> None:
    before = machine.statistics()
    succeeds(machine, "demo/hello", linux=False)
    after = machine.statistics()
    assert after["lock_holds"] > before["lock_holds"] + after["exits"] - before["exits"]
    assert after["lock_held_ns"] > before["lock_held_ns"]
    assert after["lock_longest_hold_ns"] <= after["lock_held_ns"]
    assert after["lock_longest_hold_ns"] * after["lock_holds"] >= after["lock_held_ns"]
