"""A pytest plugin that writes down which tests there are, for ``runner`` to run them: loaded as ``-p collection``.

The file that COLLECT names becomes {node id: [file, function, {argument: which of its values}]}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

COLLECT: Final = "AEROSTAT_MUTATION_COLLECT"


def places(item: pytest.Function) -> dict[str, int]:
    """Of each argument that a mark gives values, which of them the test has."""
    found: dict[str, int] = {}
    for mark in item.own_markers:
        if mark.name != "parametrize": continue
        names, values = mark.args[:2]
        names = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
        mine = [item.callspec.params[name] for name in names]
        for n, value in enumerate(values):
            parts = value.values if isinstance(value, type(pytest.param())) else value
            parts = list(parts) if len(names) > 1 else [parts]
            if all(one is other or one == other for one, other in zip(mine, parts, strict=True)):
                found |= dict.fromkeys(names, n)
                break
        else: raise LookupError(f"{item.nodeid} has values that its marks do not give")
    return found


def pytest_collection_finish(session: pytest.Session) -> None:
    """At the end of collection."""
    if COLLECT not in os.environ: return
    found: dict[str, tuple[str, str, dict[str, int]]] = {}
    for item in session.items:
        assert isinstance(item, pytest.Function)
        if item.get_closest_marker("skip"): continue  # a test of an empty list
        file = item.path.relative_to(session.config.rootpath)
        found[item.nodeid] = str(file), item.originalname, places(item)
    Path(os.environ[COLLECT]).write_text(json.dumps(found), encoding="utf-8")
