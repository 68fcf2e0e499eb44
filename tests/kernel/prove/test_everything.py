"""All that is proved of the kernel, proved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aerostat.verify import all_tasks
from kernel.prove import obligations
from kernel.prove.processes import run_all
from kernel.prove.results import Results, longest_first
from kernel.prove.solver import PROVED

SECONDS = 60.0
"""What z3 may do for one question: three times of what ``aerostat verify`` gives it, for a busy machine."""


def test_everything_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tasks = longest_first(all_tasks(), Results())
    obligations.warm()
    wrong = []
    for task, report in run_all(tasks, len(os.sched_getaffinity(0)), SECONDS):
        if report.status != PROVED:
            goals = [f"{goal.name}: {goal.status} {goal.counterexample}" for goal in report.outcomes
                     if goal.status != PROVED]  # fmt: skip
            wrong.append(f"{task.name} is {report.status}: {'; '.join(goals)}")
    assert not wrong, "\n".join(wrong)
