"""Waiting for something to become true, bounded."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(true: Callable[[], object], seconds: float = 10) -> None:
    """Returns when it is true.  Raises TimeoutError after that many seconds."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end: raise TimeoutError
        time.sleep(0.001)
