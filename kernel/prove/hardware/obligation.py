"""One thing to be proved, and what came of it; and the question put to z3 where it is one of bit-vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import z3

PROVED: Final = "proved"
REFUTED: Final = "refuted"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Verdict:
    """``status`` is PROVED, REFUTED (``counterexample`` then says how it can fail, over several lines) or UNKNOWN."""

    status: str
    counterexample: str = ""


Prove = Callable[[float, int], Verdict]
"""Proves something: with the seconds that z3 has for each question, and a seed."""


@dataclass(frozen=True)
class Obligation:
    """Something that has to hold, by name; names are unique.  ``says`` is it in one sentence.  """

    name: str
    group: str
    says: str
    prove: Prove


@dataclass(frozen=True)
class Assumption:
    """Something that proofs take for granted, and why that can be."""

    name: str
    says: str
    reason: str


Describe = Callable[[z3.ModelRef], str]


def decide(
    known: Iterable[z3.BoolRef], claim: z3.BoolRef, describe: Describe, timeout: float = 20.0, seed: int = 0
) -> Verdict:
    """Whether a claim holds wherever everything known does.  ``describe`` makes a counterexample readable."""
    solver = z3.Solver()
    solver.set("timeout", int(timeout * 1000))
    if seed: solver.set("random_seed", seed)
    solver.add(*known)
    solver.add(z3.Not(claim))
    answer = solver.check()
    if answer == z3.unsat: return Verdict(PROVED)
    if answer == z3.sat: return Verdict(REFUTED, describe(solver.model()))
    return Verdict(UNKNOWN, f"z3 gave no answer: {solver.reason_unknown()}")


def sentence(of: object) -> str:
    """The text that documents a function, in one line."""
    return " ".join((getattr(of, "__doc__", None) or "").split())


def all_proved(verdicts: Iterable[Verdict]) -> Verdict:
    """The first of these that is not PROVED, or PROVED; none after it is asked for."""
    return next((verdict for verdict in verdicts if verdict.status != PROVED), Verdict(PROVED))


def number(model: z3.ModelRef, term: z3.BitVecRef) -> int:
    """What a bit-vector is in a counterexample."""
    return int(model.eval(term, model_completion=True).as_long())


def truth(model: z3.ModelRef, term: z3.BoolRef) -> bool:
    """Whether something holds in a counterexample."""
    return bool(z3.is_true(model.eval(term, model_completion=True)))


__all__ = [
    "PROVED", "REFUTED", "UNKNOWN", "Assumption", "Describe", "Obligation", "Prove", "Verdict", "all_proved", "decide",
    "number", "sentence", "truth",
]  # fmt: skip
