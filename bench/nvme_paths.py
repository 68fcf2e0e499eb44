"""Reads of 4 KiB in the paper's configurations (Figure 5), on the NVMe model in memory: see ``bench.paths``."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from functools import partial
from typing import Final

from bench import paths
from bench.paths import Lent, Paths
from drivers.nvme.backing import in_memory
from drivers.nvme.model import NvmeModel

SIZE: Final = 16 << 20
BLOCK: Final = 4096
PAPER: Final = {"c2": 1.0, "c1-b32": 1.0}
"""There the disk limits all of them: reads as SPDK, writes 232,000 a second in each configuration, in batches of 32."""


def number_of(block: int) -> int:
    """What a block begins with: the program looks for that."""
    return block


@contextlib.contextmanager
def _lend() -> Iterator[Lent]:
    backing = in_memory(SIZE)
    assert backing.memory is not None
    for block in range(SIZE // BLOCK): struct.pack_into("<Q", backing.memory, block * BLOCK, number_of(block))
    model = NvmeModel(backing, fast=True)
    try:
        yield Lent(model, model.poll, lambda: [count for count in ("errors", "dma_faults", "bad_doorbells")
                                               if model.counts()[count]], model.without_thread)  # fmt: skip
    finally:
        model.close()
        backing.close()


PATHS: Final = Paths("nvmepaths", "disk", "a read of 4 KiB", _lend, PAPER)
one = partial(paths.one, PATHS)
measure = partial(paths.measure, PATHS)

__all__ = ["PAPER", "measure", "one"]
