"""Lines of code, counted by one rule: what is said of the kernel, against the kernel."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kernel.journaled import TRANSITIONS
from kernel.prove.source import ROOT

RULE: Final = (
    "a line counts if anything on it is code: not what is blank, a comment, or documentation (a text that is a "
    "statement); imports count"
)
"""What counts, in words."""

HINTS: Final = (
    "kernel/prove/contracts.py", "kernel/prove/stages.py", "kernel/prove/lemmas.py", "kernel/prove/addresses.py",
    "kernel/prove/chains.py",
)
"""What proofs need to be told besides specifications and invariants."""

ISOLATION: Final = tuple(
    f"kernel/prove/isolation/{name}.py"
    for name in ("actors", "consequences", "mediator", "observation", "statements")
)
"""What is said of containers that are kept apart."""

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "specifications": ("kernel/specs",),
    "invariants": ("kernel/invariants", "kernel/ledgers.py"),
    "hints (contracts, stages, lemmas, addresses, chains)": HINTS,
    "noninterference (what is said, who acts)": ISOLATION,
    "executable: transitions": tuple(f"kernel/{module}.py" for module in TRANSITIONS),
    "executable: objects, storage, boot": (
        "kernel/objects", "kernel/storage.py", "kernel/boot.py", "kernel/fields.py", "kernel/__init__.py",
    ),
    "calls (arguments to transitions; not counted as proved)": ("kernel/calls",),
    "run-time checks and journal": (
        "kernel/audit.py", "kernel/cache.py", "kernel/check.py", "kernel/consequences.py", "kernel/evaluated.py",
        "kernel/evaluation.py", "kernel/journal.py", "kernel/touched.py", "kernel/view.py", "kernel/written.py",
        "kernel/journaled",
    ),
    "the engine": ("kernel/prove", "hv/prove"),
}  # fmt: skip
"""Files and folders by what they are for; the engine is without what is counted before it."""
PROOF: Final = ("specifications", "invariants", "hints (contracts, stages, lemmas, addresses, chains)",
                "noninterference (what is said, who acts)")  # fmt: skip
EXECUTABLE: Final = ("executable: transitions", "executable: objects, storage, boot")


@dataclass(frozen=True)
class Ratio:
    """Lines of what is said, and of what it is said of."""

    proof: int
    executable: int

    @property
    def value(self) -> float:
        """Lines of the one for each line of the other."""
        return self.proof / self.executable


def of_text(text: str) -> int:
    """The lines of code of a Python source."""
    code: set[int] = set()
    quiet = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in quiet: code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code)


def _files(paths: Iterable[str]) -> Iterable[Path]:
    for path in paths:
        full = ROOT / path
        yield from sorted(full.rglob("*.py")) if full.is_dir() else [full]


def of_files(*paths: str) -> int:
    """The lines of code of these files, and of those in these folders."""
    return sum(of_text(file.read_text("utf-8")) for file in _files(paths))


def counted() -> dict[str, int]:
    """Lines by part of the kernel."""
    found = {part: of_files(*paths) for part, paths in PARTS.items()}
    for part, paths in PARTS.items():
        if part != "the engine" and paths[0].startswith("kernel/prove/"): found["the engine"] -= found[part]
    return found


def of_kernel() -> Ratio:
    """Specifications, invariants, hints and what noninterference says, to the executable kernel."""
    lines = counted()
    return Ratio(sum(lines[part] for part in PROOF), sum(lines[part] for part in EXECUTABLE))


def of_page_tables() -> Ratio:
    """The same for page tables alone."""
    proof = of_files("kernel/specs/address_spaces.py", "kernel/invariants/address_spaces.py",
                     "kernel/prove/stages.py", "kernel/prove/lemmas.py", "kernel/prove/addresses.py")  # fmt: skip
    return Ratio(proof, of_files("kernel/page_table.py", "kernel/objects/page_table.py"))


__all__ = ["PARTS", "RULE", "Ratio", "counted", "of_files", "of_kernel", "of_page_tables", "of_text"]
