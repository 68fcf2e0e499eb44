"""`python -m tests.lab [FILES...]`: run these test files, or all the lab's own, in the lab and show its console."""

import argparse
import sys

from tests.lab.files import BATCHES, Batch
from tests.lab.kernel import DEBIAN, UBUNTU, ArchiveUnreachable, KernelUnavailable
from tests.lab.lab import LabUnavailable, run


def main() -> int:
    """Exit status: 0 all named files ran and passed, 1 some did not, 2 the lab, or a batch, cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("files", nargs="*", help="test files, relative to the repository (default: all batches)")
    parser.add_argument("--timeout", type=float, default=1200, help="seconds a QEMU run may take (%(default)s)")
    parser.add_argument("--smp", type=int, default=1, help="processors in the lab, with FILES (%(default)s)")
    parser.add_argument("--devices", action="store_true", help="a disk and a network card behind an IOMMU, with FILES")
    parser.add_argument("--kernel", choices=[DEBIAN, UBUNTU], default=DEBIAN, help="with FILES (%(default)s)")
    parser.add_argument("--memory", type=int, default=2048, metavar="MB", help="memory of the lab (%(default)s)")
    parser.add_argument("--pytest", action="append", default=[], metavar="ARGUMENT", help="one more for pytest")
    chosen = parser.parse_args()
    status = 0
    named = Batch(tuple(chosen.files), chosen.smp, chosen.devices, chosen.kernel)
    for batch in [named] if chosen.files else BATCHES.values():
        try:
            result = run(
                batch.files,
                timeout=chosen.timeout,
                smp=batch.processors,
                devices=batch.devices,
                kernel=batch.kernel,
                memory_mb=chosen.memory,
                pytest_arguments=chosen.pytest,
                follow=lambda line: print(line, flush=True),
            )
        except ArchiveUnreachable as error:
            print(f"lab: {error}", file=sys.stderr)
            status = status or 2
            continue
        except (LabUnavailable, KernelUnavailable) as error:
            print(f"lab: {error}", file=sys.stderr)
            return 2
        print(result.summary())
        for problem in result.problems():
            print(f"lab: {problem}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
