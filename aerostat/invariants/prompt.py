"""The Python prompt at which a machine stands still after a violation (``--on-violation repl``).

It runs on the core's own thread with the big lock held: nothing moves until it is left.  It reads standard input and
writes to standard error, since standard output is the program's.
"""

from __future__ import annotations

import code
import contextlib
import os
import sys
from typing import Any, Final

from aerostat.invariants.machine_view import MachineView
from aerostat.invariants.values import address_of, sizeof, type_of
from aerostat.invariants.violation import Violation

WELCOME: Final = """\
The machine stands still.  m is what the invariant was given, program and kernel are m's, violation is the report.
`continue` lets the program run on, `quit` ends it."""
GO_ON: Final = ("continue", "c")
LEAVE: Final = ("quit", "q", "exit", "quit()", "exit()")


class _Left(Exception):
    """The prompt was left; ``goes_on`` says how."""

    def __init__(self, goes_on: bool) -> None:
        super().__init__()
        self.goes_on = goes_on


class _Console(code.InteractiveConsole):
    """Python's own, with two words that leave it."""

    def raw_input(self, prompt: str = "") -> str:
        line = self._line(prompt)
        if line.strip() in GO_ON: raise _Left(True)
        if line.strip() in LEAVE: raise _Left(False)
        return line

    def _line(self, prompt: str) -> str:
        if _terminal():
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  (input() edits lines by it)
            return input(prompt)
        self.write(prompt)
        # Byte by byte: what follows the line may be the program's, which reads the same descriptor.
        found = b""
        while not found.endswith(b"\n"):
            byte = os.read(0, 1)
            if not byte: break
            found += byte
        if not found: raise EOFError
        return found.decode("utf-8", "replace").rstrip("\r\n")

    def write(self, data: str) -> None:
        print(data, end="", file=sys.stderr, flush=True)


def _terminal() -> bool:
    return os.isatty(0) and os.isatty(1)


def ask(violation: Violation, m: MachineView) -> bool:
    """Shows a violation and takes commands; True if the program is to run on."""
    names: dict[str, Any] = {
        "m": m, "kernel": m.kernel, "violation": violation, "address_of": address_of, "sizeof": sizeof,
        "type_of": type_of,
    }  # fmt: skip
    with contextlib.suppress(AttributeError): names["program"] = m.program
    console = _Console(names, "<prompt>")
    shown = sys.displayhook
    sys.displayhook = _display
    try:
        console.interact(f"aerostat: {violation}\n{WELCOME}", exitmsg="")
    except _Left as left:
        return left.goes_on
    finally:
        sys.displayhook = shown
    return False


def _display(value: object) -> None:
    """A value on standard error, as the prompt itself."""
    if value is not None: print(repr(value), file=sys.stderr, flush=True)


__all__ = ["ask"]
