"""Code that is made from sources, kept until one of them changes."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable, Iterable
from types import CodeType

write_always = False
"""Write caches even where Python is told to write no bytecode."""


def cached_code(name: str, sources: Iterable[str], make: Callable[[], CodeType]) -> CodeType:
    """The code that ``make`` returned for these source files as they are; ``name`` is that of its file in
    ``__pycache__``."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__")
    path = os.path.join(folder, f"{name}.{sys.implementation.cache_tag}.made")
    found = [os.stat(source) for source in sources]
    stamp = b"".join(n.to_bytes(8, "little") for source in found for n in (source.st_mtime_ns, source.st_size))
    try:
        with open(path, "rb") as file:
            if file.read(len(stamp)) == stamp:
                code = marshal.loads(file.read())
                if isinstance(code, CodeType): return code
    except (OSError, ValueError, EOFError, TypeError):
        pass  # no cache, or a damaged one
    made = make()
    if write_always or not sys.dont_write_bytecode:
        staged = f"{path}.{os.getpid()}"
        try:
            os.makedirs(folder, exist_ok=True)
            with open(staged, "wb") as file: file.write(stamp + marshal.dumps(made))
            os.replace(staged, path)
        except OSError:
            pass  # a read-only installation works, only slower to start
    return made


__all__ = ["cached_code"]
