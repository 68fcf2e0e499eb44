"""Builds ``drivers._native`` with cffi: what models share, the engines, and drivers as they run outside a machine.

``python -m drivers.model.build`` compiles when a source is newer than what is there; ``--force`` always does.  A
header's part between ``/* cffi: begin */`` and ``/* cffi: end */`` is what Python sees of it, so it is declared once.
"""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path
from typing import Any, Final

from cffi import FFI

from hv.native.extension import Extension

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"

HEADERS: Final = ("model/dma.h", "model/faults.h", "nvme/storage.h", "nvme/engine.h",
                  "nvme/driver.h", "nvme/timing.h", "ixgbe/engine.h", "ixgbe/driver.h", "ixgbe/work.h",
                  "ixgbe/shared.h")  # fmt: skip
"""In this order, because later ones use what earlier ones declare."""
NVME: Final = ("storage", "completions", "commands", "engine", "queues", "driver", "requests", "timing")
IXGBE: Final = ("counters", "driver", "engine", "frames", "interrupts", "receive", "rings", "serial", "shared",
                "steering", "transmit", "watch", "wire")  # fmt: skip
SOURCES: Final = ("model/dma.c", "model/faults.c", "lib/outside.c",
           *(f"nvme/{name}.c" for name in NVME), *(f"ixgbe/{name}.c" for name in IXGBE))  # fmt: skip
FOLDERS: Final = ("lib", "model", "nvme", "ixgbe")
"""Where sources find headers."""


def declared(header: str) -> str:
    """What a header declares between the marks, without comments.  ValueError: it has no marks."""
    parts = re.findall(r"/\* cffi: begin \*/(.*?)/\* cffi: end \*/", header, re.DOTALL)
    if not parts: raise ValueError("no part between /* cffi: begin */ and /* cffi: end */")
    return re.sub(r"/\*.*?\*/", "", "".join(parts), flags=re.DOTALL)


def describe() -> Any:
    """The cffi builder."""
    builder = FFI()
    builder.cdef("".join(declared((ROOT / header).read_text()) for header in HEADERS))
    builder.set_source(
        "drivers._native",
        "#include <stdbool.h>\n#include <stdint.h>\n" + "".join(f'#include "{ROOT / name}"\n' for name in HEADERS),
        sources=[str(ROOT / name) for name in SOURCES],
        include_dirs=[str(ROOT / name) for name in FOLDERS],
        extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],

    )
    return builder


def sources() -> list[Path]:
    """All that the extension is made of."""
    return [Path(__file__), *(path for name in FOLDERS for path in sorted((ROOT / name).glob("*.[ch]")))]


EXTENSION: Final = Extension(TARGET, describe, sources)

if __name__ == "__main__": EXTENSION.main(ROOT.parent)

__all__ = ["EXTENSION", "declared", "describe"]
