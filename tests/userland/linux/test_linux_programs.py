"""What C programs expect of Linux beyond files (tests/programs/linux.c), with glibc and musl, on one core and two."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from aerostat.machine import Machine
from aerostat.program import Program
from tests.userland.fake_machine import open_descriptors

pytestmark = pytest.mark.kvm

ROOT: Final = Path(__file__).resolve().parents[3]
LIBCS: Final = ("glibc", "glibc-pie", "musl", "musl-pie")
PARTS: Final = ("memory", "stack", "file_mappings", "threads", "signals", "registers", "waiting")
GUARD: Final = 60.0


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the test programs, up to date."""
    subprocess.run(["make", "--no-print-directory", "-s", "-C", ROOT / "userland", "tests"], check=True)
    return ROOT / "build" / "userland" / "tests"


@pytest.fixture(scope="module", params=[1, 2], ids=["one core", "two cores"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    place = tmp_path_factory.mktemp("programs")
    with Machine("256M", cores=request.param, allow_write=[place]) as made:
        made.place = place  # type: ignore[attr-defined]
        yield made


def run(machine: Machine, program: Path, part: str) -> tuple[Program, str]:
    place: Path = machine.place  # type: ignore[attr-defined]
    output = place / "output"
    with output.open("wb") as file:
        running = machine.spawn(
            program, ["linux", part], {}, stdout=file.fileno(), stderr=file.fileno(), cwd=str(place)
        )
        running.wait(GUARD)
    assert not running.personality.internal_errors
    return running, output.read_text()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("libc", LIBCS)
def test_part(libc: str, part: str, machine: Machine, built: Path) -> None:
    program, output = run(machine, built / f"linux-{libc}", part)
    assert output == "right\n", program.report
    assert program.status == 0
    assert not program.personality.unknown


@pytest.mark.parametrize("part", PARTS)
def test_the_same_on_the_host(part: str, built: Path, tmp_path: Path) -> None:
    """The program asks for nothing that Linux does not give."""
    done = subprocess.run([built / "linux-glibc", part], cwd=tmp_path, capture_output=True, timeout=GUARD, check=False)
    assert (done.returncode, done.stdout) == (0, b"right\n")


@pytest.mark.parametrize("libc", LIBCS)
def test_abort_ends_with_its_signal(libc: str, machine: Machine, built: Path) -> None:
    program, _ = run(machine, built / f"linux-{libc}", "abort")
    assert program.status == 128 + 6
    assert program.report is not None
    assert "SIGABRT" in program.report.reason


def test_a_deadlock_is_noticed(machine: Machine, built: Path) -> None:
    program, _ = run(machine, built / "linux-musl", "deadlock")
    assert program.status == 134
    assert "deadlock" in str(program.report)


def test_nothing_is_left_of_programs(machine: Machine, built: Path) -> None:
    counts = []
    for _ in range(3):
        for part in ("waiting", "file_mappings", "threads", "abort"):
            run(machine, built / "linux-glibc", part)
        gc.collect()
        # vCPUs are kept, and how many there are depends on how many threads happened to live at once.
        counts.append(len(open_descriptors()) - machine.statistics()["vcpus"])
    assert counts[1] == counts[2]
    statistics = machine.statistics()
    assert statistics["blocks_used"] == 0


def test_a_program_out_of_memory_is_told_so(built: Path, tmp_path: Path) -> None:
    with Machine("16M", allow_write=[tmp_path]) as small:
        small.place = tmp_path  # type: ignore[attr-defined]
        program, output = run(small, built / "linux-glibc", "memory")
        assert program.status in (1, 137, 139)
        assert "WRONG" in output or "out of memory" in str(program.report) or program.status == 139
        again, output = run(small, built / "linux-glibc", "registers")
        assert (again.status, output) == (0, "right\n")


@pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="busybox-static is not installed")
def test_a_pipe_that_nobody_reads_ends_the_program(machine: Machine) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = machine.spawn("/bin/busybox", ["busybox", "yes"], {}, stdout=writer)
    os.close(writer)
    assert program.wait(GUARD) == 128 + 13


@pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="busybox-static is not installed")
def test_a_program_waits_for_its_input(machine: Machine) -> None:
    """Reading from a pipe blocks the program, not the machine."""
    in_reader, in_writer = os.pipe()
    out_reader, out_writer = os.pipe()
    cat = machine.spawn("/bin/busybox", ["busybox", "cat"], {}, stdin=in_reader, stdout=out_writer)
    os.close(in_reader)
    os.close(out_writer)
    for word in (b"one", b"two"):
        other = machine.spawn("/bin/busybox", ["busybox", "true"], {})
        assert other.wait(GUARD) == 0
        os.write(in_writer, word)
        assert os.read(out_reader, 100) == word
    os.close(in_writer)
    assert cat.wait(GUARD) == 0
    assert os.read(out_reader, 100) == b""
    os.close(out_reader)


@pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="busybox-static is not installed")
def test_much_goes_through_a_pipe(machine: Machine) -> None:
    reader, writer = os.pipe()
    program = machine.spawn("/bin/busybox", ["busybox", "seq", "100000"], {}, stdout=writer)
    os.close(writer)
    received = bytearray()
    while data := os.read(reader, 1 << 16):
        received += data
    os.close(reader)
    assert program.wait(GUARD) == 0
    assert bytes(received) == b"".join(b"%d\n" % n for n in range(1, 100_001))
