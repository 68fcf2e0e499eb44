"""On which line of a TOML file each table, key and array item is: what tomllib does not tell.

The text is known to be valid, so finding the extents of keys and values is enough; what a key says is left to tomllib.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from typing import Final

Path = tuple[str | int, ...]
"""The keys, and indices into arrays, that lead to a value."""

_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_\-]|[ \t]*\.[ \t]*)+""")
_STRING: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?:""?(?!"))?|\'\'\'.*?\'\'\'(?:''?(?!'))?|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''', re.DOTALL
)
_BARE: Final = re.compile(r"[^,\]}#\n]*")


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.newlines = [m.start() for m in re.finditer("\n", text)]
        self.lines: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        """By arrays of tables: how many tables they have so far."""

    def note(self, path: Path, at: int) -> None:
        self.lines.setdefault(path, bisect.bisect_left(self.newlines, at) + 1)

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found is not None, self.at
        self.at = found.end()
        return found.group()

    def see(self, mark: str) -> bool:
        """Goes beyond white space, and this mark if it is next."""
        self.skip(_SPACE)
        if not self.text.startswith(mark, self.at): return False
        self.at += len(mark)
        return True

    def key(self) -> list[str]:
        """The parts of a dotted key."""
        table = tomllib.loads(f"{self.skip(_KEY)} = 0")
        parts: list[str] = []
        while isinstance(table, dict):
            ((part, table),) = table.items()
            parts.append(part)
        return parts

    def document(self) -> None:
        path: Path = ()
        self.skip(_SPACE)
        while self.at < len(self.text):
            start = self.at
            if self.see("["):
                array = self.see("[")
                self.skip(_SPACE)
                path = self.header(self.key(), array, start)
                self.see("]")
                if array: self.see("]")
            else:
                self.pair(path)
            self.skip(_SPACE)

    def header(self, parts: list[str], array: bool, at: int) -> Path:
        """The path of the table that a header begins."""
        path: Path = ()
        for i, part in enumerate(parts):
            path += (part,)
            if array and i == len(parts) - 1: self.counts[path] = self.counts.get(path, 0) + 1
            self.note(path, at)
            if path in self.counts:
                path += (self.counts[path] - 1,)
                self.note(path, at)
        return path

    def pair(self, path: Path) -> None:
        start = self.at
        for part in self.key():
            path += (part,)
            self.note(path, start)
        self.see("=")
        self.skip(_SPACE)
        self.value(path)

    def value(self, path: Path) -> None:
        if self.see("["):
            index = 0
            while not self.see("]"):
                self.note((*path, index), self.at)
                self.value((*path, index))
                self.see(",")
                index += 1
        elif self.see("{"):
            while not self.see("}"):
                self.pair(path)
                self.see(",")
        elif self.text[self.at] in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_BARE)


def line_numbers(text: str) -> dict[Path, int]:
    """The line, from 1, of each table, key and array item of a valid TOML text, by its path.  A key is where it is
    first named, an item of an array where it begins."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


__all__ = ["Path", "line_numbers"]
