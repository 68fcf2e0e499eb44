"""The model's two modes: the same tests hold in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from drivers.nvme.backing import Backing, in_memory
from drivers.nvme.model import NvmeModel

from .host import Host

SIZE = 16 << 20

MakeHost = Callable[..., Host]


@pytest.fixture(params=["trapped", "polled"])
def make_host(request: pytest.FixtureRequest) -> Iterator[MakeHost]:
    """Makes hosts with a model each, which does nothing but in ``poll``."""
    made: list[tuple[NvmeModel, Backing]] = []

    def make(backing: Backing | None = None, **options: Any) -> Host:
        backing = backing or in_memory(SIZE)
        model = NvmeModel(backing, fast=request.param == "polled", **{"thread": False, **options})
        made.append((model, backing))
        return Host(model)

    yield make
    for model, backing in made:
        model.close()
        backing.close()


@pytest.fixture
def host(make_host: MakeHost) -> Host:
    """A controller that is enabled."""
    made = make_host()
    made.enable()
    made.model.poll()
    return made
