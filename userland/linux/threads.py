"""Threads: clone and clone3 as pthread_create uses them, and how a thread ends.

Only threads can be cloned: a child that is a process of its own (fork, vfork, posix_spawn) gets ENOSYS.
"""

from __future__ import annotations

import struct
from typing import Final

from abi.layout import USER_END
from hv.personality import UserFault
from userland.linux.errors import E2BIG, EAGAIN, EINVAL, ENOSYS, EPERM, LinuxError
from userland.linux.futex import wake
from userland.linux.registers import signed64
from userland.linux.task import Task

_CLONE_VM: Final = 0x100
_CLONE_SIGHAND: Final = 0x800
_CLONE_THREAD: Final = 0x10000
_CLONE_SETTLS: Final = 0x80000
_CLONE_PARENT_SETTID: Final = 0x100000
_CLONE_CHILD_CLEARTID: Final = 0x200000
_CLONE_CHILD_SETTID: Final = 0x1000000
_THREAD: Final = _CLONE_VM | _CLONE_SIGHAND | _CLONE_THREAD

THREADS_MAX: Final = 512
_ROBUST_MAX: Final = 2048
"""Locks of a dead thread that are looked at, as Linux's ROBUST_LIST_LIMIT: the list may be a ring."""
_FUTEX_WAITERS: Final = 0x8000_0000
_FUTEX_OWNER_DIED: Final = 0x4000_0000
_FUTEX_TID: Final = 0x3FFF_FFFF

_COPIED: Final = ("rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")


def sys_clone(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    return _clone(task, flags, stack, parent_tid, child_tid, tls)


def sys_clone3(task: Task, arguments: int, size: int) -> int:
    if size < 64:
        return -EINVAL
    if size > 4096:
        return -E2BIG
    fields = struct.unpack("<8Q", task.memory.read(arguments, 64))
    if any(task.memory.read(arguments + 64, size - 64)):
        return -E2BIG
    flags, _pidfd, child_tid, parent_tid, _signal, stack, stack_size, tls = fields
    return _clone(task, flags, stack + stack_size if stack else 0, parent_tid, child_tid, tls)


def _clone(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    if flags & _THREAD != _THREAD:
        if flags & _CLONE_THREAD:
            return -EINVAL
        unknown = task.process.personality.unknown
        unknown["clone (process)"] = unknown.get("clone (process)", 0) + 1
        return -ENOSYS
    if stack >= USER_END:
        return -EINVAL
    if flags & _CLONE_SETTLS and tls >= USER_END:
        return -EPERM
    if len(task.process.process.threads) >= THREADS_MAX:
        return -EAGAIN
    if flags & _CLONE_PARENT_SETTID:
        task.memory.read_u32(parent_tid)
    parent = task.thread
    fs_base = tls if flags & _CLONE_SETTLS else parent.fs_base
    created = task.process.process.create_thread(parent.rip, stack or parent.rsp, fs_base=fs_base)
    if isinstance(created, int):
        return -EAGAIN
    for name in _COPIED:
        setattr(created.regs, name, getattr(parent.regs, name))
    created.regs.rax = 0
    child = task.process.personality.adopt(task.process, created)
    child.blocked = task.blocked
    child.name = task.name
    if flags & _CLONE_CHILD_CLEARTID:
        child.clear_child_tid = child_tid
    # A thread id that cannot be stored does not undo the thread, as on Linux.
    for wanted, address in ((_CLONE_PARENT_SETTID, parent_tid), (_CLONE_CHILD_SETTID, child_tid)):
        if flags & wanted:
            try:
                task.memory.write_u32(address, child.tid)
            except UserFault:
                continue
    return child.tid


def end_thread(task: Task, status: int) -> None:
    """The calling thread ends; the last one ends the process with ``status``."""
    process = task.process
    if len(process.process.threads) <= 1:
        process.terminate(status)
        return
    task.ended = True
    try:
        _abandon_locks(task)
        if task.clear_child_tid:
            task.memory.write_u32(task.clear_child_tid, 0)
            wake(process, task.clear_child_tid, 1)
    except (UserFault, LinuxError):
        pass
    process.personality.forget(task)
    task.thread.exit(status)


def _abandon_locks(task: Task) -> None:
    """Marks the robust mutexes that the thread still holds as abandoned (get_robust_list(2))."""
    head = task.robust_list
    if head == 0:
        return
    entry, offset, pending = struct.unpack("<QQQ", task.memory.read(head, 24))
    offset = signed64(offset)
    for _ in range(_ROBUST_MAX):
        if entry in (0, head):
            break
        following = task.memory.read_u64(entry & -2)
        if entry & -2 != pending & -2:
            _abandon(task, (entry & -2) + offset)
        entry = following
    if pending:
        _abandon(task, (pending & -2) + offset)


def _abandon(task: Task, address: int) -> None:
    if address < 0 or address % 4:
        return
    word = task.memory.read_u32(address)
    if word & _FUTEX_TID == task.tid:
        task.memory.write_u32(address, word & _FUTEX_WAITERS | _FUTEX_OWNER_DIED)
        wake(task.process, address, 1)
