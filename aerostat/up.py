"""``aerostat up``: the machine that a file describes, run until its programs have ended."""

from __future__ import annotations

import gc
import json
import sys
from argparse import Namespace
from typing import Any, Final

from aerostat.description.assembly import MAIN_ENDED, DescribedMachine
from aerostat.description.file import read_description
from aerostat.description.machine import MachineDescription
from aerostat.description.problems import DescriptionError
from aerostat.interruption import Interruption
from aerostat.on_violation import heed_violations
from aerostat.prefixed_output import PrefixedOutput
from aerostat.program import Program
from aerostat.statuses import CHECK_FAILED, FAILED, NOT_FOUND, USAGE, VIOLATION, complain
from hv.failures import MachineFailed
from hv.kvm import KvmUnavailable
from hv.observer import StoppedByObserver
from kernel.check import CheckFailed

_TARGETS: Final = {"stdin": 0, "stdout": 1, "stderr": 2}


def up(options: Namespace) -> int:
    """Runs the machine that the command line names; returns the exit status."""
    if options.timeout is not None and not options.timeout > 0:
        complain(f"--timeout {options.timeout:g} is not more than 0")
        return USAGE
    output = PrefixedOutput()
    try:
        description = read_description(options.file)
    except DescriptionError as error:
        print(error, file=sys.stderr)
        return USAGE
    except OSError as error:
        complain(f"{options.file}: {error.strerror}")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else FAILED

    def inherited(program: str, stream: str) -> int:
        if not options.prefix or stream == "stdin": return _TARGETS[stream]
        return output.pipe(f"{full_name(description, program)}: ", _TARGETS[stream])

    try:
        machine = DescribedMachine(description, check=options.check, inherited=inherited)
    except DescriptionError as error:
        print(error, file=sys.stderr)  # FILE:LINE: at the beginning of each line, where editors look for it
        return USAGE
    except KvmUnavailable as error:
        complain(f"{error.reason}\n  {error.remedy}\n  `aerostat doctor` tells more")
        return FAILED
    except OSError as error:
        complain(f"no machine: {error}")
        return FAILED
    if not gc.isenabled():  # a process of the command's own: what start-up made stays, nobody need look at it again
        gc.freeze()
        gc.enable()
    output.start()
    with Interruption() as interruption:
        status, failure, printer = 0, None, None
        try:
            interruption.watch(*machine.programs.values())
            if machine.watched: printer = heed_violations(machine, description.on_violation, interruption)
            status, failure = _run(machine, options)
            if interruption.number: status = 128 + interruption.number
        finally:
            try:
                machine.close()
            except CheckFailed as error:
                status, failure = CHECK_FAILED, failure or error
            output.close()
            if printer is not None: printer.close()
        _tell(machine, options, status, failure, interruption.number)
        return status


def full_name(description: MachineDescription, program: str) -> str:
    """A program's name with the container that it is in before it, if that is not the root."""
    container = description.programs[program].container
    return f"{container}/{program}" if container is not None else program


def _run(machine: DescribedMachine, options: Namespace) -> tuple[int, BaseException | None]:
    try:
        machine.start(options.timeout)
        status = machine.wait()
        if machine.hypervisor.checker.level == "full": machine.audit()
    except CheckFailed as error:
        return CHECK_FAILED, error
    except StoppedByObserver as error:
        return VIOLATION, error
    except MachineFailed as error:
        return FAILED, error
    return status, None


def _tell(
    machine: DescribedMachine, options: Namespace, status: int, failure: BaseException | None, interrupted: int
) -> None:
    """What is said at the end: which programs were ended and why, and what was asked for."""
    if isinstance(failure, StoppedByObserver):
        # Whoever has left the prompt has read it.
        if not options.json and machine.description.on_violation != "repl": complain(str(failure))
    elif failure is not None:
        complain(str(failure))
    elif not options.json:
        for name, program in machine.programs.items(): _tell_of(machine, name, program, interrupted)
    if options.json:
        result = {
            "status": status,
            "programs": {name: _as_dict(machine, name, program) for name, program in machine.programs.items()},
            "statistics": machine.statistics(),
            "failure": str(failure) if failure is not None else None,
            "violations": [violation.as_dict() for violation in machine.violations],
        }
        print(json.dumps(result, indent=2), file=sys.stderr)


def _tell_of(machine: DescribedMachine, name: str, program: Program, interrupted: int) -> None:
    report = program.report
    if report is None or report.reason == MAIN_ENDED: return
    if interrupted or program.status == 124: complain(f"{name}: {report.reason}")
    else: complain(f"{full_name(machine.description, name)}: {report}")


def _as_dict(machine: DescribedMachine, name: str, program: Program) -> dict[str, Any]:
    unknown = dict(program.personality.unknown) if program.personality is not None else {}
    return {
        "container": machine.description.programs[name].container,
        "file": machine.description.programs[name].file,
        "status": program.status,
        "report": program.report.as_dict() if program.report is not None else None,
        "unknown_linux_calls": unknown,
    }


__all__ = ["full_name", "up"]
