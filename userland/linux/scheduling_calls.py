"""System calls about what a process uses and how it is scheduled."""

from __future__ import annotations

import struct
from typing import Final

from userland.linux.errors import EACCES, EFAULT, EINVAL, EPERM, ESRCH, LinuxError
from userland.linux.process_calls import sys_prlimit64
from userland.linux.registers import signed32
from userland.linux.task import Task


def sys_getrlimit(task: Task, resource: int, result: int) -> int:
    return sys_prlimit64(task, 0, resource, 0, result) if result else -EFAULT


def sys_setrlimit(task: Task, resource: int, new: int) -> int:
    return sys_prlimit64(task, 0, resource, new, 0) if new else -EFAULT


def sys_getrusage(task: Task, who: int, result: int) -> int:
    if signed32(who) not in (0, -1, 1):
        return -EINVAL
    import os

    used = os.times() if signed32(who) != -1 else None
    user, system = (used.user, used.system) if used is not None else (0.0, 0.0)
    resident = sum(end - start for start, end in task.process.space.present) // 1024
    times = [part for value in (user, system) for part in (int(value), int(value % 1 * 1_000_000))]
    task.memory.write(result, struct.pack("<4q14q", *times, resident, *[0] * 13))
    return 0


_SYSINFO: Final = struct.Struct("<q9QHxxxxxxQQI4x")
"""struct sysinfo: uptime, three loads, total, free, shared, buffer RAM, total and free swap, processes, total and free
high memory, unit."""


def sys_sysinfo(task: Task, result: int) -> int:
    import time

    total = task.process.personality.memory_limit
    used = sum(end - start for start, end in task.process.space.present)
    uptime = int(time.monotonic())
    task.memory.write(result, _SYSINFO.pack(uptime, 0, 0, 0, total, max(total - used, 0), 0, 0, 0, 0, 1, 0, 0, 1))
    return 0


_PR_SET_PDEATHSIG: Final = 1
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_GET_NAME: Final = 16
_PR_GET_SECCOMP: Final = 21
_PR_SET_TIMERSLACK: Final = 29
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_GET_NO_NEW_PRIVS: Final = 39


def sys_prctl(task: Task, option: int, argument: int) -> int:
    option &= 0xFFFF_FFFF
    if option == _PR_SET_NAME:
        # Up to 15 bytes; a longer string is cut, wherever it ends.
        name = b""
        while len(name) < 15 and (byte := task.memory.read(argument + len(name), 1)) != b"\0":
            name += byte
        task.name = name
        return 0
    if option == _PR_GET_NAME:
        task.memory.write(argument, task.name.ljust(16, b"\0"))
        return 0
    if option in (_PR_GET_DUMPABLE, _PR_GET_NO_NEW_PRIVS):
        return 1
    if option in (_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_GET_SECCOMP, _PR_SET_TIMERSLACK, _PR_SET_NO_NEW_PRIVS):
        return 0
    return -EINVAL


def sys_sched_yield(task: Task) -> int:
    return task.thread.machine.system.thread_yield(task.thread.id)


def sys_sched_getaffinity(task: Task, pid: int, size: int, mask: int) -> int:
    _own_thread(task, pid)
    size &= 0xFFFF_FFFF
    if size < 8 or size % 8:
        return -EINVAL
    task.memory.write_u64(mask, (1 << task.process.personality.cores) - 1)
    return 8


def sys_sched_setaffinity(task: Task, pid: int, size: int, mask: int) -> int:
    _own_thread(task, pid)
    wanted = int.from_bytes(task.memory.read(mask, min(size, 128)), "little")
    return 0 if wanted & ((1 << task.process.personality.cores) - 1) else -EINVAL


def _own_thread(task: Task, pid: int) -> None:
    if signed32(pid) not in (0, task.process.pid) and signed32(pid) not in task.process.tasks:
        raise LinuxError(ESRCH)


def sys_sched_getscheduler(task: Task, pid: int) -> int:
    _own_thread(task, pid)
    return 0


def sys_sched_getparam(task: Task, pid: int, result: int) -> int:
    _own_thread(task, pid)
    task.memory.write_u32(result, 0)
    return 0


def sys_sched_setscheduler(task: Task, pid: int, policy: int, parameters: int) -> int:
    _own_thread(task, pid)
    if task.memory.read_u32(parameters):
        return -EPERM if policy & 0xFFFF_FFFF in (1, 2) else -EINVAL
    return 0 if policy & 0xFFFF_FFFF in (0, 3, 5) else -EPERM


def sys_sched_setparam(task: Task, pid: int, parameters: int) -> int:
    _own_thread(task, pid)
    return -EINVAL if task.memory.read_u32(parameters) else 0


def sys_sched_get_priority_max(task: Task, policy: int) -> int:
    policy &= 0xFFFF_FFFF
    return 99 if policy in (1, 2) else 0 if policy in (0, 3, 5) else -EINVAL


def sys_sched_get_priority_min(task: Task, policy: int) -> int:
    policy &= 0xFFFF_FFFF
    return 1 if policy in (1, 2) else 0 if policy in (0, 3, 5) else -EINVAL


def sys_getpriority(task: Task, which: int, who: int) -> int:
    # The raw call gives 20 - nice.
    return 20 if which & 0xFFFF_FFFF <= 2 else -EINVAL


def sys_setpriority(task: Task, which: int, who: int, nice: int) -> int:
    if which & 0xFFFF_FFFF > 2:
        return -EINVAL
    return 0 if signed32(nice) >= 0 else -EACCES


def sys_getcpu(task: Task, cpu: int, node: int) -> int:
    for address in (cpu, node):
        if address:
            task.memory.write_u32(address, 0)
    return 0


def sys_get_robust_list(task: Task, pid: int, head: int, length: int) -> int:
    _own_thread(task, pid)
    wanted = task.process.tasks.get(signed32(pid), task)
    task.memory.write_u64(head, wanted.robust_list)
    task.memory.write_u64(length, 24)
    return 0
