"""The kernel's sources as syntax trees: what a name in one of its modules stands for.

The trees are those of the files that run (``kernel/*.py``), whether or not the kernel is compiled.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
EVALUATED = ("kernel", "abi")
"""Packages whose functions are evaluated from their sources; of others, only constants are used."""


CONSULTED: Final[set[tuple[str, str]]] = set()
"""The names, by module, whose meaning was asked for: what a result depends on (kernel.prove.results)."""


_PLANTED: Final[dict[str, str]] = {}


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
        for node in ast.parse(self.text, str(self.path)).body:
            if isinstance(node, ast.FunctionDef):
                self.functions[node.name] = Function(name, node.name, node)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names: self.imported[alias.asname or alias.name] = (node.module, alias.name)

    def meaning(self, name: str) -> Any:
        """A Function, or what a name of the module is when it runs.  Raises KeyError if it is nothing."""
        CONSULTED.add((self.name, name))
        if name in self.functions: return self.functions[name]
        if name in self.imported:
            origin, original = self.imported[name]
            if origin.partition(".")[0] in EVALUATED and _is_module(origin):
                found = module(origin)
                if original in found.functions or original in found.imported: return found.meaning(original)
        values = vars(importlib.import_module(self.name))
        if name not in values: raise KeyError(f"{self.name} knows no {name}")
        return values[name]


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
    return module(module_name).functions[name]
