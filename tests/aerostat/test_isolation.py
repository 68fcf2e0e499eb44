"""Isolation is what a vCPU can reach, not what tables say: programs that try, after every kind of taking away.

The hypervisor's own part of this, without a kernel, is in tests/hv/test_translations.py.
"""

from __future__ import annotations

import os

import pytest

from aerostat import Machine
from hv.guest_memory import GuestMemory
from hv.kvm import Kvm
from hv.page_tables import TableFrames
from hv.probe import probe
from tests.aerostat.programs import Capture, NewMachine, Pipe, assert_idle, built, run, succeeds, wait

pytestmark = pytest.mark.kvm

SMALL = "12M"
IN_LAB = os.environ.get("AEROSTAT_LAB") == "1"
"""All is done less often there: Python is 13 times slower."""
CORES = pytest.mark.parametrize("cores", [1, 2])


def count_recyclings(machine: Machine, at: int) -> list[int]:
    """Has page-table frames recycled when ``at`` wait for it; returns a list that gets an item each time."""
    frames, counted = machine.hypervisor.frames, list[int]()
    recycle = frames.recycle

    def counting() -> None:
        counted.append(len(frames._quarantine))
        recycle()

    frames.recycle = counting  # type: ignore[method-assign]
    frames.recycle_needed = lambda: len(frames._quarantine) >= at  # type: ignore[method-assign]
    return counted


@CORES
def test_what_the_kernel_said_last_is_what_can_be_done(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine(SMALL, cores=cores)
    recycled = count_recyclings(machine, at=24)
    rounds = "80" if IN_LAB else "250"
    assert succeeds(machine, "tests/isolation", rounds, "11") == "isolation: ok\n"
    assert recycled, "page tables were used again meanwhile"
    assert_idle(machine)


def test_two_programs_at_once_with_pages_coming_and_going(new_machine: NewMachine) -> None:
    machine = new_machine("24M", cores=2, check="off")
    count_recyclings(machine, at=24)
    rounds = "40" if IN_LAB else "150"
    with Capture() as output:
        programs = [
            machine.spawn(built("tests/isolation"), ["isolation", rounds, str(seed)], stdout=output.fd)
            for seed in (3, 4)
        ]
        assert [wait(program) for program in programs] == [0, 0], output.text()
    assert_idle(machine)


def _shadow_paging() -> bool:
    with Kvm() as kvm:
        return probe(kvm).paging == "shadow"


@pytest.mark.parametrize("broken", ["drop", "quarantine"])
def test_these_programs_would_notice(
    new_machine: NewMachine, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Without what drops translations the same program finds itself in pages that it has given up.  Where the CPU walks
    the tables anew at each entry, as under emulation, there is nothing to notice."""
    if broken == "drop":
        monkeypatch.setattr(GuestMemory, "drop", lambda *_: None)
    else:
        free = TableFrames.free

        def free_at_once(frames: TableFrames, table: int) -> None:
            free(frames, table)
            frames._recycled.append(frames._quarantine.pop())

        monkeypatch.setattr(TableFrames, "free", free_at_once)
    outcome = run(new_machine(SMALL), "tests/isolation", "20" if IN_LAB else "300", "1")
    assert outcome.status == 1 or not _shadow_paging()


CHANGES = [
    (change, access)
    for change in ("unmap", "protect-none", "protect-read")
    for access in ("read", "write", "execute")
    if (change, access) != ("protect-read", "read")
]


@CORES
@pytest.mark.parametrize("size", ["page", "block"])
@pytest.mark.parametrize(("change", "access"), CHANGES, ids=lambda value: value)
def test_a_page_is_taken_from_a_thread_that_uses_it(
    new_machine: NewMachine, change: str, access: str, size: str, cores: int
) -> None:
    machine = new_machine(SMALL, cores=cores, check="off")
    for _ in range(1 if IN_LAB else 4):
        outcome = run(machine, "tests/races", change, access, *(["block"] if size == "block" else []), linux=False)
        assert (outcome.status, outcome.output) == (139, "")
        doing = {"read": "reading", "write": "writing", "execute": "executing"}[access]
        why = "not permitted" if change == "protect-read" else "not mapped"
        address = 0x3000_0000_0000 + (0x1FF000 if size == "block" else 0)
        assert f"{doing} {address:#x} ({why})" in outcome.reason
    assert_idle(machine)


@CORES
def test_rights_that_stay_are_not_disturbed(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine(SMALL, cores=cores)
    assert succeeds(machine, "tests/races", "toggle", linux=False) == "toggle: ok\n"
    assert_idle(machine)


@CORES
@pytest.mark.parametrize("part", ["own-rights", "narrower", "outlives", "block", "after-child", "not-again"])
def test_shared_pages(new_machine: NewMachine, part: str, cores: int) -> None:
    machine = new_machine(SMALL, cores=cores)
    assert succeeds(machine, "tests/sharing", part, linux=False) == "sharing: ok\n"
    assert_idle(machine)


@CORES
def test_nothing_is_left_in_memory_for_the_next_program(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine(SMALL, cores=cores)
    sizes = {succeeds(machine, "tests/scan", linux=False) for _ in range(2 if IN_LAB else 4)}
    assert len(sizes) == 1, "each program gets as much as the one before"
    assert succeeds(machine, "tests/dirty", "4", linux=False) == "dirty: ok\n"
    assert succeeds(machine, "tests/cycles", "60", linux=False)
    assert {succeeds(machine, "tests/scan", linux=False)} == sizes
    assert_idle(machine)


def test_nothing_is_left_by_a_program_killed_on_two_cores(new_machine: NewMachine) -> None:
    """Its threads are writing, on both cores, in the moment it is killed."""
    machine = new_machine(SMALL, cores=2)
    for _ in range(1 if IN_LAB else 8):
        with Pipe() as output:
            hammer = machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
            output.until("hammering")
            hammer.kill()
            assert wait(hammer) == 137
        assert "scan: ok" in succeeds(machine, "tests/scan", "2", linux=False)
    assert_idle(machine)


def test_a_program_does_not_see_what_another_writes_meanwhile(new_machine: NewMachine) -> None:
    machine = new_machine("24M", cores=2, check="off")
    with Pipe() as output:
        hammer = machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")
        for _ in range(1 if IN_LAB else 3):
            assert "scan: ok" in succeeds(machine, "tests/scan", "1" if IN_LAB else "3", linux=False)
            assert succeeds(machine, "tests/cycles", "10" if IN_LAB else "60", linux=False)
        assert hammer.status is None
        hammer.kill()
        assert wait(hammer) == 137
    assert_idle(machine)


def test_registers_of_one_program_are_not_seen_by_the_next(new_machine: NewMachine) -> None:
    """`registers start` leaves all vector registers full and demands that a new thread finds them empty."""
    machine = new_machine(SMALL)
    for _ in range(3):
        assert succeeds(machine, "tests/registers", "start", linux=False) == "registers: ok\n"
    assert machine.statistics()["vcpus"] <= 2, "vCPUs were used again"


@CORES
def test_recycled_page_tables(new_machine: NewMachine, cores: int) -> None:
    """Thousands of page tables come and go while a thread of another program runs; they are a few hundred frames."""
    machine = new_machine("8M", cores=cores, check="off")
    recycled = count_recyclings(machine, at=64)
    with Capture() as output:
        other = machine.spawn(built("tests/spin"), ["spin"], stdout=output.fd, linux=False)
        for _ in range(1 if IN_LAB else 3):
            assert "exhaust: ok\n" in succeeds(machine, "tests/exhaust", "tables", linux=False)
            assert succeeds(machine, "tests/cycles", "30" if IN_LAB else "100", linux=False) == "cycles: ok\n"
        other.kill()
        assert wait(other) == 137
    assert len(recycled) >= 5
    assert sum(recycled) > (500 if IN_LAB else 2000)
    assert machine.hypervisor.frames._covered <= 1024, "frames are used again, not new ones"
    assert_idle(machine)
