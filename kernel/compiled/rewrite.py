"""The kernel's sources as mypyc is given them: the same functions, in the forms that it makes plain calls of.

A decorated function is called through its Python object, so that ``@invariant("thread")`` becomes a call after the
function.  The fields that a specification names are looked up here, once.  Transitions are given with their stores
journalled.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from kernel.fields import BITS, NUMBERS, field_set
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


class _FieldSets(ast.NodeTransformer):
    """Makes ``f.may("thread", t, "state", *FIELDS)`` a call of ``may_set`` with the table's number and the set, and
    ``f.may_item("process", s, "threads", i)`` one of ``may_set_item``."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if not (isinstance(node.func, ast.Attribute) and node.func.attr in ("may", "may_item")): return node
        table, id, *given = node.args
        # Where a name says which they are, that is known only at run time.
        if not isinstance(table, ast.Constant): return node
        name = ast.literal_eval(table)
        if node.func.attr == "may_item":
            if not isinstance(given[0], ast.Constant): return node
            bit = ast.Constant(BITS[name][ast.literal_eval(given[0])])
            node.func.attr = "may_set_item"
            return ast.Call(node.func, [ast.Constant(NUMBERS[name]), id, given[0], bit, given[1]], [])
        if any(isinstance(field, ast.Name) for field in given): return node
        fields: list[str] = []
        for field in given:
            if isinstance(field, ast.Starred): fields += self.names[ast.unparse(field.value)]
            else: fields.append(ast.literal_eval(field))
        node.func.attr = "may_set"
        return ast.Call(node.func, [ast.Constant(NUMBERS[name]), id, ast.Constant(field_set(name, tuple(fields)))], [])


def invariants(source: str, path: str) -> str:
    """The text of a module of invariants with registering decorators called after the functions."""
    return ast.unparse(ast.fix_missing_locations(_Undecorated().visit(ast.parse(source, path))))


def specifications(source: str, path: str, names: Mapping[str, Any]) -> str:
    """The text of a module of specifications, whose names have these values, likewise, and with sets of fields."""
    tree = _FieldSets(names).visit(_Undecorated().visit(ast.parse(source, path)))
    return ast.unparse(ast.fix_missing_locations(tree))


BASES = {
    "ThreadCalls": ("processes", "ProcessCalls"), "ProcessCalls": ("containers", "ContainerCalls"),
    "ContainerCalls": ("devices", "DeviceCalls"), "System": ("threads", "ThreadCalls"),
}  # fmt: skip
"""Of which classes of calls others are derived, and in which modules these are, where it is not as in the source: one
of another, as the bases of System follow each other there."""


class _Calls(ast.NodeTransformer):
    """Takes the journalled transitions where a condition offers others to who reads the source, and derives one class
    of the next: objects of a class with several bases are to mypyc like any of Python's."""

    def visit_If(self, node: ast.If) -> ast.If | list[ast.stmt]:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"): return node
        return node.orelse

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if node.name in BASES: node.bases = [ast.Name(BASES[node.name][1], ast.Load())]
        return node


def calls(source: str, path: str) -> str:
    """The text of a module of calls."""
    tree = ast.parse(source, path)
    imports = [
        f"from kernel.calls.{module} import {base}" for name, (module, base) in BASES.items()
        if any(isinstance(node, ast.ClassDef) and node.name == name for node in tree.body)
    ]  # fmt: skip
    return _importing("\n".join(imports), _Calls().visit(tree))


def _importing(names: str, tree: ast.Module) -> str:
    """The text of a module that imports these as well."""
    first = next(i for i, statement in enumerate(tree.body) if isinstance(statement, ast.ImportFrom))
    tree.body[first + 1 : first + 1] = ast.parse(names).body
    return ast.unparse(ast.fix_missing_locations(tree))


class _Journal(ast.NodeTransformer):
    """Does in place what ``k.log((X, "field", X.field))`` and ``k.log((X, "row", i, X.row[i]))`` do: the record of an
    object that was written before is at hand, and the bit of the field known."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | list[ast.stmt]:
        if not (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "k.log"): return node
        entry = node.value.args[0]
        assert isinstance(entry, ast.Tuple)
        object, field = ast.unparse(entry.elts[0]), ast.literal_eval(entry.elts[1])
        lines = [f"_w = {object}.written", f"if _w is None: _w = k.journal.record({object}, {object}.number)"]
        if len(entry.elts) == 3: lines.append(f"_w.fields |= {object}.wrote_{field}")
        else:
            index, before = ast.unparse(entry.elts[2]), ast.unparse(entry.elts[3])
            lines.append(f"k.journal.keep(_w, {field!r}, {object}.wrote_{field}, {index}, {before})")
        return ast.parse("\n".join(lines)).body


def journaled(source: str, path: str) -> str:
    """The text of a transition module with its stores logged."""
    return ast.unparse(ast.fix_missing_locations(_Journal().visit(journaled_source(source, path))))


class _Bits(ast.NodeTransformer):
    """Gives classes of kernel objects their number and the bit of each field, as constants."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "table_name":
                assert statement.value is not None
                table = ast.literal_eval(statement.value)
                constants = {"number": NUMBERS[table], **{f"wrote_{field}": bit for field, bit in BITS[table].items()}}
                node.body += ast.parse("\n".join(f"{name}: Final = {value}" for name, value in constants.items())).body
                break
        return node


def objects(source: str, path: str) -> str:
    """The text of a module of kernel objects with the bits of their fields."""
    return _importing("from typing import Final", _Bits().visit(ast.parse(source, path)))


__all__ = ["calls", "invariants", "journaled", "objects", "specifications"]
