"""The kernel's sources as syntax trees: what a name in one of its modules stands for.

The trees are those of the files that run (``kernel/*.py``), whether or not the kernel is compiled.
"""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
EVALUATED = ("kernel", "abi")
"""Packages whose functions are evaluated from their sources; of others, only constants are used."""


CONSULTED: Final[set[tuple[str, str]]] = set()
"""The names, by module, whose meaning was asked for: what a result depends on (kernel.prove.results)."""


_PLANTED: Final[dict[str, str]] = {}
REGISTERING: Final = frozenset({"invariant", "lemma", "specification", "statement"})
"""Decorators that return the function they are given."""


class Unclear(ValueError):
    """What a name of a module stands for does not follow from one definition of it alone."""


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the kernel."""

    module: str
    name: str
    tree: ast.FunctionDef

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters, in order."""
        return [argument.arg for argument in self.tree.args.args]

    @cached_property
    def locals(self) -> frozenset[str]:
        """The names that are its own variables: it assigns them somewhere, if not within a comprehension."""
        found = set(self.parameters)
        todo: list[ast.AST] = list(self.tree.body)
        while todo:
            node = todo.pop()
            if isinstance(node, ast.SetComp | ast.ListComp | ast.GeneratorExp | ast.DictComp): continue
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store): found.add(node.id)
            todo.extend(ast.iter_child_nodes(node))
        return frozenset(found)

    @property
    def lines(self) -> int:
        """Lines of code of it: without those that are blank, comments or documentation."""
        return len({node.lineno for node in ast.walk(self.tree) if hasattr(node, "lineno")} - _documentation(self.tree))


def _documentation(tree: ast.FunctionDef) -> set[int]:
    first = tree.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return set()


class Module:
    """A module's tree, and what its names stand for."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = ROOT.joinpath(*name.split("."))
        self.path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        self.text = _PLANTED.get(name) or self.path.read_text("utf-8")
        self.functions: dict[str, Function] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        body = ast.parse(self.text, str(self.path)).body
        self.bound = Counter(_bound(body))
        """How often the module binds each name."""
        for node in body:
            if isinstance(node, ast.FunctionDef):
                self.functions[node.name] = Function(name, node.name, node)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names: self.imported[alias.asname or alias.name] = (node.module, alias.name)

    def meaning(self, name: str) -> Any:
        """A Function, or what a name of the module is when it runs.  Raises KeyError if it is nothing, and Unclear if
        it is a function that runs otherwise than its definition says."""
        CONSULTED.add((self.name, name))
        if name in self.functions: return self.defined(name)
        if name in self.imported:
            origin, original = self.imported[name]
            if self.bound[name] > 1: raise Unclear(f"{self.name} binds {name} {self.bound[name]} times")
            if origin.partition(".")[0] in EVALUATED and _is_module(origin):
                found = module(origin)
                if original in found.functions or original in found.imported: return found.meaning(original)
        values = vars(importlib.import_module(self.name))
        if name not in values: raise KeyError(f"{self.name} knows no {name}")
        return values[name]


    def defined(self, name: str) -> Function:
        """A function that the module defines.  Raises Unclear if the name is bound again, or the function decorated by
        something that may change it."""
        found = self.functions[name]
        if self.bound[name] > 1: raise Unclear(f"{self.name} binds {name} {self.bound[name]} times")
        for decorator in found.tree.decorator_list:
            by = decorator.func if isinstance(decorator, ast.Call) else decorator
            if not (isinstance(by, ast.Name) and by.id in REGISTERING):
                raise Unclear(f"{self.name}: what @{ast.unparse(decorator)} makes of {name} is not known")
        return found


def _bound(statements: Iterable[ast.AST]) -> Iterator[str]:
    """The names that statements of a module bind, each as often as they do; functions and classes are not entered."""
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef): yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names: yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store): yield node.id
        elif not isinstance(node, ast.Lambda | ast.SetComp | ast.ListComp | ast.GeneratorExp | ast.DictComp):
            yield from _bound(ast.iter_child_nodes(node))


@cache
def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@cache
def module(name: str) -> Module:
    """The module of this name."""
    return Module(name)


def plant(name: str, text: str) -> None:
    """From here on this is the text of a module, to see what proofs say of it.  What was evaluated before of functions
    that the module has stays as it was: this is for the modules of transitions."""
    _PLANTED[name] = text
    module.cache_clear()


def function(module_name: str, name: str) -> Function:
    """A function of a module."""
    CONSULTED.add((module_name, name))
    return module(module_name).defined(name)
