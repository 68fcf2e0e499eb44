"""No specification and no invariant demands less than it did, even where another would notice (``demands``)."""

from __future__ import annotations

from tests.kernel.demands import FILE, of_invariants, of_specifications

LINES = FILE.read_text(encoding="utf-8").splitlines()
MEANT = "if this is meant: python -m tests.kernel.demands"


def test_specifications_demand_what_they_did() -> None:
    found = list(of_specifications())
    expected = LINES[1 : LINES.index("")]
    assert found == expected, MEANT


def test_invariants_forbid_what_they_did() -> None:
    found = list(of_invariants())
    expected = LINES[LINES.index("") + 2 :]
    assert found == expected, MEANT
