"""Random calls from random threads keep every specification and invariant; what once failed does not fail again."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from abi.calls import CALLS, Call
from abi.errors import EBUSY, EEXIST, ENOMEM, ENOSPC, ETIMEDOUT, error_name
from tests.kernel.fuzz.__main__ import Found, keep, main
from tests.kernel.fuzz.cases import FOLDER, read, replay, text_of
from tests.kernel.fuzz.dice import ROLLS, Dice
from tests.kernel.fuzz.run import NATIVE, NOT_HERE, SCENES, Run, Shape
from tests.kernel.fuzz.search import SHAPES, WITH_GIANTS, search
from tests.kernel.mutants import mutant
from tests.kernel.scenarios import CASES

CALLS_A_SEED: Final = 20_000
EXAMPLES_A_SEED: Final = 110


def only_between_steps(call: Call, error: int) -> bool:
    """Whether a call meets this error only while another, which ends something, is between two of its steps (here calls
    are made one after another), or only where there is more than a kernel alone has."""
    if error == ETIMEDOUT: return True  # time is the host's
    # What takes long to come about by chance has a case of its own.
    if (call.name, error_name(-error)) in {(case.transition, case.outcome) for case in CASES}: return True
    if call.words and error in (EBUSY, EEXIST, ENOMEM): return True  # test_messages
    if (call.name, error) == ("domain_unmap", ENOSPC): return True  # test_devices
    meanings = [meaning for documented, meaning in call.errors if documented == error]
    return error == EBUSY and all(meaning.endswith("is ending") or "ending already" in meaning for meaning in meanings)


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


@cache
def outcomes() -> Counter[tuple[str, int]]:
    """What calls return in long runs without checks."""
    found: Counter[tuple[str, int]] = Counter()
    # In a scene the calls soon change what it is about.
    runs: list[tuple[Shape, int]] = [(shape, 40_000) for shape in SHAPES]
    runs += [((12, 1, 511, scene), 600) for scene in SCENES for _ in range(16)]
    runs.append((WITH_GIANTS, 5000))
    for seed, (shape, actions) in enumerate(runs):
        dice = random.Random(seed)
        run = Run(*shape, level="off")
        for _ in range(actions):
            run.do(run.choose(Dice(dice.randbytes(ROLLS))))
        run.finish()
        found += run.outcomes
    return found


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_each_native_call_succeeds_and_fails_in_each_way(call: Call) -> None:
    if call.name in NOT_HERE: return
    assert call in NATIVE
    # What a message carries fails in one place for all calls: each error there shows with one of them.
    alike = {"message_send", "message_call", "message_reply", "message_reply_receive"}
    names = alike if call.name in alike else {call.name}
    reached = {-result for name, result in outcomes() if name in names}
    missing = {0, *(error for error, _ in call.errors)} - reached
    missing = {error for error in missing if not only_between_steps(call, error)}
    assert not missing, f"{call.name} never returned {[error_name(-error) for error in missing]}"


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
