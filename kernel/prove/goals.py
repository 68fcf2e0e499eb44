"""Goals: statements about arbitrary objects that are to follow from what is known of a step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kernel.invariants import INVARIANTS
from kernel.prove.addresses import number, uniqueness
from kernel.prove.counterexample import describe
from kernel.prove.counting import items_of, together
from kernel.prove.instances import reads_of
from kernel.prove.replay import replay
from kernel.prove.solver import PROVED, REFUTED, UNKNOWN
from kernel.prove.steps import DIGITS, RANKED, Known
from kernel.prove.terms import Integer, Truth, any_of, name, negate
from kernel.specs import SPECIFICATIONS

ROUNDS: Final = 3
"""How many times the invariants around what was read last are added before a goal is given up."""


@dataclass
class Goal:
    """A statement about these objects that is to hold, ``after`` a step; ``before`` is what it said of the state
    before, if that is known to hold."""

    name: str
    ids: tuple[Integer, ...]
    before: Truth
    after: Truth
    supposing: tuple[Truth, ...] = ()
    """What is known besides."""
    status: str = UNKNOWN
    seconds: float = 0.0
    counterexample: str = ""

    @property
    def ranked(self) -> bool:
        """True if it is about the order of queues."""
        return any(str(term.args[0]) in RANKED for term in reads_of([self.after]))


def arbitrary(domain: tuple[str, ...]) -> tuple[Integer, ...]:
    """Names for the ids that a statement over this domain is about."""
    first = domain[0]
    if len(domain) == 2: return name("t"), name("u")
    if first == "process.map_page":
        return name("s"), number([name(digit) for digit in ("v4", *reversed(DIGITS))])
    table, _, row = first.partition(".")
    if table == "memory": return (0, name("i")) if row else (0,)
    return (name(f"any {table}"), name("i")) if row else (name(f"any {table}"),)


def grouped(goals: Sequence[Goal]) -> Iterator[list[Goal]]:
    """Goals that are tried together: about the same objects, those about queues apart."""
    groups: dict[tuple[object, bool], list[Goal]] = {}
    for goal in goals: groups.setdefault((goal.ids, goal.ranked), []).append(goal)
    yield from groups.values()


def try_together(known: Known, goals: Sequence[Goal], rounds: int = ROUNDS, describing: bool = True) -> None:
    """Tries these goals: all at once, with more and more around what they read; what is left, one by one, and
    ``describing`` what is refuted."""
    started = time.perf_counter()
    solver = known.solver
    known.enter()
    for goal in goals:
        for truth in (goal.before, *goal.supposing): solver.suppose(truth)
    new = known.define()
    reads = reads_of([*(goal.before for goal in goals), *(goal.after for goal in goals), *new])
    around = known.around(reads)
    later = known.around_later(reads)
    later += known.around_later(reads_of(later))
    known.define()
    for truth in together(items_of(reads), items_of(known.step.reads)): solver.suppose(truth)
    for truth in uniqueness(known.step.state, reads): solver.suppose(truth)
    if any(goal.ranked for goal in goals): known.around_pairs(reads)
    left = list(goals)
    for turn in range(rounds):
        if turn: around = known.around(reads_of(around))
        if _all_hold(known, left):
            for goal in left: goal.status = PROVED
            left = []
        elif turn and len(left) > 1:
            for goal in left: _try(known, goal)
            left = [goal for goal in left if goal.status != PROVED]
        if not left: break
    for goal in left: _try(known, goal, describing)
    known.leave()
    for goal in goals: goal.seconds = (time.perf_counter() - started) / len(goals)


def _all_hold(known: Known, goals: Sequence[Goal]) -> bool:
    known.solver.enter()
    known.solver.suppose(any_of([negate(goal.after) for goal in goals]))
    status = known.solver.consistent()
    known.solver.leave()
    return status == PROVED


def _try(known: Known, goal: Goal, describing: bool = False) -> None:
    known.solver.enter()
    known.solver.suppose(negate(goal.after))
    goal.status = known.solver.consistent()
    if describing and goal.status == REFUTED:
        goal.counterexample = describe(known, goal.after, goal.ids)
        if goal.name in INVARIANTS: goal.counterexample = f"{INVARIANTS[goal.name].meaning}\n{goal.counterexample}"
        if known.step.name in SPECIFICATIONS: goal.counterexample += f"\n  {replay(known, goal.after)}"
    known.solver.leave()


__all__ = ["Goal", "arbitrary", "grouped", "try_together"]
