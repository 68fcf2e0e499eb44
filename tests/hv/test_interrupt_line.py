"""A line is passed on once an interrupt, unmasked after each, and no more when it is closed."""

from __future__ import annotations

import os
import select
import threading

from hv.interrupt_line import InterruptLine

GUARD = 60.0


def test_each_interrupt_is_passed_on_and_unmasked() -> None:
    to = os.eventfd(0, os.EFD_NONBLOCK)
    unmasked = threading.Semaphore(0)
    line = InterruptLine(to, unmasked.release)
    for _ in range(3):
        os.eventfd_write(line.trigger, 1)
        assert select.select([to], [], [], GUARD)[0]
        assert os.eventfd_read(to) == 1
        assert unmasked.acquire(timeout=GUARD)
    assert not unmasked.acquire(blocking=False)
    line.close()
    os.close(to)


def test_a_line_that_stays_asserted_interrupts_until_it_is_closed() -> None:
    """As hardware whose driver does not serve it: whenever it is unmasked it interrupts at once."""
    to = os.eventfd(0, os.EFD_NONBLOCK)
    often = threading.Semaphore(0)

    def unmask() -> None:
        often.release()
        os.eventfd_write(line.trigger, 1)

    line = InterruptLine(to, unmask)
    before = len(os.listdir("/proc/self/fd"))
    os.eventfd_write(line.trigger, 1)
    for _ in range(5): assert often.acquire(timeout=GUARD)
    line.close()
    assert os.eventfd_read(to) >= 5
    assert len(os.listdir("/proc/self/fd")) == before - 2
    os.close(to)
