"""What a solver found against a goal, in words: arguments, what the goal reads before the step, what the step writes,
before and after, and the part of the goal that fails."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.prove.instances import reads_of
from kernel.prove.solver import Solver
from kernel.prove.state import BEFORE, ROWS
from kernel.prove.steps import Known, parts
from kernel.prove.terms import ALL, NAME, Integer, Term, Truth, parts_of, show

MOST = 16
"""Lines of one kind in a counterexample."""


def failing(solver: Solver, truth: Truth) -> Iterator[Truth]:
    """The smallest parts of a truth that make it fail."""
    if isinstance(truth, bool) or solver.holds(truth): return
    if truth.op < ALL:
        yield truth
        return
    for part in truth.args: yield from failing(solver, part)


def describe(known: Known, goal: Truth, ids: tuple[Integer, ...]) -> str:
    """A counterexample as text: after the solver said that there is one."""
    solver = known.solver
    wrong = list(dict.fromkeys(failing(solver, goal)))
    meant = {its: term for term, its in known.step.state.names.items()}
    shown: dict[Term, None] = {}
    todo: list[object] = [*known.step.arguments, *ids, *wrong]
    while todo:
        term = todo.pop()
        if not isinstance(term, Term) or term in shown: continue
        if term.op == NAME: shown[term] = None
        if term in meant: todo.append(meant[term])
        todo.extend(parts_of(term))
    reads = list(dict.fromkeys([*shown, *reads_of([*wrong, *(meant[t] for t in shown if t in meant)])]))
    values = solver.values(reads)
    lines = [f"{known.step.name}({', '.join(f'{show(a)}={values[a]}' for a in known.step.arguments)})"]
    lines += [f"  {show(term)} = {value}" for term, value in sorted(values.items(), key=lambda pair: show(pair[0]))
              if term not in known.step.arguments]
    lines += [f"  {place}: {before} -> {after}" for place, before, after in changes(known)]
    if goal is False: lines.append("  fails, whatever else holds")
    for part in parts(goal) if isinstance(goal, Term) else ():
        leaves = [show(truth, 5) for truth in dict.fromkeys(failing(solver, part))][:MOST]
        if len(leaves) == 1: lines.append(f"  fails: {leaves[0]}")
        elif leaves: lines += ["  fails, as none of these holds:", *(f"    {leaf}" for leaf in leaves)]
    return "\n".join(lines)


def changes(known: Known) -> list[tuple[str, int, int]]:
    """What the step writes there: fields and items, with what they were before and are after."""
    solver, state = known.solver, known.step.state
    found: dict[str, tuple[Integer, Integer]] = {}
    for key, writes in state.writes.items():
        table, _, field = key.partition(".")
        for write in writes:
            if write.id is None or not solver.holds(write.condition) or (write.index is None and key in ROWS): continue
            id = write.id
            number, *index = [_value(solver, its) for its in (id, write.index) if its is not None]
            place = f"{table}[{number}].{field}{''.join(f'[{i}]' for i in index)}"
            if write.index is None: found[place] = state.read(key, id, BEFORE), state.read(key, id)
            else: found[place] = state.item(key, id, write.index, BEFORE), state.item(key, id, write.index)
    told = [(place, _value(solver, before), _value(solver, after)) for place, (before, after) in found.items()]
    return [change for change in told if change[1] != change[2]][:MOST]


def _value(solver: Solver, a: Integer) -> int:
    return solver.values([a])[a] if isinstance(a, Term) else a
