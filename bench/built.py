"""The programs that benchmarks run, and the command they start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
USERLAND: Final = ROOT / "build" / "userland"


def built(name: str) -> str:
    """The path of a program that ``make`` builds, such as "bench/calls".  SystemExit, with what to do, if it is not
    there."""
    path = USERLAND / name
    if not path.exists(): raise SystemExit(f"{path} is not built: run `make`")
    return str(path)


def aerostat_command() -> list[str]:
    """How the command is started: the installed script beside this Python if there is one, else the module."""
    script = Path(sys.executable).with_name("aerostat")
    return [str(script)] if script.exists() else [sys.executable, "-m", "aerostat"]


def environment() -> dict[str, str]:
    """For processes that are started: the checkout is importable whatever the current directory is."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


__all__ = ["ROOT", "aerostat_command", "built", "environment"]
