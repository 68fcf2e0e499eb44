"""Signals to the command: whenever they come, the program ends in good order."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.aerostat.programs import (
    GUARD,
    assert_no_traceback,
    built,
    command_environment,
    command_line,
)

pytestmark = pytest.mark.kvm

STARTED: list[subprocess.Popen[bytes]] = []
"""What a test started: none of it outlives the test, however that ends."""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None: process.kill()
        process.communicate()


CORES = pytest.mark.parametrize("cores", [1, 2])


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """``aerostat run ARGUMENTS`` in a process group of its own, as a shell would start it."""
    process = subprocess.Popen(
        command_line("run", *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=command_environment(), start_new_session=True,
    )  # fmt: skip
    STARTED.append(process)
    return process


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
    "aerostat.program.Program.start", "aerostat.program.Program.wait", "aerostat.run._tell",
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
