"""Every change that cosmic-ray's operators make to code that executes."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

Span = tuple[tuple[int, int], tuple[int, int]]
"""From (line, column) to (line, column)."""


@dataclass(frozen=True)
class Mutation:
    """The ``occurrence``-th change that an operator makes in a module."""

    module: str
    """Its path from the repository's root."""
    operator: str
    occurrence: int
    line: int
    identity: str
    """What tells it from others as long as its line and those like it stay: module, operator, the line's text, and a
    number among those alike."""


@cache
def operators() -> dict[str, Operator]:
    """All of cosmic-ray's operators that need no arguments, by name."""
    classes = {name: get_operator(name) for name in operator_names()}
    return {name: operator() for name, operator in classes.items() if not operator.arguments()}


def not_executed(source: str) -> list[Span]:
    """Annotations, which ``from __future__ import annotations`` makes text, and what is there for type checkers alone:
    no change of them can show."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            spans += [_span(child) for child in (node.test, *node.body)]
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(annotation, ast.AST): spans.append(_span(annotation))
    return spans


def _span(node: ast.AST) -> Span:
    place = vars(node)
    return (place["lineno"], place["col_offset"]), (place["end_lineno"], place["end_col_offset"])


def mutations(root: Path, modules: list[str]) -> Iterator[Mutation]:
    """All changes of these modules, in an order that depends on the source alone."""
    for module in modules:
        source = (root / module).read_text(encoding="utf-8")
        nodes, idle, lines = list(ast_nodes(get_ast(source))), not_executed(source), source.splitlines()
        alike: Counter[str] = Counter()
        for name, operator in operators().items():
            places = [place for node in nodes for place in operator.mutation_positions(node)]
            for occurrence, (start, _) in enumerate(places):
                if any(first <= start < last for first, last in idle): continue
                identity = f"{module} {name} {lines[start[0] - 1].strip()}"
                alike[identity] += 1
                yield Mutation(module, name, occurrence, start[0], f"{identity} {alike[identity]}")


def mutated(root: Path, mutation: Mutation) -> tuple[str, str, str]:
    """The module's source with the change, and the lines that differ, before and after.  SyntaxError if the result is
    no Python."""
    before = (root / mutation.module).read_text(encoding="utf-8")
    after = mutate_code(before, operators()[mutation.operator], mutation.occurrence)
    assert after is not None, mutation
    compile(after, mutation.module, "exec", dont_inherit=True)
    old, new = before.splitlines(), after.splitlines()
    if len(old) != len(new): return after, old[mutation.line - 1].strip(), new[mutation.line - 1].strip()
    pairs = [(one.strip(), other.strip()) for one, other in zip(old, new, strict=True) if one != other]
    return after, " / ".join(one for one, _ in pairs), " / ".join(other for _, other in pairs)


__all__ = ["Mutation", "mutated", "mutations", "not_executed", "operators"]
