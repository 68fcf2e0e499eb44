"""Tasks run in processes, a new one for each: so that what one proves, and how fast, does not depend on what was proved
before it in the same process."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from kernel.prove import source
from kernel.prove.obligations import Outcome, Report, Task, run
from kernel.prove.solver import UNKNOWN

PR_SET_PDEATHSIG: Final = 1
LONGEST: Final = 1800.0
"""Seconds after which a task is given up."""


@dataclass
class _Running:
    task: Task
    process: BaseProcess
    result: Connection
    started: float


def _child(task: Task, timeout: float, seed: int, result: Connection) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody would want the result of an orphan
    gc.disable()  # terms are never garbage
    source.CONSULTED.clear()
    report = run(task, timeout, seed)
    result.send(replace(report, consulted=tuple(sorted(source.CONSULTED))))
    result.close()


def run_all(
    tasks: Sequence[Task], jobs: int, timeout: float, seed: int = 0, longest: float = LONGEST
) -> Iterator[tuple[Task, Report]]:
    """Runs tasks in this order, so many at a time, and yields each with its report when it has ended.  What all need
    must have been evaluated before (obligations.warm): processes begin with what this one knows."""
    context = multiprocessing.get_context("fork")
    waiting = list(reversed(tasks))
    running: dict[Connection, _Running] = {}
    gc.collect()
    gc.freeze()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop()
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(task, timeout, seed, there), daemon=True)
                process.start()
                there.close()
                running[here] = _Running(task, process, here, time.perf_counter())
            for ready in wait(list(running), timeout=1.0):
                assert isinstance(ready, Connection)
                one = running.pop(ready)
                yield one.task, _received(one)
            for late in [one for one in running.values() if time.perf_counter() - one.started > longest]:
                del running[late.result]
                late.process.kill()
                late.process.join()
                yield late.task, _failed(late, f"given up after {longest:.0f} s")
    finally:
        for one in running.values(): one.process.kill()
        gc.unfreeze()


def _received(one: _Running) -> Report:
    try:
        report = one.result.recv()
    except EOFError:
        one.process.join()
        return _failed(one, f"its process ended with {one.process.exitcode}")
    finally:
        one.result.close()
    one.process.join()
    assert isinstance(report, Report)
    return report


def _failed(one: _Running, why: str) -> Report:
    return Report(one.task.name, (Outcome("the task", UNKNOWN, 0.0, why),), time.perf_counter() - one.started)


__all__ = ["LONGEST", "run_all"]
