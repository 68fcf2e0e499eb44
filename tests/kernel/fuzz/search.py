"""The search for a case that fails: hypothesis draws the dice of the actions, and shrinks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.kernel.fuzz.cases import replay
from tests.kernel.fuzz.dice import ROLLS, Dice
from tests.kernel.fuzz.run import Action, Run, Shape
from tests.kernel.world import Transition

LONGEST: Final = 400
"""Actions of an example; hypothesis draws at most 8 KiB for one."""
SHAPES: Final[tuple[Shape, ...]] = (
    (3, 2, 511, ""), (1, 1, 511, ""), (2, 3, 40, ""), (5, 2, 12, ""), (3, 1, 100, ""), (4, 4, 300, ""),
)  # fmt: skip
WITH_GIANTS: Final[Shape] = (1540, 2, 100, "")
"""Two giants, and blocks before and behind them."""


@dataclass
class Failure:
    """A case that fails, as short as it could be made."""

    shape: Shape
    actions: list[Action]
    error: BaseException

    @property
    def name(self) -> str:
        """What failed, as one word."""
        return name_of(self.error)


def name_of(error: BaseException) -> str:
    """What failed: a clause, or an exception and where it was raised."""
    clause = getattr(error, "name", None)
    if clause is not None and hasattr(error, "kind"): return f"{error.kind}-{clause}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = trace.tb_frame.f_code.co_name if trace is not None else "nowhere"
    return f"{type(error).__name__}-{where}"


def search(
    number: int, count: int, level: str = "full", planted: dict[str, Transition] | None = None,
    done: Callable[[Run], None] = lambda run: None,
) -> Failure | None:  # fmt: skip
    """Does ``count`` examples that seed ``number`` leads to.  Returns the first failure, or None; ``done`` is told of
    each run that did not fail."""
    last: list[Run] = []
    roll = st.binary(min_size=ROLLS, max_size=ROLLS)

    @st.composite
    def runs(draw: st.DrawFn) -> Run:
        """Rolls the dice as it goes, so that what fails has none too many.  Dice that begin with two zeros end it:
        what shrinks, ends."""
        run = Run(*draw(st.sampled_from((*SHAPES, WITH_GIANTS))), level=level, planted=planted)
        last[:] = [run]
        for _ in range(LONGEST):
            dice = draw(roll)
            if dice[:2] == b"\0\0": break
            run.do(run.choose(Dice(dice)))
        run.finish()
        return run

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck),
              phases=(Phase.generate, Phase.shrink), report_multiple_bugs=False, print_blob=False)  # fmt: skip
    @given(runs())
    def one(run: Run) -> None:
        done(run)

    try:
        one()
    except Exception as error:
        run = last[0]  # hypothesis does the shortest once more before it raises
        return shortened(Failure(run.shape, list(run.actions), error), level, planted)
    return None


def shortened(failure: Failure, level: str, planted: dict[str, Transition] | None = None) -> Failure:
    """The failure with the actions left out that it does not need: hypothesis cannot leave out one whose dice would
    then mean something else later on."""
    actions, size = failure.actions, len(failure.actions)
    while size:
        at = 0
        while at < len(actions):
            fewer = actions[:at] + actions[at + size :]
            error = _fails(failure.shape, fewer, level, planted)
            if error is not None and name_of(error) == failure.name: actions, failure.error = fewer, error
            else: at += size
        size //= 2
    failure.actions = actions
    return failure


def _fails(
    shape: Shape, actions: Sequence[Action], level: str, planted: dict[str, Transition] | None
) -> BaseException | None:
    try:
        replay(shape, actions, level, planted=planted)
    except Exception as error:
        return error
    return None


__all__ = ["SHAPES", "Failure", "search"]
