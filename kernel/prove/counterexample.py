"""What a solver found against a goal, in words: arguments, what the goal reads, and the part of it that fails."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.prove.instances import reads_of
from kernel.prove.solver import Solver
from kernel.prove.steps import Known
from kernel.prove.terms import ALL, NAME, Integer, Term, Truth, parts_of, show


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
    lines += [f"  fails: {show(truth, 5)}" for truth in wrong[:8]]
    return "\n".join(lines)
