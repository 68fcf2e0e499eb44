"""The Python API: a program in a machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from abi.image import Image
from hv.engine import REGISTERS
from hv.process import Process

if TYPE_CHECKING:
    from aerostat.invariants.clause import Clause, Guard, Predicate
    from aerostat.machine import Machine
    from hv.report import Report


class Program:
    """A program in a machine: a process, its memory, its registers, how it ended."""

    def __init__(
        self, machine: Machine, process: Process, image: Image, personality: Any, time_limit: float | None = None
    ) -> None:
        self.machine = machine
        self.time_limit = time_limit
        """Seconds it may take."""
        self.process = process
        self.image = image
        self.personality = personality
        self._started = False

    @overload
    def invariant(self, of: Predicate | Clause, /) -> Clause: ...

    @overload
    def invariant(
        self, of: str = "", /, *, every: int | str = "exit", at: int | str | Sequence[int | str] = (),
        unless: Guard | None = None,
    ) -> Callable[[Predicate], Clause]: ...  # fmt: skip

    def invariant(
        self, of: Predicate | Clause | str = "", /, *, every: int | str = "exit",
        at: int | str | Sequence[int | str] = (), unless: Guard | None = None,
    ) -> Clause | Callable[[Predicate], Clause]:  # fmt: skip
        """Decorator: as ``Machine.invariant``, for this program alone."""
        return self.machine._watch(self.process, of, every=every, at=at, unless=unless)

    def start(self) -> None:
        """Starts a loaded program at its entry; no effect if it was started or has ended.  Its time limit begins
        now."""
        machine = self.machine.hypervisor
        with machine.lock:
            if self._started or not self.process.alive: return
            rip, rsp = self.process.entry
            machine.start(self.process, rip, rsp)
            self._started = True
            if self.time_limit is not None:
                limit = self.time_limit
                deadline = time.monotonic() + limit
                self.process.limit = machine.events.at(deadline, lambda: self._out_of_time(limit), limit=True)

    def _out_of_time(self, limit: float) -> None:
        if self.process.status is None:
            self.machine.hypervisor.end_process(self.process, 124, f"time limit of {limit:g} s reached")

    @property
    def status(self) -> int | None:
        """Its exit status, or None while it runs: its own, 128 + n where a fault ended it, 124 at the time limit."""
        return self.process.status

    @property
    def report(self) -> Report | None:
        """Why it was ended, if it did not end itself."""
        return self.process.report

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end and returns its status.  Raises TimeoutError after ``timeout`` seconds; CheckFailed where
        a specification or an invariant of the kernel did not hold, Violation where one of the user's did not;
        MachineFailed; ValueError for one that was never started."""
        if not self._started and self.process.alive:
            raise ValueError(f"{self.process.name} was never started")
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Ends it with status 137; no effect if it has ended."""
        self.process.kill()

    def symbol(self, name: str) -> int:
        """The address of a function or object by its ELF symbol.  KeyError if there is none."""
        address = self.image.symbol(name)
        if address is None: raise KeyError(f"{self.process.name} has no symbol {name!r}")
        return address

    def _address(self, where: int | str) -> int:
        return self.symbol(where) if isinstance(where, str) else where

    def read(self, where: int | str, length: int) -> bytes:
        """``length`` bytes at an address or symbol.  UserFault where the program could not read them, KeyError."""
        address = self._address(where)
        with self.machine.hypervisor.lock:
            self._must_live()
            return self.process.memory.read(address, length)

    def write(self, where: int | str, data: bytes) -> None:
        """Stores bytes at an address or symbol.  UserFault where the program could not write them, KeyError."""
        address = self._address(where)
        with self.machine.hypervisor.lock:
            self._must_live()
            self.process.memory.write(address, data)

    def _must_live(self) -> None:
        if not self.process.alive:
            from hv.function_call import ProgramEnded

            raise ProgramEnded(f"{self.process.name} has ended")

    def registers(self, thread: int = 0) -> dict[str, int]:
        """The registers of its ``thread``-th thread, which is stopped for that moment.  IndexError if there is none."""
        machine = self.machine.hypervisor
        with machine.lock:
            self._must_live()
            machine.quiesce()
            regs = self.process.threads[thread].regs
            return {name: getattr(regs, name) for name in REGISTERS}

    def set_registers(self, values: Mapping[str, int], thread: int = 0) -> None:
        """Sets registers of its ``thread``-th thread by name.  KeyError for an unknown one, IndexError."""
        unknown = set(values) - set(REGISTERS)
        if unknown: raise KeyError(f"no register {sorted(unknown)[0]!r}")
        machine = self.machine.hypervisor
        with machine.lock:
            self._must_live()
            machine.quiesce()
            regs = self.process.threads[thread].regs
            for name, value in values.items():
                setattr(regs, name, value & 0xFFFF_FFFF_FFFF_FFFF)

    def call(self, where: int | str, *arguments: int, timeout: float | None = None) -> int:
        """Calls a function, by address or symbol, with up to six integers; returns its rax, unsigned.

        It runs on a thread and stack of its own, in a program that was only loaded (then nothing of its C library is
        initialized) or that runs.  Raises KeyError, ValueError, TimeoutError (the program is ended then), and
        ProgramEnded when it faults or exits."""
        return self.process.call(self._address(where), *arguments, timeout=timeout)


__all__ = ["Program"]
