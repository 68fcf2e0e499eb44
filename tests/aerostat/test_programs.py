"""Programs that behave: the demonstrations, and what tests want of C libraries, on one core and two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from aerostat import Machine
from tests.aerostat.programs import assert_idle, run, succeeds

pytestmark = pytest.mark.kvm

KINDS = [("touched", 1), ("touched", 2), ("full", 2), ("off", 1)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def shared(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One machine for all programs of this file, so that each meets what the ones before it left."""
    check, cores = request.param
    with Machine("32M", cores=cores, check=check) as machine:
        yield machine


NATIVE = [
    ("demo/hello", [], "hello from ring 3\n"),
    ("demo/memory", [], "ok    mmap gives pages at the very address asked for\n"),
    ("demo/threads", ["3"], "3 threads computed what one computes\n"),
    ("demo/processes", [], "parent: the child ended with 42 and left the sum 5050\n"),
    ("demo/containers", [], "child: stopped by ENOMEM within its quota\nparent: mapped 64 pages that came back\n"),
    (
        "demo/tree", [],
        "grown: 15 processes in as many containers, the deepest 4 below the gardener's\n"
        "killed: 0 steps were done after that\nevery page came back\n",
    ),
    ("demo/pingpong", [], "1000 calls, the last reply is 499500; the server ends with 0\n"),
    (
        "demo/pager", [],
        "child: the sum is 6001\nparent: refuses 0x3003e8000\n"
        "parent: served 11 pages of 1000, then EPIPE; the child ended with 139\n",
    ),
    ("demo/ring", [], "50000 items, 0 wrong; the producer ended with 0\n"),
    ("demo/clock", [], "a message: 42\n"),
    ("demo/clock", [], "tick\ntick\n"),
    ("demo/clock", [], "then: ETIMEDOUT\n"),
    (
        "demo/mediator", [],
        "A: paid 40, and learnt nothing else\nA: V refused 101\nA: V takes no memory\n"
        "255 guessed handles named nothing\nV: A is gone, nobody waits for this reply\n"
        "A is killed; V and B go on\nB was paid 42\n",
    ),
    ("tests/registers", ["start"], "registers: ok\n"),
    ("tests/registers", ["calls"], "registers: ok\n"),
    ("tests/registers", ["threads", "5"], "registers: ok\n"),
    ("tests/selfmod", [], "selfmod: ok\n"),
    ("tests/cycles", ["150", "7"], "cycles: ok\n"),
    ("tests/calls", ["yield", "100"], ""),
    ("tests/calls", ["print", "100"], "x\nx\n"),
    ("tests/endings", ["child-exits"], "child-exits: ok\n"),
    ("tests/endings", ["child-faults"], "child-faults: ok\n"),
    ("tests/endings", ["child-isolated"], "child-isolated: ok\n"),
]


@pytest.mark.parametrize(("name", "arguments", "output"), NATIVE, ids=lambda value: str(value) if value else "-")
def test_native_programs(shared: Machine, name: str, arguments: list[str], output: str) -> None:
    assert output in succeeds(shared, name, *arguments, linux=False)
    assert_idle(shared)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["exit", "0"], 0), (["exit", "77"], 77), (["exit", "255"], 255),
        (["exit", "511"], 511), (["exit", "4294967296"], 0),  # 32 bits; a shell sees the lowest 8
        (["thread-exit", "9"], 9), (["child-orphaned"], 3),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_statuses(shared: Machine, arguments: list[str], status: int) -> None:
    outcome = run(shared, "tests/endings", *arguments, linux=False)
    assert (outcome.status, outcome.report) == (status, None)
    assert_idle(shared)


def test_the_last_thread_gives_the_status(shared: Machine) -> None:
    outcome = run(shared, "tests/endings", "thread-outlives", linux=False)
    # On two cores either may be the last one.
    assert outcome.status in ({6} if len(shared.hypervisor.cores) == 1 else {5, 6})
    assert outcome.report is None
    assert_idle(shared)


def test_main_ends_although_its_threads_spin(shared: Machine) -> None:
    outcome = run(shared, "tests/spin", "exit", "3", linux=False)
    assert (outcome.status, outcome.report) == (5, None)
    assert_idle(shared)


def test_a_fault_of_another_thread_ends_all(shared: Machine) -> None:
    outcome = run(shared, "tests/endings", "thread-faults", linux=False)
    assert outcome.status == 139
    assert "page fault" in outcome.reason
    assert outcome.report is not None
    assert outcome.report.registers["rip"]
    assert "touch_null" in str(outcome.report)
    assert_idle(shared)


LIBCS = ["musl", "musl-pie", "glibc", "glibc-pie"]


@pytest.mark.parametrize("libc", LIBCS)
def test_c_libraries(shared: Machine, libc: str) -> None:
    assert succeeds(shared, f"tests/hello_libc-{libc}") == "hello from libc\n"
    for part in ("sort", "print", "jump", "float", "time"):
        assert "WRONG" not in succeeds(shared, f"tests/libc-{libc}", part)
    assert_idle(shared)


@pytest.mark.parametrize("libc", LIBCS)
def test_c_libraries_use_much_memory(new_machine: Callable[..., Machine], libc: str) -> None:
    machine = new_machine("96M", check="off")
    assert "libc: ok\n" in succeeds(machine, f"tests/libc-{libc}", "all")
    assert_idle(machine)


@pytest.mark.parametrize("libc", LIBCS)
def test_arguments_and_environment_arrive(shared: Machine, libc: str) -> None:
    output = run(shared, f"tests/libc-{libc}", "args", "two words", "", "ä", env={"A": "1", "EMPTY": ""}).output
    assert output == f"0=libc-{libc}\n1=args\n2=two words\n3=\n4=ä\nenv A=1\nenv EMPTY=\n"


@pytest.mark.parametrize("libc", LIBCS)
def test_abort_and_exit_status_of_libc(shared: Machine, libc: str) -> None:
    assert run(shared, f"tests/libc-{libc}", "exit", "300").status == 300 & 255
    outcome = run(shared, f"tests/libc-{libc}", "abort")
    assert outcome.status == 134
    assert_idle(shared)


def test_both_kinds_of_calls_in_one_program(shared: Machine) -> None:
    output = succeeds(shared, "demo/mixed", "one")
    assert "native page at 0x700000000: mixed got 1 argument\n" in output
    assert_idle(shared)


def test_a_linux_program_without_the_linux_calls_only_gets_enosys(machine: Machine) -> None:
    outcome = run(machine, "tests/hello_libc-musl", linux=False)
    assert outcome.status != 0  # musl ends by a privileged instruction when it cannot even exit
    assert machine.statistics()["unknown_calls"]
    assert_idle(machine)


def test_what_a_program_is_compared_with_outside(machine: Machine) -> None:
    """The numbers a computation gives inside are those it gives outside."""
    import hashlib
    import struct

    words = b"".join(struct.pack("<8192Q", *range(n * 8192, (n + 1) * 8192)) for n in range(32))
    assert succeeds(machine, "tests/cpu", "sha256", "2") == hashlib.sha256(words).hexdigest() + "\n"
