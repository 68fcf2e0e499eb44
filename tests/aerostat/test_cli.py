"""The command line: options, statuses, streams, reports, and errors made on purpose."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from aerostat.cli import main
from tests.aerostat.programs import (
    BUILT,
    GUARD,
    REPOSITORY,
    aerostat,
    assert_no_traceback,
    built,
    command_environment,
    command_line,
)

pytestmark = pytest.mark.kvm

HELLO = built("demo/hello")
LIBC = built("tests/libc-musl")
TEXT = "hello from ring 3\n"


def ok(*arguments: str | os.PathLike[str], stdin: bytes | None = None) -> str:
    """``aerostat ARGUMENTS`` has to succeed quietly; returns what it printed."""
    done = aerostat(*arguments, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


# Usage.


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["doctor", "--help"], ["run", "-h"]], ids="-".join)
def test_help(words: list[str]) -> None:
    text = ok(*words)
    assert "usage: aerostat" in text
    if words[0] == "run":
        for status in ("124", "126, 127", "130", "125", "70", "128 + n"):
            assert status in text
        for option in ("memory", "time-limit", "cores", "check", "stats", "json", "report", "allow-read", "env"):
            assert f"--{option}" in text


def test_no_command_at_all() -> None:
    done = aerostat()
    assert done.returncode == 2
    assert "usage: aerostat" in done.stdout + done.stderr


def test_version() -> None:
    import aerostat as package

    assert ok("--version") == f"aerostat {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["fly"], "invalid choice"),
        (["run"], "PROG"),
        (["run", "--nonsense", HELLO], "PROG|unrecognized"),
        (["run", "--check", "some", HELLO], "invalid choice"),
        (["run", "--cores", "many", HELLO], "invalid int"),
        (["run", "--cores", "1.5", HELLO], "invalid int"),
        (["run", "--time-limit", "soon", HELLO], "invalid float"),
        (["run", "--memory"], "expected one argument"),
        (["run", "--memory", "lots", HELLO], "'lots' is not a size"),
        (["run", "--memory", "0", HELLO], "not within 2 MiB to 128 GiB"),
        (["run", "--memory", "1T", HELLO], "not within 2 MiB to 128 GiB"),
        (["run", "--memory", "-1M", HELLO], "not a size|expected one argument"),
        (["run", "--cores", "0", HELLO], "0 cores are not within 1 to 64"),
        (["run", "--cores", "65", HELLO], "65 cores are not within 1 to 64"),
        (["run", "--cores", "-1", HELLO], "cores are not within"),
        (["run", "--time-limit", "0", HELLO], "time limit"),
        (["run", "--time-limit", "-1", HELLO], "time limit"),
        (["run", "--time-limit", "nan", HELLO], "time limit"),
        (["run", "--allow-read", "/no/such/directory", HELLO], "/no/such/directory"),
        (["run", "--allow-write", "/no/such/directory", HELLO], "/no/such/directory"),
        (["doctor", "please"], "unrecognized"),
    ],
    ids=lambda value: "-".join(value)[:40].replace("/", "") if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_usage(words: list[str], complaint: str) -> None:
    done = aerostat(*words)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert any(part in done.stderr for part in complaint.split("|")), done.stderr
    assert "aerostat" in done.stderr


# Arguments of the program.


def arguments_of(*words: str) -> list[str]:
    """What the program gets of ``aerostat run WORDS``, whose program is the libc tour's args."""
    text = ok("run", *words)
    return [line.partition("=")[2] for line in text.splitlines() if line[0].isdigit()]


@pytest.mark.parametrize(
    "words",
    [
        ["--stats"], ["--help"], ["-h"], ["--version"], ["--json", "--cores", "9"], ["--"], ["--", "--stats", "--"],
        [""], ["a b", "--memory=1"], ["-"], ["-x", "--", "-y"], ["ä", "日本"],
    ],
    ids=repr,
)  # fmt: skip
def test_arguments_that_look_like_options(words: list[str]) -> None:
    assert arguments_of(LIBC, "args", *words) == [LIBC, "args", *words]
    assert arguments_of("--memory", "16M", "--check", "off", LIBC, "args", *words) == [LIBC, "args", *words]


def test_a_separator_before_the_program() -> None:
    assert arguments_of("--", LIBC, "args", "--stats", "x") == [LIBC, "args", "--stats", "x"]
    assert arguments_of("--memory", "16M", "--", LIBC, "args", "--", "x") == [LIBC, "args", "--", "x"]


def test_options_in_all_their_forms() -> None:
    for words in (["--memory=16M"], ["--memory", "16777216"], ["--mem", "16M"], ["--time-limit", "30"], ["--cores=2"]):
        assert ok("run", *words, HELLO) == TEXT


def test_an_argument_that_is_no_text() -> None:
    done = subprocess.run(
        [*map(os.fsencode, command_line("run", LIBC, "args")), b"\xff\xfe"], capture_output=True,
        env=command_environment(), timeout=GUARD, check=False,
    )  # fmt: skip
    assert b"\n2=\xff\xfe\n" in done.stdout
    assert done.returncode == 0


# Finding the program.


def test_a_program_is_looked_up_in_path(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "greet").symlink_to(HELLO)
    (tmp_path / "greet").mkdir()  # a directory of that name is not it
    path = os.pathsep.join([str(tmp_path), str(folder), os.environ["PATH"]])
    done = aerostat("run", "greet", env={"PATH": path}, cwd="/")
    assert (done.returncode, done.stdout) == (0, TEXT)
    done = aerostat("run", "greet", env={"PATH": "/nowhere"}, cwd="/")
    assert done.returncode == 127
    assert done.stderr == "aerostat: greet: not found in PATH\n"


def test_a_program_of_the_current_directory() -> None:
    for name in ("./hello", "hello", "../demo/hello"):
        done = aerostat("run", name, cwd=BUILT / "demo")
        assert (done.returncode, done.stdout) == (0, TEXT)


# Environment.


def test_the_environment_is_what_was_asked_for() -> None:
    wanted = [f"--env={word}" for word in ("A=1", "FROM_HERE", "NOT_HERE", "EMPTY=", "E=a=b")]
    done = aerostat(
        "run", *wanted, LIBC, "args",
        env={"FROM_HERE": "yes", "SECRET": "no", "LANG": "C", "TERM": "dumb", "TZ": "UTC"},
    )  # fmt: skip
    found = {line for line in done.stdout.splitlines() if line.startswith("env ")}
    assert found == {
        "env A=1", "env FROM_HERE=yes", "env EMPTY=", "env E=a=b", "env LANG=C", "env TERM=dumb", "env TZ=UTC"
    }  # fmt: skip


# Streams.


def test_standard_input_arrives() -> None:
    data = b"some text\n" * 30000
    assert ok("run", LIBC, "copy", stdin=data) == data.decode().upper()
    assert ok("run", LIBC, "copy", stdin=b"") == ""


def test_standard_error_is_the_programs() -> None:
    done = aerostat("run", LIBC, "print")
    assert (done.returncode, done.stderr) == (0, "to stderr\n")


def shell(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell line in which $AEROSTAT is the command."""
    done = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=GUARD, check=False,
        env=command_environment({"AEROSTAT": " ".join(command_line()), "HELLO": HELLO, "LIBC": LIBC, **environment}),
        cwd=REPOSITORY,
    )  # fmt: skip
    assert_no_traceback(done.stderr)
    return done


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("command", ["$HELLO", "$LIBC print", "$LIBC copy", "--stats $HELLO", "/no/such/program"])
def test_closed_streams(closed: str, command: str) -> None:
    """Neither the device nor anything else of the machine's becomes the program's stream."""
    done = shell(f"($AEROSTAT run {command}) {closed}; echo status $?")
    wanted = {"/no/such/program": {127}, "$LIBC copy": {0}, "$LIBC print": {0, 1}}.get(command, {0})
    assert int(done.stdout.split()[-1]) in wanted, done
    assert (TEXT in done.stdout) == ("HELLO" in command and "1>" not in closed)
    assert "MMIO" not in done.stderr


def test_output_that_nobody_reads() -> None:
    done = shell("$AEROSTAT run $LIBC copy < /dev/zero | head -c 1 | wc -c; echo ${PIPESTATUS[0]}")
    count, status = done.stdout.split()
    assert (count, status) == ("1", "141")
    done = shell("$AEROSTAT run --time-limit 20 build/userland/tests/calls print 3000 | true; echo ${PIPESTATUS[0]}")
    assert done.stdout == "0\n", "what is printed for debugging is then lost"
    done = shell("$AEROSTAT doctor | true; echo ${PIPESTATUS[0]}")
    assert done.stdout in ("0\n", "141\n")
    done = shell("$AEROSTAT run --help | true; echo ${PIPESTATUS[0]}")
    assert done.stdout in ("0\n", "141\n", "120\n")


@pytest.mark.parametrize(
    "words", ["run $HELLO", "run --stats $HELLO", "run $LIBC print", "doctor", "run --help", "run no-such"]
)
@pytest.mark.parametrize("stream", ["1", "2"])
def test_output_to_a_full_device(words: str, stream: str) -> None:
    done = shell(f"$AEROSTAT {words} {stream}>/dev/full; echo status $? >&2", LC_ALL="C")
    assert "Traceback" not in done.stderr + done.stdout
    if stream == "1": assert done.stderr.splitlines()[-1].startswith("status ")


# What is told.


def test_statistics() -> None:
    done = aerostat("run", "--stats", HELLO)
    assert (done.returncode, done.stdout) == (0, TEXT)
    lines = dict(line.removeprefix("aerostat: ").split(": ") for line in done.stderr.splitlines())
    assert int(lines["exits"]) >= 2
    assert lines["check"] == "touched"
    assert int(lines["transitions checked"]) > 5
    assert int(lines["invariants evaluated"]) > 50
    assert (lines["programs"], lines["pages used"], lines["blocks used"]) == ("1", "1", "0")


def test_json() -> None:
    done = aerostat("run", "--json", HELLO)
    assert done.stdout == TEXT
    told = json.loads(done.stderr)
    assert told["program"] == HELLO
    assert (told["status"], told["report"], told["failure"]) == (0, None, None)
    assert told["statistics"]["exits"] >= 2
    assert told["statistics"]["unknown_linux_calls"] == {}


def test_json_of_a_program_that_faults(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = aerostat("run", "--json", "--report", report, built("tests/faults"), "null-write")
    assert (done.returncode, done.stdout) == (139, "")
    told = json.loads(done.stderr)
    assert told == json.loads(report.read_text())
    assert told["status"] == 139
    about = told["report"]
    assert about["reason"].startswith("page fault at 0x")
    assert about["symbol"].startswith("null_write")
    assert about["registers"]["rip"].startswith("0x4")
    assert about["disassembly"]
    assert about["traps"][-1]["what"].startswith("page fault")


def test_a_report_file(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = aerostat("run", "--report", report, built("tests/endings"), "exit", "9")
    assert (done.returncode, done.stderr) == (9, "")
    assert json.loads(report.read_text())["status"] == 9
    done = aerostat("run", "--report", report, built("tests/faults"), "hlt")
    assert done.returncode == 139
    assert "general protection fault" in done.stderr, "on standard error as well"
    assert json.loads(report.read_text())["status"] == 139


@pytest.mark.parametrize("where", ["/no/such/directory/report", "/", "/dev/full"])
def test_a_report_that_cannot_be_written(where: str) -> None:
    done = aerostat("run", "--report", where, built("tests/endings"), "exit", "9")
    assert done.returncode == 9, "the program's status stays"
    assert len(done.stderr.splitlines()) == 1
    assert "the report cannot be written" in done.stderr


def test_linux_calls_that_nobody_serves_are_counted() -> None:
    done = aerostat("run", "--json", "--no-linux", built("tests/hello_libc-musl"))
    assert done.returncode != 0
    assert json.loads(done.stderr)["statistics"]["unknown_calls"]


def test_unknown_calls_are_listed_with_the_statistics() -> None:
    done = aerostat("run", "--stats", built("tests/strange"), "5")
    assert done.returncode == 0
    assert "0x100004" in done.stderr


@pytest.mark.parametrize("check", ["off", "touched", "full"])
@pytest.mark.parametrize("cores", ["1", "2", "8"])
def test_levels_and_cores(check: str, cores: str) -> None:
    assert ok("run", "--check", check, "--cores", cores, HELLO) == TEXT


# Statuses.


@pytest.mark.parametrize(
    ("program", "words", "status"),
    [
        ("tests/endings", ["exit", "255"], 255), ("tests/endings", ["exit", "256"], 0),
        ("tests/endings", ["exit", "300"], 44),
        ("tests/endings", ["exit", "4294967295"], 255), ("tests/endings", ["thread-exit", "7"], 7),
        ("tests/endings", ["child-orphaned"], 3), ("tests/libc-musl", ["exit", "77"], 77),
        ("tests/faults", ["ud2"], 132), ("tests/faults", ["int3"], 133), ("tests/faults", ["divide-by-zero"], 136),
        ("tests/faults", ["null-read"], 139), ("tests/faults", ["hlt"], 139), ("tests/libc-glibc", ["abort"], 134),
        ("tests/deadlock", ["pair"], 134),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_statuses(program: str, words: list[str], status: int) -> None:
    assert aerostat("run", built(program), *words).returncode == status


def test_a_fault_is_told_with_all_that_helps() -> None:
    done = aerostat("run", built("tests/faults"), "write-constant")
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"aerostat: {built('tests/faults')}: page fault at 0x")
    assert "writing 0x" in lines[0]
    assert "(not permitted)" in lines[0]
    assert any("in store" in line or "in write_constant" in line for line in lines)
    assert any("rip 0000000000" in line for line in lines)
    assert any("mov" in line for line in lines)
    assert any("last traps" in line for line in lines)


# Without KVM.


def without_kvm(error: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command where opening /dev/kvm fails so."""
    script = f"""
import os, sys
real = os.open
def refuse(path, *arguments, **options):
    if path == "/dev/kvm": {error}
    return real(path, *arguments, **options)
os.open = refuse
import aerostat.cli
status = aerostat.cli.main(sys.argv[1:])
sys.stdout.flush()
os._exit(status)
"""
    done = subprocess.run(
        [*command_line()[:1], "-c", script, *words], capture_output=True, text=True, timeout=GUARD, check=False,
        env=command_environment(),
    )  # fmt: skip
    assert_no_traceback(done.stderr)
    return done


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("raise FileNotFoundError(2, 'No such file or directory', path)", ["there is no /dev/kvm", "modprobe"]),
        ("raise PermissionError(13, 'Permission denied', path)", ["no permission to open /dev/kvm", "usermod -aG kvm"]),
        ("raise OSError(19, 'No such device', path)", ["No such device", "modprobe"]),
        ("raise OSError(16, 'Device or resource busy', path)", ["busy", "dmesg"]),
        ("return real('/dev/null', *arguments, **options)", ["not KVM's"]),
    ],
    ids=["missing", "forbidden", "no-device", "busy", "another-device"],
)
def test_without_kvm(error: str, words: list[str]) -> None:
    done = without_kvm(error, "run", HELLO)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("aerostat: ")
    for word in (*words, "aerostat doctor"):
        assert word in done.stderr
    done = without_kvm(error, "doctor")
    assert done.returncode == 1
    assert "Programs cannot run here" in done.stdout
    for word in words:
        assert word in done.stdout
    done = without_kvm(error, "doctor", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["programs_run"] is False


def test_no_descriptors_left() -> None:
    done = shell("ulimit -n 8; $AEROSTAT run $HELLO; echo status $?")
    assert done.stdout in (f"{TEXT}status 0\n", "status 125\n"), done
    if done.stdout.startswith("status"): assert done.stderr.startswith("aerostat: ")


def test_no_memory_left() -> None:
    done = shell("ulimit -v 400000; $AEROSTAT run --memory 64G $HELLO; echo status $?")
    assert done.stdout == "status 125\n"
    assert done.stderr.startswith("aerostat: ")


# The doctor.


def test_doctor() -> None:
    done = aerostat("doctor")
    assert done.returncode == 0
    assert "Programs run here." in done.stdout
    for subject in ("/dev/kvm", "system calls", "page translation", "dropping translations", "exit cost", "memory"):
        assert subject in done.stdout
    assert "missing" not in done.stdout


def test_doctor_says_in_which_form_the_kernel_runs() -> None:
    """Compiled or not is what the clone's owner has done; that it is told not to be is told here."""
    assert re.search(r"^ *(ok|limited)  kernel +(compiled|runs as Python source)", ok("doctor"), re.MULTILINE)
    told = shell("AEROSTAT_PURE=1 $AEROSTAT doctor").stdout
    assert re.search(r"^ *ok  kernel +runs as Python source, .* since AEROSTAT_PURE is 1$", told, re.MULTILINE)


def test_doctor_as_json() -> None:
    told = json.loads(ok("doctor", "--json"))
    assert told["programs_run"] is True
    assert {"subject", "state", "found", "remedy"} == set(told["findings"][0])
    assert all(finding["state"] in ("ok", "limited") for finding in told["findings"])
    assert all(finding["remedy"] for finding in told["findings"] if finding["state"] == "limited")


# As a function.


def test_main_can_be_called_again(capfd: pytest.CaptureFixture[str]) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    for _ in range(3):
        assert main(["run", "--memory", "16M", HELLO]) == 0
    assert capfd.readouterr().out == TEXT * 3
    assert signal.getsignal(signal.SIGINT) is before


def test_starting_does_not_load_what_only_reports_need() -> None:
    script = f"""
import sys, aerostat.cli
status = aerostat.cli.main(["run", {HELLO!r}])
print(status, [name for name in ("z3", "rich", "capstone", "elftools", "psutil", "json") if name in sys.modules])
"""
    done = subprocess.run(
        [*command_line()[:1], "-c", script], capture_output=True, text=True, env=command_environment(), timeout=GUARD,
        check=False,
    )  # fmt: skip
    assert done.stdout == f"{TEXT}0 []\n"


def test_modules_that_are_programs() -> None:
    assert "usage" in ok("--help")
    done = subprocess.run(
        [*command_line()[:1], "-m", "aerostat.cli", "run", HELLO], capture_output=True, text=True,
        env=command_environment(), timeout=GUARD, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, TEXT)
