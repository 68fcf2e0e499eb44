"""``make mutate``: a sample of all changes that cosmic-ray's operators make to ``kernel/``, and what notices them.

Which ones is decided by a seed alone.  Each is made in a copy of the sources, whose kernel tests are then run until the
first fails: of all tests those that execute what was changed (``executed``), first the quick ones on every change, then
the slow ones on those that are left.  Printed are the share that was caught and each that was not; those known
to change nothing (``equivalents``) do not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutation.equivalents import Key, equivalents, reason
from tests.mutation.executed import SLOW_LIMIT, Executed, quick, slow
from tests.mutation.mutations import Mutation, mutated, mutations
from tests.mutation.runner import NO_END
from tests.mutation.workspace import COPIED, Outcome, Workspace

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "build" / "mutation"
KILLERS: Final = FOLDER / "noticed.json"
"""What noticed each change the last time is tried first."""
GOAL: Final = 0.95
NOT_THE_KERNEL: Final = ("kernel/prove/",)
"""Proofs read the kernel's source and run nowhere."""


@dataclass
class Attempt:
    """A change, and what came of it."""

    mutation: Mutation
    key: Key
    source: str
    outcome: Outcome = field(default_factory=lambda: Outcome("", 0))

    def __str__(self) -> str:
        operator = self.mutation.operator.partition("/")[2]
        return f"  {self.mutation.module}:{self.mutation.line} {operator}\n    - {self.key[1]}\n    + {self.key[2]}"

    @property
    def name(self) -> str:
        """The change as one word, for the file of what noticed it."""
        return hashlib.sha256(repr(self.key).encode()).hexdigest()[:16]


def sample(root: Path, everything: Sequence[Mutation], count: int, seed: int) -> list[Attempt]:
    """``count`` of the changes that leave Python, by seed: those of which a hash of the seed and what is changed is the
    least.  So the others stay the same when some line of the kernel becomes another."""
    chosen: list[Attempt] = []
    for mutation in sorted(everything, key=lambda m: hashlib.sha256(f"{seed} {m.identity}".encode()).digest()):
        if len(chosen) >= count: break
        try:
            source, before, after = mutated(root, mutation)
        except SyntaxError:
            continue
        chosen.append(Attempt(mutation, (mutation.module, before, after), source))
    return chosen


def planned(root: Path, only: str, count: int, seed: int) -> tuple[list[Attempt], int]:
    """The sample, and of how many changes; kept until the kernel's source becomes another."""
    file = FOLDER / f"plan-{digest(root, 'kernel')}-{seed}-{count}-{only.replace('/', '-')}.pickle"
    if not file.exists():
        everything = [m for m in mutations(root, modules(root)) if only in m.module]
        FOLDER.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps((sample(root, everything, count, seed), len(everything))))
    plan: tuple[list[Attempt], int] = pickle.loads(file.read_bytes())
    return plan


def modules(root: Path) -> list[str]:
    """All of the kernel's modules."""
    found = sorted(str(path.relative_to(root)) for path in (root / "kernel").rglob("*.py"))
    return [module for module in found if not module.startswith(NOT_THE_KERNEL)]


def digest(root: Path, *names: str) -> str:
    """What tells the sources and tests from others."""
    made = hashlib.sha256()
    for name in names or COPIED:
        files = sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]
        for file in files: made.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return made.hexdigest()[:16]


def recorded(spaces: Sequence[Workspace], *, last: bool) -> Executed | str:
    """What each test executes, from a run without a change unless one of these sources was made before; or the test
    that fails so.  With ``last`` a run with other tests will do, if the kernel was this one."""
    kernel = digest(ROOT, "kernel")
    files = [FOLDER / f"executed-{kernel}-{digest(ROOT)}-{n}-{len(spaces)}.json" for n in range(len(spaces))]
    there = sorted(FOLDER.glob(f"executed-{kernel}-*.json"))
    if last and there: return Executed(ROOT, there, quick(spaces[0].tests))
    if not all(file.exists() for file in files):
        for old in FOLDER.glob("executed-*.json"): old.unlink()
        tests = quick(spaces[0].tests)
        print(f"{len(tests)} tests without a change", flush=True)
        with ThreadPoolExecutor(len(spaces)) as pool:
            parts = [pool.submit(space.run, dict.fromkeys(tests[n :: len(spaces)], 300.0), files[n])
                     for n, space in enumerate(spaces)]  # fmt: skip
        for part in parts:
            if part.result().caught: return part.result().by
    return Executed(ROOT, files, quick(spaces[0].tests))


class Search:
    """Runs tests on changes, as many at a time as there are copies."""

    def __init__(self, spaces: Sequence[Workspace]) -> None:
        self._pool = ThreadPoolExecutor(len(spaces))
        self._free: SimpleQueue[Workspace] = SimpleQueue()
        for space in spaces: self._free.put(space)
        self._sound: dict[str, bool] = {}
        """Slow tests, and whether they pass without a change."""
        self._killers: dict[str, str] = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}

    def run(self, attempts: Sequence[Attempt], executed: Executed, *, slowly: bool) -> Iterator[Attempt]:
        """The attempts with their outcomes, as they come."""
        start = time.monotonic()
        outcomes = self._pool.map(self._slow if slowly else lambda attempt: self._quick(attempt, executed), attempts)
        for done, attempt in enumerate(outcomes, 1):
            if attempt.outcome.caught: self._killers[attempt.name] = attempt.outcome.by.removesuffix(NO_END)
            yield attempt
            if done % 25 == 0:
                print(f"{done} of {len(attempts)} tried, {time.monotonic() - start:.0f} s", flush=True)
                KILLERS.write_text(json.dumps(self._killers))
        KILLERS.write_text(json.dumps(self._killers))

    def _quick(self, attempt: Attempt, executed: Executed) -> Attempt:
        mutation, by = attempt.mutation, self._killers.get(attempt.name, "")
        with self._changed(attempt) as space:
            attempt.outcome = space.run(executed.tests(mutation.module, mutation.line, by))
        return attempt

    def _slow(self, attempt: Attempt) -> Attempt:
        with self._changed(attempt) as space:
            attempt.outcome = space.run(slow(space.tests, self._killers.get(attempt.name, "")))
            space.restore()
            by = attempt.outcome.by.removesuffix(NO_END)
            if by in space.tests and by not in self._sound: self._sound[by] = not space.run({by: SLOW_LIMIT}).caught
            if not self._sound.get(by, True): raise RuntimeError(f"without any change, this fails: {by}")
        return attempt

    @contextmanager
    def _changed(self, attempt: Attempt) -> Iterator[Workspace]:
        space = self._free.get()
        try:
            space.change(attempt.mutation.module, attempt.source)
            yield space
        finally:
            space.restore()
            self._free.put(space)


def main(argv: Sequence[str]) -> int:
    """The command line: 1 if less than the goal was caught, 2 if the tests fail without a change."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=300, metavar="N", help="changes to try (300)")
    parser.add_argument("--seed", type=int, default=1, help="which (1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", metavar="TEXT", help="modules whose path has this in it")
    parser.add_argument("--quick", action="store_true", help="leave the slow tests out")
    parser.add_argument("--last-recorded", action="store_true", help="not to see again what tests execute")
    parser.add_argument("--record", action="store_true", help="no changes: only see what each test executes")
    options = parser.parse_args(argv)
    chosen, of = planned(ROOT, options.only, options.count, options.seed)
    print(f"{len(chosen)} of {of} changes, seed {options.seed}", flush=True)
    start = time.monotonic()
    spaces = [Workspace(ROOT, FOLDER / str(n)) for n in range(options.processes)]
    executed = recorded(spaces, last=options.last_recorded)
    if isinstance(executed, str):
        print(f"without any change, this fails: {executed}", file=sys.stderr)
        return 2
    if options.record: return 0
    known = equivalents()
    attempts = [attempt for attempt in chosen if not reason(attempt.key, known)]
    for attempt in chosen:
        if attempt not in attempts: print(f"changes nothing: {attempt}\n    {reason(attempt.key, known)}", flush=True)
    search, by = Search(spaces), Counter[str]()
    left = attempts
    for slowly in (False, True)[: 1 if options.quick else 2]:
        unseen = []
        print(f"{'slow' if slowly else 'quick'} tests on {len(left)} changes", flush=True)
        for attempt in search.run(left, executed, slowly=slowly):
            if attempt.outcome.caught: by[attempt.outcome.by.partition("[")[0]] += 1
            else:
                unseen.append(attempt)
                print(f"not noticed{'' if slowly else ' so far'}: {attempt}", flush=True)
        left = unseen
    return report(by, left, len(chosen) - len(attempts), time.monotonic() - start)


def report(by: Counter[str], left: Sequence[Attempt], same: int, seconds: float) -> int:
    """Prints the result."""
    print("caught by:")
    for name, count in by.most_common(): print(f"  {count:5} {name}")
    print(f"not noticed: {len(left)}")
    for attempt in left: print(attempt)
    caught = by.total()
    share = caught / max(1, caught + len(left))
    print(f"{caught} of {caught + len(left)} changes caught: {share:.1%} (goal {GOAL:.0%}); {same} change nothing "
          f"(equivalents.py); {seconds:.0f} s")  # fmt: skip
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
