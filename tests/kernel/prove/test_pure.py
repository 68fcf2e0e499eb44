"""Tests that put something of their own in the place of a class or function of the kernel, which only sources allow:
where the kernel is compiled, they are run once more with the sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kernel

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["test_specifications.py", "test_seam.py"])
def test_with_the_sources(name: str) -> None:
    if not kernel.COMPILED: pytest.skip("they are running anyway")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / name)]
    done = subprocess.run(
        command, env={**os.environ, "AEROSTAT_PURE": "1"}, capture_output=True, text=True, timeout=600,
        cwd=HERE.parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
