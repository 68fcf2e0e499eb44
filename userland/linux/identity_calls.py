"""System calls about who a process is: user, groups, session, capabilities.  None of it can be changed."""

from __future__ import annotations

import struct
from typing import Final

from userland.linux.errors import EINVAL, EPERM
from userland.linux.process_calls import own_process
from userland.linux.registers import signed32
from userland.linux.task import Task

_UNCHANGED: Final = 0xFFFF_FFFF


def _same_user(task: Task, *users: int) -> int:
    """Programs keep the user they are: a change to that is no change."""
    own = task.process.personality.uid
    return 0 if all(user & 0xFFFF_FFFF in (own, _UNCHANGED) for user in users) else -EPERM


def _same_group(task: Task, *groups: int) -> int:
    own = task.process.personality.gid
    return 0 if all(group & 0xFFFF_FFFF in (own, _UNCHANGED) for group in groups) else -EPERM


def sys_setuid(task: Task, uid: int) -> int:
    return _same_user(task, uid)


def sys_setgid(task: Task, gid: int) -> int:
    return _same_group(task, gid)


def sys_setreuid(task: Task, real: int, effective: int) -> int:
    return _same_user(task, real, effective)


def sys_setregid(task: Task, real: int, effective: int) -> int:
    return _same_group(task, real, effective)


def sys_setresuid(task: Task, real: int, effective: int, saved: int) -> int:
    return _same_user(task, real, effective, saved)


def sys_setresgid(task: Task, real: int, effective: int, saved: int) -> int:
    return _same_group(task, real, effective, saved)


def sys_setfsuid(task: Task, uid: int) -> int:
    return task.process.personality.uid


def sys_setfsgid(task: Task, gid: int) -> int:
    return task.process.personality.gid


def _three(task: Task, addresses: tuple[int, int, int], value: int) -> int:
    for address in addresses:
        task.memory.write_u32(address, value)
    return 0


def sys_getresuid(task: Task, real: int, effective: int, saved: int) -> int:
    return _three(task, (real, effective, saved), task.process.personality.uid)


def sys_getresgid(task: Task, real: int, effective: int, saved: int) -> int:
    return _three(task, (real, effective, saved), task.process.personality.gid)


def sys_getgroups(task: Task, count: int, groups: int) -> int:
    if signed32(count) < 0:
        return -EINVAL
    if signed32(count) > 0:
        task.memory.write_u32(groups, task.process.personality.gid)
    return 1


def sys_setgroups(task: Task, count: int, groups: int) -> int:
    return -EPERM


def sys_getpgrp(task: Task) -> int:
    return task.process.pid


def sys_getpgid(task: Task, pid: int) -> int:
    own_process(task, pid)
    return task.process.pid


def sys_getsid(task: Task, pid: int) -> int:
    own_process(task, pid)
    return task.process.pid


def sys_setpgid(task: Task, pid: int, group: int) -> int:
    own_process(task, pid)
    return 0 if signed32(group) in (0, task.process.pid) else -EPERM


def sys_setsid(task: Task) -> int:
    # The process leads its own group and session already.
    return -EPERM


def sys_capget(task: Task, header: int, data: int) -> int:
    version, pid = struct.unpack("<II", task.memory.read(header, 8))
    if version not in (0x1998_0330, 0x2007_1026, 0x2008_0522):
        task.memory.write_u32(header, 0x2008_0522)
        return 0 if data == 0 else -EINVAL
    own_process(task, pid)
    if data:
        # No capability, whoever the user is.
        task.memory.write(data, bytes(12 if version == 0x1998_0330 else 24))
    return 0


def sys_capset(task: Task, header: int, data: int) -> int:
    return -EPERM
