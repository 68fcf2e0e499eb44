"""Invariants of the user's own: predicates over a program's memory and the kernel's state, checked while it runs.

    from aerostat import invariant

    @invariant
    def queue_is_sorted(m):
        "The items of the queue are in ascending order."
        q = m.program.queue
        return all(q.items[i].key <= q.items[i + 1].key for i in range(q.count - 1))

``aerostat run --invariant FILE.py PROG`` checks what FILE.py defines; ``@machine.invariant`` is the same in Python.
docs/invariants.md has all of it.
"""

from __future__ import annotations

from aerostat.invariants.clause import Clause, invariant
from aerostat.invariants.values import ReadOnly, Unreadable, address_of, sizeof, type_of

__all__ = ["Clause", "ReadOnly", "Unreadable", "address_of", "invariant", "sizeof", "type_of"]
