"""Limits: time, memory, threads, deadlock."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from aerostat import Machine, OutOfMemory
from hv.vcpu_pool import POOLED_VCPUS
from tests.aerostat.programs import (
    GUARD,
    Capture,
    NewMachine,
    Pipe,
    aerostat,
    assert_idle,
    built,
    run,
    succeeds,
    wait,
)

pytestmark = pytest.mark.kvm

CORES = pytest.mark.parametrize("cores", [1, 2])


# Time.


@CORES
@pytest.mark.parametrize("arguments", [[], ["calls"], ["yields"], ["threads", "3"]], ids=lambda words: "-".join(words))
def test_time_limit(new_machine: NewMachine, arguments: list[str], cores: int) -> None:
    machine = new_machine("8M", cores=cores, time_limit=0.05)
    outcome = run(machine, "tests/spin", *arguments, linux=False)
    assert outcome.status == 124
    assert outcome.reason == "time limit of 0.05 s reached"
    assert_idle(machine)


def test_time_limit_ends_children_too(new_machine: NewMachine) -> None:
    machine = new_machine("8M", time_limit=0.2)
    with Capture() as output:
        program = machine.spawn(built("tests/deadlock"), ["deadlock", "child"], stdout=output.fd, linux=False)
        assert wait(program) in (124, 134)
    assert_idle(machine)


def test_a_time_limit_is_each_programs_own(new_machine: NewMachine) -> None:
    machine = new_machine("8M", time_limit=0.3)
    assert run(machine, "tests/spin", linux=False).status == 124
    assert succeeds(machine, "demo/hello", linux=False)
    assert run(machine, "tests/spin", linux=False).status == 124


@pytest.mark.parametrize("limit", [1e-9, 3600, 1e9, 1e300, float("inf")])
def test_time_limits_of_any_size(new_machine: NewMachine, limit: float) -> None:
    machine = new_machine("8M", time_limit=limit)
    for _ in range(3):
        assert run(machine, "demo/hello", linux=False).status in ((0, 124) if limit < 1 else (0,))
    assert machine.hypervisor.failure is None
    assert not machine.hypervisor.events.pending(), "the limit of a program that has ended is no event"


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_impossible_time_limits(limit: float) -> None:
    with pytest.raises(ValueError, match="time limit"):
        Machine("8M", time_limit=limit)


# Memory.


@pytest.mark.parametrize("what", ["memory", "blocks", "tables", "threads", "processes"])
@CORES
def test_a_program_that_takes_all_there_is(new_machine: NewMachine, what: str, cores: int) -> None:
    machine = new_machine("8M" if what != "blocks" else "16M", cores=cores)
    first = succeeds(machine, "tests/exhaust", what, linux=False)
    assert_idle(machine)
    assert succeeds(machine, "tests/exhaust", what, linux=False) == first, "as much is there again"


def test_a_program_that_takes_all_there_is_and_leaves(new_machine: NewMachine) -> None:
    machine = new_machine("8M", check="full")
    outputs = {succeeds(machine, "tests/exhaust", "leave", linux=False) for _ in range(3)}
    assert len(outputs) == 1
    assert_idle(machine)


def test_memory_ends_for_a_linux_program(new_machine: NewMachine) -> None:
    machine = new_machine("8M", check="off")
    outcome = run(machine, "tests/libc-musl", "memory")
    assert outcome.status != 0
    assert_idle(machine)


@pytest.mark.parametrize("memory", ["2M", "4M"])
def test_tiny_machines(new_machine: NewMachine, memory: str) -> None:
    machine = new_machine(memory)
    for _ in range(3):
        for name in ("demo/hello", "tests/libc-musl"):  # the second has 3 MiB of zeros, each a stack of 2 MiB
            if memory == "4M" and name == "demo/hello":
                assert run(machine, name).status == 0
            else:
                with pytest.raises(OutOfMemory, match="needs more memory than the machine has"):
                    run(machine, name)
    statistics = machine.statistics()
    assert (statistics["pages_used"], statistics["blocks_used"]) == (1, 0)
    machine.audit()


def test_a_machine_without_room_for_one_more_program(new_machine: NewMachine) -> None:
    machine = new_machine("8M")
    with Capture() as output:
        programs = [machine.spawn(built("tests/spin"), stdout=output.fd, linux=False) for _ in range(3)]
        with pytest.raises(OutOfMemory):
            machine.spawn(built("tests/spin"), stdout=output.fd, linux=False)
        used = machine.statistics()["pages_used"], machine.statistics()["blocks_used"]
        with pytest.raises(OutOfMemory):
            machine.spawn(built("tests/spin"), stdout=output.fd, linux=False)
        assert used == (machine.statistics()["pages_used"], machine.statistics()["blocks_used"])
        for program in programs:
            program.kill()
            assert wait(program) == 137
    assert_idle(machine)


@pytest.mark.parametrize("memory", [0, -1, 1 << 37, 1 << 60, "0", "129G", "1E6", "M", "", "two", "-4M", "1..5M"])
def test_impossible_sizes(memory: int | str) -> None:
    with pytest.raises(ValueError, match=r"memory of|is not a size"):
        Machine(memory)


@pytest.mark.parametrize("cores", [0, -1, 65, 10**9])
def test_impossible_numbers_of_cores(cores: int) -> None:
    with pytest.raises(ValueError, match="cores"):
        Machine("8M", cores=cores)


def test_most_memory_and_most_cores_there_can_be() -> None:
    with Machine("127G", cores=64) as machine:
        assert succeeds(machine, "demo/hello", linux=False)
        assert machine.statistics()["memory_resident"] < 8 << 20


# Threads.


@CORES
def test_more_threads_than_vcpus(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine("16M", cores=cores)
    assert succeeds(machine, "tests/many", "300", "12", linux=False) == "many: ok\n"
    assert machine.statistics()["vcpus"] == POOLED_VCPUS
    assert_idle(machine)
    assert succeeds(machine, "tests/registers", linux=False) == "registers: ok\n"


def test_more_threads_than_vcpus_of_several_programs(new_machine: NewMachine) -> None:
    machine = new_machine("32M", cores=2, check="off")
    with Capture() as output:
        programs = [
            machine.spawn(built("tests/many"), ["many", "120", "4"], stdout=output.fd, linux=False) for _ in range(3)
        ]
        assert [wait(program) for program in programs] == [0, 0, 0], output.text()
    assert_idle(machine)


@CORES
@pytest.mark.parametrize("what", ["pair", "child"])
def test_deadlock(new_machine: NewMachine, what: str, cores: int) -> None:
    machine = new_machine("8M", cores=cores)
    outcome = run(machine, "tests/deadlock", what, linux=False)
    assert outcome.status == 134
    assert outcome.reason == "deadlock: every thread waits for another"
    assert outcome.report is not None
    assert any("thread_join" in trap.what for trap in outcome.report.traps)
    assert_idle(machine)


def test_deadlock_is_found_under_a_time_limit(new_machine: NewMachine) -> None:
    machine = new_machine("8M", time_limit=3600)
    assert run(machine, "tests/deadlock", "pair", linux=False).status == 134


def test_deadlock_is_found_beside_a_program_that_ends_later(new_machine: NewMachine) -> None:
    machine = new_machine("16M")
    with Capture() as output:
        spinning = machine.spawn(built("tests/spin"), stdout=output.fd, linux=False)
        stuck = machine.spawn(built("tests/deadlock"), ["deadlock", "pair"], stdout=output.fd, linux=False)
        ended = threading.Event()

        def wait_for_it() -> None:
            stuck.wait()
            ended.set()

        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        spinning.kill()
        assert wait(spinning) == 137
        assert ended.wait(GUARD)
        waiter.join()
        assert stuck.status == 134


def test_joining_oneself_is_an_error(machine: Machine) -> None:
    assert succeeds(machine, "tests/deadlock", "self", linux=False) == "deadlock: ok\n"


def test_limits_of_the_command() -> None:
    done = aerostat("run", "--time-limit", "0.05", built("tests/spin"))
    assert done.returncode == 124
    assert "time limit of 0.05 s reached" in done.stderr
    done = aerostat("run", "--memory", "2M", built("demo/hello"))
    assert done.returncode in (0, 126)
    if done.returncode: assert len(done.stderr.splitlines()) == 1
    assert "more memory than the machine has" in (done.stderr or "more memory than the machine has")
    done = aerostat("run", "--memory", "4M", built("tests/libc-glibc"))
    assert done.returncode == 126
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_pipe_that_nobody_empties_does_not_stop_others(new_machine: NewMachine) -> None:
    """debug_print waits with its thread blocked, not with the machine's lock held."""
    machine = new_machine("16M")
    with Pipe() as full:
        os.write(full.fd, bytes(fcntl.fcntl(full.fd, fcntl.F_GETPIPE_SZ)))
        printing = machine.spawn(built("tests/calls"), ["calls", "print", "3"], stdout=full.fd, linux=False)
        assert succeeds(machine, "demo/hello", linux=False)
        assert printing.status is None
        assert full.until("x\nx\nx\n").endswith("x\nx\nx\n")
        assert wait(printing) == 0
    assert_idle(machine)
