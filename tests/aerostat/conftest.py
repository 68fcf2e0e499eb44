"""Programs built once, and machines for tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aerostat import Machine
from tests.aerostat.programs import BUILT, REPOSITORY


def _sources() -> list[tuple[str, str]]:
    """(folder, name) of each program that tests use."""
    folders = {"demo": REPOSITORY / "userland" / "demo", "tests": REPOSITORY / "tests" / "programs"}
    return [(folder, path.stem) for folder, where in folders.items() for path in where.glob("*.c")]


def _missing() -> list[str]:
    return [
        f"{folder}/{name}" for folder, name in _sources()
        if not (BUILT / folder / name).exists() and not (BUILT / folder / f"{name}-musl").exists()
    ]  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def userland() -> Path:
    """The folder of the built programs; builds them if one is missing."""
    if _missing():
        if shutil.which("make") is None: pytest.fail(f"not built, and no make here: {', '.join(_missing())}")
        done = subprocess.run(
            ["make", "-s", "-C", str(REPOSITORY / "userland")], capture_output=True, text=True, check=False
        )
        if done.returncode: pytest.fail(f"the programs cannot be built:\n{done.stderr}", pytrace=False)
    return BUILT


@pytest.fixture
def new_machine() -> Iterator[Callable[..., Machine]]:
    """Makes machines that are closed after the test."""
    made: list[Machine] = []

    def make(memory: int | str = "16M", **options: Any) -> Machine:
        made.append(Machine(memory, **options))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


@pytest.fixture
def machine(new_machine: Callable[..., Machine]) -> Machine:
    """A machine of 16 MiB with one core."""
    return new_machine()


@pytest.fixture
def two_cores(new_machine: Callable[..., Machine]) -> Machine:
    """A machine of 32 MiB with two cores."""
    return new_machine("32M", cores=2)
