"""Tasks run in processes, a new one for each: so that what one proves, and how fast, does not depend on what was proved
before it in the same process.  What several begin with is done once, in a process from which theirs are forked."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from kernel.prove import source
from kernel.prove.evaluator import REFUSED
from kernel.prove.obligations import Outcome, Report, Task, run
from kernel.prove.solver import UNKNOWN, Solver

PR_SET_PDEATHSIG: Final = 1
LONGEST: Final = 1800.0
"""Seconds after which a task is given up."""


@dataclass
class _Running:
    tasks: list[Task]
    """That are still to be tried, the first of them now."""
    process: BaseProcess
    result: Connection
    started: float


def _orphans_die() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody would want their results


def _child(tasks: list[Task], timeout: float, seed: int, result: Connection) -> None:
    """Tries tasks that begin alike, each in a process forked where that was done."""
    _orphans_die()
    gc.disable()  # terms are never garbage
    Solver.kept = []
    source.CONSULTED.clear()
    started, cpu = time.perf_counter(), time.process_time()
    begin = tasks[0].begin
    with contextlib.suppress(*REFUSED):  # then each task says so
        if begin is not None: begin()
    spent = time.perf_counter() - started, time.process_time() - cpu
    if len(tasks) == 1:
        _try(tasks[0], timeout, seed, result, *spent)
        return
    for task in tasks:
        pid = os.fork()
        if pid == 0:
            _orphans_die()
            status = 1
            try:
                _try(task, timeout, seed, result, *spent)
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status: result.send(_failed(task, time.perf_counter() - started, _ended_with(status)))
        started = time.perf_counter()
        spent = 0.0, 0.0  # is the first one's


def _try(
    task: Task, timeout: float, seed: int, result: Connection, seconds: float = 0.0, cpu: float = 0.0
) -> None:
    """Tries a task and sends its report, as of so many more seconds."""
    report = run(task, timeout, seed)
    result.send(replace(
        report, consulted=tuple(sorted(source.CONSULTED)), seconds=report.seconds + seconds, cpu=report.cpu + cpu
    ))


def _families(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks that begin alike together, where the first of them is."""
    found: dict[object, list[Task]] = {}
    for task in tasks: found.setdefault(task.name if task.begin is None else task.begin, []).append(task)
    return list(found.values())


def run_all(
    tasks: Sequence[Task], jobs: int, timeout: float, seed: int = 0, longest: float = LONGEST
) -> Iterator[tuple[Task, Report]]:
    """Runs tasks in this order, but those together that begin alike, so many at a time, and yields each with its report
    when it has ended.  What all need must have been evaluated before (obligations.warm): processes begin with what this
    one knows."""
    context = multiprocessing.get_context("fork")
    waiting = list(reversed(_families(tasks)))
    running: dict[Connection, _Running] = {}
    gc.collect()
    gc.freeze()

    def over(one: _Running, why: str) -> tuple[Task, Report]:
        """Gives up the task that is tried; those after it are tried anew."""
        del running[one.result]
        one.process.kill()
        one.process.join()
        one.result.close()
        if one.tasks[1:]: waiting.append(one.tasks[1:])
        return one.tasks[0], _failed(one.tasks[0], time.perf_counter() - one.started, why)

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                family = waiting.pop()
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(family, timeout, seed, there), daemon=True)
                process.start()
                there.close()
                running[here] = _Running(family, process, here, time.perf_counter())
            for ready in wait(list(running), timeout=1.0):
                assert isinstance(ready, Connection)
                one = running[ready]
                try: report = ready.recv()
                except EOFError:
                    one.process.join()
                    yield over(one, _ended_with(one.process.exitcode))
                    continue
                yield one.tasks.pop(0), report
                one.started = time.perf_counter()
                if not one.tasks:
                    del running[ready]
                    ready.close()
                    one.process.join()
            for late in [one for one in running.values() if time.perf_counter() - one.started > longest]:
                yield over(late, f"given up after {longest:.0f} s")
    finally:
        for one in running.values(): one.process.kill()
        gc.unfreeze()


def _ended_with(status: int | None) -> str:
    return f"its process ended with {status}"


def _failed(task: Task, seconds: float, why: str) -> Report:
    return Report(task.name, (Outcome("the task", UNKNOWN, 0.0, why),), seconds)


__all__ = ["LONGEST", "run_all"]
