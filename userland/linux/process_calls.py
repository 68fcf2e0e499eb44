"""System calls about the process itself: identity, limits, ending, thread-local storage."""

from __future__ import annotations

import os
import struct
from typing import Final

from abi.layout import STACK_SIZE, USER_END
from hv.personality import BLOCKED
from userland.linux.descriptors import DESCRIPTORS_MAX
from userland.linux.errors import ECHILD, EINVAL, ENOSYS, EPERM, ESRCH, LinuxError
from userland.linux.registers import signed32
from userland.linux.task import Task

_ARCH_SET_GS: Final = 0x1001
_ARCH_SET_FS: Final = 0x1002
_ARCH_GET_FS: Final = 0x1003
_ARCH_GET_GS: Final = 0x1004

_QUERY: Final = 0xFFFF_FFFF
_INFINITY: Final = (1 << 64) - 1
_RLIMIT_COUNT: Final = 16
_RLIMIT_STACK: Final = 3
_RLIMIT_CORE: Final = 4
_RLIMIT_NPROC: Final = 6
_RLIMIT_NOFILE: Final = 7
_LIMITS: Final = {
    _RLIMIT_STACK: (STACK_SIZE, STACK_SIZE),
    _RLIMIT_CORE: (0, 0),
    _RLIMIT_NPROC: (1024, 1024),
    _RLIMIT_NOFILE: (DESCRIPTORS_MAX, DESCRIPTORS_MAX),
}

_RANDOM_AT_ONCE: Final = 1 << 20


def sys_arch_prctl(task: Task, code: int, address: int) -> int:
    if code in (_ARCH_SET_FS, _ARCH_SET_GS):
        if address >= USER_END:
            return -EPERM
        if code == _ARCH_SET_FS:
            task.thread.fs_base = address
        else:
            task.thread.gs_base = address
        return 0
    if code == _ARCH_GET_FS:
        task.memory.write_u64(address, task.thread.fs_base)
        return 0
    if code == _ARCH_GET_GS:
        task.memory.write_u64(address, task.thread.gs_base)
        return 0
    return -EINVAL


def sys_set_tid_address(task: Task, address: int) -> int:
    task.clear_child_tid = address
    return task.tid


def sys_set_robust_list(task: Task, head: int, length: int) -> int:
    if length != 24:
        return -EINVAL
    task.robust_list = head
    return 0


def sys_rseq(task: Task, area: int, length: int, flags: int, signature: int) -> int:
    # glibc does without when it is refused.
    return -ENOSYS


def sys_uname(task: Task, buffer: int) -> int:
    fields = (b"Linux", task.process.personality.hostname, b"6.1.0-aerostat", b"#1 aerostat", b"x86_64", b"(none)")
    task.memory.write(buffer, struct.pack("65s65s65s65s65s65s", *fields))
    return 0


def sys_exit(task: Task, status: int) -> int:
    from userland.linux.threads import end_thread

    end_thread(task, status & 0xFF)
    return BLOCKED


def sys_exit_group(task: Task, status: int) -> int:
    task.process.terminate(status & 0xFF)
    return BLOCKED


def sys_getpid(task: Task) -> int:
    return task.process.pid


def sys_gettid(task: Task) -> int:
    return task.tid


def sys_getppid(task: Task) -> int:
    return 1


def sys_getuid(task: Task) -> int:
    return task.process.personality.uid


def sys_geteuid(task: Task) -> int:
    return task.process.personality.uid


def sys_getgid(task: Task) -> int:
    return task.process.personality.gid


def sys_getegid(task: Task) -> int:
    return task.process.personality.gid


def own_process(task: Task, pid: int) -> None:
    """ESRCH for any process but the caller's own: there are no others to see."""
    if signed32(pid) not in (0, task.process.pid):
        raise LinuxError(ESRCH)


def sys_prlimit64(task: Task, pid: int, resource: int, new: int, old: int) -> int:
    own_process(task, pid)
    resource &= 0xFFFF_FFFF
    if resource >= _RLIMIT_COUNT:
        return -EINVAL
    limits = _LIMITS.get(resource, (_INFINITY, _INFINITY))
    if new:
        soft, hard = struct.unpack("<QQ", task.memory.read(new, 16))
        if soft > hard:
            return -EINVAL
        if hard > limits[1]:
            return -EPERM
        # Accepted and without effect: the limits are the machine's.
    if old:
        task.memory.write(old, struct.pack("<QQ", *limits))
    return 0


def sys_getrandom(task: Task, buffer: int, length: int, flags: int) -> int:
    if flags & 0xFFFF_FFFF & ~7:
        return -EINVAL
    data = os.urandom(min(length, _RANDOM_AT_ONCE))
    task.memory.write(buffer, data)
    return len(data)


def sys_personality(task: Task, wanted: int) -> int:
    return 0 if wanted & 0xFFFF_FFFF in (0, _QUERY) else -EINVAL


def sys_wait4(task: Task, pid: int, status: int, options: int, usage: int) -> int:
    return -ECHILD


def sys_waitid(task: Task, kind: int, which: int, info: int, options: int, usage: int) -> int:
    return -ECHILD
