"""Messages on the machine: words go from registers to registers; timeouts, timers and page faults become kernel steps.

Who meets whom is the kernel's decision (``kernel.calls.messages``).  A message's words are copied when it is delivered,
from the registers of the thread that sent it, which is blocked or still in its system call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from abi.errors import ETIMEDOUT, OK
from hv.engine import PAGE_FAULT_FETCH, PAGE_FAULT_WRITE
from hv.personality import BLOCKED, Fault
from kernel.calls import Operation
from kernel.calls.messages import FOREVER
from kernel.objects import READY

if TYPE_CHECKING:
    from hv.events import Timer
    from hv.machine import Machine
    from hv.thread import Thread

TIMED: Final = ("message_send", "message_call", "message_receive", "message_reply_receive")
"""The calls with a timeout, which is their second argument."""
SHORTEST_PERIOD: Final = 1_000_000
"""Nanoseconds: a timer's expiries come no faster."""
LONGEST: Final = 1 << 62
"""Nanoseconds: a longer time is as good as this."""
READING: Final = 1
WRITING: Final = 2
EXECUTING: Final = 4


class Messages:
    """The messages of one machine.  Hold the big lock."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._timers: dict[int, Timer] = {}
        """By endpoint."""
        self._refused = False
        """The call that is served has ended a process, by a reply that refuses it a page."""
        machine.system.delivered = self.delivered

    def calls(self) -> dict[str, Callable[..., int | Operation]]:
        """What serves the native calls that need more than the kernel, by name."""
        timed = {name: self._timed(getattr(self._machine.system, name)) for name in TIMED}
        return {**timed, "timer_set": self._timer_set}

    # Delivery.

    def delivered(self, sender: int, receiver: int, badge: int, item: int, object: int) -> None:
        """Copies a message's words, and says what came with it."""
        threads = self._machine.threads
        says, gets = threads[sender], threads[receiver]
        if gets.deadline is not None: self.settled(gets)
        if gets.fault is not None:
            self._paged(gets, refused=says.regs.r8 != 0)
        elif says.fault is not None:
            fault = says.fault
            self._tell(gets, (fault.fault_address, _access(fault.error_code), fault.rip, 0, 0, 0), badge, item, object)
        elif says.vcpu is not None and gets.vcpu is not None:
            says.vcpu.deliver(gets.vcpu.regs, badge, item, object)
        else:
            # Where vCPUs are short, giving the one its registers may take the other's vCPU from it.
            said = says.regs
            self._tell(gets, (said.r8, said.r9, said.r12, said.r13, said.r14, said.r15), badge, item, object)

    @staticmethod
    def _tell(receiver: Thread, words: tuple[int, int, int, int, int, int], badge: int, item: int, object: int) -> None:
        to = receiver.regs
        to.r8, to.r9, to.r12, to.r13, to.r14, to.r15 = words
        to.rdi, to.rdx, to.r10 = badge, item, object

    # Page faults.

    def page_fault(self, faulting: Thread, fault: Fault) -> bool:
        """Sends a page fault to the process's pager.  False if it has none."""
        machine = self._machine
        if machine.kernel.process[faulting.process.id].pager == 0: return False
        faulting.fault = fault
        if machine.system.page_fault(faulting.id, fault.fault_address >> 12) == OK: return True
        faulting.fault = None
        return False

    def _paged(self, faulting: Thread, *, refused: bool) -> None:
        """The pager has replied: the thread tries again, or its process ends."""
        fault, faulting.fault = faulting.fault, None
        if not refused or fault is None: return
        self._refused = True
        self._machine.kill_for_fault(faulting, fault)

    def failed(self, woken: Thread) -> bool:
        """The call of a thread has failed; true if it was a fault's, which then ends its process."""
        if woken.fault is None: return False
        self._paged(woken, refused=True)
        return True

    # Time.

    def _timed(self, call: Callable[..., int]) -> Callable[..., int]:
        """What serves a call with a timeout."""
        def serve(t: int, handle: int, timeout: int, *carried: int) -> int:
            self._refused = False
            result = call(t, handle, timeout, *carried)
            if timeout == FOREVER and not self._refused: return result
            return self._bounded(t, timeout, result)

        return serve

    def _bounded(self, t: int, timeout: int, result: int) -> int:
        """A call with this timeout has been made, with this result; what it returns to thread t."""
        machine = self._machine
        if t not in machine.threads: return result  # it has ended, by what it replied
        T = machine.kernel.thread[t]
        # A reply that refuses a page ends a process, and with it perhaps all who could send to the replying thread: it
        # has been woken within its own call, with a result that is to stay.
        if T.state == READY: return BLOCKED
        if 0 < timeout < FOREVER and T.waits: self._limit(machine.threads[t], timeout)
        return result

    def _limit(self, waiting: Thread, timeout: int) -> None:
        timer = self._machine.events.at(_deadline(timeout), lambda: self._expired(waiting, timer))
        waiting.deadline = timer

    def _expired(self, waiting: Thread, timer: Timer) -> None:
        if waiting.gone or waiting.deadline is not timer: return
        waiting.deadline = None
        self._machine.system.cancel(waiting.id, -ETIMEDOUT)

    @staticmethod
    def settled(woken: Thread) -> None:
        """A thread no longer waits, so that its time cannot be over."""
        if woken.deadline is None: return
        woken.deadline.cancel()
        woken.deadline = None

    def _timer_set(self, t: int, handle: int, first: int, period: int) -> int | Operation:
        machine = self._machine
        e = machine.system.endpoint_of(t, handle)
        result = machine.system.timer_set(t, handle, first, period)
        if isinstance(result, int) and result != OK: return result
        self.endpoint_gone(e)
        if first: self._arm(e, first, max(period, SHORTEST_PERIOD) if period else 0)
        return result

    def set_timer(self, e: int, period: int) -> None:
        """Has the timer that the host bound to endpoint e expire each so many nanoseconds from now on."""
        self._arm(e, period, max(period, SHORTEST_PERIOD))

    def _arm(self, e: int, after: int, period: int) -> None:
        self._timers[e] = self._machine.events.at(_deadline(after), lambda: self._rang(e, period))

    def _rang(self, e: int, period: int) -> None:
        del self._timers[e]
        if period: self._arm(e, period, period)
        self.signal(e)

    def signal(self, e: int) -> None:
        """An interrupt or a timer's expiry at endpoint e."""
        woken = self._machine.system.signal(e)
        if woken <= 0: return
        receiver = self._machine.threads[woken]
        self.settled(receiver)
        receiver.regs.rax = 1

    def endpoint_gone(self, e: int) -> None:
        """Endpoint e has no timer any more."""
        timer = self._timers.pop(e, None)
        if timer is not None: timer.cancel()


def _access(error_code: int) -> int:
    if error_code & PAGE_FAULT_FETCH: return EXECUTING
    return WRITING if error_code & PAGE_FAULT_WRITE else READING


def _deadline(nanoseconds: int) -> float:
    return time.monotonic() + min(nanoseconds, LONGEST) / 1e9


__all__ = ["Messages"]
