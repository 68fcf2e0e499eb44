"""Files of invariants: Python modules in which functions are decorated with ``@invariant``."""

from __future__ import annotations

import os
import sys
import traceback
from types import ModuleType

from aerostat.invariants.clause import Clause


class InvariantFileError(Exception):
    """A file of invariants that cannot be used; the text names file and line."""


def error_in(error: BaseException, path: str) -> str:
    """An exception in a sentence: the last line that it came by in ``path``, or beside it, then what it says."""
    what = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    # The name that Python gives with an exception of ours includes its module, which says nothing to who reads this.
    head, colon, rest = what.partition(":")
    what = head.rsplit(".", 1)[-1] + colon + rest
    name = os.path.basename(path)
    if isinstance(error, SyntaxError) and error.filename == path: return f"{name}:{error.lineno}: {error.msg}"
    directory = os.path.dirname(path)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if os.path.dirname(frame.filename) == directory]
    if not lines: return what
    last = lines[-1]
    where = "" if last.name == "<module>" else f", in {last.name}"
    return f"{os.path.basename(last.filename)}:{last.lineno}{where}: {what}"


def load(path: str) -> list[Clause]:
    """The invariants that a file defines, in order.  The file is run as a module; its directory is added to the end of
    Python's search path.  Raises InvariantFileError."""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise InvariantFileError(f"{path}: cannot be read: {error.strerror}") from None
    module = ModuleType(f"aerostat_invariants_{os.path.basename(path).removesuffix('.py')}")
    module.__file__ = path
    directory = os.path.dirname(os.path.abspath(path))
    if directory not in sys.path: sys.path.append(directory)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InvariantFileError(f"{os.path.dirname(path) or '.'}/{error_in(error, path)}") from None
    clauses = [value for value in vars(module).values() if isinstance(value, Clause)]
    if not clauses: raise InvariantFileError(f"{path}: defines no invariant: decorate a function with @invariant")
    return clauses


def load_all(paths: list[str]) -> list[Clause]:
    """The invariants of several files.  InvariantFileError, also where two have one name."""
    found: dict[str, Clause] = {}
    for path in paths:
        for clause in load(path):
            other = found.setdefault(clause.name, clause)
            if other is not clause:
                raise InvariantFileError(f"{path}: {clause.name} is defined at {other.place} and at {clause.place}")
    return list(found.values())


__all__ = ["InvariantFileError", "error_in", "load", "load_all"]
