"""Everything at once and at random; and hosts that do with their process what processes do."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

import pytest

from aerostat import Machine
from tests.aerostat.programs import (
    GUARD,
    REPOSITORY,
    Capture,
    NewMachine,
    Pipe,
    assert_idle,
    assert_no_traceback,
    built,
    command_environment,
    command_line,
    run,
    succeeds,
    wait,
)

pytestmark = pytest.mark.kvm


@pytest.mark.parametrize(
    ("seed", "cores", "check"), [(1, 1, "full"), (2, 2, "touched"), (3, 2, "full"), (4, 3, "touched"), (5, 2, "off")]
)
def test_native_calls_at_random(new_machine: NewMachine, seed: int, cores: int, check: str) -> None:
    machine = new_machine("8M" if seed % 2 else "16M", cores=cores, check=check)
    assert succeeds(machine, "tests/chaos", "150", str(seed), linux=False) == "chaos: ok\n"
    assert_idle(machine)


def test_native_calls_at_random_from_several_programs(new_machine: NewMachine) -> None:
    machine = new_machine("24M", cores=2)
    with Capture() as output:
        programs = [
            machine.spawn(built("tests/chaos"), ["chaos", "80", str(seed)], stdout=output.fd, linux=False)
            for seed in (11, 12, 13)
        ]
        programs[1].write("failures", bytes(4))  # the host looks in as well
        programs[2].kill()
        assert [wait(program) for program in programs] == [0, 0, 137], output.text()
    assert_idle(machine)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_linux_calls_with_hostile_arguments(new_machine: NewMachine, seed: int) -> None:
    machine = new_machine("16M", cores=1 + seed % 2, time_limit=GUARD / 2)
    null = os.open(os.devnull, os.O_RDWR)
    with Capture() as output:
        words = ["linux_hostile", "2", str(seed)]
        program = machine.spawn(built("tests/linux_hostile"), words, stdin=null, stdout=output.fd, stderr=null)
        status = wait(program)
        assert program.personality.internal_errors == {}
        assert status == 0, f"{output.text()}\n{program.report}"
    os.close(null)
    assert_idle(machine)


def test_signals_and_timers_of_the_host_program() -> None:
    """A Python program may have signals of its own; a vCPU that one interrupts goes on where it was."""
    ticks: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    try:
        with Machine("16M", cores=2) as machine, Capture() as output:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            program = machine.spawn(built("tests/registers"), ["registers", "threads", "4"], stdout=output.fd)
            core = machine.hypervisor.cores[0]._host.ident
            assert core is not None
            while program.status is None:
                signal.pthread_kill(core, signal.SIGALRM)
                with machine.hypervisor.lock:
                    machine.hypervisor.lock.wait(0.001)
            assert program.wait() == 0, output.text()
            assert succeeds(machine, "tests/cycles", "60", linux=False)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert_idle(machine)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ticks


def test_a_host_that_forks() -> None:
    """A child process has no part in the machine: its end, or its closing of everything, changes nothing."""
    with Machine("16M", cores=2) as machine, Pipe() as output:
        hammer = machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")
        for _ in range(5):
            child = os.fork()
            if child == 0:
                try:
                    for vcpu in machine.hypervisor.vcpus._created:
                        os.close(vcpu.fd)
                    machine.hypervisor.vm.close()
                finally:
                    os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert subprocess.run(["true"], check=False).returncode == 0
        assert succeeds(machine, "tests/cycles", "40", linux=False)
        hammer.kill()
        assert wait(hammer) == 137
        assert_idle(machine)


@pytest.mark.parametrize(
    "ending",
    ["", "sys.exit(3)", "raise SystemExit(3)", "machine.close()", "del machine, program; gc.collect()", "os._exit(3)"],
)
@pytest.mark.parametrize("program", ["tests/races hammer", "tests/calls null 100000000", "tests/endings exit 0"])
def test_a_script_that_ends_without_closing(ending: str, program: str) -> None:
    script = f"""
import gc, os, sys
from aerostat import Machine
machine = Machine("16M", cores=2)
words = {program!r}.split()
program = machine.spawn("build/userland/" + words[0], words, stdout=os.open(os.devnull, os.O_WRONLY))
for _ in range(5):
    try:
        program.wait(0.01)
    except TimeoutError:
        pass
{ending}
"""
    done = subprocess.run(
        [*command_line()[:1], "-c", script], capture_output=True, text=True, env=command_environment(), timeout=GUARD,
        cwd=REPOSITORY, check=False,
    )  # fmt: skip
    assert done.returncode == (3 if "3" in ending else 0), done
    assert done.stdout == ""
    assert_no_traceback(done.stderr)


def test_ctrl_c_in_a_script_that_waits() -> None:
    """KeyboardInterrupt comes out of wait; the machine goes on, and can be closed."""
    script = f"""
import os, signal, threading
from aerostat import Machine
with Machine("16M", cores=2) as machine:
    program = machine.spawn({built("tests/spin")!r}, ["spin", "yields"])
    main = threading.main_thread().ident
    for round in range(20):
        try:
            threading.Timer(0.002, signal.pthread_kill, (main, signal.SIGINT)).start()
            program.wait()
        except KeyboardInterrupt:
            pass
        else:
            raise SystemExit("not interrupted")
        assert machine.statistics()["programs"] == 1 + round
        assert machine.spawn({built("tests/endings")!r}, ["endings", "exit", "5"]).wait() == 5
    program.kill()
    assert program.wait() == 137
print("fine")
"""
    done = subprocess.run(
        [*command_line()[:1], "-c", script], capture_output=True, text=True, env=command_environment(), timeout=GUARD,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "fine\n"), done


def test_hundreds_of_short_programs_from_many_threads(new_machine: NewMachine) -> None:
    machine = new_machine("48M", cores=2, check="off")
    statuses: list[int] = []

    def user() -> None:
        for i in range(25):
            statuses.append(run(machine, "tests/endings", "exit", str(i), linux=False).status)

    users = [threading.Thread(target=user) for _ in range(6)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(GUARD)
    assert sorted(statuses) == sorted([*range(25)] * 6)
    assert_idle(machine)
