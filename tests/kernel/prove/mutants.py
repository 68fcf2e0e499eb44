"""``python -m tests.kernel.prove.mutants``: small changes of the source of transitions, and what notices each: proofs,
the run-time check, or both.

Which changes is decided by a seed.  A change is proved about in every transition, and in every function of the page
allocator that proofs take at a contract, that it is part of, until something is not proved; and run in the cases of
the scenarios and in random calls beside the sound transitions, until it does something else.  What neither notices is
printed with its place: either it makes no difference, or there is a hole.
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from typing import Final

from kernel.journaled import TRANSITIONS as MODULES
from kernel.prove import obligations
from kernel.prove import source as sources
from kernel.prove.contracts import CONTRACTS
from kernel.prove.obligations import PROVED, Task
from kernel.prove.steps import transitions
from kernel.specs import SPECIFICATIONS
from tests.kernel.driver import Driver
from tests.kernel.mutants import _step, source, transitions_of
from tests.kernel.mutate import CHANGES, HARMLESS, _One
from tests.kernel.scenarios import CASES
from tests.kernel.world import World

GOAL: Final = 0.98
MANY: Final = 1 << 30
LATE: Final = "unknown: not proved in time"


@dataclass(frozen=True)
class Mutant:
    """One change: in which module, of what kind, and which of those that there are."""

    module: str
    kind: str
    which: int

    def made(self) -> tuple[int, str]:
        """The line that is changed, and the module's text with the change."""
        one = _One(CHANGES[self.kind], self.which)
        tree = one.visit(ast.parse(source(self.module)))
        return one.line, ast.unparse(ast.fix_missing_locations(tree))


@dataclass
class Finding:
    """What came of a mutant: why the proofs refuse it, and what the check says; empty where nothing does."""

    mutant: Mutant
    place: str
    proofs: str = ""
    check: str = ""
    seen: bool = False
    """It did something else than the sound transition in some call."""

    @property
    def noticed(self) -> bool:
        """The proofs tell it from the sound transition: not those that came to no end, nor those that cannot begin."""
        return bool(self.proofs) and self.proofs != LATE and not self.proofs.endswith(", evaluation")


def all_mutants() -> list[Mutant]:
    """Every change of every transition module."""
    found = []
    for module in MODULES:
        for kind, change in CHANGES.items():
            one = _One(change, MANY)
            one.visit(ast.parse(source(module)))
            found += [Mutant(module, kind, which) for which in range(MANY - one.left)]
    return found


@cache
def _functions() -> dict[str, tuple[str, ast.FunctionDef]]:
    return {
        node.name: (module, node) for module in MODULES for node in ast.parse(source(module)).body
        if isinstance(node, ast.FunctionDef)
    }  # fmt: skip


@cache
def _parts(name: str) -> frozenset[str]:
    """A function and all that it calls, but for what is behind a contract."""
    found = {name}
    for node in ast.walk(_functions()[name][1]):
        if isinstance(node, ast.Name) and node.id in _functions() and node.id not in CONTRACTS and node.id != name:
            found |= _parts(node.id)
    return frozenset(found)


def function_at(module: str, line: int) -> str | None:
    """The function that has this line."""
    for name, (its, node) in _functions().items():
        if its == module and node.lineno <= line <= (node.end_lineno or line): return name
    return None


def concerned(function: str) -> Iterator[Task]:
    """What is to be proved of all that a function is part of, the smallest first."""
    everything = {task.name: task for task in obligations.tasks()}
    for name in CONTRACTS:
        if function in _parts(name): yield everything[f"{name}: contract"]
    for name in sorted(SPECIFICATIONS, key=lambda name: len(_parts(name))):
        if function in _parts(name): yield from obligations.of_transition(name)


def proofs(mutant: Mutant, function: str, text: str, timeout: float) -> str:
    """The first thing that is not proved of a mutant, and whether it is refuted; nothing if all is proved."""
    sources.plant(f"kernel.{mutant.module}", text)
    transitions.cache_clear()
    for task in concerned(function):
        report = obligations.run(task, timeout)
        for outcome in report.outcomes:
            if outcome.status != PROVED: return f"{outcome.status}: {task.name}, {outcome.name}"
    return ""


def check(mutant: Mutant, function: str, text: str, calls: int) -> tuple[bool, str]:
    """Whether a mutant did something else than the sound transition, and what the check said of that step."""
    planted = transitions_of({mutant.module: text})
    entered = {name for name in CONTRACTS if function in _parts(name)}
    names = {name for name in SPECIFICATIONS if function in _parts(name) or _calls(name) & entered}
    for case in CASES:
        if case.transition not in names: continue
        (w, arguments), (twin, _) = case.build("off"), case.build("off")
        found = _step(w, twin, planted, case.transition, arguments)
        if found is not None: return True, found[1]
    for seed in range(2):
        driver = Driver(seed, "off", blocks=seed % 4 + 1, pages=(511, 40)[seed])
        twin = World(driver.w.k.memory.blocks, driver.w.k.cores, "off")
        twin.limit(driver.w.root.pages)
        for _ in range(calls):
            name, *others = driver.choose()
            found = _step(driver.w, twin, planted, name, tuple(others))
            if found is not None: return True, found[1]
    return False, ""


def _calls(name: str) -> set[str]:
    parts = (node for part in _parts(name) for node in ast.walk(_functions()[part][1]))
    return {node.id for node in parts if isinstance(node, ast.Name)}


def tried(mutant: Mutant, timeout: float, calls: int, longest: float) -> Finding | None:
    """What came of a mutant; None if it changes nothing in a function."""
    line, text = mutant.made()
    function = function_at(mutant.module, line)
    if function is None: return None
    code = source(mutant.module).splitlines()[line - 1].strip()
    finding = Finding(mutant, f"{mutant.module}.py:{line} {mutant.kind}: {code}")
    proved = _apart(lambda: proofs(mutant, function, text, timeout), longest)
    finding.proofs = LATE if proved is None else str(proved)
    ran = _apart(lambda: check(mutant, function, text, calls), longest)
    if isinstance(ran, tuple): finding.seen, finding.check = ran
    elif isinstance(ran, str): finding.seen, finding.check = True, ran
    return finding


def _apart(work: Callable[[], object], longest: float) -> object:
    """What this returns in a process of its own; the name of what it raises; None if that takes too long."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, there), daemon=True)
    process.start()
    there.close()
    result = None
    try:
        if here.poll(longest): result = here.recv()
    except EOFError:
        result = "the process ended"
    process.terminate()
    process.join()
    return result


def _send(work: Callable[[], object], there: Connection) -> None:
    try:
        there.send(work())
    except (ArithmeticError, LookupError, RecursionError, AssertionError) as error:
        there.send(f"raises {type(error).__name__}")


def table(findings: Sequence[Finding]) -> tuple[list[str], float]:
    """The figures as lines, and the share that something notices of what makes a difference."""
    counted = Counter((finding.noticed, bool(finding.check)) for finding in findings)
    lines = [f"{'proofs':>8} {'check':>8} {'mutants':>8}"]
    for by_proofs in (True, False):
        for by_check in (True, False):
            words = ["yes" if caught else "no" for caught in (by_proofs, by_check)]
            lines.append(f"{words[0]:>8} {words[1]:>8} {counted[by_proofs, by_check]:>8}")
    refuted = sum(finding.proofs.startswith("refuted") for finding in findings)
    lines.append(f"of those that proofs notice, {refuted} are refuted, the rest unknown")
    unseen = [f for f in findings if not f.noticed and not f.check]
    same = [f for f in unseen if (not f.seen and not f.proofs) or f.place.rpartition(": ")[2] in HARMLESS]
    lines.append(f"{len(same)} are proved, and do nothing else in any call (or what is known to be harmless)")
    rest = len(findings) - len(same)
    return lines, (rest - (len(unseen) - len(same))) / rest if rest else 1.0


def main(argv: Sequence[str]) -> int:
    """The command line: 1 if less than the goal was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.prove.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=60, metavar="N", help="changes to try (60)")
    parser.add_argument("--seed", type=int, default=1, help="which (1)")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="seconds for each question (5)")
    parser.add_argument("--longest", type=float, default=300.0, metavar="S", help="seconds for each change (300)")
    parser.add_argument("--calls", type=int, default=1000, metavar="N", help="random calls of each of two kernels")
    parser.add_argument("--stop", type=float, default=1e9, metavar="S", help="no new change after so many seconds")
    options = parser.parse_args(argv)
    obligations.warm()
    everything = all_mutants()
    chosen = random.Random(options.seed).sample(everything, min(options.count, len(everything)))
    print(f"{len(chosen)} of {len(everything)} changes, seed {options.seed}", flush=True)
    started = time.monotonic()
    findings = []
    for mutant in chosen:
        if time.monotonic() - started > options.stop: break
        finding = tried(mutant, options.timeout, options.calls, options.longest)
        if finding is None: continue
        findings.append(finding)
        seen = "" if finding.seen else "no difference seen"
        print(finding.place, f"proofs: {finding.proofs or '-'}", f"check: {finding.check or seen or '-'}", sep="\n    ",
              flush=True)
    lines, share = table(findings)
    print("\n".join(lines))
    print(f"noticed: {share:.1%} of those that make a difference (the goal is {GOAL:.0%})")
    return int(share < GOAL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
