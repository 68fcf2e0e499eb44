"""The transitions again, with each store preceded by a record of what it overwrites.

``kernel.journaled.thread`` is the source of ``kernel.thread``, unedited, compiled with one addition (``rewrite.py``):
before ``X.field = v`` it runs ``k.log((X, "field", X.field))``, and before ``X.row[i] = v``
``k.log((X, "row", i, X.row[i]))``.  Doing it to the source costs 60 to 80 ns a store; a ``__setattr__`` that does the
same costs 300.

What the journal then tells, nothing else has to: which bytes of the page tables to write and which translations to
drop (``hv.effects``), which invariants can have broken (``kernel.check``), and what the state was before.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Final

TRANSITIONS: Final = (
    "page_allocator", "page_table", "sharing", "scheduler", "handles", "endpoint", "device", "passing", "message",
    "thread", "process", "container",
)  # fmt: skip
"""The modules of ``kernel`` that hold transitions."""

write_caches = False
"""Write the caches even where Python is told to write no bytecode: for ``python -m kernel.journaled``."""

_HERE = os.path.dirname(os.path.abspath(__file__))
_REWRITE = os.path.join(_HERE, "rewrite.py")


class _Loader(SourceFileLoader):
    """Compiles a transition module's source with its stores logged; the result is cached beside the ordinary one."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        cache = os.path.join(_HERE, "__pycache__", f"{fullname}.{sys.implementation.cache_tag}.journaled")
        source, rewrite = os.stat(path), os.stat(_REWRITE)
        stamp = b"".join(n.to_bytes(8, "little") for n in (source.st_mtime_ns, source.st_size, rewrite.st_mtime_ns))
        try:
            with open(cache, "rb") as file:
                if file.read(len(stamp)) == stamp:
                    code = marshal.loads(file.read())
                    if isinstance(code, CodeType): return code
        except (OSError, ValueError, EOFError, TypeError):
            pass  # no cache, or a damaged one
        from kernel.journaled.rewrite import journaled_source  # imports ast: only when something has changed

        with open(path, encoding="utf-8") as file_text:
            made: CodeType = compile(journaled_source(file_text.read(), path), path, "exec", dont_inherit=True)
        if write_caches or not sys.dont_write_bytecode:
            try:
                os.makedirs(os.path.dirname(cache), exist_ok=True)
                self.set_data(cache, stamp + marshal.dumps(made))
            except OSError:
                pass  # a read-only installation works, only slower to start
        return made


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
    sys.meta_path.insert(0, _Finder)
