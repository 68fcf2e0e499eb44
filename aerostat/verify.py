"""``aerostat verify``: proves the kernel, from its own source, for every state and argument."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from aerostat.proof_tables import tables
from aerostat.proof_times import chart
from aerostat.statuses import USAGE, complain
from hv import prove as hypervisor
from kernel.prove import lines, obligations, trusted
from kernel.prove.obligations import PROVED, Report, Task
from kernel.prove.processes import run_all
from kernel.prove.results import Results, longest_first

NOT_PROVED: Final = 1
"""The exit status where something is not proved."""
SAVING: Final = 20.0
"""Seconds after which results are written to their file, while others are waited for."""
HYPERVISOR: Final = ("hv", "abi")
"""What proofs about the hypervisor's functions depend on."""


def all_tasks() -> list[Task]:
    """Everything that is to be proved, of the kernel and of what the hypervisor stores for it."""
    return [*obligations.tasks(), *obligations.of_hardware(hypervisor.obligations(), HYPERVISOR)]


@dataclass
class Run:
    """A run of some tasks: by task its report; ``seconds`` on the wall in all."""

    reports: dict[str, Report]
    tasks: list[Task]
    seconds: float
    jobs: int
    seed: int

    @property
    def cpu(self) -> float:
        """Processor seconds of what was proved in this run."""
        return sum(report.cpu for report in self.reports.values() if not report.cached)

    @property
    def proved(self) -> bool:
        """True if all was."""
        return all(report.status == PROVED for report in self.reports.values())

    @property
    def goals(self) -> int:
        """How many goals there were."""
        return sum(len(report.outcomes) for report in self.reports.values())

    def by_function(self) -> dict[str, float]:
        """Processor seconds by function, the longest first."""
        seconds: dict[str, float] = {}
        for task in self.tasks: seconds[task.about] = seconds.get(task.about, 0.0) + self.reports[task.name].cpu
        return dict(sorted(seconds.items(), key=lambda pair: -pair[1]))


def verify(options: Namespace) -> int:
    """Runs the command line; returns the exit status."""
    if options.trusted:
        _print_trusted()
        return 0
    tasks = all_tasks()
    if options.functions:
        known = {task.about for task in tasks}
        wrong = [name for name in options.functions if name not in known]
        if wrong:
            complain(f"--function {wrong[0]}: there is no such transition, contract or fact; {_near(wrong[0], known)}")
            return USAGE
        tasks = [task for task in tasks if task.about in options.functions]
    for name, value in (("--jobs", options.jobs), ("--timeout", options.timeout)):
        if value is not None and not value > 0:
            complain(f"{name} {value:g} is not more than 0")
            return USAGE
    if options.seed < 0:
        complain(f"--seed {options.seed} is less than 0")
        return USAGE
    if options.svg:
        try:
            with open(options.svg, "a"): pass  # before proving, not after
        except OSError as error:
            complain(f"--svg {options.svg}: {error.strerror}")
            return USAGE
    jobs = options.jobs or len(os.sched_getaffinity(0))
    quiet = options.json or not sys.stderr.isatty()
    run = prove(tasks, jobs, options.timeout, options.seed, not options.no_cache, quiet)
    if options.svg: Path(options.svg).write_text(chart(run.by_function()), "utf-8")
    if options.json: print(json.dumps(_as_json(run), indent=1))
    else: _tell(run, whole=not options.functions)
    return 0 if run.proved else NOT_PROVED


def _near(name: str, known: set[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known)
    return f"there is {', '.join(near)}" if near else f"there are {', '.join(sorted(known)[:5])}, ..."


class _Shown(Protocol):
    def __call__(self, task: Task, report: Report) -> None: ...


def prove(
    tasks: Sequence[Task], jobs: int, timeout: float, seed: int = 0, cached: bool = True, quiet: bool = True
) -> Run:
    """Proves these tasks, on so many processes, with so many seconds for each question to z3."""
    started = saved = time.perf_counter()
    results = Results(seed, used=cached)
    reports: dict[str, Report] = {}
    left = []
    for task in tasks:
        found = results.find(task)
        if found is None: left.append(task)
        else: reports[task.name] = found
    if left: obligations.warm()
    with _progress(len(tasks), len(reports), quiet) as show:
        try:
            for task, report in run_all(longest_first(left, results), jobs, timeout, seed):
                reports[task.name] = report
                results.keep(task, report)
                if time.perf_counter() - saved > SAVING:
                    results.save()
                    saved = time.perf_counter()
                show(task, report)
        finally:
            if left: results.save()
    return Run(reports, list(tasks), time.perf_counter() - started, jobs, seed)


@contextmanager
def _progress(total: int, done: int, quiet: bool) -> Iterator[_Shown]:
    if quiet:
        yield lambda task, report: None
        return
    last = TextColumn("{task.fields[last]}")
    columns = (TextColumn("proving"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), last)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=total, completed=done, last="")

        def show(task: Task, report: Report) -> None:
            progress.update(bar, advance=1, last=task.name)
            if report.status != PROVED: progress.console.print(f"{report.status}: {task.name}", markup=False)

        yield show


def _tell(run: Run, whole: bool) -> None:
    """Prints what is not proved, with counterexamples, and the figures."""
    for task in run.tasks:
        report = run.reports[task.name]
        if report.status == PROVED: continue
        print(f"{report.status}: {task.name}\n  to be proved: {task.says}")
        for outcome in report.outcomes:
            if outcome.status == PROVED: continue
            print(f"  {outcome.status}: {outcome.name}")
            for line in outcome.counterexample.splitlines(): print(f"    {line}")
        print()
    proved = sum(1 for report in run.reports.values() if report.status == PROVED)
    cached = sum(1 for report in run.reports.values() if report.cached)
    print(f"{proved} of {len(run.tasks)} obligations proved ({run.goals} goals; {cached} proved before and unchanged)")
    print(f"{run.seconds:.1f} s on {run.jobs} processes, {run.cpu:.1f} s of processor time")
    slowest = sorted(run.reports.values(), key=lambda report: -report.cpu)[:5]
    print("longest: " + ", ".join(f"{report.task} {report.cpu:.1f} s" for report in slowest))
    if not whole: return
    whole_cpu = sum(report.cpu for report in run.reports.values())
    print("\n" + tables(run.seconds, whole_cpu, run.jobs, _page_table(run), cached))


def _page_table(run: Run) -> float:
    """Processor seconds of what is proved about page tables."""
    from kernel.prove.source import module

    of = module("kernel.page_table").functions.keys() | {"table_chain", "addresses"}
    return sum(run.reports[task.name].cpu for task in run.tasks if task.about in of or task.group == "hardware")


def _as_json(run: Run) -> dict[str, Any]:
    found = []
    for task in run.tasks:
        report = asdict(run.reports[task.name])
        del report["consulted"]
        found.append({"group": task.group, "function": task.about, "what": task.what, "says": task.says,
                      "status": run.reports[task.name].status, **report})  # fmt: skip
    return {
        "proved": run.proved, "seconds": run.seconds, "cpu": run.cpu, "jobs": run.jobs, "seed": run.seed,
        "goals": run.goals, "obligations": found, "seconds_by_function": run.by_function(),
        "lines": {**lines.counted(), "rule": lines.RULE, "ratio": lines.of_kernel().value},
    }  # fmt: skip


def _print_trusted() -> None:
    for title, assumptions in (
        ("The kernel's proofs take for granted:", trusted.ASSUMPTIONS),
        ("Those of page tables in memory besides:", hypervisor.ASSUMPTIONS),
    ):
        print(title)
        for assumption in assumptions:
            print(f"\n  {assumption.name}: {assumption.says}\n    because: {assumption.reason}")
        print()
    print("Not proved:")
    for text in trusted.NOT_PROVED: print(f"  - {text}")


__all__ = ["Run", "all_tasks", "prove", "verify"]
