"""Runs the hypervisor's own functions on 64-bit vectors of z3: every way through them, each with its conditions.

A Word stands where the code has an int.  Where the code asks something of one (``if``, ``and``, ``in``), the run takes
one of the answers that are possible and is made again for the other, from the start; so what is run is the code itself,
not a translation of it.  Words wrap where ints do not: each result that could is recorded, and has to be shown not to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import z3

WIDTH: Final = 64
LARGEST: Final = (1 << WIDTH) - 1

Result = TypeVar("Result")


@dataclass(frozen=True)
class Way(Generic[Result]):
    """One way through a run: the conditions under which it is taken, and what it returned.  ``exact``: what has to
    hold for the Words to be the ints that Python would have computed."""

    conditions: tuple[z3.BoolRef, ...]
    result: Result
    exact: tuple[z3.BoolRef, ...]

    @property
    def condition(self) -> z3.BoolRef:
        """All conditions, as one."""
        return z3.And(*self.conditions) if self.conditions else z3.BoolVal(True)


@dataclass(frozen=True)
class _Answer:
    said: bool
    free: bool
    """The other one was possible too."""


class _Run:
    """One run: the answers it is to give first, and those it gave."""

    def __init__(self, known: list[z3.BoolRef], answers: list[_Answer]) -> None:
        self.solver = z3.Solver()
        self.solver.add(*known)
        self.answers = answers
        self.given: list[_Answer] = []
        self.open: list[list[_Answer]] = []
        self.conditions: list[z3.BoolRef] = []
        self.exact: list[z3.BoolRef] = []

    def answer(self, question: z3.BoolRef) -> bool:
        question = z3.simplify(question)
        if z3.is_true(question): return True
        if z3.is_false(question): return False
        if len(self.given) < len(self.answers):
            answer = self.answers[len(self.given)]
        else:
            possible = [said for said in (True, False) if self.solver.check(_held(question, said)) != z3.unsat]
            answer = _Answer(possible[0] if possible else True, len(possible) == 2)
            if answer.free: self.open.append([*self.given, _Answer(not answer.said, True)])
        self.given.append(answer)
        if answer.free:
            self.conditions.append(_held(question, answer.said))
            self.solver.add(self.conditions[-1])
        return answer.said


def _held(question: z3.BoolRef, said: bool) -> z3.BoolRef:
    return question if said else z3.Not(question)


_runs: list[_Run] = []
"""The run that is being made, if one is."""


class Word:
    """An int from 0 to ``most`` that is not known.  (That it is at most that has to follow from what is known.)"""

    __slots__ = ("vector", "most")

    def __init__(self, vector: z3.BitVecRef, most: int = LARGEST) -> None:
        self.vector = vector
        self.most = most

    def __or__(self, other: Word | int) -> Word:
        bits = max(self.most, _most(other)).bit_length()
        return Word(self.vector | vector(other), (1 << bits) - 1)

    def __and__(self, other: Word | int) -> Word:
        return Word(self.vector & vector(other), min(self.most, _most(other)))

    def __add__(self, other: Word | int) -> Word:
        most = self.most + _most(other)
        if most > LARGEST: _exact(z3.BVAddNoOverflow(self.vector, vector(other), False))
        return Word(self.vector + vector(other), min(most, LARGEST))

    def __sub__(self, other: Word | int) -> Word:
        _exact(z3.UGE(self.vector, vector(other)))
        return Word(self.vector - vector(other), self.most)

    def __floordiv__(self, other: int) -> Word:
        if other <= 0 or other & (other - 1): raise TypeError("a Word is divided by powers of two")
        return self >> other.bit_length() - 1

    def __mul__(self, other: Word | int) -> Word:
        if isinstance(other, int) and other > 0 and other & (other - 1) == 0: return self << other.bit_length() - 1
        most = self.most * _most(other)
        if most > LARGEST: _exact(z3.BVMulNoOverflow(self.vector, vector(other), False))
        return Word(self.vector * vector(other), min(most, LARGEST))

    def __lshift__(self, by: int) -> Word:
        most = self.most << by
        if most > LARGEST: _exact(z3.LShR(self.vector << by, by) == self.vector)
        return Word(self.vector << by, min(most, LARGEST))

    def __rshift__(self, by: int) -> Word:
        return Word(z3.LShR(self.vector, by), self.most >> by)

    __ror__, __rand__, __radd__, __rmul__ = __or__, __and__, __add__, __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Word, int)): return NotImplemented
        return ask(self.vector == vector(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Word | int) -> bool:
        return ask(z3.ULT(self.vector, vector(other)))

    def __le__(self, other: Word | int) -> bool:
        return ask(z3.ULE(self.vector, vector(other)))

    def __gt__(self, other: Word | int) -> bool:
        return ask(z3.UGT(self.vector, vector(other)))

    def __ge__(self, other: Word | int) -> bool:
        return ask(z3.UGE(self.vector, vector(other)))

    def __bool__(self) -> bool:
        return ask(self.vector != 0)

    def __hash__(self) -> int:
        return int(self.vector.hash())

    def __index__(self) -> int:
        raise TypeError("what this int is, is not known")


def vector(value: Word | int) -> z3.BitVecRef:
    """The bit-vector of an int; ValueError for one that is not of 64 bits."""
    if isinstance(value, Word): return value.vector
    if not 0 <= value < 1 << WIDTH: raise ValueError(f"{value:#x} is not of {WIDTH} bits")
    return z3.BitVecVal(value, WIDTH)


def _most(value: Word | int) -> int:
    return value.most if isinstance(value, Word) else value


def ask(question: z3.BoolRef) -> bool:
    """The answer to a question in the run that is being made."""
    if not _runs: raise RuntimeError("nothing is being run on Words")
    return _runs[-1].answer(question)


def pick(word: Word | int, among: Iterable[int]) -> int:
    """An int that this Word can be, one a way: for what serves as a key.  It has to be one of these (ValueError)."""
    for value in among:
        if word == value: return value
    raise ValueError("not among the values it was said to be among")


def _exact(condition: z3.BoolRef) -> None:
    if _runs: _runs[-1].exact.append(z3.simplify(condition))


def ways(run: Callable[[], Result], known: Iterable[z3.BoolRef] = ()) -> Iterator[Way[Result]]:
    """All ways that a function can take where everything known holds.  It has to make its state anew each time."""
    knowledge = list(known)
    todo: list[list[_Answer]] = [[]]
    while todo:
        made = _Run(knowledge, todo.pop())
        _runs.append(made)
        try:
            result = run()
        finally:
            _runs.pop()
        todo += made.open
        yield Way(tuple(made.conditions), result, tuple(exact for exact in made.exact if not z3.is_true(exact)))


class Memory:
    """64-bit words of memory by number, as a list of ints seems to the code.  What is stored is kept, in order."""

    def __init__(self, before: Callable[[z3.BitVecRef], z3.BitVecRef]) -> None:
        self.before = before
        self.stores: list[tuple[z3.BitVecRef, z3.BitVecRef]] = []
        """Number of a word, and what it was given."""

    def __getitem__(self, at: Word | int) -> Word:
        where = z3.simplify(vector(at))
        word = self.before(where)
        for place, value in self.stores: word = z3.If(place == where, value, word)
        return Word(word)

    def __setitem__(self, at: Word | int, value: Word | int) -> None:
        self.stores.append((z3.simplify(vector(at)), z3.simplify(vector(value))))


__all__ = ["Memory", "Way", "Word", "ask", "pick", "vector", "ways"]
