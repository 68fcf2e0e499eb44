"""Running programs in machines and under the command line, and what came of it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aerostat import Machine, Report
from aerostat.program import Program

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT = REPOSITORY / "build" / "userland"
GUARD = 60.0
"""Seconds after which something that should have ended is taken to hang.  Nothing is measured by it."""

DEFAULT_TRACEBACK = "Traceback (most recent call last)"


def built(name: str) -> str:
    """The path of a program: "demo/hello", "tests/faults"."""
    return str(BUILT / name)


API = built("tests/api")
NewMachine = Callable[..., Machine]
"""What the fixture ``new_machine`` is."""


@dataclass(frozen=True)
class Outcome:
    """How a program in a machine ended."""

    status: int
    output: str
    report: Report | None

    @property
    def reason(self) -> str:
        """The report's reason; empty without a report."""
        return self.report.reason if self.report is not None else ""


class Capture:
    """A file for a program's output: unlike a pipe it is never full."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self.fd = self._file.fileno()

    def text(self) -> str:
        """All that was written to it so far."""
        return os.pread(self.fd, 1 << 24, 0).decode(errors="replace")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pipe:
    """A pipe for a program's output, to wait for what it prints; or for its input."""

    def __init__(self) -> None:
        self.reader, self.fd = os.pipe()
        self.seen = ""

    def until(self, text: str) -> str:
        """Waits until this was printed; returns all that was.  AssertionError when nothing comes any more."""
        while text not in self.seen:
            assert select.select([self.reader], [], [], GUARD)[0], f"no {text!r} in {self.seen!r}"
            data = os.read(self.reader, 65536)
            assert data, f"no {text!r} in {self.seen!r}"
            self.seen += data.decode(errors="replace")
        return self.seen

    def close(self) -> None:
        for fd in (self.reader, self.fd):
            with contextlib.suppress(OSError):
                os.close(fd)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(
    machine: Machine, name: str, *arguments: str, linux: bool | None = None, env: Mapping[str, str] | None = None
) -> Outcome:
    """Runs a program that was built to its end."""
    with Capture() as capture:
        argv = [name.rsplit("/", 1)[-1], *arguments]
        program = machine.spawn(
            built(name), argv, env, stdin=capture.fd, stdout=capture.fd, stderr=capture.fd, linux=linux
        )
        status = wait(program)
        return Outcome(status, capture.text(), program.report)


def api(machine: Machine, *arguments: str, stdout: int = 1) -> Program:
    """Starts tests/programs/api.c."""
    return machine.spawn(API, ["api", *arguments], stdout=stdout, linux=False)


def wait(program: Program) -> int:
    """Waits for a program's end; one that hangs is ended, and fails its test."""
    try:
        return program.wait(timeout=GUARD)
    except TimeoutError:
        program.kill()
        raise


def succeeds(machine: Machine, name: str, *arguments: str, linux: bool | None = None) -> str:
    """Runs a program that has to end with status 0 and no report; returns what it printed."""
    outcome = run(machine, name, *arguments, linux=linux)
    assert outcome.status == 0, f"{name} {arguments}: {outcome.status}\n{outcome.output}\n{outcome.report}"
    assert outcome.report is None
    return outcome.output


def assert_idle(machine: Machine) -> None:
    """No program is left in the machine: all it was charged for has come back, nothing is damaged, programs run."""
    statistics = machine.statistics()
    assert (statistics["pages_used"], statistics["blocks_used"]) == (1, 0)
    hypervisor = machine.hypervisor
    with hypervisor.lock:  # a core that was stopped for the program's end may still be on its way out
        if hypervisor._running: assert hypervisor.lock.wait_for(lambda: all(c.idle for c in hypervisor.cores), GUARD)
    assert not hypervisor.threads
    assert not hypervisor.processes
    alive = [vcpu.index for vcpu in hypervisor.vcpus._created if vcpu.fd >= 0]
    assert sorted(vcpu.index for vcpu in hypervisor.vcpus._free) == alive, "a vCPU is lost, or free twice"
    assert machine.audit() > 0
    assert succeeds(machine, "demo/hello", linux=False) == "hello from ring 3\n"


def command_line(*arguments: str | os.PathLike[str]) -> list[str]:
    """The words that start ``aerostat`` with these arguments."""
    return [sys.executable, "-m", "aerostat", *(os.fspath(word) for word in arguments)]


def command_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment to start it in."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "dumb", **(changes or {})}


def aerostat(
    *arguments: str | os.PathLike[str],
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | str = REPOSITORY,
    traceback: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs ``aerostat ARGUMENTS`` to its end.  Whatever it is given, it must not show a traceback."""
    done = subprocess.run(
        command_line(*arguments), input=stdin if stdin is not None else b"", capture_output=True, cwd=cwd,
        env=command_environment(env), timeout=GUARD, check=False,
    )  # fmt: skip
    result = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    assert_no_traceback(result.stderr)
    return result


def assert_no_traceback(errors: str) -> None:
    """Nothing of Python shows in what a user sees."""
    assert DEFAULT_TRACEBACK not in errors, errors
    assert not re.search(r"^\w*(Error|Exception)\b", errors, re.MULTILINE), errors
    assert "Exception ignored" not in errors, errors


def open_files() -> list[str]:
    """What this process's descriptors are, sorted."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            pass  # the one that listed them
    return sorted(re.sub(r"\d+", "N", name) for name in found)


def lines(text: str, prefix: str) -> Sequence[str]:
    """The lines that begin so."""
    return [line for line in text.splitlines() if line.startswith(prefix)]
