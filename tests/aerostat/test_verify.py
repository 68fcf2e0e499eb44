"""aerostat verify: what it proves, what it prints, and how it ends."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from aerostat.cli import main
from kernel.prove import trusted
from tests.kernel.prove.planted import plant


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_one_function(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["verify", "--function", "quota_split", "--function", "addresses"]
    assert main([*arguments, "--svg", str(tmp_path / "times.svg")]) == 0
    said = re.search(r"(\d+) of (\d+) obligations proved", capsys.readouterr().out)
    assert said is not None
    assert said[1] == said[2] != "0"
    picture = ElementTree.parse(tmp_path / "times.svg").getroot()
    assert {"quota_split", "addresses"} <= {element.text for element in picture.iter()}
    assert main([*arguments, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["proved"]
    assert all(obligation["cached"] for obligation in results["obligations"])


def test_what_is_not_proved_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "kernel.page_allocator", "quota_split", "C.pages + BLOCK_PAGES", "C.pages + 511")
    assert main(["verify", "--function", "quota_split", "--no-cache"]) == 1
    said = capsys.readouterr().out
    assert "refuted: quota_split: specification" in said
    assert "quota_split(c=" in said


def test_what_is_not_understood_is_not_proved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "kernel.scheduler", "thread_yield", "T.state != RUNNING", "T.state is not RUNNING")
    assert main(["verify", "--function", "thread_yield", "--no-cache"]) == 1
    said = capsys.readouterr().out
    assert "unknown: thread_yield: preservation" in said
    assert "`T.state is not RUNNING` is not evaluated on terms" in said


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--function", "qouta_split"]) == 2
    assert "quota_split" in capsys.readouterr().err
    for wrong in (["--jobs", "0"], ["--seed", "-1"], ["--timeout", "0"], ["--svg", "/no/such/folder/times.svg"]):
        assert main(["verify", "--function", "addresses", *wrong]) == 2, wrong
        assert " ".join(wrong) in capsys.readouterr().err


def test_what_is_trusted_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--trusted"]) == 0
    said = capsys.readouterr().out
    for assumption in trusted.ASSUMPTIONS: assert f"  {assumption.name}: " in said
    assert "\n  processor: " in said
    assert "Not proved:" in said


def test_the_papers_tables() -> None:
    from aerostat.proof_tables import tables

    said = tables(100.0, 180.0, 2, 30.0, 0)
    rows = [line.split() for line in said.splitlines()]
    assert ["Atmosphere", "3m29", "1m07", "(8)", "15701", "4937", "3.18"] in rows
    ours = [row for row in rows if row[:1] == ["aerostat"]]
    assert ours[-1][1:4] == ["3m00", "1m40", "(2)"]
