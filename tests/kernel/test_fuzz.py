"""Random calls from random threads keep every specification and invariant; what once failed does not fail again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from abi.calls import CALLS, Call
from abi.errors import error_name
from tests.kernel.fuzz import outcomes
from tests.kernel.fuzz.__main__ import Found, keep, main
from tests.kernel.fuzz.cases import FOLDER, read, replay, text_of
from tests.kernel.fuzz.run import NATIVE, NOT_HERE, Run
from tests.kernel.fuzz.search import search
from tests.kernel.mutants import mutant

CALLS_A_SEED: Final = 20_000
EXAMPLES_A_SEED: Final = 110


@pytest.mark.parametrize("case", sorted(FOLDER.glob("*.calls")), ids=lambda path: path.stem)
def test_case_that_once_failed(case: Path) -> None:
    shape, actions = read(case.read_text())
    replay(shape, actions)


@pytest.mark.parametrize("seed", range(5))
def test_100_000_random_calls_with_full_checks(seed: int) -> None:
    """A fifth of them.  After each sequence the audit is clean, and when all is killed every page is free."""
    calls = 0

    def done(run: Run) -> None:
        nonlocal calls
        calls += run.outcomes.total()

    failure = search(seed, EXAMPLES_A_SEED, done=done)
    if failure is not None: pytest.fail(text_of(failure.shape, failure.actions, str(failure.error)))
    assert calls >= CALLS_A_SEED


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_each_native_call_succeeds_and_fails_in_each_way(call: Call) -> None:
    """By cases that are kept, so that it is no matter of chance; with full checks."""
    assert (call in NATIVE) == (call.name not in NOT_HERE)
    missing = [
        f"{name}: {error_name(-error) if error else 'success'}" for name, error in sorted(outcomes.wanted(call))
        if not outcomes.alike((name, error)) & outcomes.all_shown()
    ]  # fmt: skip
    assert not missing, f"no case shows {', '.join(missing)}: python -m tests.kernel.fuzz.outcomes looks for one"


@pytest.mark.parametrize("path", sorted(outcomes.FOLDER.glob("*.calls")), ids=lambda path: path.stem)
def test_each_case_of_an_outcome_shows_what_it_is_kept_for(path: Path) -> None:
    told = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ")]
    for about, (shape, actions) in zip(told, outcomes.kept(path), strict=True):
        name, _, what = about.partition(": ")
        shown = {error_name(-error) if error else "success" for of, error in outcomes.shown(shape, actions, "off")
                 if of == name}  # fmt: skip
        assert what in shown, f"{about}: it shows {shown}"


@pytest.mark.parametrize(
    ("level", "module", "text", "replacement"),
    [("full", "process", "W.holder_slot = 0", "pass"), ("off", "scheduler", "R.tail = a", "pass")],
)
def test_planted_bug_is_found_and_shrunk_to_a_short_case(
    level: str, module: str, text: str, replacement: str, tmp_path: Path
) -> None:
    """Without checks too: what does not come back shows at the end of a sequence."""
    planted = mutant(module, text, replacement)
    failure = search(1, 100, level, planted)
    assert failure is not None
    assert len(failure.actions) <= 6
    case = text_of(failure.shape, failure.actions, str(failure.error))
    shape, actions = read(case)
    assert (shape, actions) == (failure.shape, failure.actions)
    replay(shape, actions)
    with pytest.raises(type(failure.error)):
        replay(shape, actions, level, planted=planted)
    found = Found(1, 100, failure.name, case)
    path = keep(found, tmp_path)
    assert path is not None
    assert read(path.read_text()) == (shape, actions)
    assert keep(found, tmp_path) is None


def test_fuzz_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cases"
    words = ["--seed", "7", "--seeds", "2", "--examples", "20", "--processes", "2", "--check", "off", "--cases"]
    assert main([*words, str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 seeds from 7, ")
    assert not folder.exists()


def test_case_without_a_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel BLOCKS CORES PAGES"):
        read("# nothing\nspawn\n")
