"""The kernel's sources as mypyc is given them: the same functions, in the forms that it makes plain calls of.

A decorated function is called through its Python object, so that ``@invariant("thread")`` becomes a call after the
function; transitions are given with their stores journalled.
"""

from __future__ import annotations

import ast

from kernel.journaled.rewrite import journaled_source

REGISTERING = ("invariant", "specification")
"""Decorators that only note a function."""


class _Undecorated(ast.NodeTransformer):
    """Calls registering decorators after the functions instead."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> list[ast.stmt]:
        noted: list[ast.stmt] = []
        kept: list[ast.expr] = []
        for decorator in node.decorator_list:
            name = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(name, ast.Name) and name.id in REGISTERING:
                noted.append(ast.Expr(ast.Call(decorator, [ast.Name(node.name, ast.Load())], [])))
            else:
                kept.append(decorator)
        node.decorator_list = kept
        return [node, *noted]


def undecorated(source: str, path: str) -> str:
    """The text of a module with registering decorators called after the functions."""
    tree = _Undecorated().visit(ast.parse(source, path))
    return ast.unparse(ast.fix_missing_locations(tree))


def journaled(source: str, path: str) -> str:
    """The text of a transition module with its stores logged."""
    return ast.unparse(journaled_source(source, path))


__all__ = ["journaled", "undecorated"]
