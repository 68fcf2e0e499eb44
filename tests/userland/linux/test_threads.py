"""Threads and futexes: what clone accepts, who is woken, what the end of a thread leaves."""

from __future__ import annotations

import struct

import pytest

from abi.layout import USER_END
from hv.personality import BLOCKED
from tests.userland.fake_machine import IMAGE_START, FakeMachine, FakeThread
from tests.userland.linux.conftest import Program

EAGAIN, EFAULT, EINVAL, ENOSYS, ETIMEDOUT, EPERM, EDEADLK = 11, 14, 22, 38, 110, 1, 35
THREAD = 0x3D0F00
"""The flags pthread_create gives."""
WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET, PRIVATE = 0, 1, 3, 4, 5, 9, 10, 128


def spawn(program: Program, parent_tid: int = 0, child_tid: int = 0, stack: int = IMAGE_START + 0x4000) -> Program:
    program.thread.regs.r9 = 0x1234
    tid = program("clone", THREAD, stack, parent_tid or program.room(8), child_tid or program.room(8), 0x41_0000 - 64)
    assert tid > 100
    made = program.process.threads[-1]
    assert made is not program.thread
    return Program(program.machine, made)


def test_a_thread_begins_where_clone_returns_with_zero(program: Program) -> None:
    parent_tid = program.room(8)
    program.thread.rip = 0x40_1111
    program.thread.regs.rbx = 77
    child = spawn(program, parent_tid)
    assert child.thread.regs.rax == 0
    assert child.thread.regs.r9 == 0x1234
    assert child.thread.regs.rbx == 77
    assert child.thread.rip == 0x40_1111
    assert child.thread.rsp == IMAGE_START + 0x4000
    assert child.thread.fs_base == 0x41_0000 - 64
    assert child("gettid") == struct.unpack("<I", program.get(parent_tid, 4))[0]
    assert child("getpid") == program("getpid") == program("gettid")


def test_only_threads_can_be_cloned(program: Program) -> None:
    assert program("clone", 17, 0, 0, 0, 0) == -ENOSYS
    assert program("clone", 0x4111, 0, 0, 0, 0) == -ENOSYS  # vfork
    assert program("clone", 0x10000, 0, 0, 0, 0) == -EINVAL
    assert program("clone", THREAD, USER_END, 0, 0, 0) == -EINVAL
    assert program("clone", THREAD, 0x41_0000, 0, 0, 1 << 63) == -EPERM
    assert program("clone", THREAD, 0x41_0000, 8, 0, 0) == -EFAULT
    assert program("clone3", program.put(bytes(64)), 8) == -EINVAL
    assert program("clone3", program.put(bytes(64)), 64) == -ENOSYS
    assert program("fork") == -ENOSYS
    assert program.personality.unknown["clone (process)"] == 3
    assert len(program.process.threads) == 1


def test_waiting_and_waking(program: Program) -> None:
    word = program.put(struct.pack("<I", 5))
    waiters = [spawn(program) for _ in range(3)]
    assert waiters[0]("futex", word, WAIT, 4, 0, 0, 0) == -EAGAIN
    for waiter in waiters:
        assert waiter("futex", word, WAIT | PRIVATE, 5, 0, 0, 0) == BLOCKED
        assert waiter.thread.blocked
    assert program("futex", word, WAKE, 1, 0, 0, 0) == 1
    assert [waiter.thread.blocked for waiter in waiters] == [False, True, True]
    assert program("futex", word, WAKE, 0x7FFF_FFFF, 0, 0, 0) == 2
    assert program("futex", word, WAKE, 1, 0, 0, 0) == 0
    assert [waiter.thread.settle() for waiter in waiters] == [0, 0, 0]


def test_a_wait_that_ends_by_itself(program: Program) -> None:
    word = program.put(bytes(4))
    soon = program.put(struct.pack("<qq", 0, 1_000_000))
    past = program.put(struct.pack("<qq", 1, 0))
    assert program.settled("futex", word, WAIT, 0, soon, 0, 0) == -ETIMEDOUT
    assert program.settled("futex", word, WAIT_BITSET, 0, past, 0, 0xFFFF_FFFF) == -ETIMEDOUT
    assert program.settled("futex", word, WAIT_BITSET | 256, 0, past, 0, 0xFFFF_FFFF) == -ETIMEDOUT
    assert program("futex", word, WAIT, 0, program.put(struct.pack("<qq", -1, 0)), 0, 0) == -EINVAL
    assert program("futex", word, WAIT, 0, program.put(struct.pack("<qq", 0, 1 << 40)), 0, 0) == -EINVAL
    assert program("futex", word, WAIT_BITSET, 0, 0, 0, 0) == -EINVAL
    assert program("futex", word + 1, WAIT, 0, 0, 0, 0) == -EINVAL
    assert not program.machine.events.live()


def test_requeue_moves_waiters(program: Program) -> None:
    first, second = program.put(struct.pack("<I", 1)), program.put(bytes(4))
    waiters = [spawn(program) for _ in range(4)]
    for waiter in waiters:
        waiter("futex", first, WAIT, 1, 0, 0, 0)
    assert program("futex", first, CMP_REQUEUE, 1, 2, second, 9) == -EAGAIN
    assert program("futex", first, CMP_REQUEUE, 1, 2, second, 1) == 3
    assert program("futex", first, WAKE, 9, 0, 0, 0) == 1
    assert program("futex", second, WAKE, 9, 0, 0, 0) == 2
    assert program("futex", first, REQUEUE, -1, 1, second, 0) == -EINVAL


def test_bits_choose_who_is_woken(program: Program) -> None:
    word = program.put(bytes(4))
    one, two = spawn(program), spawn(program)
    one("futex", word, WAIT_BITSET, 0, 0, 0, 1)
    two("futex", word, WAIT_BITSET, 0, 0, 0, 2)
    assert program("futex", word, WAKE_BITSET, 9, 0, 0, 2) == 1
    assert (one.thread.blocked, two.thread.blocked) == (True, False)


def test_wake_op(program: Program) -> None:
    first, second = program.put(bytes(4)), program.put(struct.pack("<I", 3))
    waiter = spawn(program)
    waiter("futex", second, WAIT, 3, 0, 0, 0)
    encoded = 1 << 28 | 0 << 24 | 5 << 12 | 3  # add 5; then wake if it was 3
    assert program("futex", first, WAKE_OP, 1, 1, second, encoded) == 1
    assert program.get(second, 4) == struct.pack("<I", 8)
    assert not waiter.thread.blocked


def test_operations_that_are_not_served(program: Program) -> None:
    word = program.put(bytes(4))
    for operation in (2, 6, 7, 8, 11, 12, 13, 99):
        assert program("futex", word, operation, 0, 0, 0, 0) == -ENOSYS


def test_the_end_of_a_thread_is_told_to_who_joins(program: Program) -> None:
    child_tid = program.put(struct.pack("<I", 77))
    child = spawn(program, child_tid, child_tid)
    assert struct.unpack("<I", program.get(child_tid, 4))[0] == child("gettid")
    value = struct.unpack("<I", program.get(child_tid, 4))[0]
    assert program("futex", child_tid, WAIT, value, 0, 0, 0) == BLOCKED
    assert child("exit", 0) == BLOCKED
    assert program.get(child_tid, 4) == bytes(4)
    assert program.thread.settle() == 0
    assert program.process.threads == [program.thread]


def test_a_held_robust_lock_is_marked(program: Program) -> None:
    child = spawn(program)
    tid = child("gettid")
    lock = program.put(struct.pack("<QI4x", 0, tid | 0x8000_0000))
    head = program.put(struct.pack("<QqQ", lock, 8, 0))
    program.process.memory.write(lock, struct.pack("<Q", head))
    assert child("set_robust_list", head, 24) == 0
    child("exit", 0)
    assert struct.unpack("<I", program.get(lock + 8, 4))[0] == 0xC000_0000


@pytest.mark.parametrize("head", [8, USER_END, (1 << 64) - 8, IMAGE_START])
def test_a_broken_robust_list_harms_nobody(head: int, program: Program) -> None:
    loop = program.put(struct.pack("<Q", 0))
    program.process.memory.write(loop, struct.pack("<Q", loop))
    for address in (head, loop):
        child = spawn(program)
        child("set_robust_list", address, 24)
        assert child("exit", 0) == BLOCKED
    assert program("set_robust_list", 0, 25) == -EINVAL


def test_the_last_thread_ends_the_process(machine: FakeMachine, program: Program) -> None:
    child = spawn(program)
    assert program("exit", 3) == BLOCKED
    assert machine.process.status is None
    assert child("exit", 4) == BLOCKED
    assert machine.process.status == 4


def test_exit_group_ends_threads_that_wait(machine: FakeMachine, program: Program) -> None:
    word = program.put(bytes(4))
    child = spawn(program)
    child("futex", word, WAIT, 0, program.put(struct.pack("<qq", 1000, 0)), 0, 0)
    assert program("exit_group", 0x1_0007) == BLOCKED
    assert machine.process.status == 7
    assert not machine.events.live()
    assert not machine.personality._tasks


def test_too_many_threads(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("userland.linux.threads.THREADS_MAX", 3)
    spawn(program)
    spawn(program)
    assert program("clone", THREAD, 0x41_0000, program.room(8), program.room(8), 0) == -EAGAIN


def test_no_memory_for_a_thread(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(rip: int, rsp: int, *, rdi: int = 0, fs_base: int = 0) -> FakeThread | int:
        return -12

    monkeypatch.setattr(program.process, "create_thread", none)
    assert program("clone", THREAD, 0x41_0000, program.room(8), program.room(8), 0) == -EAGAIN
