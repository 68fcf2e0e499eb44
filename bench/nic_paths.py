"""Forwarding packets in the paper's configurations (Figure 4), on the model of the 82599: see ``bench.paths``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Final

from bench import paths
from bench.paths import Lent, Paths
from drivers.ixgbe import wires
from drivers.ixgbe.model import Ixgbe, Mode

POLLS: Final = 8
"""Of the engine, each moves 64 packets at most either way."""
PAPER_DRIVER: Final = 14.2
PAPER: Final = {"c1-b1": PAPER_DRIVER / 2.3, "c1-b32": PAPER_DRIVER / 11.1}
"""From Mpps of 64 bytes on an X520, in batches of 32 for the driver, which the wire limits."""


@contextlib.contextmanager
def _lend() -> Iterator[Lent]:
    with Ixgbe(Mode.FAST) as model:
        wires.feed(model, [bytes(range(14)) + bytes(46)], times=0)
        yield Lent(model, partial(model.poll, POLLS), lambda: model.errors)


PATHS: Final = Paths("nicpaths", "nic", "a packet", _lend, PAPER)
one = partial(paths.one, PATHS)
work = partial(paths.run, PATHS)
measure = partial(paths.measure, PATHS)

__all__ = ["PAPER", "measure", "one", "work"]
