"""Output of several programs on one stream, each line with the name of the program it is of."""

from __future__ import annotations

import os
import select
import threading
from typing import Final

_AT_ONCE: Final = 65536
LONGEST_LINE: Final = 65536
"""Bytes after which a line is broken."""


class _Source:
    def __init__(self, fd: int, prefix: bytes, target: int) -> None:
        self.fd = fd
        self.prefix = prefix
        self.target = target
        self.rest = b""

    def take(self, data: bytes) -> bytes:
        """The whole lines that there are now, prefixed; of a line that is not whole, the rest is kept."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) >= LONGEST_LINE or (not data and self.rest):
            lines.append(self.rest)
            self.rest = b""
        return b"".join(self.prefix + line + b"\n" for line in lines)


class PrefixedOutput:
    """Pipes that programs write to, and a thread that passes on what comes out of them, line by line."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._sources: dict[int, _Source] = {}
        self._thread: threading.Thread | None = None

    def pipe(self, prefix: str, target: int) -> int:
        """The writing end of a new pipe, whose lines appear on ``target`` behind ``prefix``.  Before ``start``."""
        read, write = os.pipe()
        self._ends.append(write)
        self._sources[read] = _Source(read, prefix.encode(), target)
        return write

    def start(self) -> None:
        """Begins to pass on."""
        self._thread = threading.Thread(target=self._run, name="aerostat-output", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        for fd in self._sources: poll.register(fd, select.POLLIN)
        while self._sources:
            for fd, _ in poll.poll():
                data = os.read(fd, _AT_ONCE)
                source = self._sources[fd]
                self._write(source, source.take(data))
                if data: continue
                poll.unregister(fd)
                os.close(fd)
                del self._sources[fd]

    def _write(self, source: _Source, text: bytes) -> None:
        while text and source.target >= 0:
            try:
                text = text[os.write(source.target, text) :]
            except OSError:
                source.target = -1  # nobody reads any more: programs go on, and what they say is lost

    def close(self) -> None:
        """Waits until all is passed on.  The programs have ended, their machine is closed."""
        while self._ends: os.close(self._ends.pop())
        if self._thread is not None: self._thread.join()


__all__ = ["LONGEST_LINE", "PrefixedOutput"]
