"""``python -m tests.kernel.mutate``: every small change of the transitions' source, one at a time.

Each store is left out, and made with another value; each condition is made true, and false; each constant is one more,
and one less; each call whose result nobody takes is left out.  Whatever makes a transition do something else must be
caught by the check of that very step.  What is not is printed, with what the audit says to the state after it, and the
exit status is 1; harmless changes are known by name below.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator

from kernel.audit import audit
from kernel.journaled import TRANSITIONS as MODULES
from tests.kernel.mutants import first_difference, source, transitions_of

Change = Callable[[ast.AST], ast.AST | None]

HARMLESS = {
    # What is left above a stack's height, or in a slot that is not on one, means nothing.
    "m.free_stack[n] = 0", "m.partial_stack[n] = 0", "m.partial_giant_stack[n] = 0", "B.stack[n] = 0",
    "G.stack[n] = 0", "S.threads[n] = 0", "S.handle_stack[n] = 0",
    "S.handle_position[slot] = 0",
    # Another page, block or slot that is free does as well.
    "if n == 0:",
}  # fmt: skip
"""Lines whose change may go unseen."""


def _stores(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)


def _left_out(node: ast.AST) -> ast.AST | None:
    dropped = _stores(node) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    return ast.Pass() if dropped else None


def _other_value(node: ast.AST) -> ast.AST | None:
    if not _stores(node): return None
    assert isinstance(node, ast.Assign)
    return ast.Assign(node.targets, ast.BinOp(node.value, ast.Add(), ast.Constant(1)))


def _constant(by: int) -> Change:
    def change(node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, int): return None
        return ast.Constant(node.value + by)

    return change


def _condition(value: bool) -> Change:
    def change(node: ast.AST) -> ast.AST | None:
        return ast.If(ast.Constant(value), node.body, node.orelse) if isinstance(node, ast.If) else None

    return change


CHANGES: dict[str, Change] = {
    "left out": _left_out, "other value": _other_value, "one more": _constant(1), "one less": _constant(-1),
    "always": _condition(True), "never": _condition(False),
}  # fmt: skip


class _One(ast.NodeTransformer):
    """Changes the node that comes ``which``-th among those that ``change`` applies to."""

    def __init__(self, change: Change, which: int) -> None:
        self.change = change
        self.left = which
        self.line = 0

    def visit(self, node: ast.AST) -> ast.AST:
        changed = self.change(node)
        if changed is not None:
            if self.left == 0 and self.line == 0:
                self.line = getattr(node, "lineno", 0)
                return ast.copy_location(changed, node)
            self.left -= 1
        self.generic_visit(node)
        return node


def changed_sources(module: str, change: Change) -> Iterator[tuple[int, str]]:
    """The module with each change of this kind: the line, and the source."""
    which = 0
    while True:
        one = _One(change, which)
        tree = one.visit(ast.parse(source(module)))
        if one.line == 0: return
        yield one.line, ast.unparse(ast.fix_missing_locations(tree))
        which += 1


def main() -> int:
    """Tries every change.  Returns 1 if one went unseen."""
    caught = same = harmless = 0
    unseen = []
    for module in MODULES:
        lines = source(module).splitlines()
        for kind, change in CHANGES.items():
            for line, text in changed_sources(module, change):
                code = lines[line - 1].strip()
                try:
                    found = first_difference(transitions_of({module: text}), range(3))
                except (ArithmeticError, LookupError, RecursionError) as error:
                    found, kind_of_error = None, type(error).__name__
                    print(f"{module}.py:{line} {kind}: {code}: raises {kind_of_error}", flush=True)
                if found is None: same += 1
                elif found[1]: caught += 1
                elif code in HARMLESS: harmless += 1
                else:
                    found[0].ledger = None
                    damage = ", ".join(sorted({failure.name for failure in audit(found[0])[1]})) or "nothing"
                    unseen.append(f"{module}.py:{line} {kind}: {code} (the audit: {damage})")
                    print(unseen[-1], flush=True)
    print(f"{caught} changes caught, {len(unseen)} unseen, {harmless} known to be harmless, {same} without effect")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
