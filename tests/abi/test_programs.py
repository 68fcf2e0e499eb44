"""The user programs as built: what they are linked with and, for those that make Linux calls alone, that they are right
when they run outside."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from abi.elf import read_image
from abi.layout import EXECUTE, WRITE

ROOT = Path(__file__).resolve().parent.parent.parent
LIBCS = ("musl", "musl-pie", "glibc", "glibc-pie")


def freestanding() -> list[str]:
    """Names of the programs without a C library, from the Makefile's own lists."""
    makefile = (ROOT / "userland" / "Makefile").read_text()
    names = []
    for variable, folder in (("DEMOS_FREE", "demo"), ("TESTS_FREE", "tests")):
        found = re.search(rf"^{variable} := (.*)$", makefile, re.MULTILINE)
        assert found is not None
        names += [f"{folder}/{name}" for name in found[1].split()]
    return names


@pytest.mark.parametrize("name", freestanding())
def test_a_freestanding_program_needs_nothing(userland: Path, name: str) -> None:
    with read_image(userland / name) as image:
        assert image.kind == "static"
        assert image.tls is None
        assert not image.stack_executable
        assert all(s.permissions & (WRITE | EXECUTE) != WRITE | EXECUTE for s in image.segments)
        for libc in ("printf", "malloc", "__libc_start_main", "errno"):
            assert image.symbol(libc) is None


def test_a_second_build_does_nothing(userland: Path) -> None:
    command = ["make", "--no-print-directory", "-C", str(ROOT / "userland")]
    assert subprocess.run([*command, "-q"], check=False).returncode == 0


def test_everything_compiles_without_warnings(tmp_path: Path) -> None:
    command = ["make", "-s", "-j2", "-C", str(ROOT / "userland"), f"OUT={tmp_path}", "EXTRA=-Werror"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("libc", LIBCS)
def test_the_libc_tour_is_right_outside(userland: Path, libc: str, tmp_path: Path) -> None:
    program = userland / "tests" / f"libc-{libc}"
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "libc: ok\n")
    assert subprocess.run([program, "files", tmp_path], check=False).returncode == 0
    assert subprocess.run([program, "exit", "77"], check=False).returncode == 77
    done = subprocess.run([program, "args", "a b", ""], capture_output=True, text=True, check=True, env={"X": "y"})
    assert done.stdout == f"0={program}\n1=args\n2=a b\n3=\nenv X=y\n"
    done = subprocess.run([program, "copy"], input="abc\n", capture_output=True, text=True, check=True)
    assert done.stdout == "ABC\n"
    hello = subprocess.run([userland / "tests" / f"hello_libc-{libc}"], capture_output=True, text=True, check=True)
    assert hello.stdout == "hello from libc\n"


def test_the_processor_work_is_right_outside(userland: Path) -> None:
    def cpu(*arguments: str) -> str:
        program = userland / "tests" / "cpu"
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout.strip()

    expected = hashlib.sha256()
    for buffer in range(16):
        expected.update(struct.pack("<8192Q", *range(buffer * 8192, (buffer + 1) * 8192)))
    assert cpu("sha256", "1") == expected.hexdigest()
    state = 88172645463325252
    for _ in range(1000):
        state ^= state << 13 & (1 << 64) - 1
        state ^= state >> 7
        state ^= state << 17 & (1 << 64) - 1
    assert cpu("xorshift", "1000") == f"{state:016x}"


def test_the_touched_memory_is_right_outside(userland: Path) -> None:
    done = subprocess.run([userland / "tests" / "touch", "4"], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0


def test_a_native_program_outside_ends_at_once(userland: Path, tmp_path: Path) -> None:
    """Plain Linux knows none of its calls: it must stop, not run on."""
    program = shutil.copy(userland / "demo" / "hello", tmp_path)
    assert subprocess.run([program], cwd=tmp_path, check=False, timeout=60).returncode < 0
