"""All that is proved of the kernel, proved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aerostat.verify import all_tasks
from kernel.prove import obligations
from kernel.prove.not_proved import NOT_PROVED
from kernel.prove.processes import run_all
from kernel.prove.results import Results, longest_first
from kernel.prove.solver import PROVED

SECONDS = 60.0
"""What z3 may do for one question: three times of what ``aerostat verify`` gives it, for a busy machine."""


def test_what_is_not_proved_yet_is_named_as_it_is() -> None:
    assert NOT_PROVED.keys() <= {task.name for task in all_tasks()}


def test_everything_else_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tasks = [task for task in longest_first(all_tasks(), Results()) if task.name not in NOT_PROVED]
    obligations.warm()
    wrong = []
    for task, report in run_all(tasks, len(os.sched_getaffinity(0)), SECONDS):
        if report.status != PROVED:
            goals = [f"{goal.name}: {goal.status} {goal.counterexample}" for goal in report.outcomes
                     if goal.status != PROVED]  # fmt: skip
            wrong.append(f"{task.name} is {report.status}: {'; '.join(goals)}")
    assert not wrong, "\n".join(wrong)
