"""Calls that take long in the machine: others go on meanwhile, and who is in one can be killed.  Counted, not timed."""

from __future__ import annotations

import pytest

from abi.errors import EBUSY
from aerostat import Machine
from hv.engine import PREEMPTED, Engine
from hv.machine import Machine as Hypervisor
from hv.observer import Observer
from hv.process import Process
from hv.thread import Thread
from kernel.objects import THREAD
from tests.aerostat.programs import NewMachine, Pipe, assert_idle, built, succeeds, wait

pytestmark = pytest.mark.kvm

KILL_IN_ITS_CALL = 0x2000
CORES = pytest.mark.parametrize("cores", [1, 2])


def big(new_machine: NewMachine, cores: int) -> Machine:
    return new_machine("160M", cores=cores)


@CORES
def test_other_threads_go_on_during_a_long_munmap(new_machine: NewMachine, cores: int) -> None:
    machine = big(new_machine, cores)
    assert succeeds(machine, "tests/long", "others", "8192", linux=False) == "long: ok\n"
    assert_idle(machine)


class Turns(Observer):
    """With what threads came out of the guest, from when one is run until another one is."""

    def __init__(self) -> None:
        self.turns: list[tuple[Thread, list[int]]] = []

    def arrived(self, thread: Thread, engine: Engine, trap: int) -> None:
        if not self.turns or self.turns[-1][0] is not thread: self.turns.append((thread, []))
        self.turns[-1][1].append(trap)

    def served(self, thread: Thread) -> None:
        pass

    def ending(self, process: Process) -> None:
        pass


def test_time_slice_that_a_long_munmap_used_up_is_not_that_of_the_next_thread(new_machine: NewMachine) -> None:
    machine = big(new_machine, 1)
    observer = machine.hypervisor.observer = Turns()
    assert succeeds(machine, "tests/long", "others", "8192", linux=False) == "long: ok\n"
    turns = [traps for _, traps in observer.turns]
    assert 20 * turns.count([PREEMPTED]) < len(turns), "threads are preempted before they have run"


@CORES
def test_thread_killed_by_another_in_the_middle_of_a_long_munmap(new_machine: NewMachine, cores: int) -> None:
    machine = big(new_machine, cores)
    hypervisor = machine.hypervisor

    def kill_in_its_call(killer: Thread, handle: int, *_: int) -> int:
        t = hypervisor.system.named(killer.id, handle, THREAD)
        operation = hypervisor.threads[t].operation if t in hypervisor.threads else None
        if operation is None or not operation.begun: return -EBUSY
        return hypervisor.system.thread_kill(killer.id, handle)

    hypervisor.define_call(KILL_IN_ITS_CALL, kill_in_its_call)
    assert succeeds(machine, "tests/long", "kill", "8192", linux=False) == "long: ok\n"
    assert_idle(machine)


def in_a_long_call(hypervisor: Hypervisor) -> bool:
    return any(thread.operation is not None for thread in hypervisor.threads.values())


@CORES
def test_other_threads_go_on_during_long_memory_calls_of_linux(new_machine: NewMachine, cores: int) -> None:
    machine = big(new_machine, cores)
    assert succeeds(machine, "tests/long_linux", "others", "4096", linux=True) == "long_linux: ok\n"
    assert_idle(machine)


@CORES
@pytest.mark.parametrize("name", ["long", "long_linux"])
def test_program_killed_in_the_middle_of_a_long_call(new_machine: NewMachine, name: str, cores: int) -> None:
    machine = big(new_machine, cores)
    hypervisor = machine.hypervisor
    for _ in range(2):
        with Pipe() as output:
            program = machine.spawn(built(f"tests/{name}"), [name, "hold", "4096"], stdout=output.fd)
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
    other = machine.spawn(built("tests/spin"), ["spin", "calls"], linux=False)
    went_on = False
    while not went_on:  # how much happens meanwhile is up to the machine
        with Pipe() as output:
            large = machine.spawn(built("tests/long"), ["long", "keep", "8192"], stdout=output.fd, linux=False)
            output.until("mapped")
            with hypervisor.lock:
                hypervisor.end_process(large.process, 137, "killed")
                assert large.status is None
                assert hypervisor.statistics()["pages_used"] > 8192
                exits = hypervisor.exits()
            ended = False
            while not ended:
                with hypervisor.lock:
                    ended = large.status is not None
                    went_on = went_on or (not ended and hypervisor.exits() >= exits + 100)
            assert wait(large) == 137
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
