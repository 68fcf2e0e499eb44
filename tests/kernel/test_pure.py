"""Where the kernel is compiled, the tests that need its sources (``pure``) are run with these."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kernel

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", [
    "prove/test_specifications.py", "prove/test_seam.py", "test_numbers.py", "test_cache.py", "test_storage.py",
    "prove/test_replay.py", "test_specified_cases.py",
    "test_compiled.py::test_code_of_a_function_that_may_be_compiled",
    "../aerostat/test_bounds.py::test_a_range_that_cannot_be_paid_for_costs_no_more_than_one_that_can",
])  # fmt: skip
def test_with_the_sources(name: str) -> None:
    if not kernel.COMPILED: pytest.skip("they are running anyway")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{HERE}/{name}"]
    done = subprocess.run(
        command, env={**os.environ, "AEROSTAT_PURE": "1"}, capture_output=True, text=True, timeout=600,
        cwd=HERE.parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
