"""Calling a function of a loaded program from the host.

The function runs on a thread and a stack of its own, in the program's address space; it returns into a few bytes of
code at CALL_AREA, which make a system call that ends the wait here.  Between calls the thread is blocked.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Final

from abi.layout import CALL_AREA, EXECUTE, HOST_RETURN, PAGE_SIZE, READ, WRITE
from hv.personality import BLOCKED
from hv.thread import Thread

if TYPE_CHECKING:
    from hv.process import Process

CODE: Final = b"\x48\x89\xc7\xb8" + struct.pack("<I", HOST_RETURN) + b"\x0f\x05\x0f\x0b"
"""mov rdi, rax; mov eax, HOST_RETURN; syscall; ud2"""
STACK_SIZE: Final = 256 << 10
ARGUMENTS: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")


class ProgramEnded(Exception):
    """The program ended while one of its functions was being called; its report says why, if it was ended."""


class FunctionCalls:
    """Calls into one process, one at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._thread: Thread | None = None
        self._result: int | None = None
        self._busy = False
        process.machine.serve_host_return(self._dispatch)

    @staticmethod
    def _dispatch(thread: Thread, value: int, *_: int) -> int:
        calls = thread.process.function_calls
        if calls is None or calls._thread is not thread: return -38
        calls._result = value
        thread.block()
        thread.machine.lock.notify_all()
        return BLOCKED

    def call(self, address: int, arguments: tuple[int, ...], timeout: float | None) -> int:
        """Calls the function at ``address`` with up to six integers (System V convention); returns its rax, unsigned.

        Another thread's call is waited for.  Raises ValueError for more arguments, MemoryError without room for a
        stack, TimeoutError (the function is abandoned, and with it the program: it is ended), ProgramEnded.
        """
        if len(arguments) > len(ARGUMENTS):
            raise ValueError(f"at most {len(ARGUMENTS)} arguments, not {len(arguments)}")
        process, machine = self._process, self._process.machine
        deadline = None if timeout is None else time.monotonic() + timeout
        values = [value & 0xFFFF_FFFF_FFFF_FFFF for value in arguments]
        machine.lock.refuse_cores("calling a function of a program")
        with machine.lock:
            self._alive()
            while self._busy:
                if not machine.lock.wait(_left(deadline)):
                    raise TimeoutError(f"another call did not return within {timeout} s")
                self._alive()
            self._busy = True
            try:
                thread = self._prepare(address)
                for name, value in zip(ARGUMENTS, values, strict=False):
                    setattr(thread.regs, name, value)
                return self._await_result(thread, address, deadline, timeout)
            except BaseException as error:
                # Ctrl-C, say, while it waited: the function must not go on on the thread of the next call.
                if self._result is None and process.status is None and not (machine.stopping or self._thread is None):
                    machine.end_process(process, 130, f"a called function was abandoned: {error!r}", self._thread)
                raise
            finally:
                self._busy = False
                machine.lock.notify_all()

    def _alive(self) -> None:
        """Raises what stopped the machine, or ProgramEnded."""
        process, machine = self._process, self._process.machine
        while process.status is None and not process.alive:
            machine.raise_failure()
            machine.lock.wait()
        machine.raise_failure()
        if process.status is not None: raise ProgramEnded(str(process.report or f"{process.name} has ended"))

    def _await_result(self, thread: Thread, address: int, deadline: float | None, timeout: float | None) -> int:
        process, machine = self._process, self._process.machine
        self._result = None
        while self._result is None:
            self._alive()
            if thread.gone:
                self._thread = None
                raise ProgramEnded(f"the function at {address:#x} ended its thread")
            if machine.stuck():
                machine.end_process(process, 134, "deadlock: a called function waits for what cannot happen", thread)
                continue
            left = _left(deadline)
            if left is not None and left <= 0:
                machine.end_process(process, 124, f"a called function did not return within {timeout} s", thread)
                raise TimeoutError(f"the function at {address:#x} did not return within {timeout} s")
            machine.lock.wait(left)
        return self._result

    def _prepare(self, address: int) -> Thread:
        """The thread that is going to run the function, at its first instruction."""
        process = self._process
        rsp = CALL_AREA - 8
        if self._thread is not None:
            thread = self._thread
            process.memory.write_u64(rsp, CALL_AREA)
            thread.rip, thread.rsp = address, rsp
            thread.wake(BLOCKED)
            return thread
        if process.permissions(CALL_AREA) is None: self._make_room()
        process.memory.write_u64(rsp, CALL_AREA)
        others = process.threads
        fs_base = others[0].fs_base if others and others[0].vcpu is not None else 0
        made = process.create_thread(address, rsp, fs_base=fs_base)
        if isinstance(made, int): raise MemoryError("no memory for the thread of a call")
        process.machine.start_cores()
        self._thread = made
        return made

    def _make_room(self) -> None:
        """The page of code and the stack, which stay for later calls."""
        process = self._process
        if process.map(CALL_AREA, PAGE_SIZE, READ | EXECUTE) != 0: raise MemoryError("no memory for a call")
        if process.map(CALL_AREA - STACK_SIZE, STACK_SIZE, READ | WRITE) != 0:
            process.unmap(CALL_AREA, PAGE_SIZE)
            raise MemoryError("no memory for the stack of a call")
        process.memory.loader_views(CALL_AREA, len(CODE))[0][:] = CODE


def _left(deadline: float | None) -> float | None:
    """Seconds until then; None for ever."""
    return None if deadline is None else deadline - time.monotonic()


__all__ = ["ARGUMENTS", "FunctionCalls", "ProgramEnded"]
