"""Futexes: waiting in the kernel for a word of memory to change (futex(2)).

Waiters queue by address, first come first served.  Priority-inheritance operations get ENOSYS.
"""

from __future__ import annotations

import struct
import time
from typing import Final

from hv.personality import BLOCKED
from userland.linux.errors import EAGAIN, EINVAL, ENOSYS, ETIMEDOUT
from userland.linux.registers import signed32
from userland.linux.structs import TIMESPEC
from userland.linux.task import LinuxProcess, Task

_WAIT: Final = 0
_WAKE: Final = 1
_REQUEUE: Final = 3
_CMP_REQUEUE: Final = 4
_WAKE_OP: Final = 5
_WAIT_BITSET: Final = 9
_WAKE_BITSET: Final = 10
_PRIVATE: Final = 128
_CLOCK_REALTIME: Final = 256
_ANY: Final = 0xFFFF_FFFF


class FutexWaiter:
    """One thread in the queue of one address."""

    __slots__ = ("address", "bits", "task")

    def __init__(self, task: Task, address: int, bits: int) -> None:
        self.task = task
        self.address = address
        self.bits = bits
        task.process.futexes.setdefault(address, []).append(self)

    def leave(self) -> None:
        """Waits no longer."""
        queue = self.task.process.futexes.get(self.address, [])
        if self in queue:
            queue.remove(self)
        if not queue:
            self.task.process.futexes.pop(self.address, None)

    def move(self, address: int) -> None:
        """Waits at another address from now on."""
        self.leave()
        self.address = address
        self.task.process.futexes.setdefault(address, []).append(self)


def wake(process: LinuxProcess, address: int, count: int, bits: int = _ANY) -> int:
    """Wakes up to ``count`` waiters (at least one, as Linux does) whose bits match; how many."""
    woken = 0
    for waiter in [waiter for waiter in process.futexes.get(address, []) if waiter.bits & bits]:
        waiter.task.finish(0)
        woken += 1
        if woken >= count:
            break
    return woken


def sys_futex(task: Task, address: int, operation: int, value: int, timeout: int, second: int, third: int) -> int:
    command = operation & 0xFFFF_FFFF & ~(_PRIVATE | _CLOCK_REALTIME)
    value &= 0xFFFF_FFFF
    third &= 0xFFFF_FFFF
    if address % 4:
        return -EINVAL
    if command in (_WAIT, _WAIT_BITSET):
        bits = third if command == _WAIT_BITSET else _ANY
        return _wait(task, address, value, bits, timeout, operation, absolute=command == _WAIT_BITSET)
    if command in (_WAKE, _WAKE_BITSET):
        bits = third if command == _WAKE_BITSET else _ANY
        if bits == 0:
            return -EINVAL
        _check(task, address)
        return wake(task.process, address, signed32(value), bits)
    if command in (_REQUEUE, _CMP_REQUEUE):
        return _requeue(task, address, value, timeout, second, third if command == _CMP_REQUEUE else None)
    if command == _WAKE_OP:
        return _wake_op(task, address, value, timeout, second, third)
    return -ENOSYS


def _check(task: Task, address: int) -> None:
    task.memory.read_u32(address)


def _wait(task: Task, address: int, value: int, bits: int, timeout: int, operation: int, *, absolute: bool) -> int:
    if bits == 0:
        return -EINVAL
    if task.wait is not None and task.wait.expired:
        return -ETIMEDOUT
    deadline = task.wait.deadline if task.wait is not None else None
    if task.wait is None and timeout:
        seconds, nanoseconds = TIMESPEC.unpack(task.memory.read(timeout, 16))
        if seconds < 0 or not 0 <= nanoseconds < 1_000_000_000:
            return -EINVAL
        deadline = seconds + nanoseconds / 1e9
        if not absolute:
            deadline += time.monotonic()
        elif operation & _CLOCK_REALTIME:
            deadline += time.monotonic() - time.time()
    if task.memory.read_u32(address) != value:
        return -EAGAIN
    result = task.block_on((), deadline=deadline)
    if result == BLOCKED and task.wait is not None:
        task.wait.futex = FutexWaiter(task, address, bits)
    return result


def _requeue(task: Task, address: int, to_wake: int, to_move: int, second: int, expected: int | None) -> int:
    to_wake, to_move = signed32(to_wake), signed32(to_move)
    if second % 4 or to_wake < 0 or to_move < 0:
        return -EINVAL
    _check(task, second)
    if expected is not None and task.memory.read_u32(address) != expected:
        return -EAGAIN
    _check(task, address)
    woken = wake(task.process, address, to_wake) if to_wake else 0
    moved = 0
    if second != address:
        for waiter in task.process.futexes.get(address, [])[:to_move]:
            waiter.move(second)
            moved += 1
    return woken + moved


def _wake_op(task: Task, address: int, to_wake: int, to_wake_second: int, second: int, encoded: int) -> int:
    if second % 4:
        return -EINVAL
    operation, comparison = encoded >> 28 & 0xF, encoded >> 24 & 0xF
    operand, compared = _signed12(encoded >> 12), _signed12(encoded)
    if operation & 8:
        operand = 1 << (operand & 31)
    operation &= 7
    old = task.memory.read_u32(second)
    results = {
        0: operand,
        1: old + operand,
        2: old | operand,
        3: old & ~operand,
        4: old ^ operand,
    }
    if operation not in results or comparison > 5:
        return -ENOSYS
    _check(task, address)
    # Other threads run on other cores meanwhile; the guest's own atomic instructions are not excluded.
    task.memory.write_u32(second, results[operation])
    before = struct.unpack("<i", struct.pack("<I", old))[0]
    matches = (
        before == compared,
        before != compared,
        before < compared,
        before <= compared,
        before > compared,
        before >= compared,
    )[comparison]
    woken = wake(task.process, address, signed32(to_wake))
    if matches:
        woken += wake(task.process, second, signed32(to_wake_second))
    return woken


def _signed12(value: int) -> int:
    value &= 0xFFF
    return value - 0x1000 if value & 0x800 else value


__all__ = ["FutexWaiter", "sys_futex", "wake"]
