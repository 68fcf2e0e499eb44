"""``make mutate``: a sample of all changes that cosmic-ray's operators make to ``kernel/``, and what notices them.

Which ones is decided by a seed alone.  Each is made in a copy of the sources, whose kernel tests are then run until the
first fails.  Printed are the share that was caught and each that was not; those in ``equivalent.toml`` do not count.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutation.equivalents import Key, equivalents
from tests.mutation.mutations import Mutation, mutated, mutations
from tests.mutation.workspace import Outcome, Workspace

ROOT: Final = Path(__file__).resolve().parents[2]
GOAL: Final = 0.95
LIMIT: Final = 4
"""A run may take this many times the processor time of one without a change."""

Attempt = Callable[[Mutation], tuple[Mutation, Key, Outcome]]


def sample(everything: Sequence[Mutation], count: int, seed: int) -> list[Mutation]:
    """``count`` of the changes, by seed."""
    return random.Random(seed).sample(everything, min(count, len(everything)))


def modules(root: Path) -> list[str]:
    """All of the kernel's modules."""
    return sorted(str(path.relative_to(root)) for path in (root / "kernel").rglob("*.py"))


def main(argv: Sequence[str]) -> int:
    """The command line: 1 if less than the goal was caught, 2 if the tests fail without a change."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=300, metavar="N", help="changes to try (300)")
    parser.add_argument("--seed", type=int, default=1, help="which (1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", metavar="TEXT", help="modules whose path has this in it")
    options = parser.parse_args(argv)
    everything = [m for m in mutations(ROOT, modules(ROOT)) if options.only in m.module]
    chosen = sample(everything, options.count, options.seed)
    print(f"{len(chosen)} of {len(everything)} changes, seed {options.seed}", flush=True)
    spaces = [Workspace(ROOT, ROOT / "build" / "mutation" / str(n), 3600) for n in range(options.processes)]
    with ThreadPoolExecutor(len(spaces)) as pool:
        alone = list(pool.map(Workspace.test, spaces))  # also fills each one's cache of byte code
    for outcome in alone:
        if outcome.caught:
            print(f"without any change, this fails: {outcome.by}", file=sys.stderr)
            return 2
    print(f"without a change: {alone[0].cpu:.0f} s of processor time", flush=True)
    free: SimpleQueue[Workspace] = SimpleQueue()
    for space in spaces:
        space.limit = int(LIMIT * alone[0].cpu) + 10
        free.put(space)

    def attempt(mutation: Mutation) -> tuple[Mutation, Key, Outcome]:
        space = free.get()
        try:
            source, before, after = mutated(space.folder, mutation)
            return mutation, (mutation.module, before, after), space.run(mutation.module, source)
        finally:
            free.put(space)

    return _report(chosen, attempt, equivalents(), options.processes)


def _report(chosen: Sequence[Mutation], attempt: Attempt, known: dict[Key, str], processes: int) -> int:
    start = time.monotonic()
    caught = same = 0
    by: Counter[str] = Counter()
    unseen = []
    with ThreadPoolExecutor(processes) as pool:
        for done, (mutation, key, outcome) in enumerate(pool.map(attempt, chosen), 1):
            if outcome.caught:
                caught += 1
                by[outcome.by.partition("[")[0]] += 1
            elif key in known: same += 1
            else:
                unseen.append((mutation, key))
                print(f"not noticed: {_text(mutation, key)}", flush=True)
            if done % 25 == 0: print(f"{done} tried, {time.monotonic() - start:.0f} s", flush=True)
    print("caught by:")
    for name, count in by.most_common():
        print(f"  {count:5} {name}")
    print(f"not noticed: {len(unseen)}")
    for mutation, key in unseen:
        print(_text(mutation, key))
    share = caught / max(1, caught + len(unseen))
    print(f"{caught} of {caught + len(unseen)} changes caught: {share:.1%} (goal {GOAL:.0%}); {same} change nothing "
          f"(equivalent.toml); {time.monotonic() - start:.0f} s")  # fmt: skip
    return 0 if share >= GOAL else 1


def _text(mutation: Mutation, key: Key) -> str:
    operator = mutation.operator.partition("/")[2]
    return f"  {mutation.module}:{mutation.line} {operator}\n    - {key[1]}\n    + {key[2]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
