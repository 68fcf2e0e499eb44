"""C programs that tests compile themselves, in several ways: what is tested is what the compiler says of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.aerostat.programs import BUILT, REPOSITORY

SOURCES = Path(__file__).with_name("sources")
FREESTANDING = (
    "gcc", "-ffreestanding", "-fno-stack-protector", "-fcf-protection=none", "-nostdlib", "-static", "-no-pie",
    "-fno-pie", "-Wl,--build-id=none", "-Wl,-z,noexecstack",
)  # fmt: skip
MUSL_PIE = (
    "musl-gcc", "-DTHREAD_LOCAL", "-fPIE", "-static", "-nostartfiles", "-Wl,-pie,--no-dynamic-linker,-z,text",
    "-l:rcrt1.o",
)  # fmt: skip
GLIBC = ("gcc", "-DTHREAD_LOCAL", "-static", "-no-pie", "-fno-pie")
GLIBC_PIE = ("gcc", "-DTHREAD_LOCAL", "-static-pie", "-fPIE")


def compile_program(out: Path, sources: Sequence[Path], compiler: Sequence[str] = FREESTANDING, *flags: str) -> str:
    """Compiles and links a program; returns its path.  ``flags`` come after ``-g``."""
    if shutil.which(compiler[0]) is None: pytest.fail(f"no {compiler[0]} here: install gcc and musl-tools")
    lib = BUILT / "lib"
    libraries = [str(lib / "libaero.a")]
    if compiler is FREESTANDING: libraries = [str(lib / "start.o"), *libraries, str(lib / "libaeromem.a")]
    words = [
        *compiler, "-std=gnu11", "-g", *flags, f"-I{REPOSITORY / 'userland' / 'lib'}", "-o", str(out),
        *map(str, sources), *libraries,
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode: pytest.fail(f"{' '.join(words)}:\n{done.stderr}", pytrace=False)
    return str(out)


def written(directory: Path, **files: str) -> list[Path]:
    """C files with these contents: ``main="..."`` is main.c."""
    paths = []
    for name, text in files.items():
        path = directory / f"{name}.c"
        path.write_text(text)
        paths.append(path)
    return paths
