"""Programs that attack: each ends with the status and the report it should have, and the machine runs the next one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

import pytest

from abi.layout import SYSTEM_BASE
from aerostat import Machine
from hv.engine import CRASHED, MMIO
from hv.report import VECTORS, signal_of
from tests.aerostat.programs import REPOSITORY, Outcome, assert_idle, run, succeeds

pytestmark = pytest.mark.kvm

LIVES = -1


def _faults() -> dict[str, tuple[int, ...]]:
    """Name -> the vectors it may end by, from the table at the end of faults.c."""
    source = (REPOSITORY / "tests" / "programs" / "faults.c").read_text(encoding="ascii")
    rows = re.findall(r'^ +\{"([^"]+)", \w+, (\w+), (\d+)\},$', source, re.MULTILINE)
    return {
        name: (LIVES,) if first == "LIVES" else tuple(dict.fromkeys(n for n in (int(first), int(second)) if n))
        or (0,)
        for name, first, second in rows
    }


FAULTS = _faults()

ATTACKS = dict(FAULTS)
"""Those that this processor stops."""
if os.environ.get("AEROSTAT_LAB") == "1":
    # QEMU's raises neither of the two, and a #GP where a stack address that is not canonical is a #SS.
    del ATTACKS["alignment-check"], ATTACKS["sse-exception"]
    ATTACKS["noncanonical-stack"] = (13,)


@pytest.fixture(scope="module")
def shared() -> Iterator[Machine]:
    """One machine for all attacks."""
    with Machine("16M") as machine:
        yield machine


def assert_fault(outcome: Outcome, vectors: tuple[int, ...]) -> None:
    """A fault ended the program, by one of these vectors, and the report has what a programmer needs."""
    report = outcome.report
    assert report is not None, f"status {outcome.status}, no report; output {outcome.output!r}"
    ended_by = [vector for vector in vectors if outcome.reason.startswith(VECTORS[vector][0])]
    assert ended_by, report
    assert outcome.status == 128 + signal_of(ended_by[0])
    assert outcome.output == ""
    assert set(report.registers) >= {"rip", "rsp", "rflags", "rax", "r15"}
    assert report.registers["rflags"] & 0x3202 == 0x202, "interrupts on, IOPL 0"
    assert f"{report.registers['rip']:#x}" in outcome.reason
    assert report.as_dict()["status"] == outcome.status
    assert report.traps
    text = str(report)
    assert "rip " in text
    assert "last traps" in text


def test_the_list_of_faults_is_the_programs_own(shared: Machine) -> None:
    listed = {line.split()[0] for line in succeeds(shared, "tests/faults", "list").splitlines()}
    assert listed == set(FAULTS)
    assert len(FAULTS) > 80


@pytest.mark.parametrize("name", ATTACKS)
def test_faults(shared: Machine, name: str) -> None:
    outcome = run(shared, "tests/faults", name, linux=False)
    if ATTACKS[name] == (LIVES,):
        assert (outcome.status, outcome.report) == (0, None), outcome
    else:
        assert_fault(outcome, ATTACKS[name])
    assert_idle(shared)


@pytest.mark.parametrize(
    ("name", "access", "why"),
    [
        ("null-read", "reading 0x0", "not mapped"), ("null-write", "writing 0x8", "not mapped"),
        ("null-jump", "executing 0x0", "not mapped"), ("unmapped-write", "writing 0x123456789000", "not mapped"),
        ("write-after-protect-read", "writing 0x500000000", "not permitted"),
        ("execute-data", "executing 0x500000000", "not permitted"),
        ("read-after-munmap", "reading 0x500000000", "not mapped"),
        ("system-page-write", f"writing {SYSTEM_BASE:#x}", "not permitted"),
    ],
    ids=lambda value: value.split()[0],
)  # fmt: skip
def test_a_report_says_what_was_accessed_and_why_not(shared: Machine, name: str, access: str, why: str) -> None:
    assert f"{access} ({why})" in run(shared, "tests/faults", name, linux=False).reason


def test_a_report_has_disassembly_and_symbol(shared: Machine) -> None:
    report = run(shared, "tests/faults", "hlt", linux=False).report
    assert report is not None
    assert report.where() == "halt"
    assert report.disassembly()[0].split()[-1] == "hlt"
    text = str(report)
    assert "in halt" in text
    assert "hlt" in text


def test_a_report_of_a_jump_into_nothing_has_no_code(shared: Machine) -> None:
    report = run(shared, "tests/faults", "unmapped-jump", linux=False).report
    assert report is not None
    assert report.code == b""
    assert report.disassembly() == []
    assert report.where() is None
    assert any(report.stack), "it was called from somewhere"
    str(report)


@pytest.mark.parametrize(("check", "cores"), [("touched", 2), ("full", 1)])
def test_all_faults_in_one_machine(check: str, cores: int) -> None:
    with Machine("16M", check=check, cores=cores) as machine:
        for name, vectors in ATTACKS.items():
            outcome = run(machine, "tests/faults", name, linux=False)
            if vectors == (LIVES,): assert outcome.status == 0, name
            else: assert_fault(outcome, vectors)
        assert_idle(machine)


def test_faults_of_linux_programs_end_by_the_signal(shared: Machine) -> None:
    """The same attacks from a program that has the Linux calls as well: its signals are at their defaults."""
    names = ("null-read", "hlt", "ud2", "divide-by-zero", "int3", "execute-data", "out-gate", "alignment-check")
    for name in (name for name in names if name in ATTACKS):
        outcome = run(shared, "tests/faults", name, linux=True)
        assert outcome.status == 128 + signal_of(FAULTS[name][0]), name
        assert outcome.report is not None, name
    assert_idle(shared)


FLAGS = ["df", "iopl", "nt", "rf", "vm", "ac", "id", "arithmetic", "all"]


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_do_not_survive_the_gate(shared: Machine, flag: str) -> None:
    assert succeeds(shared, "tests/flags", flag) == "flags: ok\n"
    assert_idle(shared)


def test_trap_flag_at_the_gate(shared: Machine) -> None:
    outcome = run(shared, "tests/flags", "tf", linux=False)
    assert outcome.status in (0, 128 + signal_of(1))
    assert_idle(shared)


@pytest.mark.parametrize("page", [*range(8), 15, 16, 17, 18, 64, 511, 512, 1024])
def test_system_pages_cannot_be_read_or_written(shared: Machine, page: int) -> None:
    # The first page is the gate.  Where a program has to be able to execute it, it can read it.
    read = run(shared, "tests/gate", "read", str(page), linux=False)
    if not (page == 0 and read.status == 1): assert_fault(read, (14,))
    assert_fault(run(shared, "tests/gate", "write", str(page), linux=False), (14,))
    assert_idle(shared)


@pytest.mark.parametrize("page", range(8))
def test_jumps_into_system_pages(shared: Machine, page: int) -> None:
    """Whatever is jumped to, the program ends by a fault or comes back as from a system call, and the host stays."""
    for offset in (*range(16), 0x80, 0x100, 0x101, 0x800, 0xFFC, 0xFFF):
        outcome = run(shared, "tests/gate", "jump", str(page), str(offset), linux=False)
        if outcome.status != 0: assert_fault(outcome, (14, 13, 6))
        outcome = run(shared, "tests/gate", "jump-bad", str(page), str(offset), linux=False)
        assert_fault(outcome, (14, 13, 6))
    assert_idle(shared)


@pytest.mark.parametrize("cores", [1, 2])
def test_hostile_arguments_of_every_call(cores: int) -> None:
    with Machine("16M", cores=cores, check="full") as machine:
        assert succeeds(machine, "tests/arguments", linux=False) == "arguments: ok\n"
        assert_idle(machine)


def test_every_call_has_a_hostile_test() -> None:
    from abi.calls import CALLS

    source = (REPOSITORY / "tests" / "programs" / "arguments.c").read_text(encoding="ascii")
    untested = {call.name for call in CALLS if call.arguments and f"aero_{call.name}(" not in source}
    # These two take a status, any value of which is good (test_programs.test_statuses).
    assert untested <= {"thread_exit", "process_exit"}


def test_a_vcpu_that_gives_up_ends_its_program_and_is_not_used_again(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("8M")
    succeeds(machine, "demo/hello", linux=False)
    hypervisor = machine.hypervisor
    broken = hypervisor.vcpus._created[0]
    broken.run = lambda: CRASHED
    outcome = run(machine, "demo/hello", linux=False)
    assert outcome.status == 134
    assert "the virtual CPU failed" in outcome.reason
    assert broken.fd == -1, "it is closed"
    assert broken not in hypervisor.vcpus._free
    assert succeeds(machine, "demo/hello", linux=False)
    assert machine.statistics()["vcpus"] == 1
    assert [vcpu.index for vcpu in hypervisor.vcpus._created] == [0, 1], "an index is good once"


def test_stray_access_ends_the_program(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("8M")
    succeeds(machine, "demo/hello", linux=False)
    vcpu, real = machine.hypervisor.vcpus._created[0], machine.hypervisor.vcpus._created[0].run
    vcpu.run = lambda: MMIO
    outcome = run(machine, "demo/hello", linux=False)
    vcpu.run = real
    assert (outcome.status, outcome.reason[:25]) == (135, "access to unbacked memory")
    assert_idle(machine)
