"""The big lock is passed on: who asked first has it first, and cores are counted where they come out of guests."""

from __future__ import annotations

import threading

import pytest

from aerostat import Machine
from hv.lock import BigLock
from hv.machine import Machine as Hypervisor
from tests.aerostat.programs import GUARD, succeeds

ROUNDS = 300


def cores_out(lock: BigLock) -> int:
    """Cores that have the lock or want it, by the lock's own count."""
    return int(lock._measured.cores_out) + lock._woken


def at_rest(hypervisor: Hypervisor) -> bool:
    return all(core.idle for core in hypervisor.cores) and cores_out(hypervisor.lock) == 0


def test_whoever_asked_has_had_the_lock_when_it_comes_back() -> None:
    lock = BigLock(lambda: None)
    had = 0

    def ask() -> None:
        nonlocal had
        for _ in range(ROUNDS):
            with lock: had += 1

    asking = threading.Thread(target=ask)
    with lock:
        lock.core_begins()
        asking.start()
        while had < ROUNDS:
            while not lock._turnstile.locked(): pass
            before = had
            lock.pass_on(0.0)
            assert had > before
        lock.core_ends()
    asking.join()


def test_cores_that_want_the_lock_are_counted() -> None:
    lock = BigLock(lambda: None)
    counted: list[int] = []
    resting = threading.Event()

    def core() -> None:
        with lock:
            lock.core_begins()
            counted.append(cores_out(lock))
            resting.set()
            lock.rest()
            counted.append(cores_out(lock))
            lock.core_ends()

    other = threading.Thread(target=core)
    with lock:
        lock.core_begins()
        assert cores_out(lock) == 1
        other.start()
    # A core holds the lock even here: it is given up by hand.
    lock.raw.release()
    resting.wait()
    with lock.raw:
        assert cores_out(lock) == 1
        lock.notify_all()
        assert cores_out(lock) == 2, "it wants the lock before it can ask for it"
        lock.notify_all()
        assert cores_out(lock) == 2
    other.join()
    assert counted == [2, 2]
    with lock.raw: lock.core_ends()
    assert cores_out(lock) == 0


@pytest.mark.kvm
def test_no_core_is_counted_when_all_are_at_rest() -> None:
    with Machine("16M", cores=2) as machine:
        hypervisor = machine.hypervisor
        for _ in range(3):
            succeeds(machine, "demo/hello", linux=False)
            with hypervisor.lock:
                assert hypervisor.lock.wait_for(lambda: at_rest(hypervisor), GUARD)
    assert cores_out(hypervisor.lock) == 0
