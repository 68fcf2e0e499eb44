"""Paths of the host that a user names: programs, and where they may start."""

from __future__ import annotations

import os
from collections.abc import Sequence


def find_program(name: str) -> str | None:
    """The file that ``name`` is: itself if it has a slash, else found in PATH, else a file of the current directory."""
    if "/" in name: return name
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK): return path
    return name if os.path.exists(name) else None


def granted(directory: str, paths: Sequence[str]) -> bool:
    """A program can start in ``directory``: it is within one of the granted paths, or leads to one."""
    wanted = os.path.abspath(directory)
    return wanted == "/" or any(os.path.commonpath((wanted, path)) in (wanted, path)
                                for path in map(os.path.abspath, paths))  # fmt: skip


__all__ = ["find_program", "granted"]
