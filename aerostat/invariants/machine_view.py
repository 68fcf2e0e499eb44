"""What an invariant is given: the program, the kernel, and what just happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from aerostat.invariants.program_view import ProgramView, UnknownName
from aerostat.invariants.values import Read, ReadOnly

if TYPE_CHECKING:
    from aerostat.invariants.kernel_view import KernelView, ObjectView


class Call(NamedTuple):
    """A system call: its name, its number, its six argument registers, unsigned."""

    name: str
    number: int
    arguments: tuple[int, ...]


class MachineView:
    """``m``: the machine at an exit.  Nothing of it can be changed."""

    __slots__ = ("_call", "_program", "_still", "_thread", "kernel")
    _call: Callable[[], Call | None]
    _program: ProgramView | None
    _still: Callable[[], None]
    _thread: Callable[[], ObjectView | None]
    kernel: KernelView
    """The kernel's objects."""

    def __init__(
        self, program: ProgramView | None, kernel: KernelView, still: Callable[[], None],
        thread: Callable[[], ObjectView | None], call: Callable[[], Call | None],
    ) -> None:  # fmt: skip
        """``still`` keeps every vCPU out of its guest for as long as the invariant is evaluated."""
        _set = object.__setattr__
        _set(self, "kernel", kernel)
        _set(self, "_program", program)
        _set(self, "_still", still)
        _set(self, "_thread", thread)
        _set(self, "_call", call)

    @property
    def program(self) -> ProgramView:
        """The program's variables; what runs on other cores is stopped for as long as the invariant looks."""
        self._still()
        if self._program is None: raise UnknownName("this process was not loaded from a file: it has no names")
        return self._program

    @property
    def thread(self) -> ObjectView | None:
        """The kernel's thread that made the exit; None if it has ended."""
        return self._thread()

    @property
    def call(self) -> Call | None:
        """The system call that it made; None at other exits."""
        return self._call()

    def reading(self, reads: list[Read]) -> None:
        """What is read from now on goes into this list."""
        if self._program is not None: self._program._space.reads = reads

    def __setattr__(self, name: str, _: Any) -> NoReturn:
        raise ReadOnly(f"m.{name} cannot be set: an invariant looks and changes nothing")

    def __repr__(self) -> str:
        return f"<machine: {self._program!r}, {self.kernel!r}>"


__all__ = ["Call", "MachineView"]
