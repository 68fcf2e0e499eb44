"""Threads and processes that end each other, alone on a core and beside each other on two."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from aerostat import Machine
from tests.aerostat.programs import REPOSITORY, assert_idle, succeeds

pytestmark = pytest.mark.kvm

SCENES = re.findall(
    r'^ +\{"([a-z-]+)", \w+\},$', (REPOSITORY / "tests" / "programs" / "family.c").read_text(), re.MULTILINE
)


KINDS = [("touched", 1), ("touched", 2), ("full", 3)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def shared(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One machine for all scenes, so that each meets what the ones before it left."""
    check, cores = request.param
    with Machine("32M", cores=cores, check=check) as machine:
        yield machine


def test_thousands_of_threads_and_processes() -> None:
    with Machine("128M", cores=2) as machine:
        assert succeeds(machine, "tests/family", "thousands", "4000", "3000", linux=False) == "thousands: ok\n"
        assert_idle(machine)


@pytest.mark.parametrize("scene", SCENES)
def test_scene(shared: Machine, scene: str) -> None:
    assert succeeds(shared, "tests/family", scene, linux=False) == f"{scene}: ok\n"
    assert_idle(shared)
