"""What the command line says in its own name: exit statuses, and lines on standard error."""

from __future__ import annotations

import sys
from typing import Final

USAGE: Final = 2
CHECK_FAILED: Final = 70
VIOLATION: Final = 71
FAILED: Final = 125
CANNOT_RUN: Final = 126
NOT_FOUND: Final = 127


def complain(message: str) -> None:
    """One line on standard error, in aerostat's name."""
    print(f"aerostat: {message}", file=sys.stderr)


__all__ = ["CANNOT_RUN", "CHECK_FAILED", "FAILED", "NOT_FOUND", "USAGE", "VIOLATION", "complain"]
