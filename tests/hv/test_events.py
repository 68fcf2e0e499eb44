"""Timers and watches: what is due is called once, in order, unless it was cancelled."""

from __future__ import annotations

import os
import threading
import time

from hv.events import Events, Timer


def wait_for(lock: threading.Condition, done: list[str], count: int) -> None:
    end = time.monotonic() + 60
    with lock:
        while len(done) < count and time.monotonic() < end:
            lock.wait(0.01)


def test_timer_cancelled_by_one_that_is_due_at_the_same_time_is_not_called() -> None:
    lock = threading.Condition()
    failures: list[BaseException] = []
    events = Events(lock, failures.append)
    done: list[str] = []
    second: list[Timer] = []

    def first() -> None:
        done.append("first")
        second[0].cancel()

    with lock:
        now = time.monotonic()
        events.at(now - 2, first)
        second.append(events.at(now - 1, lambda: done.append("second")))
        events.at(now, lambda: done.append("third"))
    wait_for(lock, done, 2)
    events.close()
    assert done == ["first", "third"]
    assert failures == []


def test_callback_may_set_a_timer_again() -> None:
    lock = threading.Condition()
    failures: list[BaseException] = []
    events = Events(lock, failures.append)
    done: list[str] = []

    def again() -> None:
        done.append("again")
        if len(done) < 3: events.at(time.monotonic(), again)

    with lock:
        events.at(time.monotonic(), again)
    wait_for(lock, done, 3)
    events.close()
    assert done == ["again"] * 3
    assert failures == []


def test_what_came_before_a_deadline_is_not_told_as_its_end() -> None:
    """However late the thread is: here it is kept from the lock until both are due."""
    lock = threading.Condition()
    failures: list[BaseException] = []
    events = Events(lock, failures.append)
    done: list[str] = []
    fd = os.eventfd(0)

    def came() -> None:
        done.append("came")
        over.cancel()

    with lock:
        over = events.at(time.monotonic() + 0.1, lambda: done.append("over"))
        events.when_ready(fd, "r", came)
    time.sleep(0.02)
    with lock:
        os.eventfd_write(fd, 1)
        time.sleep(0.2)
    wait_for(lock, done, 1)
    time.sleep(0.05)
    events.close()
    os.close(fd)
    assert done == ["came"]
    assert failures == []


def test_a_deadline_is_over_though_something_comes_later() -> None:
    lock = threading.Condition()
    failures: list[BaseException] = []
    events = Events(lock, failures.append)
    done: list[str] = []
    fd = os.eventfd(0)
    with lock:
        events.when_ready(fd, "r", lambda: done.append("came"))
        events.at(time.monotonic() + 0.02, lambda: done.append("over"))
    wait_for(lock, done, 1)
    os.eventfd_write(fd, 1)
    wait_for(lock, done, 2)
    events.close()
    os.close(fd)
    assert done == ["over", "came"]
    assert failures == []
