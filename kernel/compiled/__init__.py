"""The kernel compiled: where it is, and whether it is that of the sources as they are.

``python -m kernel.compiled.build`` compiles the modules that every system call goes through: objects, journalled
transitions, specifications, invariants and the check.  What is compiled is the same source (``build.py``); only the
containers of the state are written for it (``storage.py``).  ``kernel`` imports the result if the sources have not
changed since, and the sources themselves otherwise, or if AEROSTAT_PURE is 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from types import CodeType, FunctionType, ModuleType
from typing import Final

KERNEL: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder of the sources."""
FOLDER: Final = os.path.join(os.path.dirname(KERNEL), "build", "kernel")
"""Where the compiled kernel is."""
STAMP: Final = "stamp"
"""The file there that says what it was compiled from."""
GROUP: Final = "aerostat_kernel"
LIBRARY: Final = f"{GROUP}__mypyc"
"""The module that holds all code; the others are entrances to it."""
SUFFIX: Final = EXTENSION_SUFFIXES[0]


def stamp() -> str:
    """What tells these sources from others: the interpreter, and each file's size and time of change."""
    lines = [SUFFIX]
    root = os.path.dirname(KERNEL)
    for package in ("kernel", "abi"):
        for folder, folders, names in os.walk(os.path.join(root, package)):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                if not name.endswith(".py"): continue
                path = os.path.join(folder, name)
                found = os.stat(path)
                lines.append(f"{path[len(root) + 1 :]} {found.st_size} {found.st_mtime_ns}")
    return "\n".join(lines)


def current() -> bool:
    """Whether there is a compiled kernel, of the sources as they are."""
    try:
        with open(os.path.join(FOLDER, STAMP), encoding="utf-8") as file: return file.read() == stamp()
    except OSError:
        return False


class Finder:
    """Finds the compiled modules of the kernel."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("kernel.") and fullname != LIBRARY: return None
        file = os.path.join(FOLDER, *fullname.split(".")) + SUFFIX
        if not os.path.exists(file): return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, file))


def install() -> bool:
    """Has the compiled kernel imported from here on, if it is current and wanted.  Returns whether."""
    if os.environ.get("AEROSTAT_PURE") == "1" or not current(): return False
    sys.meta_path.insert(0, Finder)
    return True


def code_of(function: object) -> CodeType | None:
    """The code of a function of the kernel; for one that is compiled, what Python makes of its source."""
    if isinstance(function, FunctionType): return function.__code__
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", None)
    if not isinstance(module, str) or not module.startswith("kernel."): return None
    path = os.path.join(KERNEL, *module.split(".")[1:]) + ".py"
    if path not in _codes:
        with open(path, encoding="utf-8") as file: source = compile(file.read(), path, "exec", dont_inherit=True)
        _codes[path] = {code.co_name: code for code in source.co_consts if isinstance(code, CodeType)}
    return _codes[path].get(name or "")


_codes: dict[str, dict[str, CodeType]] = {}

__all__ = ["FOLDER", "GROUP", "KERNEL", "LIBRARY", "STAMP", "code_of", "current", "install", "stamp"]
