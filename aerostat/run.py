"""``aerostat run``: one program in a machine of its own, with the program's streams and exit status."""

from __future__ import annotations

import errno
import gc
import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from abi.image import BadElf
from abi.stack import ArgumentsTooLong
from aerostat.host_paths import find_program, granted
from aerostat.interruption import Interruption
from aerostat.machine import Machine
from aerostat.on_violation import heed_violations
from aerostat.program import Program
from aerostat.statuses import CANNOT_RUN, CHECK_FAILED, FAILED, NOT_FOUND, USAGE, VIOLATION, complain
from hv.kvm import KvmUnavailable
from hv.machine import MachineFailed, OutOfMemory
from hv.observer import StoppedByObserver
from hv.pci import DeviceUnavailable
from kernel.check import CheckFailed

if TYPE_CHECKING:
    from aerostat.invariants.clause import Clause
    from aerostat.invariants.printing import Printer
    from hv.devices import LentDevice

PASSED_ON = ("TERM", "LANG", "TZ")


def environment(wanted: list[str]) -> dict[str, str]:
    """The program's environment: a few harmless variables of ours, then what was asked for."""
    found = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    for word in wanted:
        name, equals, value = word.partition("=")
        if equals: found[name] = value
        elif name in os.environ: found[name] = os.environ[name]
    return found


def run(options: Namespace) -> int:
    """Runs what the command line asks for; returns the exit status."""
    path = find_program(options.program)
    if path is None:
        complain(f"{options.program}: not found in PATH")
        return NOT_FOUND
    if options.cwd is not None and not granted(options.cwd, options.allow_read + options.allow_write):
        complain(f"--cwd {options.cwd}: not within what --allow-read or --allow-write grants")
        return USAGE
    if options.devices:
        from aerostat.device_kinds import split_name

        try:
            names = [split_name(argument)[1] for argument in options.devices]
            for name in names:
                if names.count(name) > 1: raise ValueError(f"--device ...={name}: two devices of one name")
        except ValueError as error:
            complain(str(error))
            return USAGE
    clauses: list[Clause] = []
    if options.invariants:
        from aerostat.invariants.files import InvariantFileError, load_all

        try:
            clauses = load_all(options.invariants)
        except InvariantFileError as error:
            complain(str(error))
            return USAGE
    try:
        machine = Machine(
            options.memory, cores=options.cores, check=options.check, time_limit=options.time_limit,
            linux=not options.no_linux, allow_read=options.allow_read, allow_write=options.allow_write,
            on_violation=options.on_violation,
        )  # fmt: skip
    except KvmUnavailable as error:
        complain(f"{error.reason}\n  {error.remedy}\n  `aerostat doctor` tells more")
        return FAILED
    except OSError as error:
        complain(f"no machine with {options.memory} of memory and {options.cores} cores: {error}")
        return FAILED
    except ValueError as error:
        complain(str(error))
        return USAGE
    except Exception as error:
        if type(error).__name__ != "PolicyError": raise
        complain(str(error))
        return USAGE
    with Interruption() as interruption:
        try:
            status = _run_in(machine, path, options, clauses, interruption)
        finally:
            try:
                machine.close()
            except CheckFailed as error:
                complain(str(error))
                status = CHECK_FAILED
        return status


def _devices(machine: Machine, arguments: list[str]) -> dict[str, LentDevice]:
    """The devices that the program gets, by name."""
    if not arguments: return {}
    from aerostat.device_kinds import open_named, split_name

    named = [split_name(argument) for argument in arguments]
    return {name: machine.add_device(open_named(what)) for what, name in named}


def _run_in(
    machine: Machine, path: str, options: Namespace, clauses: list[Clause], interruption: Interruption
) -> int:
    failure: BaseException | None = None
    program: Program | None = None
    printer: Printer | None = None
    try:
        try:
            devices = _devices(machine, options.devices)
        except ValueError as error:  # options of a model, or what they name
            complain(str(error))
            return USAGE
        program = machine.load(
            path, [options.program, *options.arguments], environment(options.env), cwd=options.cwd, devices=devices
        )
        if not gc.isenabled():  # a process of the command's own: what start-up made stays, nobody need look at it again
            gc.freeze()
            gc.enable()
        interruption.watch(program)
        if clauses: printer = heed_violations(machine, options.on_violation, interruption)
        for clause in clauses: machine.invariant(clause)
        program.start()
        status = program.wait()
        if options.check == "full": machine.audit()
    except BadElf as error:
        complain(str(error))
        return NOT_FOUND if error.errno == errno.ENOENT else CANNOT_RUN
    except (OutOfMemory, ArgumentsTooLong, ValueError) as error:
        complain(str(error))
        return CANNOT_RUN
    except DeviceUnavailable as error:
        complain(f"{error.reason}\n  {error.remedy}")
        return FAILED
    except CheckFailed as error:
        failure, status = error, CHECK_FAILED
    except StoppedByObserver as error:
        failure, status = error, VIOLATION
    except MachineFailed as error:
        failure, status = error, FAILED
    if printer is not None: printer.close()
    _tell(machine, program, options, status, failure, interruption)
    return status


def _tell(
    machine: Machine, program: Program | None, options: Namespace, status: int, failure: BaseException | None,
    interruption: Interruption,
) -> None:  # fmt: skip
    """What is said at the end: why the program was ended, and what was asked for."""
    report = program.report if program is not None else None
    if isinstance(failure, StoppedByObserver):
        # Whoever has left the prompt has read it.
        if not options.json and options.on_violation != "repl": complain(str(failure))
    elif failure is not None:
        complain(str(failure))
        from hv.ending import last_traps

        for trap in reversed(last_traps(machine.hypervisor)):
            print(f"    thread {trap.thread}: {trap.what}", file=sys.stderr)
    elif report is not None and interruption.number:
        complain(f"{report.program}: {report.reason}")
    elif report is not None and not options.json:
        complain(str(report))
    if not (options.json or options.report or options.stats): return
    statistics = machine.statistics()
    unknown = dict(program.personality.unknown) if program is not None and program.personality is not None else {}
    if options.json or options.report:
        import json

        result: dict[str, Any] = {
            "program": options.program,
            "status": status,
            "statistics": statistics | {"unknown_linux_calls": unknown},
            "report": report.as_dict() if report is not None else None,
            "failure": str(failure) if failure is not None else None,
            "violations": [violation.as_dict() for violation in machine.violations],
        }
        text = json.dumps(result, indent=2)
        if options.json: print(text, file=sys.stderr)
        if options.report:
            try:
                with open(options.report, "w", encoding="utf-8") as file:
                    file.write(text + "\n")
            except OSError as error:
                complain(f"the report cannot be written: {error}")
    if options.stats:
        mine = statistics.pop("invariants", {})
        lines = [f"{name.replace('_', ' ')}: {value}" for name, value in statistics.items() if value != {}]
        if unknown:
            counted = ", ".join(f"{name} ({count})" for name, count in sorted(unknown.items()))
            lines.append(f"Linux calls not served: {counted}")
        for name, counts in mine.items():
            lines.append(
                f"invariant {name}: evaluated {counts['evaluated']} times, the first in {counts['first_ms']} ms, "
                f"others {counts['mean_us']} us each; "
                f"{counts['skipped']} skipped, {counts['violated']} violated"
            )
        print("\n".join(f"aerostat: {line}" for line in lines), file=sys.stderr)


__all__ = ["run"]
