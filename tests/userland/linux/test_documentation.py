"""docs/linux.md lists exactly the calls that are served."""

from __future__ import annotations

from pathlib import Path

from userland.linux.calls import MODULES, served
from userland.linux.numbers import NUMBERS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "linux.md"


def test_every_call_is_listed_once_where_it_is_served() -> None:
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if ".py` |" in line]
    listed = {name: row[3].strip().strip("`").removesuffix(".py") for row in rows for name in row[2].split()}
    assert listed == {name: MODULES[NUMBERS[name]] for name in served()}
