"""``aerostat run --invariant FILE.py``: files, statuses, what is printed, the prompt."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.aerostat.invariants.compiling import compile_program, written
from tests.aerostat.programs import (
    GUARD,
    REPOSITORY,
    aerostat,
    assert_no_traceback,
    built,
    command_environment,
    command_line,
)

pytestmark = pytest.mark.kvm

SMALL = '''
from aerostat import invariant

@invariant
def count_is_small(m):
    """The count stays below five."""
    return m.program.count < 5
'''
MENDED = '''
from aerostat import invariant

@invariant
def not_broken(m):
    """Nothing is broken."""
    return not m.program.broken
'''


def file(directory: Path, text: str, name: str = "mine.py") -> Path:
    """A file of invariants."""
    path = directory / name
    path.write_text(text)
    return path


# Files.

BAD_FILES = {
    "a syntax error": ("import os\ndef f(:\n", r"mine\.py:2: "),
    "a name that there is not": ("import aerostat\nx = nobody\n", r"mine\.py:2: NameError: name 'nobody'"),
    "an error further in": (
        "def f():\n    return 1 / 0\nf()\n", r"mine\.py:2, in f: ZeroDivisionError: division by zero"
    ),
    "no invariant in it": ("x = 1\n", r"mine\.py: defines no invariant: decorate a function with @invariant"),
    "a wrong call": (
        "from aerostat import invariant\n@invariant(at='nonsense')\ndef f(m): return True\n",
        r"mine\.py:2: ValueError: there is no system call 'nonsense'",
    ),
    "leaves Python": ("raise SystemExit(4)\n", r"mine\.py:1: SystemExit: 4"),
    "not text": ("x = 1\0", r"null bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    text, said = BAD_FILES[what]
    done = aerostat("run", "--invariant", file(tmp_path, text), built("demo/hello"))
    assert done.returncode == 2
    assert done.stdout == "", "the program was not started"
    assert done.stderr.startswith("aerostat: ")
    assert re.search(said, done.stderr), done.stderr


def test_a_file_that_is_not_there() -> None:
    done = aerostat("run", "--invariant", "/nowhere/mine.py", built("demo/hello"))
    assert done.returncode == 2
    assert done.stderr == "aerostat: /nowhere/mine.py: cannot be read: No such file or directory\n"


def test_a_name_in_two_files(tmp_path: Path) -> None:
    one, two = file(tmp_path, SMALL, "one.py"), file(tmp_path, SMALL, "two.py")
    done = aerostat("run", "--invariant", one, "--invariant", two, built("demo/hello"))
    assert done.returncode == 2
    assert "count_is_small is defined at one.py:4 and at two.py:4" in done.stderr


def test_a_wrong_word_for_on_violation(tmp_path: Path) -> None:
    done = aerostat("run", "--on-violation", "panic", built("demo/hello"))
    assert done.returncode == 2


def test_a_file_may_import_its_neighbours(tmp_path: Path, watched: str) -> None:
    file(tmp_path, "LIMIT = 5\ndef small(n):\n    return n < LIMIT\n", "neighbour_of_mine.py")
    text = SMALL.replace("from aerostat", "from neighbour_of_mine import small\nfrom aerostat")
    mine = file(tmp_path, text.replace("m.program.count < 5", "small(m.program.count)"))
    assert aerostat("run", "--invariant", mine, watched, "count", "3").returncode == 0
    assert aerostat("run", "--invariant", mine, watched, "count", "9").returncode == 71


# Statuses and reports.


def test_a_violation_stops_the_program_with_status_71(tmp_path: Path, watched: str) -> None:
    done = aerostat("run", "--invariant", file(tmp_path, SMALL), watched, "count", "9")
    assert done.returncode == 71
    assert done.stderr.startswith(
        "aerostat: invariant count_is_small does not hold: The count stays below five.\n"
        "  defined at mine.py:4\n  count: 4 -> 5\n"
    )
    assert "stopped at the call null" in done.stderr


def test_what_holds_is_silent(tmp_path: Path, watched: str) -> None:
    done = aerostat("run", "--invariant", file(tmp_path, SMALL), watched, "count", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_json(tmp_path: Path, watched: str) -> None:
    done = aerostat("run", "--json", "--invariant", file(tmp_path, SMALL), watched, "count", "9")
    assert done.returncode == 71
    found = json.loads(done.stderr)
    assert found["status"] == 71
    assert found["failure"].startswith("invariant count_is_small does not hold")
    [violation] = found["violations"]
    assert violation["values"] == [{"name": "count", "before": "4", "after": "5"}]
    assert violation["defined_at"] == "mine.py:4"
    assert found["statistics"]["invariants"]["count_is_small"]["violated"] == 1


def test_reports_once_and_counts(tmp_path: Path, watched: str) -> None:
    mine = file(tmp_path, MENDED)
    done = aerostat("run", "--stats", "--on-violation", "report", "--invariant", mine, watched, "break-and-mend", "5")
    assert done.returncode == 0
    assert done.stderr.count("invariant not_broken does not hold: Nothing is broken.") == 1
    assert re.search(r"invariant not_broken: evaluated \d+ times.*; 0 skipped, [1-9]\d* violated", done.stderr)


def test_reports_to_nobody_do_not_hold_the_program_up(tmp_path: Path, watched: str) -> None:
    """Standard error is a pipe that is full; the program goes on meanwhile, and prints on standard output."""
    text = "from aerostat import invariant\n" + "".join(
        f"@invariant\ndef clause_{i}(m):\n    'Never holds.'\n    return False\n" for i in range(60)
    )
    read, write = os.pipe()
    with subprocess.Popen(
        command_line("run", "--on-violation", "report", "--invariant", file(tmp_path, text), watched, "print", "3"),
        stdout=subprocess.PIPE, stderr=write, env=command_environment(),
    ) as process:  # fmt: skip
        os.close(write)
        assert process.stdout is not None
        assert process.stdout.read(len("printed\n" * 3)) == b"printed\n" * 3
        told = b""
        while data := os.read(read, 65536):
            told += data
        assert process.wait(GUARD) == 0
    os.close(read)
    assert told.count(b"does not hold: Never holds.") == 60


def test_linux_programs(tmp_path: Path) -> None:
    text = """
from aerostat import invariant

@invariant(at="write")
def only_standard_output(m):
    '''It writes to standard output and error alone.'''
    return m.call.arguments[0] in (1, 2)
"""
    mine = file(tmp_path, text)
    assert aerostat("run", "--invariant", mine, "/bin/busybox", "echo", "hello").stdout == "hello\n"
    granted = tmp_path / "granted"
    granted.mkdir()
    done = aerostat(
        "run", "--invariant", mine, "--allow-write", granted, "/bin/busybox", "tee", granted / "copy", stdin=b"text"
    )
    assert done.returncode == 71
    assert "only_standard_output does not hold" in done.stderr
    assert (granted / "copy").read_bytes() == b"", "stopped before the call was served"


def test_invariants_do_not_change_what_a_program_prints(tmp_path: Path) -> None:
    text = SMALL.replace("m.program.count < 5", "len(m.kernel.threads) > 0")
    plain = aerostat("run", built("demo/threads"), "3")
    checked = aerostat("run", "--cores", "2", "--invariant", file(tmp_path, text), built("demo/threads"), "3")
    assert (checked.stdout, checked.stderr, checked.returncode) == (plain.stdout, plain.stderr, plain.returncode)


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [snippet] = [s for s in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "@invariant" in s]
    source = (
        "#include <aero.h>\n"
        "struct { int count; struct { int key; } items[8]; } queue = { 3, { { 1 }, { 4 }, { 9 } } };\n"
        "int main(void) { aero_null(); queue.items[1].key = 10; aero_null(); return 0; }\n"
    )
    program = compile_program(tmp_path / "main", written(tmp_path, main=source))
    done = aerostat("run", "--invariant", file(tmp_path, snippet), program)
    assert done.returncode == 71
    assert "invariant queue_is_sorted does not hold: The items of the queue are in ascending order." in done.stderr
    assert "queue.items[1].key: 4 -> 10" in done.stderr


# The prompt.


def prompt(mine: Path, commands: str, *program: str) -> subprocess.CompletedProcess[str]:
    """The command with --on-violation repl and these commands on standard input.  What the user's own commands raise
    is shown as Python shows it."""
    return subprocess.run(
        command_line("run", "--on-violation", "repl", "--invariant", mine, *program), input=commands,
        capture_output=True, text=True, env=command_environment(), timeout=GUARD, check=False,
    )  # fmt: skip


def test_the_prompt_shows_the_program(tmp_path: Path, watched: str) -> None:
    commands = "program.count\nprogram.accounts\nkernel.threads\nm.call.name\nviolation.clause.name\n1/0\nquit\n"
    done = prompt(file(tmp_path, SMALL), commands, watched, "count", "9")
    assert done.returncode == 71
    assert done.stdout == "", "that is the program's"
    shown = [line.removeprefix(">>> ") for line in done.stderr.splitlines() if line.startswith(">>> ")]
    assert shown[:3] == ["5", "(int[2]){500, 500}", "<1 objects of kind thread>"]
    assert shown[3:5] == ["'null'", "'count_is_small'"]
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "count: 4 -> 5" in done.stderr
    assert "`continue` lets the program run on" in done.stderr


def test_the_prompt_lets_the_program_run_on(tmp_path: Path, watched: str) -> None:
    done = prompt(file(tmp_path, MENDED), "continue\nc\n", watched, "break-and-mend", "2")
    assert done.returncode == 0
    assert done.stderr.count("invariant not_broken does not hold") == 2
    done = prompt(file(tmp_path, MENDED), "c\nq\n", watched, "break-and-mend", "3")
    assert done.returncode == 71


def test_the_prompt_ends_with_its_input(tmp_path: Path, watched: str) -> None:
    done = prompt(file(tmp_path, MENDED), "", watched, "break-and-mend", "2")
    assert done.returncode == 71
    assert done.stderr.count("\n>>> ") == 1


def test_nothing_can_be_changed_at_the_prompt(tmp_path: Path, watched: str) -> None:
    done = prompt(file(tmp_path, SMALL), "program.count = 1\nprogram.count\nquit\n", watched, "count", "9")
    assert "count cannot be set" in done.stderr
    assert ">>> 5\n" in done.stderr


def test_input_behind_the_command_is_the_programs(tmp_path: Path) -> None:
    """The prompt takes its line and not a byte more."""
    text = """
from aerostat import invariant

@invariant(at="read")
def never(m):
    '''Never.'''
    return False
"""
    done = prompt(file(tmp_path, text), "continue\nfor the program\n", "/bin/busybox", "cat")
    assert done.stdout == "for the program\n"
    assert done.returncode == 0


def test_at_a_terminal(tmp_path: Path, watched: str) -> None:
    """Ctrl-C says how to leave, and ends nothing."""
    child, fd = pty.fork()
    if child == 0:
        words = command_line("run", "--on-violation", "repl", "--invariant", file(tmp_path, MENDED), watched)
        os.execvpe(words[0], [*words, "break-and-mend", "2"], command_environment())
    seen = ""

    def until(text: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + GUARD
        while text not in seen:
            assert select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0], seen
            seen += os.read(fd, 65536).decode(errors="replace")
        seen = seen.split(text, 1)[1]

    try:
        until(">>> ")
        os.write(fd, b"program.broken + 41\n")
        until("42")
        until(">>> ")
        os.kill(child, signal.SIGINT)
        until("`continue` lets the program run on, `quit` ends it")
        os.write(fd, b"continue\n")
        until("invariant not_broken does not hold")
        until(">>> ")
        os.write(fd, b"quit\n")
        _, status = os.waitpid(child, 0)
        child = 0
        assert os.waitstatus_to_exitcode(status) == 71
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(fd)
    assert_no_traceback(seen)
