"""``python -m bench TABLE [--json FILE]``: one module a table."""

from __future__ import annotations

import importlib
import sys
from typing import Final

TABLES: Final = {
    "exits": ("bench.exits", "system calls, CPU-bound programs, memory and start-up, against floors of the same run"),
    "calls": ("bench.calls", "IPC, memory, threads and processes against the exit floor; growth; shared memory"),
    "nic": ("bench.nic", "the 82599 driver on the model of the device: cycles a packet, one core and two"),
    "nvme": ("bench.nvme", "the NVMe driver and model: cycles an operation, a file against fio, inside a machine"),
    "proofs": ("bench.proofs", "proofs of machines with few objects and with many: the same time"),
    "kernel": ("bench.kernel_calls", "transitions and their checks, without a virtual machine"),
}


def main(argv: list[str]) -> int:
    """Runs one table; returns its exit status, or 2 for wrong usage."""
    if not argv or argv[0] not in TABLES:
        print("usage: python -m bench TABLE [--json FILE]", file=sys.stderr)
        for name, (_, about) in TABLES.items():
            print(f"  {name:<8} {about}", file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    status: int = importlib.import_module(TABLES[argv[0]][0]).main(argv[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
