"""The user programs, built once a session."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def userland() -> Path:
    """The folder with lib/, demo/ and tests/, up to date."""
    subprocess.run(["make", "--no-print-directory", "-s", "-j2", "-C", ROOT / "userland"], check=True)
    return ROOT / "build" / "userland"
