"""A driver of one's own, built and run by the commands that docs/devices.md gives."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.aerostat.programs import GUARD, REPOSITORY, aerostat, command_environment

SERIAL = f"{'AERO0001':20}\n"
COMMANDS = next(text for text in re.findall(r"^```sh\n(.*?)^```$", (REPOSITORY / "docs/devices.md").read_text(),
                                            re.MULTILINE | re.DOTALL) if "serial-outside" in text)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where its compilers' commands have put the programs."""
    made = tmp_path_factory.mktemp("own")
    subprocess.run(["make", "-s", "-C", str(REPOSITORY / "userland"), "lib"], check=True)
    compilers = [shlex.split(line) for line in COMMANDS.replace("\\\n", "").splitlines() if "gcc " in line]
    assert len(compilers) == 3
    for words in compilers:
        subprocess.run([*words[:1], "-Wall", "-Wextra", "-Werror", *words[1:-1], made / words[-1]], check=True,
                       cwd=REPOSITORY)  # fmt: skip
    return made


@pytest.mark.kvm
def test_in_a_machine(folder: Path) -> None:
    runs = [shlex.split(line)[1:] for line in COMMANDS.splitlines() if line.startswith("aerostat run")]
    assert len(runs) == 2
    for words in runs:
        done = aerostat(*(str(folder / word[2:]) if word.startswith("./") else word for word in words))
        assert (done.returncode, done.stdout, done.stderr) == (0, SERIAL, "")
    other = aerostat("run", "--no-linux", "--device", "ixgbe=nic", str(folder / "serial"), "disk")
    assert (other.returncode, other.stdout) == (1, "there is no such device\n")


def test_on_the_files_of_a_model(folder: Path, tmp_path: Path) -> None:
    model = subprocess.Popen(
        [sys.executable, "-m", "aerostat", "model", "nvme", "--bar", tmp_path / "bar", "--dma", tmp_path / "dma"],
        stdout=subprocess.PIPE, text=True, env=command_environment(), cwd=REPOSITORY,
    )  # fmt: skip
    try:
        assert model.stdout is not None
        assert model.stdout.readline().startswith("ready")
        name = f"{tmp_path}/bar:{tmp_path}/dma"
        for _ in range(2):
            done = subprocess.run([folder / "serial-outside", name], capture_output=True, text=True, timeout=GUARD)
            assert (done.returncode, done.stdout) == (0, SERIAL)
    finally:
        model.send_signal(signal.SIGTERM)
        model.communicate(timeout=GUARD)
