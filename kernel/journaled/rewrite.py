"""Puts a record before each store of a transition module.

The kernel's style makes it exact: a transition takes the state as ``k`` and stores only to a field, or to an item of a
row field, of an object bound to a plain name; anything else is refused here with its line.
"""

from __future__ import annotations

import ast

from kernel.journaled import TRANSITIONS


class NotJournalable(SyntaxError):
    """A store that the journal could not record: not of the forms ``X.field = v`` and ``X.row[i] = v``."""


class _Journal(ast.NodeTransformer):
    """Puts a ``k.log(...)`` before each store, and redirects imports between transition modules to their twins."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        package, _, module = (node.module or "").partition(".")
        if package == "kernel" and module in TRANSITIONS:
            node.module = f"kernel.journaled.{module}"
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        if all(isinstance(target, ast.Name) for target in node.targets): return node
        if len(node.targets) != 1: raise self._refusal(node)
        return self._logged(node, node.targets[0])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        return node if isinstance(node.target, ast.Name) else self._logged(node, node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if isinstance(node.target, ast.Name): return node
        raise self._refusal(node)

    def visit_Delete(self, node: ast.Delete) -> ast.AST:
        raise self._refusal(node)

    def _logged(self, store: ast.stmt, target: ast.expr) -> list[ast.stmt]:
        row = target.value if isinstance(target, ast.Subscript) else target
        if not (isinstance(row, ast.Attribute) and isinstance(row.value, ast.Name)): raise self._refusal(store)
        parts: list[ast.expr] = [ast.Name(row.value.id, ast.Load()), ast.Constant(row.attr)]
        if isinstance(target, ast.Subscript): parts.append(target.slice)
        old = ast.parse(ast.unparse(target), mode="eval").body
        log = ast.Attribute(ast.Name("k", ast.Load()), "log", ast.Load())
        call = ast.Expr(ast.Call(log, [ast.Tuple([*parts, old], ast.Load())], []))
        return [ast.fix_missing_locations(ast.copy_location(call, store)), store]

    @staticmethod
    def _refusal(node: ast.stmt) -> NotJournalable:
        wrong = ast.unparse(node)
        return NotJournalable(f"line {node.lineno}: `{wrong}` is not of the form X.field = v or X.row[i] = v")


def journaled_source(source: str, path: str) -> ast.Module:
    """The syntax tree of a transition module with its stores logged.  Raises NotJournalable, naming the line."""
    tree = _Journal().visit(ast.parse(source, path))
    assert isinstance(tree, ast.Module)
    return ast.fix_missing_locations(tree)
