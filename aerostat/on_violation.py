"""What the command line does when an invariant of the user's does not hold: print the report, or open a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aerostat.interruption import Interruption
from aerostat.machine import Machine
from aerostat.statuses import complain

if TYPE_CHECKING:
    from aerostat.invariants.machine_view import MachineView
    from aerostat.invariants.printing import Printer
    from aerostat.invariants.violation import Violation


def heed_violations(machine: Machine, on_violation: str, interruption: Interruption) -> Printer | None:
    """Has reports printed ("report"), or the prompt not be ended by Ctrl-C ("repl").  Returns what prints reports
    meanwhile, which is to be closed."""
    if on_violation == "report":
        from aerostat.invariants.printing import Printer

        printer = Printer(complain)
        machine.when_reported = printer.say
        return printer
    if on_violation == "repl":
        from aerostat.invariants.prompt import ask

        def asked(violation: Violation, m: MachineView) -> bool:
            with interruption.postponed():
                return ask(violation, m)

        machine.when_asked = asked
    return None


__all__ = ["heed_violations"]
