"""The benchmarks' arithmetic and what they write; no benchmark is run here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.measure import Result, ratios, result, rounds, run_table


def test_a_result_is_the_median_with_its_spread() -> None:
    assert result("a", [3.0, 1.0, 2.0], "us") == Result("a", 2.0, "us", None, None, 1.0, 3.0)


@pytest.mark.parametrize(("value", "at_least", "met"), [(1.0, False, True), (2.1, False, False), (1.9, True, False)])
def test_goals_are_upper_or_lower_bounds(value: float, at_least: bool, met: bool) -> None:
    assert result("a", value, "x", 2.0, at_least=at_least).met is met


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]


def test_rounds_interleave_and_drop_the_first_turn() -> None:
    order: list[str] = []

    def part(name: str) -> float:
        order.append(name)
        return float(len(order))

    assert rounds(2, a=lambda: part("a"), b=lambda: part("b")) == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    assert order == ["a", "b"] * 3


def test_json_holds_every_result_beside_host_facts(tmp_path: Path) -> None:
    def measure(turns: int) -> Iterator[Result]:
        """Nothing."""
        yield result("quick", [1.0] * turns, "us", 2.0)
        yield result("slow", [3.0] * turns, "us", 2.0)

    file = tmp_path / "out.json"
    assert run_table("nothing", measure, ["--rounds", "2", "--json", str(file)]) == 0  # whatever the numbers
    written = json.loads(file.read_text())
    assert {"cpu", "linux", "python", "kvm"} <= set(written["host"])
    assert [{key: row[key] for key in ("name", "value", "unit", "goal", "met")} for row in written["results"]] == [
        {"name": "quick", "value": 1.0, "unit": "us", "goal": 2.0, "met": True},
        {"name": "slow", "value": 3.0, "unit": "us", "goal": 2.0, "met": False},
    ]


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table("nothing", lambda turns: [], ["--json", str(tmp_path / "no" / "out.json")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_unknown_tables_are_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonesuch"]) == 2
    assert "exits" in capsys.readouterr().err
