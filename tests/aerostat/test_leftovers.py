"""Nothing is left behind, however programs and machines end: files, host threads, vCPUs, memory, objects."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from aerostat import Machine, MachineFailed, OutOfMemory
from tests.aerostat.programs import (
    GUARD,
    Capture,
    NewMachine,
    assert_idle,
    built,
    open_files,
    run,
    succeeds,
)

pytestmark = pytest.mark.kvm

CORES = pytest.mark.parametrize("cores", [1, 2])


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
