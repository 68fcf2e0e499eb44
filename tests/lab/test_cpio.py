"""The archives are ones that a cpio other than ours reads."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.cpio import CpioWriter


def test_members_keep_path_mode_and_content(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed: apt-get install busybox-static")
    out = io.BytesIO()
    writer = CpioWriter(out)
    writer.directory("/deep")
    writer.file("/deep/empty", b"")
    writer.file("/deep/odd", b"12345", 0o750)
    writer.symlink("/deep/link", "odd")
    writer.finish()
    subprocess.run([busybox, "cpio", "-idm"], input=out.getvalue(), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "deep/link").read_bytes() == b"12345"
    assert (tmp_path / "deep/odd").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "deep/empty").read_bytes() == b""


def test_another_archive_may_follow() -> None:
    out = io.BytesIO()
    writer = CpioWriter(out)
    writer.file("/a", b"x")
    writer.finish()
    assert out.tell() % 512 == 0
