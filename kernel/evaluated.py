"""What ``kernel.evaluation`` writes, as functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, Final

from kernel.cache import cached_code
from kernel.objects import Kernel, Object
from kernel.written import Tally, Written

_FOLDER: Final = os.path.dirname(os.path.abspath(__file__))
_WRITTEN_FROM: Final = ("evaluation.py", "touched.py", "ledgers.py", "fields.py", "written.py")
"""Besides the objects and the invariants."""

Broken = tuple[str, tuple[int, ...]]
"""The name of a clause that does not hold, and the ids it does not hold for."""


def _sources() -> Iterator[str]:
    for name in _WRITTEN_FROM: yield os.path.join(_FOLDER, name)
    for folder in ("objects", "invariants"):
        for name in sorted(os.listdir(os.path.join(_FOLDER, folder))):
            if name.endswith(".py"): yield os.path.join(_FOLDER, folder, name)


def _make() -> CodeType:
    from kernel.evaluation import source  # what it takes to write is needed only when something has changed

    return compile(source(), "<kernel.evaluated>", "exec", dont_inherit=True)


_made: Final[dict[str, Any]] = {"__name__": __name__}
exec(cached_code("evaluated", _sources(), _make), _made)
copy: Final[Callable[[int, Object, Object], None]] = _made["copy"]
"""Makes an old object, of the table with this number, what the live one is."""
evaluate: Final[Callable[[Kernel, list[Written], Tally], Broken | None]] = _made["evaluate"]
"""Brings the ledgers up to date with the written objects, and evaluates the clauses that the writes can have broken.
Returns the first that does not hold."""

__all__ = ["Broken", "copy", "evaluate"]
