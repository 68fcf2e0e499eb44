"""The evaluation of invariants at a machine's exits, and what comes of one that does not hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from aerostat.invariants.clause import Clause
from aerostat.invariants.due import Due
from aerostat.invariants.files import error_in
from aerostat.invariants.kernel_view import KernelView, ObjectView, Seen
from aerostat.invariants.machine_view import Call, MachineView
from aerostat.invariants.program_view import ProgramView
from aerostat.invariants.values import Read
from aerostat.invariants.violation import Violation, values_of
from hv.ending import take_report, trap_name
from hv.engine import PREEMPTED, SYSCALL, TRAP_NAMES, Engine
from kernel.objects import ALIVE, Object

if TYPE_CHECKING:
    from hv.machine import Machine
    from hv.process import Process
    from hv.thread import Thread

ON_VIOLATION: Final = ("stop", "report", "repl")
FAILED: Final = 71
"""The exit status of ``aerostat run`` where an invariant of the user's stopped it."""
_MOST_READS: Final = 4096
_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "r10", "r8", "r9")


class Watched:
    """A clause of a machine: how often it was evaluated, and what it read when it last held."""

    def __init__(self, clause: Clause, program: Process | None) -> None:
        self.clause = clause
        self.program = program
        """The one program that it is about; None for all."""
        self.exits = 0
        """Since it was last evaluated."""
        self.evaluated = 0
        self.skipped = 0
        """How often the guard said not to."""
        self.violated = 0
        self.first = 0
        """Nanoseconds that the first evaluation took, in which names are looked up."""
        self.nanoseconds = 0
        """Those of all others."""
        self.broken: set[object] = set()
        """What it did not hold for when it was last evaluated."""
        self.due: Due | None = None
        """The kernel objects that it is due for, if it is about such."""
        self.before: dict[object, list[Read]] = {}
        """What it read when it last held, by what it is about."""

    def statistics(self) -> dict[str, Any]:
        """The counts; ``first_ms``: milliseconds of the first evaluation, in which names are looked up; ``mean_us`` and
        ``total_ms``: of all others, guards included."""
        others = self.evaluated + self.skipped - 1
        return {
            "evaluated": self.evaluated,
            "skipped": self.skipped,
            "violated": self.violated,
            "first_ms": round(self.first / 1e6, 2),
            "mean_us": round(self.nanoseconds / others / 1000, 2) if others > 0 else 0.0,
            "total_ms": round(self.nanoseconds / 1e6, 2),
        }


class Checking:
    """The invariants of one machine (``hv.observer.Observer``)."""

    def __init__(
        self, machine: Machine, on_violation: str, tell: Callable[[Violation], object],
        prompt: Callable[[Violation, MachineView], bool],
    ) -> None:  # fmt: skip
        """``tell`` is given the first violation of each clause where it is reported; ``prompt`` each one where it is
        asked about, and says whether to go on.  ValueError for a word that is not among ON_VIOLATION."""
        if on_violation not in ON_VIOLATION:
            raise ValueError(f"on_violation={on_violation!r} is not one of {', '.join(ON_VIOLATION)}")
        self._machine = machine
        self._on_violation = on_violation
        self._tell = tell
        self._prompt = prompt
        self.watched: dict[str, Watched] = {}
        self.violations: list[Violation] = []
        """The first of each clause, in order."""
        self._every: list[Watched] = []
        self._before_calls: dict[int, list[Watched]] = {}
        self._after_calls: dict[int, list[Watched]] = {}
        self._seen = Seen()
        self._kernel = KernelView(machine.kernel, self._seen)
        self._thread: Thread | None = None
        self._trap = 0
        self._number = -1
        """Of the call being served; -1 for none."""
        self._stopped: set[int] = set()
        """vCPUs that were brought out of their guests for an evaluation: nothing has happened by that."""
        self._pass_over = False
        self._auditing = False

    def add(self, clause: Clause, program: Process | None = None) -> None:
        """Evaluates a clause from now on.  Hold the big lock.  ValueError if its name is taken."""
        name = clause.name
        other = self.watched.get(name)
        if other is not None and program is not None and other.program not in (None, program):
            name = f"{name} ({program.name})"  # each of two programs can have its own
            other = self.watched.get(name)
        if other is not None:
            places = f"{other.clause.place} and {clause.place}"
            raise ValueError(f"two invariants have the name {clause.name}: {places}")
        watched = self.watched[name] = Watched(clause, program)
        if clause.domain:
            watched.due = Due(self._kernel.of_kind(clause.domain), clause.domain)
            self._machine.checker.observed = self._wrote
        if not clause.at: self._every.append(watched)
        for number in clause.at:
            calls = self._after_calls if clause.domain else self._before_calls
            calls.setdefault(number, []).append(watched)
        self._machine.observer = self

    def statistics(self) -> dict[str, Any]:
        """By clause, its counts."""
        return {name: watched.statistics() for name, watched in self.watched.items()}

    def _wrote(self, of: Object) -> None:
        for watched in self.watched.values():
            if watched.due is not None: watched.due.wrote(of.table_name, of.id)

    def audit(self) -> int:
        """Evaluates what is about kernel objects for each of them.  Hold the big lock.  Returns how many evaluations
        that were; raises the first Violation where violations stop the machine."""
        about_objects = [watched for watched in self.watched.values() if watched.due is not None]
        before = sum(watched.evaluated for watched in about_objects)
        self._thread, self._number, self._auditing = None, -1, True
        self._bring_out()
        for program in [process for process in self._machine.processes.values() if process.ancestor is None]:
            for watched in about_objects:
                if watched.due is not None: watched.due.all()
            self._check(about_objects, program)
        self._auditing = False
        return sum(watched.evaluated for watched in about_objects) - before

    # What the machine tells (hv.observer.Observer).

    def arrived(self, thread: Thread, engine: Engine, trap: int) -> None:
        self._thread, self._trap = thread, trap
        self._number = -1
        if self._stopped and id(engine) in self._stopped:
            self._stopped.discard(id(engine))
            self._pass_over = trap == PREEMPTED
        if trap == SYSCALL:
            number = self._number = engine.regs.rax
            due = self._before_calls.get(number)
            if due is not None: self._check(due, thread.process.ancestor or thread.process)

    def served(self, thread: Thread) -> None:
        if self._pass_over:
            self._pass_over = False
            return
        self._thread = thread
        root = thread.process.ancestor or thread.process
        due = []
        for watched in self._every:
            watched.exits += 1
            if watched.exits >= watched.clause.every: due.append(watched)
        if self._number >= 0 and self._after_calls: due += self._after_calls.get(self._number, ())
        if due: self._check(due, root)
        # What comes next without an arrival is a call that is tried again.
        self._number, self._trap = -1, SYSCALL

    def ending(self, process: Process) -> None:
        if process.ancestor is None: self._check([w for w in self._every if not w.clause.domain], process, True)

    # Evaluation.

    def _check(self, due: list[Watched], program: Process, intact: bool = False) -> None:
        """Evaluates clauses for the program that the thread belongs to, or descends from.  ``intact``: its memory is
        all there, though it is ending."""
        view = program.observed
        if not isinstance(view, MachineView): view = program.observed = self._view(program)
        if not intact:
            S = self._machine.kernel.process.get(program.id)
            intact = S is not None and S.state == ALIVE and program.image is not None
        for watched in due:
            if watched.program is not None and watched.program is not program: continue
            watched.exits = 0
            if watched.due is not None:
                objects = self._kernel.of_kind(watched.clause.domain)
                for id in watched.due.take(): self._evaluate(watched, view, program, objects[id])
            elif intact: self._evaluate(watched, view, program, None)

    def _view(self, process: Process) -> MachineView:
        program = None
        if process.image is not None:
            program = ProgramView(process.image, process.memory, self._thread_pointer)
        return MachineView(program, self._kernel, self._hold_still, self._thread_view, self._call)

    def _evaluate(self, watched: Watched, view: MachineView, program: Process, of: ObjectView | None) -> None:
        clause = watched.clause
        reads: list[Read] = []
        seen = self._seen
        seen.reads, seen.more = reads, False
        seen.objects.clear()
        view.reading(reads)
        error = None
        started = time.perf_counter_ns()
        try:
            if clause.unless is not None and clause.unless(view):
                watched.skipped += 1
                seen.more = True  # it is due as long as it is not evaluated
                return
            reads.clear()
            watched.evaluated += 1
            holds = clause.predicate(view) if of is None else clause.predicate(view, of)
            if holds is None: error = "it returned None: an invariant returns True or False"
            holds = bool(holds)
        except BaseException as raised:
            holds = False
            error = error_in(raised, clause.file)
        finally:
            took = time.perf_counter_ns() - started
            if watched.first: watched.nanoseconds += took
            else: watched.first = took
            if watched.due is not None and of is not None: watched.due.evaluated(of._object.id, seen)
        if holds:
            watched.broken.discard(of)
            watched.before[of] = reads if len(reads) <= _MOST_READS else reads[-_MOST_READS:]
            return
        watched.violated += 1
        if of not in watched.broken: self._violated(watched, view, program, of, error, reads[-_MOST_READS:])

    def _violated(
        self, watched: Watched, view: MachineView, program: Process, of: ObjectView | None, error: str | None,
        reads: list[Read],
    ) -> None:  # fmt: skip
        """Reports, asks or stops: when a clause that held does not hold any more, not at each exit from then on."""
        watched.broken.add(of)
        first = watched.violated == 1
        if self._on_violation == "report" and not first: return
        thread = self._thread
        where = thread.process if thread is not None else program
        report = take_report(self._machine, where, self._occasion(program), FAILED, thread)
        report.image = report.image or program.image
        values = values_of(reads, watched.before.get(of, ()))
        violation = Violation(watched.clause, str(of) if of is not None else "", error, values, report)
        if first: self.violations.append(violation)
        if self._on_violation == "report":
            self._tell(violation)
            return
        if self._on_violation == "stop" or not self._ask(violation, view): raise violation

    def _ask(self, violation: Violation, view: MachineView) -> bool:
        """Whether to go on.  Time limits stand still meanwhile."""
        self._hold_still()
        started = time.monotonic()
        goes_on = self._prompt(violation, view)
        events, waited = self._machine.events, time.monotonic() - started
        for process in self._machine.processes.values():
            limit = process.limit
            if limit is not None and limit.callback is not None:
                process.limit = events.at(limit.deadline + waited, limit.callback, limit=True)
                limit.cancel()
        return goes_on

    # What is to be seen at an exit.

    def _occasion(self, program: Process) -> str:
        """What the machine was doing, for the report."""
        if self._number >= 0: what = f"the call {trap_name(self._number, None)}"
        elif self._auditing: what = "an audit"
        elif self._trap == PREEMPTED: what = "the end of a time slice"
        elif self._trap == SYSCALL: what = "a call that was waited for"
        else: what = f"a {TRAP_NAMES[self._trap]}"
        ended = f"; the program was ended: {program.report.reason}" if program.report is not None else ""
        return f"stopped at {what}{ended}"

    def _hold_still(self) -> None:
        """Brings what runs on other cores out of the guest; they stay out as long as the big lock is held."""
        self._seen.more = True
        if len(self._machine.cores) > 1: self._bring_out()

    def _bring_out(self) -> None:
        running = [core.in_guest for core in self._machine.cores if core.in_guest is not None]
        if not running: return
        self._stopped.update(map(id, running))
        self._machine.quiesce()

    def _thread_view(self) -> ObjectView | None:
        self._seen.more = True
        thread = self._thread
        if thread is None or thread.gone: return None
        return self._kernel.of_kind("thread")[thread.id]

    def _thread_pointer(self) -> int:
        return self._thread.fs_base if self._thread is not None else 0

    def _call(self) -> Call | None:
        self._seen.more = True
        if self._number < 0 or self._thread is None or self._thread.vcpu is None: return None
        regs = self._thread.vcpu.regs
        return Call(
            trap_name(self._number, None), self._number, tuple(getattr(regs, name) for name in _ARGUMENTS)
        )


__all__ = ["FAILED", "ON_VIOLATION", "Checking", "Watched"]
