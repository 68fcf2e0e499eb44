"""The command line: ``aerostat run``, ``up``, ``devices``, ``bind``, ``unbind``, ``doctor``, ``verify``.  Each
command's work is in a module of its own, imported when it is asked for."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from aerostat import __version__
from aerostat.model import add_command as add_model_command

EPILOG = """\
exit status of `aerostat run`:
  the program's own   it ran to its end
  128 + n             a fault ended it (139 page fault, 132 invalid instruction, ...); a report is on standard error
  124                 the time limit was reached
  130                 interrupted by Ctrl-C
  2                   wrong usage
  70                  a specification or an invariant of the kernel did not hold
  71                  an invariant of yours (--invariant) did not hold, and stopped the program
  125                 no usable KVM, or aerostat itself failed
  126, 127            the program cannot be run, or was not found
"""

UP_EPILOG = """\
exit status of `aerostat up`:
  that of the program with main = true, with whose end the others are ended; without one, when all have ended, the
  first that is not 0 in the file's order
  124                 the time limit (--timeout, or time_limit in the file) was reached
  130                 interrupted by Ctrl-C: all programs are ended
  2                   wrong usage, or no machine can be made of the file: each problem is named with file and line
  70, 71, 125, 127    as of `aerostat run`; 127: there is no such file
"""

# argparse asks gettext for each of its own phrases, and that the file system, once a directory of each locale.  There
# is no translation of them; not asking saves 2 ms of each start, more where LANGUAGE is long.
argparse._ = str  # type: ignore[attr-defined]


def _width() -> int:
    """The terminal's width for help texts.  Given here because argparse, when it has to find it, imports shutil, and
    with that four compressors: 2 ms of each start."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit(): return max(int(columns), 40) - 2
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns - 2
    except (OSError, ValueError):
        return 78


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width())


class _HelpWithTable(_Help, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of an epilog as they are."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="aerostat",
        description="Runs ELF programs on KVM under a kernel in Python that checks itself at every exit.",
        epilog="`aerostat COMMAND --help` tells more about a command.",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"aerostat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run a program",
        description="Runs a static ELF program, native or Linux, in a machine of its own.",
        epilog=EPILOG,
        formatter_class=_HelpWithTable,
    )
    limits = run.add_argument_group("limits")
    limits.add_argument("--memory", default="256M", metavar="SIZE", help="what it may use, e.g. 64M, 2G (default 256M)")
    limits.add_argument("--time-limit", type=float, metavar="SECONDS", help="end it after this long")
    limits.add_argument("--cores", type=int, default=1, metavar="N", help="virtual cores, 1 to 64 (default 1)")
    grants = run.add_argument_group("what it may reach on the host (nothing by default)")
    grants.add_argument(
        "--allow-read", action="append", default=[], metavar="PATH", help="a directory or file it may read"
    )
    grants.add_argument(
        "--allow-write", action="append", default=[], metavar="PATH", help="a directory or file it may read and change"
    )
    grants.add_argument("--cwd", metavar="DIR", help="where it starts (default: here, if granted, else /)")
    grants.add_argument(
        "--env", action="append", default=[], metavar="NAME[=VALUE]",
        help="set a variable, or pass the host's on (default: TERM, LANG and TZ are passed on)",
    )  # fmt: skip
    grants.add_argument("--no-linux", action="store_true", help="native system calls only")
    grants.add_argument(
        "--device", action="append", default=[], metavar="DEVICE=NAME", dest="devices",
        help="a device that it drives, and the name it knows it by: a PCI address (`aerostat devices` lists them), or "
        "a model as KIND:KEY=VALUE,... (docs/devices.md); can be given several times",
    )  # fmt: skip
    checks = run.add_argument_group("checking and reporting")
    checks.add_argument(
        "--check", choices=("off", "touched", "full"), default="touched",
        help="after each kernel step check its specification and the invariants it touched (default), "
        "audit everything now and then as well, or check nothing",
    )  # fmt: skip
    checks.add_argument(
        "--invariant", action="append", default=[], metavar="FILE.py", dest="invariants",
        help="check what this file defines with @invariant over the program's variables and the kernel's objects, "
        "at each exit or as it says (docs/invariants.md); can be given several times",
    )  # fmt: skip
    checks.add_argument(
        "--on-violation", choices=("stop", "report", "repl"), default="stop",
        help="when one of these does not hold: stop the program with a report (default), print the report once and "
        "run on, or open a Python prompt in which to look around",
    )  # fmt: skip
    checks.add_argument(
        "--stats", action="store_true",
        help="print counts on standard error at the end: exits, checks, memory, how often and how long the big lock "
        "was held",
    )  # fmt: skip
    checks.add_argument("--json", action="store_true", help="print result, counts and report as JSON on standard error")
    checks.add_argument("--report", metavar="FILE", help="write what --json prints to a file")
    run.add_argument("program", metavar="PROG", help="an ELF file; a name without a slash is looked up in PATH")
    rest = run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="its arguments")
    rest.required = False  # else argparse would say that it lacks them, where it lacks PROG

    up = commands.add_parser(
        "up",
        help="run a machine that a file describes",
        description="Makes the machine that a TOML file describes (docs/machine-files.md): containers, endpoints\n"
        "between them, native and Linux programs; runs it until these have ended.",
        epilog=UP_EPILOG,
        formatter_class=_HelpWithTable,
    )
    up.add_argument(
        "--check", choices=("off", "touched", "full"), help="as of `aerostat run`, in place of what the file says"
    )
    up.add_argument(
        "--timeout", "--time-limit", type=float, metavar="SECONDS", help="end all programs after this long"
    )
    up.add_argument("--prefix", action="store_true", help="put a program's name before each line it prints")
    up.add_argument("--json", action="store_true", help="print results, counts and reports as JSON on standard error")
    up.add_argument("file", metavar="FILE", help="the description, such as machine.toml")

    devices = commands.add_parser(
        "devices", help="list the host's PCI devices, and what it takes to pass each through",
        description="Lists the host's PCI devices: their IOMMU groups and drivers, and what is to be done before a "
        "program can drive one (docs/devices.md).",
        formatter_class=_Help,
    )  # fmt: skip
    devices.add_argument("--json", action="store_true", help="print them as JSON")
    for name, what in (
        ("bind", "take PCI devices from the host and give them to vfio-pci, as root"),
        ("unbind", "give PCI devices from vfio-pci back to the host's own drivers, as root"),
    ):
        change = commands.add_parser(name, help=what, description=f"{what.capitalize()}.", formatter_class=_Help)
        change.add_argument("addresses", nargs="+", metavar="ADDR", help="a PCI address, such as 0000:05:00.0")

    doctor = commands.add_parser(
        "doctor", help="say what this host offers, and what to do about what it lacks",
        description="Looks at KVM, its behaviour, memory and tools of this host.  Exit status 0 if programs can run.",
        formatter_class=_Help,
    )  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")

    verify = commands.add_parser(
        "verify", help="prove the kernel",
        description="Proves the kernel with z3, from the source that runs, for every state and argument: that each "
        "transition keeps every invariant and does what its specification says, from the boot state on "
        "(kernel/prove/README.md).  Exit status 0 if all is proved, 1 if something is not, 2 for wrong usage.",
        formatter_class=_Help,
    )  # fmt: skip
    verify.add_argument("--jobs", type=int, metavar="N", help="processes at a time (default: one a processor)")
    verify.add_argument(
        "--function", action="append", default=[], metavar="NAME", dest="functions",
        help="only this transition, contract or fact; can be given several times",
    )  # fmt: skip
    verify.add_argument("--no-cache", action="store_true", help="prove again what was proved and has not changed")
    verify.add_argument("--seed", type=int, default=0, metavar="N", help="z3's random seed (default 0)")
    verify.add_argument(
        "--timeout", type=float, default=20.0, metavar="SECONDS",
        help="what z3 may do for one question, as seconds of a usual processor (default 20)",
    )  # fmt: skip
    verify.add_argument("--json", action="store_true", help="print all results as JSON")
    verify.add_argument("--svg", metavar="FILE", help="write a picture of the time that each function took")
    verify.add_argument("--trusted", action="store_true", help="say what proofs take for granted, and why")
    add_model_command(commands, _Help)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        if options.command == "run":
            from aerostat.run import run

            return run(options)
        if options.command == "up":
            from aerostat.up import up

            return up(options)
        if options.command == "model":
            from aerostat.model import model

            return model(options)
        if options.command == "verify":
            from aerostat.verify import verify

            return verify(options)
        if options.command == "devices":
            from aerostat.devices import devices

            return devices(as_json=options.json)
        if options.command in ("bind", "unbind"):
            from aerostat.devices import change_drivers

            return change_drivers(options.addresses, to_vfio=options.command == "bind")
        from aerostat.doctor import doctor

        return doctor(as_json=options.json)
    except BrokenPipeError:
        # Whoever read our output has left; a second complaint at exit would come from the flush of standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # no room where our output goes, no more descriptors or memory to be had
        print(f"aerostat: {error}", file=sys.stderr)
        return 125
    except Exception as error:
        if os.environ.get("AEROSTAT_DEBUG"): raise
        print(f"aerostat: a mistake of its own, not the program's: {error!r}", file=sys.stderr)
        print("  AEROSTAT_DEBUG=1 shows where; please report it", file=sys.stderr)
        return 125


def open_standard_streams() -> None:
    """Gives descriptors 0 to 2 that are closed to the null device.  The next files to be opened, /dev/kvm among them,
    would else get these numbers, and be the program's standard streams."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    if sys.stdout is None: sys.stdout = open(1, "w")  # noqa: SIM115
    if sys.stderr is None: sys.stderr = open(2, "w")  # noqa: SIM115


def command() -> NoReturn:
    """The ``aerostat`` command, a process's whole work.

    It ends the process when the result is there: Python would first take apart every module that it has, and that
    takes 8 ms.  Nor does it look for garbage among what start-up makes, which is all in use (3 ms); ``aerostat.run``
    has it look again before the program starts."""
    gc.disable()
    open_standard_streams()
    status = main()
    for stream in (sys.stdout, sys.stderr):  # None where the descriptor was closed when we were started
        try:
            if stream is not None: stream.flush()
        except OSError:
            status = status or 1
    os._exit(status & 0xFF)


if __name__ == "__main__":
    command()
