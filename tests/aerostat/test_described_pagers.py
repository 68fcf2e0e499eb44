"""Machines from descriptions: pagers, timers, and invariants of the user's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from abi.errors import EBUSY, EINVAL
from aerostat import (
    DescriptionError,
    DeviceDescription,
    EndpointDescription,
    HandleDescription,
    Machine,
    MachineDescription,
    ProgramDescription,
    Violation,
)
from aerostat.description.assembly import DescribedMachine
from hv.hosting import set_pager, start_timer
from tests.aerostat.programs import BUILT, REPOSITORY, Capture, aerostat, assert_idle

pytestmark = pytest.mark.kvm

LAZY = REPOSITORY / "userland" / "demo" / "lazy.toml"


def up(tmp_path: Path, *changes: tuple[str, str], options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """``aerostat up`` of lazy.toml with changes, beside a copy of its invariants."""
    text = LAZY.read_text().replace("../../build/userland", str(BUILT)).replace("../../docs/examples/", "")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    invariants = tmp_path / "lazy_invariants.py"
    if not invariants.exists(): shutil.copy(REPOSITORY / "docs" / "examples" / "lazy_invariants.py", invariants)
    (tmp_path / "lazy.toml").write_text(text)
    return aerostat("up", *options, "lazy.toml", cwd=tmp_path)


def wrong_from(tmp_path: Path, pages: int) -> None:
    """An invariant that holds until so many pages were read."""
    (tmp_path / "lazy_invariants.py").write_text(
        "from aerostat import invariant\n\n@invariant\ndef few_pages(m):\n"
        f'    """Few pages are read."""\n    return m.program.pages_read < {pages}\n'
    )


def test_the_example_runs_and_each_line_names_its_program() -> None:
    done = aerostat("up", "--prefix", "--check", "full", LAZY)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        "serve: made 8 pages for program 7, then EPIPE", "tick: ticked", "user/use: the sum is 140",
    ]  # fmt: skip


def test_without_a_pager_the_fault_ends_the_program(tmp_path: Path) -> None:
    done = up(
        tmp_path, ('pager = "faults"', ""), ("pager_badge = 7", ""), ('arguments = ["serve"]', 'arguments = ["tick"]'),
        ("faults = ", "ticks = "), ("[endpoint.faults]", ""),
    )  # fmt: skip
    assert done.returncode == 139
    assert done.stderr.startswith(f"aerostat: user/use: {BUILT}/demo/lazy: page fault")


def test_a_page_that_the_pager_refuses_ends_the_program(tmp_path: Path) -> None:
    reads = (f'{BUILT}/demo/lazy"\narguments = ["use"]', f'{BUILT}/tests/faults"\narguments = ["unmapped-read"]')
    done = up(
        tmp_path, reads, ('invariants = ["lazy_invariants.py"]', ""), ("pager_badge = 7", "pager_badge = 77")
    )
    assert done.returncode == 139
    assert "made 0 pages for program 77, then EPIPE" in done.stdout
    assert done.stderr.startswith("aerostat: user/use: ")


def test_a_pager_that_has_ended_is_none(tmp_path: Path) -> None:
    done = up(tmp_path, ('arguments = ["serve"]', 'arguments = ["nothing"]'))
    assert done.returncode == 139
    assert "page fault" in done.stderr


def test_the_host_names_pagers_and_timers_before_programs_start_and_once() -> None:
    with DescribedMachine(description()) as machine:
        hypervisor, e = machine.hypervisor, machine.endpoints["ticks"]
        s = machine.programs["tick"].process.id
        with hypervisor.lock:
            assert hypervisor.system.assign_pager(s, e.id, -1) == -EINVAL
            set_pager(hypervisor, s, e, 0)
            assert hypervisor.system.assign_pager(s, e.id, 0) == -EBUSY
            with pytest.raises(ValueError, match="has a pager"): set_pager(hypervisor, s, e, 0)
        machine.start()
        with hypervisor.lock, pytest.raises(ValueError, match="has a timer"): start_timer(hypervisor, e, 10**9)
        assert machine.wait() == 0
        with hypervisor.lock, pytest.raises(ValueError, match="nobody has a handle"): start_timer(hypervisor, e, 10**9)
        assert_idle(machine)


def description(*invariants: str) -> MachineDescription:
    """A program that counts the expiries of its endpoint's timer."""
    program = ProgramDescription(
        "demo/lazy", ("tick",), endpoints={"ticks": HandleDescription(("receive",))}, invariants=invariants
    )
    endpoints = {"ticks": EndpointDescription(timer=0.001)}
    return MachineDescription(memory="16M", endpoints=endpoints, programs={"tick": program}, directory=str(BUILT))


def test_a_timer_of_a_machine_that_is_described_in_python() -> None:
    with Capture() as output:
        with DescribedMachine(description(), inherited=lambda *_: output.fd) as machine:
            machine.start()
            assert machine.wait() == 0
            assert_idle(machine)
        assert output.text() == "ticked\n"


def test_a_machine_that_is_closed_before_its_timer_ever_expires() -> None:
    with DescribedMachine(description()) as machine: machine.audit()


# Invariants.


def test_a_violation_stops_the_machine_and_names_the_program(tmp_path: Path) -> None:
    wrong_from(tmp_path, 3)
    done = up(tmp_path)
    assert done.returncode == 71
    assert "few_pages" in done.stderr
    assert "pages_read" in done.stderr
    assert "the sum" not in done.stdout


def test_a_violation_is_reported_and_the_programs_run_on(tmp_path: Path) -> None:
    wrong_from(tmp_path, 3)
    report = '[machine]\non_violation = "report"\n[endpoint.faults]'
    done = up(tmp_path, ("[endpoint.faults]", report))
    assert done.returncode == 0
    assert done.stderr.count("Few pages are read") == 1
    assert "the sum is 140" in done.stdout
    done = up(tmp_path, ("[endpoint.faults]", report), options=("--json",))
    found = json.loads(done.stderr[done.stderr.index("{\n") :])
    assert [violation["invariant"] for violation in found["violations"]] == ["few_pages"]


def test_a_file_of_invariants_that_is_not_there_or_wrong_is_an_error_of_its_line(tmp_path: Path) -> None:
    line = next(i for i, text in enumerate(LAZY.read_text().splitlines(), 1) if text.startswith("invariants"))
    done = up(tmp_path, ('"lazy_invariants.py"', '"missing.py"'))
    assert done.returncode == 2
    assert done.stderr.startswith(f"lazy.toml:{line}: program.use.invariants.0: ")
    assert done.stderr.endswith("missing.py: cannot be read: No such file or directory\n")
    (tmp_path / "lazy_invariants.py").write_text("from aerostat import invariant\nx = 1 +\n")
    done = up(tmp_path)
    assert done.returncode == 2
    assert f"lazy.toml:{line}: program.use.invariants.0: " in done.stderr
    assert "lazy_invariants.py:2: invalid syntax" in done.stderr


def test_two_programs_can_have_the_same_invariants_and_the_machine_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from aerostat import invariant\n@invariant('thread')\ndef threads_are_something(m, thread):\n"
        "    return thread.state in (1, 2, 3, 4)\n"
    )
    both = '[program.serve]\ninvariants = ["lazy_invariants.py"]'
    machine = '[machine]\ninvariants = ["own.py"]\n[endpoint.faults]'
    done = up(tmp_path, ("[program.serve]", both), ("[endpoint.faults]", machine), options=("--json",))
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stderr)["statistics"]["invariants"]
    assert len(counts) == 3
    assert counts["threads_are_something"]["evaluated"] > 0
    assert sum(of["evaluated"] > 0 for name, of in counts.items() if name.startswith("sum_is_of_squares")) == 2


def test_one_name_twice_in_a_machine_is_an_error_of_the_second(tmp_path: Path) -> None:
    machine = '[machine]\ninvariants = ["lazy_invariants.py"]\n[endpoint.faults]'
    done = up(tmp_path, ("[endpoint.faults]", machine))
    assert done.returncode == 2
    assert "program.use.invariants.0: two invariants have the name sum_is_of_squares" in done.stderr


def test_invariants_of_a_machine_that_is_described_in_python(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from aerostat import invariant\n@invariant\ndef never(m):\n    return False\n")
    with DescribedMachine(description(str(wrong))) as machine:
        machine.start()
        with pytest.raises(Violation, match="never"): machine.wait()


def test_a_device_that_is_described_in_python_is_an_error() -> None:
    described = MachineDescription(
        programs={"p": ProgramDescription("demo/hello")}, devices={"disk": DeviceDescription("drum")},
        directory=str(BUILT),
    )  # fmt: skip
    with pytest.raises(DescriptionError, match=r"device\.disk\.kind: there is no kind of device 'drum'"):
        Machine.from_description(described)
