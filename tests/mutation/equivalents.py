"""Changes that nobody could notice, each with its reason: single ones (``equivalent.toml``) and one family."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Final

EQUIVALENT: Final = Path(__file__).parent / "equivalent.toml"
Key = tuple[str, str, str]
"""A module, and a line of it before and after."""
SAME_OBJECT: Final = "the interpreter has one object for each integer from -5 to 256: == and `is` say the same of it"
COMPARED: Final = re.compile(r"(?P<operator>==|!=) (?P<constant>[A-Z][A-Z_0-9]*|\d+)(?=[:,)]| and | or | else | if |$)")

SMALL_FIELDS: Final = re.compile(r"\.(?:kind|state|level|waits) (?P<operator>==|!=) ")
"""Comparisons of what is at most 10 whatever it is compared with (invariants page_owner, block_kind, giant_kind,
process_charge, container_place, thread_charge, table_place, message_wait): an equal number is the same object."""


def equivalents(path: Path = EQUIVALENT) -> dict[Key, str]:
    """The changes known to be none, and why."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutation", [])
    return {(entry["module"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def small(module: str, constant: str) -> bool:
    """Whether this is an integer, or a module's name for one, of which the interpreter has one object."""
    if constant.isdigit(): return int(constant) <= 256
    value = getattr(importlib.import_module(module.removesuffix(".py").replace("/", ".")), constant, None)
    return type(value) is int and -5 <= value <= 256


def compares_same_object(key: Key) -> bool:
    """The change makes == or != with a small constant, or of a small field, ``is`` or ``is not``, and nothing else."""
    module, before, after = key
    for place in COMPARED.finditer(before):
        made = "is" if place["operator"] == "==" else "is not"
        if before[: place.start("operator")] + made + before[place.end("operator") :] == after:
            return small(module, place["constant"])
    for place in SMALL_FIELDS.finditer(before):
        made = "is" if place["operator"] == "==" else "is not"
        if before[: place.start("operator")] + made + before[place.end("operator") :] == after: return True
    return False


def reason(key: Key, known: dict[Key, str]) -> str:
    """Why this change is none; "" if nothing says that it is."""
    return known.get(key, SAME_OBJECT if compares_same_object(key) else "")


__all__ = ["EQUIVALENT", "Key", "compares_same_object", "equivalents", "reason"]
