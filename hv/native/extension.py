"""How a C extension of this project comes to be: compiled by cffi when a source is newer than what is there."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Extension:
    """The shared object ``target``, described to cffi by what ``describe`` returns, made of ``sources()``."""

    target: Path
    describe: Callable[[], Any]
    sources: Callable[[], Iterable[Path]]

    def is_current(self) -> bool:
        """Whether the shared object is there and no source is newer."""
        if not self.target.exists(): return False
        built = self.target.stat().st_mtime
        return all(source.stat().st_mtime <= built for source in self.sources())

    def build(self, *, force: bool = False) -> bool:
        """Compiles unless it is current; returns whether it did.  A C compiler and the Python headers are needed."""
        if self.is_current() and not force: return False
        with tempfile.TemporaryDirectory(prefix="aerostat-build-") as scratch:
            built = Path(self.describe().compile(tmpdir=scratch))
            staged = self.target.with_suffix(f".{os.getpid()}")
            staged.write_bytes(built.read_bytes())
            staged.chmod(0o755)
            staged.replace(self.target)  # at once: another process may be importing the old one
        return True

    def main(self, root: Path) -> None:
        """The command line: builds, ``--force`` always, and says so with the path below ``root``."""
        done = self.build(force="--force" in sys.argv[1:])
        print(f"{self.target.relative_to(root)}: {'built' if done else 'up to date'}")


__all__ = ["Extension"]
