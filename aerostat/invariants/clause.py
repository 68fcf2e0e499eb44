"""A user's invariant: the predicate, what it is about, and when it is to be evaluated."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from kernel.objects import TABLE_NAMES

if TYPE_CHECKING:
    from aerostat.invariants.machine_view import MachineView

Predicate = Callable[..., Any]
Guard = Callable[["MachineView"], Any]


@dataclass(frozen=True, eq=False)
class Clause:
    """An invariant.  Calling it calls its predicate."""

    predicate: Predicate
    domain: str = ""
    """The kind of kernel object that it is about, each by itself: "thread".  Empty: about the program."""
    every: int = 1
    """Evaluated at each so-manieth exit."""
    at: frozenset[int] = frozenset()
    """Evaluated at these system calls alone, if any are named."""
    unless: Guard | None = None
    """Not evaluated while this holds."""

    def __call__(self, *arguments: Any) -> Any:
        return self.predicate(*arguments)

    @property
    def name(self) -> str:
        """The predicate's name."""
        return self.predicate.__name__

    @property
    def meaning(self) -> str:
        """The predicate in words: its docstring."""
        return " ".join((self.predicate.__doc__ or "").split())

    @property
    def file(self) -> str:
        """The file it is written in."""
        return self.predicate.__code__.co_filename

    @property
    def place(self) -> str:
        """Where it is written: ``bank.py:14``."""
        code = self.predicate.__code__
        # A decorated function's first line is its first decorator's.
        return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"


@overload
def invariant(of: Predicate, /) -> Clause: ...


@overload
def invariant(
    of: str = "", /, *, every: int | str = "exit", at: int | str | Sequence[int | str] = (), unless: Guard | None = None
) -> Callable[[Predicate], Clause]: ...


def invariant(
    of: Predicate | str = "", /, *, every: int | str = "exit", at: int | str | Sequence[int | str] = (),
    unless: Guard | None = None,
) -> Clause | Callable[[Predicate], Clause]:  # fmt: skip
    """Decorator: makes a predicate ``f(m)`` an invariant; true means that it holds.

    With a kind of kernel object (``@invariant("thread")``) the predicate is ``f(m, thread)``, and is evaluated for
    each object of that kind.  ``every``: "exit", or a number N for each Nth exit.  ``at``: system calls, by name or
    number, before which it is evaluated instead.  ``unless``: a predicate ``f(m)``; while it is true, as within a
    critical section, the invariant need not hold.  Raises ValueError for what there is not, TypeError.
    """
    if callable(of): return Clause(_checked(of))
    if of and of not in TABLE_NAMES:
        raise ValueError(f"there are no kernel objects of kind {of!r}, but {', '.join(TABLE_NAMES)}")
    count = 1 if every == "exit" else every
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"every={every!r} is neither 'exit' nor a number from 1 on")
    if at != () and every != "exit": raise ValueError("every= and at= exclude each other")
    numbers = frozenset(number for call in ([at] if isinstance(at, int | str) else at) for number in call_numbers(call))
    return lambda predicate: Clause(_checked(predicate), of, count, numbers, unless)


def _checked(predicate: Predicate) -> Predicate:
    if not hasattr(predicate, "__code__"): raise TypeError(f"{predicate!r} is not a Python function")
    return predicate


def call_numbers(call: int | str) -> list[int]:
    """The numbers of a system call: a name may be a native call's and a Linux call's.  ValueError for none."""
    if isinstance(call, int): return [call]
    from abi.calls import BY_NAME
    from userland.linux.numbers import NUMBERS

    found = [BY_NAME[call].number] if call in BY_NAME else []
    if call in NUMBERS: found.append(NUMBERS[call])
    if not found: raise ValueError(f"there is no system call {call!r}")
    return found


__all__ = ["Clause", "Guard", "Predicate", "call_numbers", "invariant"]
