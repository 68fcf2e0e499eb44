"""System calls on ranges, whole processes and containers, as sequences of transitions.

A transition does one bounded thing; here a call's arguments are validated as a whole, so that nothing has changed when
it returns an error, and then one step follows another.  ``step`` runs each: it checks it, and carries out what it
means for the machine.  Steps of different calls may be interleaved between, but not inside, transitions.

Each native call is a method of its name: t is the calling thread, arguments are any 64-bit values.  It returns the
result, or, where the work grows with the arguments, an operation that brings it (``kernel.calls.operations``).
"""

from __future__ import annotations

from kernel.calls.base import Step
from kernel.calls.operations import Operation, SpaceBusy
from kernel.calls.ranges import Piece, effective, indices, protection_valid, range_valid
from kernel.calls.system import System

__all__ = [
    "Operation", "Piece", "SpaceBusy", "Step", "System", "effective", "indices", "protection_valid",
    "range_valid",
]  # fmt: skip
