"""The program that invariants are tested on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aerostat.program import Program
from tests.aerostat.invariants.compiling import SOURCES, compile_program
from tests.aerostat.programs import NewMachine

Load = Callable[..., Program]
"""What the fixture ``load`` is: load("count", "10", cores=2) is sources/watched.c with these arguments."""


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory, userland: object) -> str:
    """The path of watched.c, compiled."""
    return compile_program(tmp_path_factory.mktemp("watched") / "watched", [SOURCES / "watched.c"])


@pytest.fixture
def load(watched: str, new_machine: NewMachine) -> Load:
    """Loads it into a machine of its own."""

    def make(*words: str, stdout: int = 1, **options: object) -> Program:
        machine = new_machine("32M", **options)
        return machine.load(watched, ["watched", *words], stdout=stdout, linux=False)

    return make
