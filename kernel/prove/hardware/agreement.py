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
    known = [z3.And(index >= 0, index < 512) for index in (*mine[1:], *its[1:])]
    known += [page == _number(mine), other == _number(its)]
    claims = [z3.Implies(page == other, a == b) for a, b in zip(mine, its, strict=True)]
    claims += [page / (1 << 9 * n) % 512 == index for n, index in enumerate(reversed(mine[1:]))]
    claims.append(page / (1 << 27) == mine[0])
    return all_proved(decide(known, claim, str, timeout, seed) for claim in claims)


def _number(indices: list[z3.ArithRef]) -> z3.ArithRef:
    i4, i3, i2, i1 = indices
    return i4 * (1 << 27) + i3 * (1 << 18) + i2 * (1 << 9) + i1


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
