"""The base case: the state that ``kernel.boot`` makes has every invariant, for any numbers of blocks and cores.

``begin`` is evaluated on a state in which everything is blank.  ``add_core``, which boot calls for each core, is
evaluated once, for an arbitrary one, and what it writes is written for all of them: it reads nothing, and each core has
objects, or items of a row, of its own to write.  Both of that is checked here, on what it wrote.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel.boot import ROOT
from kernel.invariants import INVARIANTS
from kernel.objects import CLASSES, fields_of
from kernel.prove import source
from kernel.prove.evaluator import NOW, Evaluation, View
from kernel.prove.facts import lemmas_in_order
from kernel.prove.goals import Goal, arbitrary
from kernel.prove.instances import evaluate, reads_of, substitute_integer
from kernel.prove.solver import REFUTED, Solver
from kernel.prove.state import ROWS, State, Write
from kernel.prove.terms import (
    Integer,
    Term,
    all_of,
    at_most,
    choice,
    equal,
    less,
    name,
    negate,
    show,
)  # fmt: skip

BLOCKS, CORES = name("blocks"), name("cores")


def blank() -> State:
    """A state in which every object is as ``Kernel()`` has it."""
    state = State()
    state.moment += 1
    for of in CLASSES:
        made = of(0)
        for field in fields_of(of):
            key = f"{of.table_name}.{field}"
            value = 0 if key in ROWS else int(getattr(made, field))
            state.writes[key] = [Write(state.moment, True, None, None, lambda id, index, value=value: value)]  # type: ignore[misc]
    return state


def booted() -> State:
    """The state after boot."""
    state = blank()
    Evaluation(state).call(source.function("kernel.boot", "begin"), View(NOW), BLOCKS, CORES)
    _for_each_core(state)
    return state


def _for_each_core(state: State) -> None:
    """Does what add_core does, for all cores from 0 to CORES - 1."""
    r = name("r")
    # On any state at all: what it read there would be seen in what it writes.
    one = State()
    Evaluation(one).call(source.function("kernel.boot", "add_core"), View(NOW), r)
    if one.counts: raise ValueError("add_core writes what ledgers follow")
    state.moment += 1
    for key, writes in one.writes.items():
        if len(writes) > 1: raise ValueError(f"add_core writes {key} twice")
        state.writes[key].append(_of_all_cores(state, key, writes[0], r))


def _of_all_cores(state: State, key: str, write: Write, r: Term) -> Write:
    """A write that is made for core r, as one for all cores."""
    by_row, moment = write.index is not None, state.moment
    own = write.index if by_row else write.id
    others = [write.id] if by_row else []
    value = write.value
    depends = [part for part in (*others, value) if isinstance(part, Term)]
    if write.condition is not True or own is not r or callable(value) or reads_of(depends) or r in others:
        raise ValueError(f"add_core's write to {key} is not one of its core's own, of a value known beforehand")

    def of_all(id: Integer, index: Integer) -> Integer:
        core = index if by_row else id
        its = substitute_integer(value, {r: core})
        within = all_of((at_most(0, core), less(core, CORES)))
        return choice(within, its, state.item(key, id, index, moment - 1) if by_row
                      else state.read(key, id, moment - 1))  # fmt: skip

    return Write(moment, True, write.id if by_row else None, None, of_all)


def prove(timeout: float, seed: int = 0) -> Iterator[Goal]:
    """Tries to prove of the boot state each invariant, and each lemma, which then holds of all that follow."""
    state = booted()
    for clause in (*INVARIANTS.values(), *lemmas_in_order()):
        ids = arbitrary(clause.domain)
        solver = Solver(timeout, seed)
        for truth in (at_most(1, BLOCKS), at_most(1, CORES), equal(name("root"), ROOT)): solver.suppose(truth)
        held = evaluate(clause, state, *ids)
        for term in (*reads_of([held]), *reads_of(state.definitions())):
            # All fields were written, so what is read of the state before is ledgers: nothing was counted yet.
            if not str(term.args[0]).startswith("ledger."): raise ValueError(f"boot reads {show(term)}, of no state")
            solver.suppose(equal(term, 0))
        for truth in state.definitions(): solver.suppose(truth)
        solver.suppose(negate(held))
        goal = Goal(clause.name, ids, True, held, status=solver.consistent())
        if goal.status == REFUTED:
            values = solver.values([BLOCKS, CORES, *(id for id in ids if isinstance(id, Term))])
            lines = [f"boot(blocks={values[BLOCKS]}, cores={values[CORES]})"]
            lines += [f"  {show(term)} = {value}" for term, value in values.items() if term not in (BLOCKS, CORES)]
            goal.counterexample = "\n".join([*lines, f"  fails: {show(held, 8)}"])
        yield goal


__all__ = ["blank", "booted", "prove"]
