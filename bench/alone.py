"""Native calls on the kernel alone, checks included: no virtual machine, no effects."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Final

from abi.layout import PAGE_SIZE, READ, USER_MIN, WRITE
from kernel.boot import boot
from kernel.calls import System
from kernel.check import Checker
from kernel.objects import RECEIVE, SHARE

if TYPE_CHECKING:
    from kernel import scheduler
else:
    from kernel.journaled import scheduler

PAGE: Final = 0x3000_0000_0000
WINDOW: Final = 0x3100_0000_0000
FOREVER: Final = (1 << 64) - 1
CALLS: Final = 200
"""Calls of a kind that one sample is the median of."""

Microseconds = dict[str, float]


class Alone:
    """A kernel with a running client thread and two servers, which reply with nothing and with a page."""

    def __init__(self, level: str = "touched", blocks: int = 64) -> None:
        self.k = boot(blocks=blocks, cores=1)
        self.checker = Checker(self.k, level)
        self.system = System(self.k, self.checker.step, lambda *_: None)
        self.R = self.k.core[0]
        s = self.system.spawn(self.k.root)
        self.client = self.system.start_thread(s)
        self._schedule()
        self._map(PAGE + PAGE_SIZE)
        self._map(WINDOW + PAGE_SIZE)
        self.plain, self.plain_server = self._server(0)
        self.paging, self.paging_server = self._server(1)

    def _schedule(self) -> None:
        self.checker.step(scheduler.schedule, 0)

    def run_next(self) -> int:
        """The core, which is free, runs the next thread.  Returns it."""
        self._schedule()
        return self.R.current

    def _map(self, address: int) -> None:
        assert self.system.mmap(self.R.current, address, PAGE_SIZE, READ | WRITE) == 0

    def _server(self, pages: int) -> tuple[int, int]:
        """The client's handle of the endpoint on which a server waits, and the server's."""
        system, t = self.system, self.client
        endpoint = system.endpoint_create(t)
        child = system.process_create(t)
        given = system.handle_give(t, child, endpoint, RECEIVE)
        assert system.process_start(t, child, USER_MIN, USER_MIN, 0) == 0
        system.thread_yield(t)
        self._schedule()
        if pages: self._map(PAGE)
        assert system.message_receive(self.R.current, given, FOREVER) == 0
        self._schedule()
        assert self.R.current == t
        return endpoint, given

    def sample(self) -> Microseconds:
        """The median of CALLS calls of each kind; what undoes a call is not in it."""
        found = {}
        kinds: dict[str, tuple[Callable[[], int], Callable[[int], object]]] = {
            "null": (lambda: self.system.null(self.client), lambda _: None),
            "map a 4 KiB page": (self._mmap, lambda _: self.system.munmap(self.client, PAGE, PAGE_SIZE)),
            "create a thread": (lambda: self.system.thread_create(self.client, USER_MIN, USER_MIN, 0), self._no_thread),
            "create a process": (lambda: self.system.process_create(self.client), self._no_process),
            "call/reply": (lambda: self._exchange(self.plain, self.plain_server, 0), lambda _: None),
            "call/reply with a page": (
                lambda: self._exchange(self.paging, self.paging_server, SHARE | READ << 4 | PAGE_SIZE), self._no_page,
            ),
        }  # fmt: skip
        for name, (call, undo) in kinds.items():
            spent = []
            for _ in range(CALLS):
                if name == "call/reply with a page": self.system.message_accept(self.client, WINDOW, PAGE_SIZE, 0)
                start = time.perf_counter_ns()
                result = call()
                spent.append(time.perf_counter_ns() - start)
                assert result >= 0, (name, result)
                undo(result)
            found[name] = median(spent) / 1000
        return found

    def _mmap(self) -> int:
        return self.system.complete(self.system.mmap(self.client, PAGE, PAGE_SIZE, READ | WRITE))

    def _exchange(self, endpoint: int, given: int, item: int) -> int:
        result = self.system.message_call(self.client, endpoint, FOREVER, 0, 0)
        if result != 0: return result
        return self.system.message_reply_receive(self.R.current, given, FOREVER, item, PAGE)

    def _no_page(self, _: int) -> None:
        assert self.R.current == self.client
        assert self.system.munmap(self.client, WINDOW, PAGE_SIZE) == 0

    def _no_thread(self, handle: int) -> None:
        assert self.system.thread_kill(self.client, handle) == 0
        assert self.system.thread_join(self.client, handle) == 137

    def _no_process(self, handle: int) -> None:
        assert self.system.complete(self.system.process_kill(self.client, handle)) == 0
        self.system.operations.drain()
        assert self.system.process_wait(self.client, handle) == 137


__all__ = ["CALLS", "Alone", "Microseconds"]
