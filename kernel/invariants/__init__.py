"""The invariants: each a predicate over one arbitrary object (or item of a row, or pair) and its neighbours.

``@invariant("thread")`` makes a clause over every thread id; ``@invariant("table.entry")`` one over every (table,
index); ``@invariant("thread", "thread")`` one over pairs.  The text of a clause is ``if not ...: return False``, no
loops, nothing from the transitions: it runs in under a microsecond on concrete state, and once on symbols for a proof.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from kernel.compiled import code_of
from kernel.objects import Kernel

Predicate = Callable[..., bool]


@dataclass(frozen=True)
class Clause:
    """One invariant: its name, what it is about, and the predicate over (k, ids...)."""

    name: str
    domain: tuple[str, ...]
    holds: Predicate

    @property
    def meaning(self) -> str:
        """The clause in words."""
        return documented(self.holds)

    @cached_property
    def names(self) -> frozenset[str]:
        """Tables and fields the predicate may read: the names that its code, and that of what it calls, mentions; with
        a ledger, those it is counted from."""
        names = _mentioned(self.holds, set()) | {part for entry in self.domain for part in entry.split(".")}
        if "ledger" in names: names.update(*(COUNTED_FROM[name] for name in names & COUNTED_FROM.keys()))
        return frozenset(names)

    def reads(self, table: str, field: str) -> bool:
        """False only if a write to this field of this table cannot change the clause's truth."""
        return field in self.names and table in self.names


COUNTED_FROM: Final[dict[str, tuple[str, ...]]] = {
    "owned": ("page", "owner"), "owned_blocks": ("block", "owner"), "owned_giants": ("giant", "owner"),
    "in_use": ("page", "kind", "block"), "blocks_in_use": ("block", "kind", "giant"),
    "mappings": ("process", "domain", "map_page"), "used": ("table", "entry"), "mapped": ("process", "map_page"),
    "handles": ("process", "handle_object"),
    "namings": ("process", "handle_object", "handle_rights", "pager", "device", "endpoint"),
    "reachable": ("domain", "map_page"), "regions": ("domain", "map_page"),
    "free_pages": ("block", "kind", "carved", "listed"), "free_blocks": ("giant", "kind", "carved", "listed"),
    "promised_pages": ("container", "pages"), "promised_blocks": ("container", "blocks"),
    "promised_giants": ("container", "giants"),
}  # fmt: skip
"""The table and the fields that each ledger (kernel.ledgers) is counted from."""

INVARIANTS: Final[dict[str, Clause]] = {}


def _mentioned(function: object, seen: set[object]) -> set[str]:
    code = code_of(function)
    if code is None or function in seen: return set()
    seen.add(function)
    module = sys.modules[getattr(function, "__module__")]  # noqa: B009
    names = set(code.co_names)
    for name in code.co_names:
        names |= _mentioned(vars(module).get(name), seen)
    return names


def documented(function: Callable[..., bool]) -> str:
    """The text that documents a function, in one line."""
    code = code_of(function)
    text = code.co_consts[0] if code is not None and code.co_consts else None
    return " ".join(text.split()) if isinstance(text, str) else ""


def invariant(*domain: str) -> Callable[[Predicate], Predicate]:
    """Registers a clause over the ids of ``domain``."""

    def register(predicate: Predicate) -> Predicate:
        name = predicate.__name__
        assert name not in INVARIANTS, name
        INVARIANTS[name] = Clause(name, domain, predicate)
        return predicate

    return register


def live(k: Kernel, id: int, kind: int) -> bool:
    """True if page ``id`` is charged for an object of this kind."""
    return k.page[id].kind == kind


from kernel.invariants import (  # noqa: E402  (they register themselves)
    address_spaces,
    containers,
    devices,
    endpoints,
    memory,
    messages,
    placement,
    processes,
    threads,
)

__all__ = [
    "INVARIANTS", "Clause", "address_spaces", "containers", "devices", "endpoints", "invariant", "live", "memory",
    "messages", "placement", "processes", "threads",
]  # fmt: skip
