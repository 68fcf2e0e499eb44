"""Limits: time, memory, signals, threads; and that nothing is left behind, however programs end."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from aerostat import Machine, MachineFailed, OutOfMemory
from hv.vcpu_pool import POOLED_VCPUS
from tests.aerostat.programs import (
    GUARD,
    Capture,
    Pipe,
    aerostat,
    assert_idle,
    assert_no_traceback,
    built,
    command_environment,
    command_line,
    open_files,
    run,
    succeeds,
    wait,
)

pytestmark = pytest.mark.kvm

NewMachine = Callable[..., Machine]
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
    assert succeeds(machine, "tests/many", "300", "3", linux=False) == "many: ok\n"
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


# Nothing is left behind.


def _host_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("aerostat"))


def _memory_maps() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


MIXED = [
    ("demo/hello", [], False), ("tests/faults", ["hlt"], False), ("tests/faults", ["null-read"], True),
    ("tests/spin", ["exit", "2"], False), ("tests/endings", ["child-orphaned"], False),
    ("tests/endings", ["child-faults"], False), ("tests/deadlock", ["pair"], False),
    ("tests/hello_libc-musl", [], True), ("tests/hello_libc-glibc-pie", [], True), ("tests/dirty", ["2"], False),
]  # fmt: skip


def test_fifty_programs_in_one_machine_leave_nothing(new_machine: NewMachine) -> None:
    machine = new_machine("12M", cores=2, check="off", time_limit=3600)

    def round_of_programs() -> None:
        for name, arguments, linux in MIXED:
            run(machine, name, *arguments, linux=linux)

    round_of_programs()
    assert_idle(machine)
    gc.collect()
    before = open_files(), _host_threads(), machine.statistics()["vcpus"], len(gc.get_objects())
    maps = _memory_maps()
    for _ in range(5):
        round_of_programs()
    assert_idle(machine)
    gc.collect()
    files, threads, vcpus, objects = open_files(), _host_threads(), machine.statistics()["vcpus"], len(gc.get_objects())
    assert files == before[0]
    assert threads == before[1]
    assert vcpus <= before[2] + 4, "two cores need a few more than one round happened to"
    assert objects < before[3] + 2000, "50 programs leave no objects"
    assert _memory_maps() <= maps + 20
    assert machine.statistics()["memory_resident"] <= 12 << 20


def test_thirty_machines_leave_nothing() -> None:
    def one(cores: int, check: str) -> None:
        with Machine("8M", cores=cores, check=check, time_limit=3600) as machine, Capture() as output:
            assert succeeds(machine, "demo/hello")
            run(machine, "tests/faults", "ud2")
            machine.spawn(built("tests/spin"), ["spin", "threads", "2"], stdout=output.fd)  # closed while it runs

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(3):
        one(2, "touched")
    gc.collect()
    before, size, maps = open_files(), resident(), _memory_maps()
    for index in range(30):
        one(1 + index % 2, ("touched", "off", "full")[index % 3])
    gc.collect()
    assert open_files() == before
    assert _host_threads() == []
    assert _memory_maps() <= maps + 20
    assert resident() < size + (24 << 20)


def test_a_machine_that_could_not_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import hv.machine

    gc.collect()
    before = open_files()

    def refuse(*_: object) -> None:
        raise OSError(12, "no")

    monkeypatch.setattr(hv.machine, "Gate", refuse)
    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            Machine("8M")
    gc.collect()
    assert open_files() == before


def test_a_program_that_could_not_be_loaded_leaves_nothing(new_machine: NewMachine) -> None:
    machine = new_machine("4M")
    assert_idle(machine)
    before = open_files()
    for _ in range(5):
        with pytest.raises(OutOfMemory):
            machine.spawn(built("tests/libc-glibc"))
    gc.collect()
    assert open_files() == before
    assert_idle(machine)


def test_unknown_calls_are_counted_within_bounds(new_machine: NewMachine) -> None:
    machine = new_machine("8M", check="off")
    # The numbers 0x2000 and above that nobody defined; the last one, 0x4000 rounds later, is far beyond what is kept.
    outcome = run(machine, "tests/strange", "1500", linux=False)
    assert outcome.status == 0
    counted = machine.statistics()["unknown_calls"]
    assert len(counted) <= 1001
    assert sum(counted.values()) == 1500
    assert counted["others"] == 500


# Signals to the command.


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """``aerostat run ARGUMENTS`` in a process group of its own, as a shell would start it."""
    return subprocess.Popen(
        command_line("run", *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=command_environment(), start_new_session=True,
    )  # fmt: skip


@CORES
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_program(number: signal.Signals, cores: int) -> None:
    process = started("--cores", str(cores), "--memory", "12M", built("tests/races"), "hammer")
    assert process.stdout is not None
    assert process.stdout.readline() == b"hammering\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=GUARD)
    assert (process.returncode, output) == (128 + number, b"")
    assert_no_traceback(errors.decode())
    assert errors.decode().splitlines() == [f"aerostat: {built('tests/races')}: ended by {number.name}"]


def test_a_signal_while_the_program_reads() -> None:
    process = subprocess.Popen(
        command_line("run", built("tests/libc-musl"), "copy"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=command_environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"line\n" * 1000)
    process.stdin.flush()
    assert process.stdout.read(1) == b"L", "it reads and writes"
    process.send_signal(signal.SIGINT)
    assert process.wait(GUARD) == 130, "its standard input has not ended"
    _, errors = process.communicate(timeout=GUARD)
    assert_no_traceback(errors.decode())


POINTS = [
    "aerostat.run.find_program", "aerostat.run.Machine", "aerostat.machine.Machine.load",
    "aerostat.machine.Program.start", "aerostat.machine.Program.wait", "aerostat.run._tell",
    "aerostat.machine.Machine.statistics", "aerostat.machine.Machine.close",
]  # fmt: skip


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_a_signal_at_any_moment(point: str, when: str) -> None:
    """The command with a function wrapped so that it interrupts itself there."""
    module, _, function = point.rpartition(".")
    owner = f"importlib.import_module({module!r})"
    if module.endswith((".Machine", ".Program")):
        module, _, kind = module.rpartition(".")
        owner = f"importlib.import_module({module!r}).{kind}"
    script = f"""
import importlib, os, signal
import aerostat.cli, aerostat.run
owner = {owner}
real = owner.{function}
def wrapped(*arguments, **options):
    if {when == "before"}: os.kill(os.getpid(), signal.SIGINT)
    result = real(*arguments, **options)
    if {when == "after"}: os.kill(os.getpid(), signal.SIGINT)
    return result
owner.{function} = wrapped
import sys
sys.argv = ["aerostat"]
aerostat.cli.open_standard_streams()
status = aerostat.cli.main(["run", "--stats", {built("demo/hello")!r}])
sys.stdout.flush()
os._exit(status)
"""
    done = subprocess.run(
        [*command_line()[:1], "-c", script], capture_output=True, text=True, env=command_environment(), timeout=GUARD,
        check=False,
    )  # fmt: skip
    assert_no_traceback(done.stderr)
    assert done.returncode in (0, 130), done.stderr
    if done.returncode == 0: assert done.stdout == "hello from ring 3\n"


def test_a_second_signal_ends_the_command_at_once() -> None:
    """Even when the first one cannot end the program."""
    script = f"""
import os, sys, signal, threading
import aerostat.cli, aerostat.run, aerostat.interruption
aerostat.interruption.Interruption._end = lambda self: print("asked", flush=True)
os._exit(aerostat.cli.main(["run", "--memory", "12M", {built("tests/races")!r}, "hammer"]))
"""
    process = subprocess.Popen(
        [*command_line()[:1], "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=command_environment()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"hammering\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"asked\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert_no_traceback(errors.decode())


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a child inherits
    try:
        process = subprocess.Popen(
            command_line("run", built("tests/libc-musl"), "copy"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=command_environment(), restore_signals=False,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"a" * 65536)
    process.stdin.flush()
    assert process.stdout.read(1) == b"A"
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(b"b", timeout=GUARD)
    assert process.returncode == 0
    assert output.endswith(b"B")


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


def test_failed_machines_say_so_and_leave_nothing(new_machine: NewMachine) -> None:
    gc.collect()
    before = open_files()
    machine = Machine("8M")
    with Capture() as output:
        program = machine.spawn(built("tests/spin"), stdout=output.fd, linux=False)
        machine.hypervisor.fail(RuntimeError("broken"))
        for _ in range(2):
            with pytest.raises(MachineFailed, match="broken"):
                program.wait(GUARD)
        with pytest.raises(MachineFailed, match="broken"):
            machine.spawn(built("demo/hello"))
        with pytest.raises(MachineFailed, match="broken"):
            machine.audit()
    machine.close()
    gc.collect()
    assert open_files() == before
