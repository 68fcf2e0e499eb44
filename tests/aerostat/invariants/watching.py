"""Looking at a program through an invariant, and keeping what was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aerostat import Machine, Violation
from aerostat.program import Program
from tests.aerostat.programs import wait


def look(program: Program, see: Callable[[Any], Any], at: str = "null") -> Any:
    """What ``see(m)`` returns at the program's first call of this name; what it raises is an AssertionError here.  The
    program has to end well."""
    seen: list[Any] = []

    def looking(m: Any) -> bool:
        if not seen: seen.append(see(m))
        return True

    program.invariant(at=at)(looking)
    program.start()
    assert wait(program) == 0
    assert seen, f"the program made no call {at}"
    return seen[0]


def problem(program: Program, see: Callable[[Any], Any], at: str = "null") -> str:
    """What is said of an invariant that cannot be evaluated: the exception of ``see(m)`` in a sentence."""

    def looking(m: Any) -> bool:
        see(m)
        return True

    program.invariant(at=at)(looking)
    error = stopped(program.machine, program).error
    assert error is not None
    return error


def stopped(machine: Machine, program: Program) -> Violation:
    """The violation that stops a program, which is started if it was not."""
    program.start()
    with pytest.raises(Violation) as caught:
        wait(program)
    assert machine.violations == [caught.value]
    return caught.value


def values(violation: Violation) -> dict[str, tuple[str | None, str]]:
    """What a report says was read: by expression, before and after."""
    return {value.name: (value.before, value.after) for value in violation.values}
