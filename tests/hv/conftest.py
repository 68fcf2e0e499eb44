"""A session's KVM, and machines made for one test each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from hv.kvm import Kvm, KvmUnavailable
from hv.probe import lstar_cpl
from hv.vcpu import slice_start, slice_stop
from tests.hv.guest import Guest


@pytest.fixture(scope="session")
def kvm() -> Iterator[Kvm]:
    try:
        opened = Kvm()
    except KvmUnavailable as error:
        if os.environ.get("AEROSTAT_NO_KVM") == "1":
            pytest.skip(f"AEROSTAT_NO_KVM=1: {error.reason}")
        raise
    with opened:
        yield opened


@pytest.fixture(scope="session")
def gate_cpl(kvm: Kvm) -> int:
    """The privilege level at which this host enters LSTAR."""
    return lstar_cpl(kvm)


@pytest.fixture
def new_guest(kvm: Kvm) -> Iterator[Callable[..., Guest]]:
    """Makes machines that are closed after the test."""
    made: list[Guest] = []

    def make(memory: int = 16 << 20, giant_entries: bool = True) -> Guest:
        made.append(Guest(kvm, memory, giant_entries))
        return made[-1]

    yield make
    for guest in made:
        guest.close()


@pytest.fixture(autouse=True)
def _no_endless_program() -> Iterator[None]:
    """A program that should have come back is preempted after a while, and its test fails."""
    slice_start(30_000_000_000)
    yield
    slice_stop()


@pytest.fixture
def guest(new_guest: Callable[..., Guest]) -> Guest:
    """A machine of 16 MiB."""
    return new_guest()
