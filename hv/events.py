"""Time and host files: what a blocked thread may wait for besides other threads.

One host thread, started when first needed, waits for the earliest deadline and for descriptors to become ready, and
runs the callbacks with the big lock held.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

Callback = Callable[[], object]

LONGEST_WAIT: Final = 3_600_000.0
"""Milliseconds: what ``poll`` can take has an end, a deadline has none."""
SWEEP_AT: Final = 256
"""Timers among which those that were cancelled are first looked for."""
_DIRECTIONS: Final = {"r": select.POLLIN, "w": select.POLLOUT}


class Timer:
    """A callback at a time to come."""

    __slots__ = ("callback", "deadline", "limit")

    def __init__(self, deadline: float, callback: Callback, limit: bool) -> None:
        self.deadline = deadline
        self.callback: Callback | None = callback
        self.limit = limit

    def cancel(self) -> None:
        """It will not be called.  Hold the big lock."""
        self.callback = None


class Watch:
    """A callback when a descriptor becomes ready; once."""

    __slots__ = ("background", "callback", "events", "fd")

    def __init__(self, fd: int, events: int, callback: Callback, background: bool) -> None:
        self.fd = fd
        self.events = events
        self.callback: Callback | None = callback
        self.background = background

    def cancel(self) -> None:
        """It will not be called.  Hold the big lock."""
        self.callback = None


class Events:
    """Timers and watches of one machine.  All calls but ``close`` with the big lock held."""

    def __init__(self, lock: threading.Condition, failed: Callable[[BaseException], None]) -> None:
        self._lock = lock
        self._failed = failed
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._sweep_at = SWEEP_AT
        self._watches: list[Watch] = []
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._closing = False

    def at(self, deadline: float, callback: Callback, *, limit: bool = False) -> Timer:
        """Calls back at ``deadline``, seconds of ``time.monotonic()``, or soon after.  A ``limit`` is nothing that a
        thread waits for: ``pending`` does not count it."""
        if len(self._timers) >= self._sweep_at:
            # A program may set and cancel any number of timers that are hours away.
            self._timers = [entry for entry in self._timers if entry[2].callback]
            heapq.heapify(self._timers)
            self._sweep_at = max(SWEEP_AT, 2 * len(self._timers))
        timer = Timer(deadline, callback, limit)
        heapq.heappush(self._timers, (deadline, next(self._order), timer))
        self._changed()
        return timer

    def when_ready(self, fd: int, direction: str, callback: Callback, *, background: bool = False) -> Watch:
        """Calls back once when ``fd`` can be read ("r") or written ("w") without blocking, or has failed.  What is in
        the ``background`` is nothing that a thread waits for: ``pending`` does not count it."""
        watch = Watch(fd, _DIRECTIONS[direction], callback, background)
        self._watches.append(watch)
        self._changed()
        return watch

    def pending(self) -> bool:
        """Something is still to happen."""
        if any(watch.callback and not watch.background for watch in self._watches): return True
        return any(timer.callback and not timer.limit for _, _, timer in self._timers)

    def _changed(self) -> None:
        if self._closing: return
        if self._thread is None:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._thread = threading.Thread(target=self._run, name="aerostat-events", daemon=True)
            self._thread.start()
        elif threading.current_thread() is not self._thread:
            os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    if self._closing: return
                    poll, timeout = self._plan()
                ready = {fd for fd, _ in poll.poll(timeout)}
                now = time.monotonic()
                if timeout is not None: ready.update(fd for fd, _ in poll.poll(0))  # all that came before now
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                with self._lock:
                    if self._closing: return
                    self._deliver(ready, now)
        except BaseException as error:
            self._failed(error)

    def _plan(self) -> tuple[select.poll, float | None]:
        """What to wait for: descriptors, and milliseconds (None: without end)."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        self._watches = [watch for watch in self._watches if watch.callback]
        wanted: dict[int, int] = {}
        for watch in self._watches:
            wanted[watch.fd] = wanted.get(watch.fd, 0) | watch.events
        for fd, events in wanted.items():
            poll.register(fd, events)
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers: return poll, None
        return poll, min(max(0.0, (self._timers[0][0] - time.monotonic()) * 1000), LONGEST_WAIT)

    def _deliver(self, ready: set[int], now: float) -> None:
        """Calls back for descriptors that were ready at this time, then for deadlines that were over: this thread may
        be late, but what came before a deadline is not told as its end."""
        due: list[Timer | Watch] = [watch for watch in self._watches if watch.fd in ready]
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for event in due:
            # Looked for only now: what another's callback did may have cancelled it.
            callback, event.callback = event.callback, None
            if callback is not None: callback()
        # It may have been the last thing that could happen, and have woken nobody: who waits for a program looks again.
        if due and not self.pending(): self._lock.notify_all()

    def close(self) -> None:
        """Ends the thread; nothing is called any more.  Not with the big lock held."""
        with self._lock:
            self._closing = True
            if self._wake >= 0: os.eventfd_write(self._wake, 1)
        if self._thread is not None: self._thread.join()
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1


__all__ = ["Events", "Timer", "Watch"]
