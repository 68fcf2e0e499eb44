"""``python -m kernel.journaled``: compiles the journalled transitions into the cache, as compileall does the rest."""

from __future__ import annotations

import importlib

from kernel import journaled

journaled.write_caches = True
for name in journaled.TRANSITIONS:
    importlib.import_module(f"kernel.journaled.{name}")
