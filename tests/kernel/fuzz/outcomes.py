"""A short case for each way in which a native call ends: found by chance once, then kept in ``outcomes/``.

``python -m tests.kernel.fuzz.outcomes`` replays what is kept, drops what shows nothing any more, and looks for what is
missing: after a call was added, or does something else.  Which cases chance finds is no matter of the tests then.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

from abi.calls import BY_NAME, CALLS, Call
from abi.errors import EBUSY, EEXIST, EIO, ENOMEM, ENOSPC, ETIMEDOUT, error_name
from tests.kernel.fuzz.cases import read, text_of
from tests.kernel.fuzz.dice import ROLLS, Dice
from tests.kernel.fuzz.run import NOT_HERE, Action, Run, Shape
from tests.kernel.fuzz.search import SHAPES, WITH_GIANTS
from tests.kernel.scenarios import CASES

FOLDER: Final = Path(__file__).parent / "outcomes"
Outcome = tuple[str, int]
"""A call's name, and 0 or the error that it returns, positive."""
ALIKE: Final = ("message_send", "message_call", "message_reply", "message_reply_receive")
"""What a message carries fails in one place for all of these: each error shows with one of them."""


def shown_elsewhere(call: Call, error: int) -> bool:
    """Whether a call meets this error only while another, which ends something, is between two of its steps (here calls
    are made one after another), or only where there is more than a kernel alone has."""
    if error in (ETIMEDOUT, EIO): return True  # time is the host's, and hardware
    if (call.name, error) == ("device_attach", ENOSPC): return True  # the hardware's as well
    # What takes long to come about by chance has a case of its own.
    if (call.name, error_name(-error)) in {(case.transition, case.outcome) for case in CASES}: return True
    if call.words and error in (EBUSY, EEXIST, ENOMEM): return True  # test_messages
    if (call.name, error) == ("domain_unmap", ENOSPC): return True  # test_devices
    meanings = [meaning for documented, meaning in call.errors if documented == error]
    return error == EBUSY and all(meaning.endswith("is ending") or "ending already" in meaning for meaning in meanings)


def wanted(call: Call) -> set[Outcome]:
    """The outcomes of a call that cases have to show."""
    if call.name in NOT_HERE: return set()
    errors = {0, *(error for error, _ in call.errors)}
    return {(call.name, error) for error in errors if not shown_elsewhere(call, error)}


def alike(outcome: Outcome) -> set[Outcome]:
    """The outcomes of which one is as good as this."""
    name, error = outcome
    return {(other, error) for other in ALIKE} if name in ALIKE and error else {outcome}


def kept(path: Path) -> Iterator[tuple[Shape, list[Action]]]:
    """The cases of a file: each begins with its machine."""
    text = path.read_text()
    for part in text.split("\nkernel ")[1:]: yield read(f"kernel {part}")


def shown(shape: Shape, actions: Sequence[Action], level: str) -> set[Outcome]:
    """What a case's calls return, in a machine that ends well."""
    run = Run(*shape, level=level)
    for action in actions: run.do(action)
    run.finish()
    return {(name, -result) for name, result in run.outcomes}


@cache
def all_shown() -> frozenset[Outcome]:
    """What all cases that are kept show, with full checks."""
    found: set[Outcome] = set()
    for path in sorted(FOLDER.glob("*.calls")):
        for shape, actions in kept(path): found |= shown(shape, actions, "full")
    return frozenset(found)


# Looking for cases.


def _shows(shape: Shape, actions: Sequence[Action], outcome: Outcome) -> bool:
    try:
        return outcome in shown(shape, actions, "off")
    except Exception:  # without the actions before them, some make no sense
        return False


def _shortened(shape: Shape, actions: list[Action], outcome: Outcome) -> list[Action]:
    size = len(actions)
    while size:
        at = 0
        while at < len(actions):
            fewer = actions[:at] + actions[at + size :]
            if _shows(shape, fewer, outcome): actions = fewer
            else: at += size
        size //= 2
    return actions


def _by_chance(seed: int, missing: set[Outcome]) -> Iterator[tuple[Outcome, Shape, list[Action]]]:
    """What a run shows of what is missing.  Later runs are longer."""
    shapes: list[Shape] = [*SHAPES, *SHAPES, WITH_GIANTS, (12, 1, 511, "deep"), (12, 1, 511, "full")]
    shape = shapes[seed % len(shapes)]
    dice = random.Random(seed)
    run = Run(*shape, level="off")
    for _ in range(min(400 + 20 * seed, 20_000) if not shape[3] else 600):
        before = set(run.outcomes)
        run.do(run.choose(Dice(dice.randbytes(ROLLS))))
        for name, result in set(run.outcomes) - before:
            if (name, -result) in missing: yield (name, -result), shape, list(run.actions)


def _write(cases: dict[Outcome, tuple[Shape, list[Action]]]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.calls"): path.unlink()
    for name in {name for name, _ in cases}:
        texts = [
            f"# {name}: {error_name(-error) if error else 'success'}\n{text_of(*cases[name, error])}"
            for _, error in sorted(outcome for outcome in cases if outcome[0] == name)
        ]
        FOLDER.joinpath(f"{name}.calls").write_text("\n".join(texts))


def main(most: int = 1000) -> int:
    """The command line: keeps a case of every outcome that there is none of; 1 if some were not found."""
    cases: dict[Outcome, tuple[Shape, list[Action]]] = {}
    covered: set[Outcome] = set()
    every = {outcome for call in CALLS for outcome in wanted(call)}
    for path in sorted(FOLDER.glob("*.calls")):
        for shape, actions in kept(path):
            own = {outcome for outcome in every if outcome[0] == path.stem}
            new = {outcome for outcome in own - covered if _shows(shape, actions, outcome)}
            if new: cases[min(new)] = shape, actions
            covered |= new
    missing = {outcome for outcome in every if not alike(outcome) & covered}
    for seed in count():
        if not missing or seed == most: break
        for outcome, shape, actions in _by_chance(seed, missing):
            if not alike(outcome) & missing: continue
            cases[outcome] = shape, _shortened(shape, actions, outcome)
            missing -= alike(outcome)
            print(f"{outcome[0]} {error_name(-outcome[1]) if outcome[1] else 'success'}: "
                  f"{len(cases[outcome][1])} actions; {len(missing)} missing", flush=True)  # fmt: skip
            _write(cases)
    for name, error in sorted(missing): print(f"not found: {name} {error_name(-error)}", file=sys.stderr)
    return int(bool(missing))


assert all(name in BY_NAME for name in ALIKE)

if __name__ == "__main__":
    sys.exit(main())
