"""The page allocator's contracts (kernel.prove.contracts), from both sides: each function does what its contract says,
supposing the allocator's own invariants and nothing else; and whoever calls it does so where these hold, with what the
contract requires.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel.invariants import INVARIANTS
from kernel.prove import preservation, source
from kernel.prove.contracts import CONTRACTS, INSIDE, INSIDE_LEDGERS, KEPT
from kernel.prove.evaluator import NOW, Evaluation, View, truth
from kernel.prove.goals import Goal, arbitrary, grouped, try_together
from kernel.prove.instances import evaluate, instance
from kernel.prove.state import BEFORE, ROWS, TOTALS, State
from kernel.prove.steps import Known, Step
from kernel.prove.terms import Integer, equal, name


def step_of(function: str) -> Step:
    """A function of the allocator, run on names for its arguments, with all that it calls."""
    return Step(source.function("kernel.page_allocator", function), contracts=False)


def _of_contract(function: Any) -> source.Function:
    return source.function("kernel.prove.contracts", function.__name__)


def prove_contract(function: str, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """Tries to prove that a function of the allocator keeps its contract."""
    step = step_of(function)
    contract = CONTRACTS[function]
    before = Evaluation(step.state, counting=False)
    required = truth(before.call(_of_contract(contract.requires), View(BEFORE), *step.arguments))
    known = Known(step, timeout, seed, only=frozenset(KEPT), supposing=required)
    yield from preservation.prove(step, known, [INVARIANTS[clause] for clause in KEPT])
    arguments: list[Integer] = list(step.arguments)
    goals: list[Goal] = []
    if contract.chosen is not None:
        page = step.state.named(step.result, "page")
        chosen = truth(before.call(_of_contract(contract.chosen), View(BEFORE), page))
        goals.append(Goal("the page was free", (), True, chosen))
        arguments.append(page)
    elif step.result is not None:
        raise ValueError(f"the contract of {function} says nothing of what it returns")
    goals += effects(step, function, arguments)
    for group in grouped([goal for goal in goals if goal.after is not True]):
        try_together(known, group)
        yield from group


def effects(step: Step, function: str, arguments: list[Integer]) -> Iterator[Goal]:
    """That every field and ledger outside the allocator is after the function's body what it is after the contract's
    effect."""
    expected = State()
    # One store of names: two terms must not get the same.
    expected.names, expected.facts = step.state.names, step.state.facts
    Evaluation(expected).call(_of_contract(CONTRACTS[function].effect), View(NOW), *arguments)
    for key in dict.fromkeys((*step.state.writes, *expected.writes)):
        if key in INSIDE: continue
        if key in ROWS:
            ids = arbitrary((key,))
            same = equal(step.state.item(key, ids[0], ids[1]), expected.item(key, ids[0], ids[1]))
        else:
            ids = arbitrary((key.partition(".")[0],))
            same = equal(step.state.read(key, ids[0]), expected.read(key, ids[0]))
        yield Goal(f"effect on {key}", ids, True, same)
    for ledger in dict.fromkeys((*step.state.counts, *expected.counts)):
        if ledger in INSIDE_LEDGERS: continue
        counted = None if ledger in TOTALS else name("counted")
        same = equal(step.state.ledger(ledger, counted), expected.ledger(ledger, counted))
        yield Goal(f"effect on ledger {ledger}", () if counted is None else (counted,), True, same)


def prove_calls(step: Step, timeout: float, seed: int = 0) -> Iterator[Goal]:
    """Tries to prove that a step calls the allocator only where its contracts let it: what they require holds there,
    and so do the allocator's invariants.  Of each call, the contracts of those before it are taken for granted."""
    for number, agreement in enumerate(step.agreements):
        known = Known(step, timeout, seed, agreed=number)
        known.solver.suppose(agreement.condition)
        where = f"call {number + 1}, {agreement.function}"
        goals = [Goal(f"{where}: required", (), True, agreement.required)]
        for clause in (INVARIANTS[kept] for kept in KEPT):
            ids = arbitrary(clause.domain)
            before = instance(clause, *ids)
            now = evaluate(clause, step.state, *ids, moment=agreement.before, where=agreement.condition)
            if now is before: continue
            agreed = tuple(preservation.agreed(step, clause, ids, step.agreements[:number]))
            goals.append(Goal(f"{where}: {clause.name}", ids, before, now, agreed))
        for group in grouped([goal for goal in goals if goal.after is not True]):
            try_together(known, group)
            yield from group


__all__ = ["effects", "prove_calls", "prove_contract", "step_of"]
