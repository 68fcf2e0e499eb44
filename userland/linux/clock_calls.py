"""System calls about time: clocks, sleeping, the interval timer."""

from __future__ import annotations

import os
import struct
import time
from typing import Final

from hv.personality import BLOCKED
from userland.linux.errors import EINVAL, EPERM, LinuxError
from userland.linux.registers import signed32
from userland.linux.signals import Signal, send_to_process
from userland.linux.structs import TIMESPEC
from userland.linux.task import LinuxProcess, Task

_NANO: Final = 1_000_000_000
_CLOCK_REALTIME: Final = 0
_CLOCK_MONOTONIC: Final = 1
_CLOCK_PROCESS: Final = 2
_CLOCK_THREAD: Final = 3
_CLOCK_BOOTTIME: Final = 7
_CLOCK_TAI: Final = 11
_READABLE: Final = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 11})
_REAL: Final = frozenset({_CLOCK_REALTIME, 5, _CLOCK_TAI})
_SLEEPABLE: Final = frozenset({0, 1, 2, 7, 11})
_TIMER_ABSTIME: Final = 1
_ITIMER_REAL: Final = 0
_SIGALRM: Final = 14
_TICKS: Final = 100
"""Clock ticks a second of times(2): AT_CLKTCK."""
_FOREVER: Final = 1e9
"""Seconds that a deadline lies ahead at most."""


def clock_nanoseconds(clock: int) -> int:
    """What a clock shows; EINVAL for one that is not there."""
    clock = signed32(clock)
    if clock in _REAL:
        return time.time_ns()
    if clock in (_CLOCK_PROCESS, _CLOCK_THREAD):
        # The time of the whole machine: what the hypervisor spends for a program counts as the program's.
        return time.process_time_ns()
    if clock in _READABLE:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME if clock == _CLOCK_BOOTTIME else time.CLOCK_MONOTONIC)
    raise LinuxError(EINVAL)


def sys_clock_gettime(task: Task, clock: int, result: int) -> int:
    task.memory.write(result, TIMESPEC.pack(*divmod(clock_nanoseconds(clock), _NANO)))
    return 0


def sys_clock_getres(task: Task, clock: int, result: int) -> int:
    if signed32(clock) not in _READABLE:
        return -EINVAL
    if result:
        task.memory.write(result, TIMESPEC.pack(0, 1))
    return 0


def sys_clock_settime(task: Task, clock: int, value: int) -> int:
    return -EPERM


def sys_settimeofday(task: Task, value: int, zone: int) -> int:
    return -EPERM


def sys_gettimeofday(task: Task, value: int, zone: int) -> int:
    if value:
        now = time.time_ns() // 1000
        task.memory.write(value, struct.pack("<qq", *divmod(now, 1_000_000)))
    if zone:
        task.memory.write(zone, bytes(8))
    return 0


def sys_time(task: Task, result: int) -> int:
    now = int(time.time())
    if result:
        task.memory.write_u64(result, now)
    return now


def sys_times(task: Task, result: int) -> int:
    if result:
        used = os.times()
        ticks = (int(used.user * _TICKS), int(used.system * _TICKS), 0, 0)
        task.memory.write(result, struct.pack("<4q", *ticks))
    return int(time.monotonic() * _TICKS)


def timespec(task: Task, address: int) -> float:
    """Seconds of the ``struct timespec`` at ``address``; EINVAL for a negative or unnormalized one."""
    seconds: int
    nanoseconds: int
    seconds, nanoseconds = TIMESPEC.unpack(task.memory.read(address, 16))
    if seconds < 0 or not 0 <= nanoseconds < _NANO:
        raise LinuxError(EINVAL)
    return min(float(seconds), _FOREVER) + nanoseconds / 1e9


def sys_nanosleep(task: Task, wanted: int, left: int) -> int:
    return sys_clock_nanosleep(task, _CLOCK_MONOTONIC, 0, wanted, left)


def sys_clock_nanosleep(task: Task, clock: int, flags: int, wanted: int, left: int) -> int:
    clock = signed32(clock)
    if clock not in _SLEEPABLE:
        return -EINVAL
    wait = task.wait
    if wait is None:
        seconds = timespec(task, wanted)
        if flags & _TIMER_ABSTIME:
            seconds -= clock_nanoseconds(clock) / 1e9
        if seconds <= 0:
            return 0
        deadline = time.monotonic() + min(seconds, _FOREVER)
    elif wait.expired or wait.deadline is None:
        return 0
    else:
        deadline = wait.deadline
    result = task.block_on((), deadline=deadline)
    if left and not flags & _TIMER_ABSTIME:
        if result == BLOCKED:
            task.leftover = left
        else:
            write_rest(task, left, deadline)
    return result


def write_rest(task: Task, address: int, deadline: float) -> None:
    """A sleep was ended by a signal: how long it still had to go."""
    rest = max(int((deadline - time.monotonic()) * _NANO), 0)
    task.memory.write(address, TIMESPEC.pack(*divmod(rest, _NANO)))


# The interval timer: ITIMER_REAL and alarm, which share it.


def _arm(task: Task, seconds: float, interval: float) -> tuple[float, float]:
    """Sets the timer (0: off); what was left of it and its interval."""
    process = task.process
    before = (max(process.alarm_at - time.monotonic(), 0.000001) if process.alarm else 0.0, process.alarm_interval)
    if process.alarm is not None:
        process.alarm.cancel()
        process.alarm = None
    process.alarm_interval = interval
    if seconds > 0:
        process.alarm_at = time.monotonic() + min(seconds, _FOREVER)
        _schedule(process, task)
    return before


def _schedule(process: LinuxProcess, task: Task) -> None:
    machine = task.thread.machine

    def rings() -> None:
        process.alarm = None
        if process.ended:
            return
        if process.alarm_interval > 0:
            process.alarm_at = max(process.alarm_at + process.alarm_interval, time.monotonic() + 0.001)
            process.alarm = machine.events.at(process.alarm_at, rings)
        send_to_process(process, Signal(_SIGALRM))

    process.alarm = machine.events.at(process.alarm_at, rings)


def sys_alarm(task: Task, seconds: int) -> int:
    left, _ = _arm(task, seconds & 0xFFFF_FFFF, 0.0)
    return max(round(left), 1) if left else 0


def _timeval(seconds: float) -> bytes:
    return struct.pack("<qq", *divmod(int(seconds * 1_000_000), 1_000_000))


def sys_setitimer(task: Task, which: int, new: int, old: int) -> int:
    if which & 0xFFFF_FFFF != _ITIMER_REAL:
        # CPU time of a program alone is not measured.
        return -EINVAL
    interval = value = 0.0
    if new:
        fields = struct.unpack("<4q", task.memory.read(new, 32))
        if any(field < 0 for field in fields) or fields[1] >= 1_000_000 or fields[3] >= 1_000_000:
            return -EINVAL
        interval, value = fields[0] + fields[1] / 1e6, fields[2] + fields[3] / 1e6
    if old:
        # It must be writable before the timer is changed.
        task.memory.write(old, _timer_state(task))
    _arm(task, min(value, _FOREVER), min(interval, _FOREVER))
    return 0


def sys_getitimer(task: Task, which: int, result: int) -> int:
    kind = which & 0xFFFF_FFFF
    if kind > 2:
        return -EINVAL
    task.memory.write(result, _timer_state(task) if kind == _ITIMER_REAL else bytes(32))
    return 0


def _timer_state(task: Task) -> bytes:
    process = task.process
    left = max(process.alarm_at - time.monotonic(), 0.000001) if process.alarm else 0.0
    return _timeval(process.alarm_interval) + _timeval(left)
