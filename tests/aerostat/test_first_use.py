"""What a new user meets: the README's Python does what it says, and a mistake is told, not passed over."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.aerostat.programs import GUARD, REPOSITORY, aerostat

pytestmark = pytest.mark.kvm


def test_the_python_snippet() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    snippets = [s for s in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Machine(" in s]
    assert snippets
    for snippet in snippets:
        done = subprocess.run(
            [sys.executable, "-c", snippet], cwd=REPOSITORY, env=dict(os.environ, PYTHONPATH=str(REPOSITORY)),
            capture_output=True, text=True, timeout=GUARD, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done
        assert "42" in done.stdout
        assert "exit status 0" in done.stdout


def test_a_working_directory_that_is_not_granted_is_told(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    pwd = ("/bin/busybox", "pwd")
    for grant in ((), ("--allow-read", inside)):
        done = aerostat("run", *grant, "--cwd", "/no/such", *pwd)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--cwd /no/such: not within what --allow-read or --allow-write grants" in done.stderr
    for where in (inside, tmp_path, "/"):
        done = aerostat("run", "--allow-read", inside, "--cwd", where, *pwd)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{where}\n", "")
