"""Each way that a specification can hold is one in which some call ends: none says something of nothing.

A way is a return, other than of False, of a specification or of a part that it is made of: the scenarios have to reach
each of them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import kernel
from tests.kernel.pure import with_sources
from tests.kernel.scenarios import CASES, Case

pytestmark = with_sources

SPECS = Path(kernel.__file__).parent / "specs"
Place = tuple[str, int, int]
"""File, line and column of an expression."""


@cache
def positions(code: CodeType) -> list[tuple[int | None, ...]]:
    """Where in its file each instruction comes from."""
    return list(code.co_positions())


def executed(cases: Sequence[Case]) -> set[Place]:
    """The expressions of specifications that are evaluated while calls are checked."""
    found: set[Place] = set()

    def trace(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if Path(file).parent != SPECS or file.endswith("frame.py"): return None
        frame.f_trace_opcodes = True

        def inside(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
            if event == "opcode":
                line, _, column, _ = positions(frame.f_code)[frame.f_lasti // 2]
                if line is not None and column is not None: found.add((file, line, column))
            return inside

        return inside

    before = sys.gettrace()
    for case in cases:
        w, arguments = case.build("touched")
        sys.settrace(trace)
        try:
            w.call(case.transition, *arguments)
        finally:
            sys.settrace(before)
    return found


def ways() -> Iterator[tuple[str, set[Place]]]:
    """Each return by which a specification can hold: its place and text, and the expressions that it is made of."""
    for path in sorted(SPECS.glob("*.py")):
        if path.name in ("__init__.py", "frame.py"): continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Return) or node.value is None: continue
            if isinstance(node.value, ast.Constant) and node.value.value is False: continue
            parts = [part for part in ast.walk(node) if isinstance(part, ast.expr | ast.stmt)]
            places = {(str(path), part.lineno, part.col_offset) for part in parts}
            yield f"{path.name}:{node.lineno} {ast.unparse(node)}", places


def missed(cases: Sequence[Case]) -> list[str]:
    """The ways in which none of these calls ends."""
    found = executed(cases)
    return [text for text, parts in ways() if not parts & found]


def test_each_way_is_one_in_which_some_call_ends() -> None:
    assert missed(CASES) == []


def test_a_way_that_is_not_reached_is_seen() -> None:
    without = [case for case in CASES if case.outcome != "EPIPE"]
    assert any(text.endswith("return result == -EPIPE") for text in missed(without))
    assert len(missed([])) == len(list(ways())) > 300
