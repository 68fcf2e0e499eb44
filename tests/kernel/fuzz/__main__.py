"""``make fuzz``: random calls without end, on all processors; a sequence that fails is shrunk and kept as a case."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.fuzz.cases import FOLDER, text_of
from tests.kernel.fuzz.search import search


@dataclass
class Found:
    """What one seed led to."""

    seed: int
    calls: int
    name: str = ""
    case: str = ""


def one_seed(number: int, examples: int, level: str) -> Found:
    """Does this many examples of a seed."""
    found = Found(number, 0)

    def count(calls: int) -> None:
        found.calls += calls

    failure = search(number, examples, level, done=lambda run: count(run.outcomes.total()))
    if failure is not None:
        found.name = failure.name
        found.case = text_of(failure.shape, failure.actions, f"{failure.name}, from seed {number}\n{failure.error}")
    return found


def keep(found: Found, folder: Path) -> Path | None:
    """Writes the case of a failure; None if one of its name is there already."""
    path = folder / f"{found.name}.calls"
    if path.exists(): return None
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(found.case)
    return path


def main(argv: Sequence[str]) -> int:
    """The command line: 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000_000, help="where the seeds begin")
    parser.add_argument("--seeds", type=int, metavar="N", help="stop after this many seeds; else at Ctrl-C")
    parser.add_argument("--examples", type=int, default=200, metavar="N", help="examples from each seed (200)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--check", choices=("full", "touched", "off"), default="full")
    parser.add_argument("--cases", type=Path, default=FOLDER, metavar="FOLDER", help="where failing cases are kept")
    options = parser.parse_args(argv)
    numbers = itertools.count(options.seed) if options.seeds is None else iter(
        range(options.seed, options.seed + options.seeds))  # fmt: skip
    failures = calls = done = 0
    start = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        running: set[Future[Found]] = set()
        try:
            while True:
                for number in itertools.islice(numbers, options.processes + 1 - len(running)):
                    running.add(pool.submit(one_seed, number, options.examples, options.check))
                if not running: break
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for found in (future.result() for future in ended):
                    done += 1
                    calls += found.calls
                    if not found.case: continue
                    failures += 1
                    path = keep(found, options.cases)
                    print(f"seed {found.seed}: {found.name}: {path or 'a case of this name is there already'}")
                    print(found.case, flush=True)
                rate = calls / (time.monotonic() - start)
                print(f"{done} seeds from {options.seed}, {calls} calls, {rate:.0f} a second, {failures} failures",
                      flush=True)  # fmt: skip
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
