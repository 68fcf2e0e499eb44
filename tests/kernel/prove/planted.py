"""Functions of the kernel with a mistake planted in them, as the prover sees them."""

from __future__ import annotations

import ast

import pytest

from kernel.prove import source
from kernel.prove.source import Function
from kernel.prove.steps import transitions


def plant(monkeypatch: pytest.MonkeyPatch, module: str, function: str, right: str, wrong: str) -> None:
    """Replaces a text in a function's source, which must be there once, for the prover alone."""
    found = source.module(module).functions
    text = ast.unparse(found[function].tree)
    assert text.count(right) == 1, text
    tree = ast.parse(text.replace(right, wrong)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    planted = Function(module, function, tree)
    monkeypatch.setitem(found, function, planted)
    if function in transitions(): monkeypatch.setitem(transitions(), function, planted)
