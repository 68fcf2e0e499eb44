"""Tasks of ``aerostat verify`` that are known not to be proved yet, each with what stands in the way: none at present.

They are tried, reported and counted like all others, and make the run fail; only the tests do not wait for them."""

from __future__ import annotations

from typing import Final

NOT_PROVED: Final[dict[str, str]] = {}
"""By the name of the task."""
