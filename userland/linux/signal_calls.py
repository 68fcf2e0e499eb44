"""System calls about signals: actions, masks, sending, waiting."""

from __future__ import annotations

import struct
import time
from typing import Final

from hv.personality import BLOCKED
from userland.linux.clock_calls import timespec
from userland.linux.errors import EAGAIN, EINVAL, ENOMEM, EPERM, ESRCH, LinuxError
from userland.linux.registers import signed32
from userland.linux.signals import (
    SI_TKILL,
    SI_USER,
    SIGKILL,
    SIGNALS_MAX,
    SIGSTOP,
    SS_DISABLE,
    SS_ONSTACK,
    UNBLOCKABLE,
    Action,
    Signal,
    bit,
    from_user,
    notice,
    on_altstack,
    return_from_handler,
    send_to_process,
    send_to_task,
    take,
)
from userland.linux.task import Task

_SIG_BLOCK: Final = 0
_SIG_UNBLOCK: Final = 1
_SIG_SETMASK: Final = 2
_ACTION: Final = struct.Struct("<QQQQ")
"""struct kernel_sigaction: handler flags restorer mask."""
_STACK: Final = struct.Struct("<QI4xQ")
_SS_AUTODISARM: Final = 0x8000_0000
_MINSIGSTKSZ: Final = 2048
_SET_SIZE: Final = 8


def _check_set_size(size: int) -> None:
    if size != _SET_SIZE:
        raise LinuxError(EINVAL)


def sys_rt_sigaction(task: Task, number: int, new: int, old: int, size: int) -> int:
    _check_set_size(size)
    number = signed32(number)
    if not 1 <= number <= SIGNALS_MAX or (new and number in (SIGKILL, SIGSTOP)):
        return -EINVAL
    actions = task.process.actions
    before = actions.get(number)
    wanted: Action | None = None
    if new:
        wanted = Action(*_ACTION.unpack(task.memory.read(new, _ACTION.size)))
        wanted.mask &= ~UNBLOCKABLE
    if old:
        fields = (before.handler, before.flags, before.restorer, before.mask) if before is not None else (0, 0, 0, 0)
        task.memory.write(old, _ACTION.pack(*fields))
    if wanted is not None:
        actions[number] = wanted
        if wanted.handler == 1:
            # What becomes ignored while pending is forgotten (POSIX).
            for queue in (task.process.pending, *(other.pending for other in task.process.tasks.values())):
                queue[:] = [signal for signal in queue if signal.number != number]
    return 0


def sys_rt_sigprocmask(task: Task, how: int, new: int, old: int, size: int) -> int:
    _check_set_size(size)
    before = task.blocked
    wanted = task.memory.read_u64(new) & ~UNBLOCKABLE if new else None
    how &= 0xFFFF_FFFF
    if wanted is not None and how > _SIG_SETMASK:
        return -EINVAL
    if old:
        task.memory.write_u64(old, before)
    if wanted is not None:
        if how == _SIG_BLOCK:
            task.blocked = before | wanted
        elif how == _SIG_UNBLOCK:
            task.blocked = before & ~wanted
        else:
            task.blocked = wanted
        notice(task)
    return 0


def sys_rt_sigpending(task: Task, result: int, size: int) -> int:
    if size > _SET_SIZE:
        return -EINVAL
    pending = 0
    for signal in (*task.pending, *task.process.pending):
        pending |= bit(signal.number)
    task.memory.write(result, (pending & task.blocked).to_bytes(8, "little")[:size])
    return 0


def sys_rt_sigreturn(task: Task) -> int:
    return_from_handler(task)
    return BLOCKED


def sys_sigaltstack(task: Task, new: int, old: int) -> int:
    inside = on_altstack(task, task.thread.rsp)
    start, flags, length = task.altstack
    shown = SS_ONSTACK if inside else flags if length else SS_DISABLE
    wanted: tuple[int, int, int] | None = None
    if new:
        new_start, new_flags, new_length = _STACK.unpack(task.memory.read(new, _STACK.size))
        if inside:
            return -EPERM
        if new_flags & ~_SS_AUTODISARM not in (0, SS_ONSTACK, SS_DISABLE):
            return -EINVAL
        if new_flags & SS_DISABLE:
            wanted = (0, SS_DISABLE, 0)
        elif new_length < _MINSIGSTKSZ:
            return -ENOMEM
        else:
            wanted = (new_start, new_flags & _SS_AUTODISARM, new_length)
    if old:
        task.memory.write(old, _STACK.pack(start, shown, length))
    if wanted is not None:
        task.altstack = wanted
    return 0


def _number(number: int) -> int:
    number = signed32(number)
    if not 0 <= number <= SIGNALS_MAX:
        raise LinuxError(EINVAL)
    return number


def sys_kill(task: Task, pid: int, number: int) -> int:
    pid, number = signed32(pid), _number(number)
    if pid not in (task.process.pid, 0, -task.process.pid):
        return -ESRCH
    if number:
        send_to_process(task.process, from_user(task, number, SI_USER))
    return 0


def _send_to_thread(task: Task, tid: int, signal: Signal | None) -> int:
    target = task.process.tasks.get(signed32(tid))
    if target is None:
        return -ESRCH
    if signal is not None:
        send_to_task(target, signal)
    return 0


def sys_tkill(task: Task, tid: int, number: int) -> int:
    number = _number(number)
    if signed32(tid) <= 0:
        return -EINVAL
    return _send_to_thread(task, tid, from_user(task, number, SI_TKILL) if number else None)


def sys_tgkill(task: Task, pid: int, tid: int, number: int) -> int:
    number = _number(number)
    if signed32(tid) <= 0 or signed32(pid) <= 0:
        return -EINVAL
    if signed32(pid) != task.process.pid:
        return -ESRCH
    return _send_to_thread(task, tid, from_user(task, number, SI_TKILL) if number else None)


def _queued(task: Task, number: int, info: int) -> Signal | None:
    number = _number(number)
    content = task.memory.read(info, 128)
    return Signal(number, struct.unpack_from("<i", content, 8)[0], content[16:]) if number else None


def sys_rt_sigqueueinfo(task: Task, pid: int, number: int, info: int) -> int:
    signal = _queued(task, number, info)
    if signed32(pid) != task.process.pid:
        return -ESRCH
    if signal is not None:
        send_to_process(task.process, signal)
    return 0


def sys_rt_tgsigqueueinfo(task: Task, pid: int, tid: int, number: int, info: int) -> int:
    signal = _queued(task, number, info)
    if signed32(pid) != task.process.pid:
        return -ESRCH
    return _send_to_thread(task, tid, signal)


def sys_pause(task: Task) -> int:
    return task.block_on(())


def sys_rt_sigsuspend(task: Task, mask: int, size: int) -> int:
    _check_set_size(size)
    wait_with_mask(task, mask)
    return task.block_on(())


def wait_with_mask(task: Task, mask: int) -> None:
    """The mask at ``mask`` until the call has ended and its signals are delivered; on a retry nothing changes."""
    if task.wait is None:
        wanted = task.memory.read_u64(mask) & ~UNBLOCKABLE
        if task.restore_mask is None:
            task.restore_mask = task.blocked
        task.blocked = wanted
        task.attention = True


def sys_rt_sigtimedwait(task: Task, wanted: int, info: int, timeout: int, size: int) -> int:
    _check_set_size(size)
    mask = task.memory.read_u64(wanted) & ~UNBLOCKABLE
    signal = take(task, mask)
    if signal is not None:
        task.awaited = 0
        if info:
            task.memory.write(info, signal.siginfo())
        return signal.number
    if task.wait is not None:
        if task.wait.expired:
            task.awaited = 0
            return -EAGAIN
        deadline = task.wait.deadline
    elif timeout:
        seconds = timespec(task, timeout)
        if seconds == 0:
            return -EAGAIN
        deadline = time.monotonic() + seconds
    else:
        deadline = None
    result = task.block_on((), deadline=deadline)
    task.awaited = mask if result == BLOCKED else 0
    return result
