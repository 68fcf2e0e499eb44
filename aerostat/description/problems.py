"""What is wrong with a description of a machine: each problem with the place it is at."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aerostat.description.toml_lines import Path


class Problem(NamedTuple):
    """``where`` leads to the value that is wrong, such as ("container", "a", "memory")."""

    where: Path
    text: str


@dataclass(frozen=True)
class Source:
    """The file that a description was read from."""

    path: str
    lines: Mapping[Path, int] = field(default_factory=dict, repr=False)

    def place(self, where: Path) -> str:
        """``FILE:LINE``: of the value, or of the innermost table around it that the file has."""
        while where and where not in self.lines:
            where = where[:-1]
        return f"{self.path}:{self.lines.get(where, 1)}"


class DescriptionError(ValueError):
    """A description that no machine can be made of.  ``problems`` has all that was found, in the file's order; the text
    has a line for each, with file and line where it came from a file."""

    def __init__(self, problems: Iterable[Problem], source: Source | None = None) -> None:
        def order(problem: Problem) -> int:
            return int(source.place(problem.where).rpartition(":")[2]) if source is not None else 0

        self.problems = sorted(problems, key=order)
        self.source = source
        super().__init__("\n".join(map(self._line, self.problems)))

    def _line(self, problem: Problem) -> str:
        name = ".".join(map(str, problem.where))
        told = f"{name}: {problem.text}" if name else problem.text
        return f"{self.source.place(problem.where)}: {told}" if self.source is not None else told


def suggestion(name: str, known: Iterable[str], what: str) -> str:
    """What to write instead of an unknown name: the nearest one, or all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near: return f"did you mean {near[0]!r}?"
    return f"{what} are: {', '.join(names)}" if names else "none is described"


__all__ = ["DescriptionError", "Problem", "Source", "suggestion"]
