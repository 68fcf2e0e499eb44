"""Cases: lists of actions in text files, one action a line, that a test does again and again.

The first line is the machine: ``kernel BLOCKS CORES PAGES [SCENE]``; what follows # is for readers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.kernel.fuzz.run import Action, Run, Shape
from tests.kernel.world import Transition

FOLDER: Final = Path(__file__).parent / "cases"


def text_of(shape: Shape, actions: Iterable[Action], about: str = "") -> str:
    """A case as it is kept."""
    lines = [f"# {line}" for line in about.splitlines()]
    lines.append(" ".join(map(str, ("kernel", *shape))).strip())
    lines += [" ".join(_word(value) for value in action) for action in actions]
    return "\n".join(lines) + "\n"


def _word(value: str | int) -> str:
    if isinstance(value, str): return value
    return str(value) if -4096 < value < 4096 else f"{value:#x}"


def _value(word: str) -> str | int:
    return int(word, 0) if word.lstrip("-")[:1].isdigit() else word


def read(text: str) -> tuple[Shape, list[Action]]:
    """The machine and the actions of a case.  ValueError for one without a machine."""
    lines = [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
    if not lines or lines[0][0] != "kernel" or len(lines[0]) not in (4, 5):
        raise ValueError("a case begins with: kernel BLOCKS CORES PAGES [SCENE]")
    blocks, cores, pages = map(int, lines[0][1:4])
    scene = lines[0][4] if len(lines[0]) == 5 else ""
    return (blocks, cores, pages, scene), [(words[0], *map(_value, words[1:])) for words in lines[1:]]


def replay(
    shape: Shape, actions: Iterable[Action], level: str = "full", planted: dict[str, Transition] | None = None
) -> Run:
    """Does the actions in a new machine, and ends everything.  Raises what they raise."""
    run = Run(*shape, level=level, planted=planted)
    for action in actions:
        run.do(action)
    run.finish()
    return run


__all__ = ["FOLDER", "read", "replay", "text_of"]
