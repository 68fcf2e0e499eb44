"""Random actions in the middle of calls that are done in steps: they come about, and are kept and done again alike."""

from __future__ import annotations

import random
from collections import Counter

from tests.kernel.fuzz.cases import read, replay, text_of
from tests.kernel.fuzz.dice import ROLLS, Dice
from tests.kernel.fuzz.run import Run
from tests.kernel.fuzz.search import SHAPES


def test_each_long_call_loses_its_thread_between_two_steps_now_and_then() -> None:
    interrupted: Counter[tuple[str, str]] = Counter()
    for seed, shape in enumerate(SHAPES * 4):
        dice = random.Random(seed)
        run = Run(*shape, level="off")
        for _ in range(3000):
            run.do(run.choose(Dice(dice.randbytes(ROLLS))))
        run.finish()
        interrupted += run.interrupted
    calls = {call for call, _ in interrupted}
    ways = {way for _, way in interrupted}
    assert calls >= {"mmap", "munmap", "mprotect", "process_share", "process_kill", "container_kill"}, interrupted
    assert ways >= {"end", "thread_kill", "process_kill"}, interrupted


def test_what_was_done_in_between_is_done_again_alike() -> None:
    dice = random.Random(3)
    run = Run(*SHAPES[0], level="off")
    while not run.interrupted:
        run.do(run.choose(Dice(dice.randbytes(ROLLS))))
    done = list(run.actions)
    run.finish()
    shape, actions = read(text_of(run.shape, done))
    assert actions == done
    again = replay(shape, actions, "touched")
    assert again.interrupted == run.interrupted
