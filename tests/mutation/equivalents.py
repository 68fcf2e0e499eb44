"""Changes that nobody could notice, each with its reason (``equivalent.toml``)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

EQUIVALENT: Final = Path(__file__).parent / "equivalent.toml"
Key = tuple[str, str, str]
"""A module, and a line of it before and after."""


def equivalents(path: Path = EQUIVALENT) -> dict[Key, str]:
    """The changes known to be none, and why."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutation", [])
    return {(entry["module"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


__all__ = ["EQUIVALENT", "Key", "equivalents"]
