"""The second kernel is fetched once, and is the one that was named or none."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.lab.kernel import UBUNTU_PACKAGES, ArchiveUnreachable, KernelUnavailable, Package, pinned

NAMED = Package("pool/k/kernel.deb", hashlib.sha256(b"a kernel").hexdigest())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    if shutil.which("apt-get") is None: pytest.skip("this host has no apt")
    (tmp_path / "archive/pool/k").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    return tmp_path


def fetch(place: Path) -> Path:
    return pinned(place / "kept", NAMED, f"copy:{place}/archive")


def test_it_is_fetched_once(place: Path) -> None:
    (place / "archive/pool/k/kernel.deb").write_bytes(b"a kernel")
    assert fetch(place).read_bytes() == b"a kernel"
    (place / "archive/pool/k/kernel.deb").unlink()
    assert fetch(place) == place / "kept/kernel.deb"
    assert [path.name for path in (place / "kept").iterdir()] == ["kernel.deb"]


def test_another_one_is_refused(place: Path) -> None:
    (place / "archive/pool/k/kernel.deb").write_bytes(b"a kernel of somebody's own")
    with pytest.raises(KernelUnavailable, match=r"pool/k/kernel\.deb has SHA-256 .*, not ") as refused: fetch(place)
    assert not isinstance(refused.value, ArchiveUnreachable), "which is an error, not a test that cannot run"
    assert list((place / "kept").iterdir()) == []


def test_an_archive_that_does_not_answer_is_named(place: Path) -> None:
    with pytest.raises(ArchiveUnreachable, match=r"copy:.*/archive gives no kernel .*: .*kernel\.deb"): fetch(place)
    assert list((place / "kept").iterdir()) == []


def test_those_that_are_named() -> None:
    for package in UBUNTU_PACKAGES: assert len(bytes.fromhex(package.sha256)) == 32
    assert [package.name.split("_")[0] for package in UBUNTU_PACKAGES] == [
        "linux-image-6.8.0-31-generic", "linux-modules-6.8.0-31-generic",
    ]  # fmt: skip
