"""What holds of translations in any state in which the invariants do.

Tables and map agree at every address, tables form a tree, entries lead to what a processor expects at their level, and
to the machine's memory alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import z3

from kernel.prove import source
from kernel.prove.hardware.changes import ADDRESS, MAP, OLD, SPACE, TRANSLATION, TREE, decided, ranged, said
from kernel.prove.hardware.obligation import Obligation, Prove, Verdict, all_proved, decide, sentence
from kernel.prove.hardware.translation import agree, mapped_once, tree, way_down, within_memory
from kernel.prove.steps import Step
from kernel.prove.terms import Truth, name

RIGHTS: Final = TREE | {"entry_mapped", "map_permission"}
"""The invariants that say what leads to what, and what permissions mean."""
OF_AN_ADDRESS: Final = (SPACE, *ADDRESS)
OF_AN_ENTRY: Final = (name("table"), name("entry"))
OF_TWO_ENTRIES: Final = (*OF_AN_ENTRY, name("other table"), name("other entry"))


def in_any_state(statement: str, of: tuple[object, ...], using: frozenset[str] | None = None) -> Prove:
    """That a statement of ``translation`` follows from the invariants: from these, or from any."""

    def prove(timeout: float, seed: int) -> Verdict:
        step = Step(source.function(TRANSLATION, "has_space"))  # it writes nothing: any state
        ranged()
        claim: Truth = said(step, statement, OLD, *of)
        return decided(step, using, [], claim, timeout, seed)

    return prove


def indices(timeout: float, seed: int) -> Verdict:
    """Four indices make one virtual page number, and its division gives them back."""
    page, other = z3.Ints("page other")
    mine, its = z3.Ints("i4 i3 i2 i1"), z3.Ints("j4 j3 j2 j1")
    known = [page == _number(mine), *(z3.And(index >= 0, index < 512) for index in mine[1:])]

    # Asked for all at once z3 may look for long, depending on its seed: each of these is about few numbers.
    def verdicts() -> Iterator[Verdict]:
        x, q, r = z3.Ints("x q r")
        for n in (1, 2, 3): yield decide([], _division(x, q, r, 1 << 9 * n), str, timeout, seed)
        for n in range(4):
            index, above = mine[3 - n], _number(mine[:4 - n])
            facts = list(known)
            if n > 0: facts.append(_division(page, above, _number(mine[4 - n:]), 1 << 9 * n))
            if n < 3: facts.append(_division(above, _number(mine[:3 - n]), index, 512))
            yield decide(facts, _index(page, n) == index, str, timeout, seed)
        # So the number alone tells each index: those of the same number are the same.
        for n in range(4):
            facts = [_index(page, n) == mine[3 - n], _index(other, n) == its[3 - n], page == other]
            yield decide(facts, mine[3 - n] == its[3 - n], str, timeout, seed)

    return all_proved(verdicts())


def _number(indices: list[z3.ArithRef]) -> z3.ArithRef:
    """The number of which these are the digits, the highest first."""
    return z3.Sum([index * (1 << 9 * n) for n, index in enumerate(reversed(indices))])


def _index(page: z3.ArithRef, n: int) -> z3.ArithRef:
    """What division gives as the nth index of a virtual page, the lowest being 0."""
    return page / (1 << 9 * n) % 512 if n < 3 else page / (1 << 27)


def _division(x: z3.ArithRef, q: z3.ArithRef, r: z3.ArithRef, by: int) -> z3.BoolRef:
    """Quotient and remainder are these where they can be."""
    return z3.Implies(z3.And(x == by * q + r, r >= 0, r < by), z3.And(x / by == q, x % by == r))


def obligations() -> Iterator[Obligation]:
    """What is proved of any state."""
    for statement, of, using in (
        (agree, OF_AN_ADDRESS, MAP), (mapped_once, OF_AN_ADDRESS, MAP), (way_down, OF_AN_ADDRESS, RIGHTS),
        (tree, OF_TWO_ENTRIES, TREE), (within_memory, OF_AN_ENTRY, None),
    ):  # fmt: skip
        its_name = statement.__name__
        prove = in_any_state(its_name, of, using)
        yield Obligation(f"translation.{its_name}", "translations", sentence(statement), prove)
    yield Obligation("translation.indices", "translations", sentence(indices), indices)
