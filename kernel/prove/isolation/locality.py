"""What a step of A does to B: nothing that B observes (local respect), nothing that connects the two (isolation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kernel.prove.goals import Goal, arbitrary, grouped, try_together
from kernel.prove.isolation.actors import actor_of
from kernel.prove.isolation.observation import observed
from kernel.prove.isolation.statements import STATEMENTS, B
from kernel.prove.isolation.surroundings import NOW, Sides, Surroundings, said
from kernel.prove.state import BEFORE, ROWS, State
from kernel.prove.steps import Step
from kernel.prove.terms import Truth, any_of, equal, negate, read


def supposing(step: Step, predicate: Callable[..., bool], arguments: tuple[str, ...]) -> Truth:
    """What a predicate says of these arguments of a step."""
    by_name = {str(argument.args[0]).partition("@")[0]: argument for argument in step.arguments}
    missing = [argument for argument in arguments if argument not in by_name]
    if missing: raise ValueError(f"{step.name} has no {missing[0]}: kernel/prove/isolation/actors.py says who makes it")
    return said(predicate, State(), BEFORE, Sides(), *[by_name[argument] for argument in arguments])


def acting(step: Step, alone: bool = False) -> Truth:
    """That this step is one of A (``alone``: which meets nobody in it)."""
    return supposing(step, *actor_of(step.name, alone))


def isolation_goals(step: Step, known: Surroundings) -> Iterator[Goal]:
    """That A and B are isolated after a step; of the statements that it could break."""
    for statement in STATEMENTS.values():
        table = statement.field.partition(".")[0]
        ids = arbitrary((statement.field if statement.field in ROWS else table,))
        before = known.holding(statement, ids)
        after = said(statement.holds, step.state, NOW, known.after, *ids)
        if after is not before: yield Goal(statement.name, ids, before, after)


def respect_goals(step: Step, known: Surroundings) -> Iterator[Goal]:
    """That each field which a step writes is what it was, of what B observes before or after."""
    state = step.state
    for key in state.writes:
        view = observed(key)
        if view is None: continue
        ids = arbitrary((key if key in ROWS else key.partition(".")[0],))
        if key in ROWS: same = equal(state.item(key, ids[0], ids[1]), read(key, *ids))
        else: same = equal(state.read(key, ids[0]), read(key, *ids))
        if same is True: continue
        seen = (said(view, state, BEFORE, known.before, B, ids[0]), said(view, state, NOW, known.after, B, ids[0]))
        yield Goal(f"B's {key}", ids, True, any_of((same, negate(any_of(seen)))))


def prove(step: Step, known: Surroundings, goals: Iterator[Goal]) -> Iterator[Goal]:
    """Tries to prove these goals about a step."""
    for group in grouped(list(goals)):
        try_together(known, group)
        yield from group


__all__ = ["acting", "isolation_goals", "prove", "respect_goals", "supposing"]
