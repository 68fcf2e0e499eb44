"""The rule of tests/conftest.py: without KVM a test that needs it fails; skipping has to be asked for, and is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

REFUSE = """
import os
real = os.open
def refuse(path, *arguments, **options):
    if path == "/dev/kvm": raise FileNotFoundError(2, "No such file or directory", path)
    return real(path, *arguments, **options)
os.open = refuse
"""

SUITE = "tests/aerostat/test_hostile.py"


def suite_without_kvm(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs two tests where /dev/kvm cannot be opened."""
    (tmp_path / "no_kvm.py").write_text(REFUSE)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no_kvm", "-p", "no:cacheprovider", SUITE, "-k", "hlt or ud2"],
        capture_output=True, text=True, cwd=REPOSITORY, timeout=300, check=False,
        env={**os.environ, "AEROSTAT_NO_KVM": "", "PYTHONPATH": f"{tmp_path}:{REPOSITORY}", **environment},
    )  # fmt: skip


def test_they_fail(tmp_path: Path) -> None:
    done = suite_without_kvm(tmp_path)
    assert done.returncode == 1
    assert "there is no /dev/kvm" in done.stdout
    assert "AEROSTAT_NO_KVM=1 skips such tests" in done.stdout
    assert "2 errors" in done.stdout or "2 failed" in done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]


def test_they_are_skipped_on_request_and_it_is_said(tmp_path: Path) -> None:
    done = suite_without_kvm(tmp_path, AEROSTAT_NO_KVM="1")
    assert done.returncode == 0
    assert "2 skipped" in done.stdout
    assert "2 tests that need KVM did NOT run" in done.stdout
