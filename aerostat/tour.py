"""``make run``: a native program and an unmodified Linux one in one machine, and what was checked meanwhile."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from aerostat import BadElf, KvmUnavailable, Machine

TEXT = "the kernel lives\noutside the machine\nit governs\n"


def tour(native: str, busybox: str) -> int:
    """Runs both; returns 0 if all of it ended well."""
    with tempfile.TemporaryDirectory(prefix="aerostat-tour-") as directory:
        Path(directory, "words").write_text(TEXT, encoding="ascii")
        commands = [
            ("a native program", native, [native], False),
            ("busybox echo", busybox, ["busybox", "echo", "hello from an unmodified static Linux binary"], True),
            ("busybox wc", busybox, ["busybox", "wc", f"{directory}/words"], True),
            ("busybox sort", busybox, ["busybox", "sort", f"{directory}/words"], True),
            ("busybox sha256sum", busybox, ["busybox", "sha256sum", f"{directory}/words"], True),
        ]
        with Machine(memory="64M", check="full", allow_read=[directory]) as machine:
            statuses = []
            for what, program, argv, linux in commands:
                print(f"--- {what}", flush=True)
                before = machine.statistics()["exits"]
                start = time.perf_counter()
                statuses.append(machine.spawn(program, argv, linux=linux).wait())
                took = (time.perf_counter() - start) * 1000
                exits = machine.statistics()["exits"] - before
                print(f"    exit status {statuses[-1]}, {exits} exits, {took:.1f} ms", flush=True)
            compared = machine.audit()
            counts = machine.statistics()
    print(
        f"--- {counts['programs']} programs, {counts['exits']} exits; {counts['transitions_checked']} kernel "
        f"transitions checked against their specifications, {counts['invariants_evaluated']} invariants evaluated, "
        f"{compared} facts in the final audit; {counts['pages_used']} page in use at the end"
    )
    return 0 if not any(statuses) else 1


def main() -> int:
    """The command line: the native program and busybox."""
    try:
        return tour(*sys.argv[1:3])
    except KvmUnavailable as error:
        print(f"aerostat: {error.reason}\n  {error.remedy}", file=sys.stderr)
    except BadElf as error:
        print(f"aerostat: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
