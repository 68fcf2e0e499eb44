"""The transitions again, with each store preceded by a record of what it overwrites.

``kernel.journaled.thread`` is the source of ``kernel.thread``, unedited, compiled with one addition (``rewrite.py``):
before ``X.field = v`` it runs ``k.log((X, "field", X.field))``, and before ``X.row[i] = v``
``k.log((X, "row", i, X.row[i]))``, which tells the journal (``kernel.journal``).  Where the kernel is compiled, what
that does is done in place (``kernel.compiled.rewrite``) and costs a few nanoseconds a store.

What the journal then tells, nothing else has to: which bytes of the page tables to write and which translations to
drop (``hv.effects``), which invariants can have broken (``kernel.check``), and what the state was before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Final

from kernel.cache import cached_code

TRANSITIONS: Final = (
    "page_allocator", "page_table", "sharing", "scheduler", "handles", "endpoint", "device", "passing", "message",
    "placement", "thread", "process", "container", "hosting",
)  # fmt: skip
"""The modules of ``kernel`` that hold transitions."""

_HERE = os.path.dirname(os.path.abspath(__file__))
_REWRITE = os.path.join(_HERE, "rewrite.py")


class _Loader(SourceFileLoader):
    """Compiles a transition module's source with its stores logged; the result is cached."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)

        def make() -> CodeType:
            from kernel.journaled.rewrite import journaled_source  # imports ast: only when something has changed

            with open(path, encoding="utf-8") as file:
                made: CodeType = compile(journaled_source(file.read(), path), path, "exec", dont_inherit=True)
            return made

        return cached_code(fullname, (path, _REWRITE), make)


class _Finder:
    """Finds ``kernel.journaled.X`` in the source file of ``kernel.X``."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = fullname.rpartition(".")
        if package != __name__ or module not in TRANSITIONS: return None
        source = os.path.join(os.path.dirname(_HERE), f"{module}.py")
        spec = ModuleSpec(fullname, _Loader(fullname, source), origin=source)
        spec.has_location = True
        return spec


if _Finder not in sys.meta_path:
    sys.meta_path.append(_Finder)
