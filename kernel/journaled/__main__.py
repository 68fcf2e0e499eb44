"""``python -m kernel.journaled``: compiles the journalled transitions, and what ``kernel.evaluation`` writes, into the
cache, as compileall does the rest."""

from __future__ import annotations

import importlib

from kernel import cache, journaled

cache.write_always = True
for name in ("evaluated", *(f"journaled.{name}" for name in journaled.TRANSITIONS)):
    importlib.import_module(f"kernel.{name}")
