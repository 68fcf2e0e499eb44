"""The tutorial's commands do what it says, its files are those of the repository, and its repairs repair."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aerostat.invariants.compiling import compile_program
from tests.aerostat.programs import GUARD, REPOSITORY, command_environment, command_line

pytestmark = pytest.mark.kvm

TUTORIAL = REPOSITORY / "docs" / "tutorial-invariants.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The tutorial's blocks of a language."""
    return [text for found, text in BLOCK.findall(TUTORIAL.read_text()) if found == language]


def shown(expected: list[str]) -> str:
    """A pattern for output: ``...`` alone stands for any lines, within a line for a number.  Which line of a file an
    instruction is of, compilers do not agree on."""
    pattern = ""
    for line in expected:
        if line.strip() == "...": pattern += r"(?:.*\n)*?"
        else: pattern += re.sub(r":\d+\\\)", r":\\d+\)", re.escape(line).replace(r"\.\.\.", r"[0-9a-f]+")) + r"\n"
    return pattern


def typed(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """The lines of a session: text, and whether it is typed at the prompt."""
    for line in lines:
        yield line.removeprefix(">>> "), line.startswith(">>> ")


@pytest.fixture(autouse=True)
def built_programs() -> None:
    """The tutorial's programs; its reader has said make."""
    subprocess.run(["make", "-s", "-C", str(REPOSITORY / "userland"), "demo"], check=True)


@pytest.mark.parametrize("session", blocks("console"), ids=lambda text: text.splitlines()[0][2:50])
def test_a_command_prints_what_the_tutorial_says(session: str) -> None:
    command, *rest = session.splitlines()
    words = command.removeprefix("$ aerostat ").split()
    lines = list(typed(rest))
    commands = "".join(f"{text}\n" for text, typed_in in lines if typed_in)
    expected = [text for text, typed_in in lines if not typed_in]
    done = subprocess.run(
        command_line(*words), input=commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=REPOSITORY, env=command_environment(), timeout=GUARD, check=False,
    )  # fmt: skip
    output = done.stdout.replace(">>> ", "").rstrip("\n") + "\n"
    assert re.fullmatch(shown(expected), output), f"{output}\n--- is not\n" + "\n".join(expected)
    assert done.returncode == (71 if "--invariant" in words else 0)


def test_the_files_are_those_of_the_repository() -> None:
    examples = [
        (REPOSITORY / "docs" / "examples" / name).read_text().split("\n\n", 1)[1]
        for name in ("spooler_invariants.py", "bank_invariants.py")
    ]
    assert sorted(blocks("python")) == sorted(examples)
    assert blocks("c")[0] in (REPOSITORY / "userland" / "demo" / "spooler.c").read_text()


def run(program: str, invariants: str) -> subprocess.CompletedProcess[str]:
    """A repaired program under its invariants."""
    return subprocess.run(
        command_line("run", "--cores", "2", "--invariant", REPOSITORY / "docs" / "examples" / invariants, program),
        capture_output=True, text=True, env=command_environment(), timeout=GUARD, check=False,
    )  # fmt: skip


def repaired(tmp_path: Path, name: str, wrong: str, right: str) -> str:
    """A demo, compiled with one passage replaced."""
    source = (REPOSITORY / "userland" / "demo" / f"{name}.c").read_text()
    assert source.count(wrong) == 1
    path = tmp_path / f"{name}.c"
    path.write_text(source.replace(wrong, right))
    return compile_program(tmp_path / name, [path])


def test_the_spoolers_repair(tmp_path: Path) -> None:
    done = run(repaired(tmp_path, "spooler", "    *link = job->next;\n", blocks("c")[1]), "spooler_invariants.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("printed   letter\nprinted   ticket\nprinted   thesis\n")


def test_the_banks_repair(tmp_path: Path) -> None:
    source = (REPOSITORY / "userland" / "demo" / "bank.c").read_text()
    middle = source.split("    bank.accounts[from] -= amount;\n")[1].split("    bank.accounts[to] += amount;\n")[0]
    assert "aero_lock_release" in middle
    done = run(repaired(tmp_path, "bank", middle, "    aero_thread_yield();\n"), "bank_invariants.py")
    assert (done.returncode, done.stdout) == (0, "all is well\n"), done.stderr
