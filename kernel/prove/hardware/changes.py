"""What transitions do to translations: of any address of any process, before and after, by tables and by the map.

A transition that maps, unmaps, protects, shares or grants changes the translation of the addresses it is about as it
should, and of no other address of any process; all others change none.  With the agreement of tables and map before
(``agreement``) they agree afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from kernel.objects import FREE
from kernel.prove import source
from kernel.prove.addresses import unique, uniqueness
from kernel.prove.counterexample import describe
from kernel.prove.counting import items_of, together
from kernel.prove.evaluator import NOW, REFUSED, Evaluation, View
from kernel.prove.hardware.obligation import PROVED, REFUTED, Obligation, Prove, Verdict, all_proved, sentence
from kernel.prove.instances import reads_of
from kernel.prove.solver import Solver
from kernel.prove.source import Function
from kernel.prove.state import BEFORE
from kernel.prove.steps import Known, Step, parts, transitions
from kernel.prove.terms import (
    RANGES,
    RANGES_OF_DIGITS,
    Integer,
    Term,
    Truth,
    all_of,
    any_of,
    at_most,
    differ,
    equal,
    implies,
    name,
    negate,
)  # fmt: skip

ROUNDS: Final = 3
"""How many times the invariants around what was read last are added before a claim is given up."""
TRANSLATION: Final = "kernel.prove.hardware.translation"
SPACE: Final = name("process of the address")
ADDRESS: Final = tuple(name(f"index {level} of the address") for level in (4, 3, 2, 1))
for _index in ADDRESS: RANGES_OF_DIGITS[_index] = RANGES[_index] = (0, 511)
SIZES: Final = {"page": 4, "block": 3, "giant": 2}
"""How many of the four indices say where a page, block or giant is mapped."""
TREE: Final = frozenset({"nothing_at_0", "process_root", "table_place", "table_used", "entry_target"})
"""The invariants (and the lemma) that say what leads to what: enough for what is said of tables alone."""
MAP: Final = TREE | {"table_chain", "entry_mapped", "map_walked", "map_permission", "page_references"}
"""Those that tie the map to them as well."""
LIGHT: Final = TREE | {"page_references"}
"""Those for what is said of the map, where what holds of any state is known of the address."""
Translation = tuple[Integer, Integer, Integer]
Indices = tuple[Integer, ...]


def ranged() -> list[Truth]:
    """The indices of an address are below 512."""
    for index in ADDRESS: RANGES_OF_DIGITS[index] = RANGES[index] = (0, 511)
    return [truth for index in ADDRESS for truth in (at_most(0, index), at_most(index, 511))]


def said(step: Step, function: str, *arguments: Any) -> Any:
    """What a function of ``translation`` returns; its first arguments are moments."""
    views = [View(a.moment) if isinstance(a, At) else a for a in arguments]
    return Evaluation(step.state, counting=False).call(source.function(TRANSLATION, function), *views)


@dataclass(frozen=True)
class At:
    """A moment, as an argument."""

    moment: int


OLD: Final = At(BEFORE)
NEW: Final = At(NOW)


def alike(a: Translation, b: Translation) -> Truth:
    """Two translations are the same."""
    return all_of([equal(x, y) for x, y in zip(a, b, strict=True)])


def decided(
    step: Step, using: frozenset[str] | None, supposed: Iterable[Truth], claim: Truth, timeout: float, seed: int
) -> Verdict:
    """Whether a claim about a step holds, supposing these invariants (all, if None) around what it reads: a solver has
    less to try where they are those that matter."""
    if claim is True: return Verdict(PROVED)
    known = Known(step, timeout, seed, using)
    for truth in (*ranged(), *supposed): known.solver.suppose(truth)
    reads = reads_of([claim, *supposed, *known.define()])
    around = known.around(reads)
    left: list[Truth] = [*parts(claim)] if isinstance(claim, Term) else [claim]
    verdict = Verdict(PROVED)
    for turn in range(ROUNDS):
        for truth in together(items_of(reads), items_of(step.reads)): known.solver.suppose(truth)
        for truth in uniqueness(step.state, reads): known.solver.suppose(truth)
        if turn:
            reads = reads_of(around)
            around = known.around(reads)
        # The last turn is for finding out whether one of them fails.
        still: list[Truth] = []
        for part in left:
            verdict = _tried(known, part)
            if verdict.status != PROVED: still.append(part)
            if verdict.status != PROVED and turn == ROUNDS - 1: return verdict
        left = still
        if not left: return Verdict(PROVED)
    return verdict


def _tried(known: Known, claim: Truth) -> Verdict:
    known.solver.enter()
    known.solver.suppose(negate(claim))
    answer = known.solver.consistent()
    text = describe(known, claim, (SPACE, *ADDRESS)) if answer == REFUTED else "z3 gave no answer"
    known.solver.leave()
    return Verdict(answer, "" if answer == PROVED else text)


@dataclass(frozen=True)
class Change:
    """What a transition is to do to translations: ``how``, of an address given by a process and some indices among its
    arguments; what it takes for it from another, if it does."""

    how: str
    process: Integer
    indices: Indices
    source: tuple[Integer, Indices] | None
    permission: Integer | None

    def concerns(self, process: Integer, address: Indices) -> Truth:
        """Whether it is about this address of this process."""
        there = _is_at((self.process, self.indices), process, address)
        if self.how != "grant" or self.source is None: return there
        return any_of([there, _is_at(self.source, process, address)])


def _is_at(place: tuple[Integer, Indices], process: Integer, address: Indices) -> Truth:
    return all_of([equal(place[0], process), *[equal(a, b) for a, b in zip(place[1], address, strict=False)]])


def change_of(step: Step) -> Change | None:
    """What a transition is to do, by its name and arguments; None if it is to change no translation."""
    how, _, size = step.name.partition("_")
    if how not in ("map", "unmap", "protect", "share", "grant") or size not in SIZES: return None
    given = dict(zip(transitions()[step.name].parameters[1:], step.arguments, strict=True))
    digits = range(4, 4 - SIZES[size], -1)
    indices = tuple(given[f"i{n}"] for n in digits)
    permission = given.get("permission")
    if how not in ("share", "grant"): return Change(how, given["s"], indices, None, permission)
    return Change(how, given["d"], indices, (given["s"], tuple(given[f"j{n}"] for n in digits)), permission)


def before(step: Step, process: Integer, address: Indices) -> list[Truth]:
    """What holds of any address before (``agreement``)."""
    return [said(step, statement, OLD, process, *address) for statement in ("agree", "mapped_once")]


def others(function: Function) -> Prove:
    """No other address of any process is translated otherwise than before, neither by the tables nor by the map."""

    def prove(timeout: float, seed: int) -> Verdict:
        step = Step(function)
        ranged()
        change = change_of(step)
        if change is None:
            return all_proved(decided(step, None, [], _same(step, by), timeout, seed) for by, *_ in WAYS)
        elsewhere = [negate(change.concerns(SPACE, ADDRESS)), *_apart(change)]
        its_own = (change.process, _padded(change.indices))
        return all_proved(
            decided(
                step, using, [*elsewhere, *known(step, SPACE, ADDRESS), *known(step, *its_own)], _same(step, by),
                timeout, seed,
            )
            for by, using, known in WAYS
        )  # fmt: skip

    return prove


def _same(step: Step, by: str) -> Truth:
    return alike(said(step, by, OLD, SPACE, *ADDRESS), said(step, by, NEW, SPACE, *ADDRESS))


def _apart(change: Change) -> list[Truth]:
    """The pages that are mapped around the address are those that the change is about only where the indices are."""
    places = [change.indices] if change.source is None else [change.indices, change.source[1]]
    return [
        unique(_padded(ADDRESS[:size]), _padded(indices)) for indices in places for size in SIZES.values()
    ]


def _padded(indices: Indices) -> tuple[Integer, Integer, Integer, Integer]:
    i4, i3, i2, i1 = (*indices, 0, 0)[:4]
    return i4, i3, i2, i1


def there(function: Function) -> Prove:
    """The addresses that a transition is about are translated as it says, by the tables and by the map."""

    def prove(timeout: float, seed: int) -> Verdict:
        step = Step(function)
        ranged()
        change = change_of(step)
        assert change is not None
        lower = ADDRESS[len(change.indices):]
        return all_proved(
            decided(
                step, using, [
                    *known(step, change.process, (*change.indices, *lower)),
                    *([] if change.source is None else known(step, change.source[0], (*change.source[1], *lower))),
                ], claim, timeout, seed,
            )
            for by, using, known in WAYS for claim in _wanted(step, change, by)
        )  # fmt: skip

    return prove


def _wanted(step: Step, change: Change, by: str) -> Iterator[Truth]:
    lower = ADDRESS[len(change.indices):]
    address = (*change.indices, *lower)
    page, permission, pages = said(step, by, NEW, change.process, *address)
    if change.how == "unmap":
        yield alike((page, permission, pages), (0, 0, 0))
        return
    assert change.permission is not None
    yield all_of([equal(permission, change.permission), equal(pages, 1 << 9 * len(lower))])
    if change.how == "protect":
        yield equal(page, said(step, "in_tables", OLD, change.process, *address)[0])
    elif change.how == "map":
        kind = step.state.read("page.kind", step.state.named(page), BEFORE)
        yield all_of([differ(page, 0), equal(kind, FREE)])
    else:
        assert change.source is not None
        origin = (change.source[0], *change.source[1], *lower)
        yield equal(page, said(step, "in_tables", OLD, *origin)[0])
        if change.how == "grant": yield alike(said(step, by, NEW, *origin), (0, 0, 0))


def nothing(step: Step, process: Integer, address: Indices) -> list[Truth]:
    """Nothing but what follows from the invariants around it."""
    return []


WAYS: Final = (("in_tables", TREE, nothing), ("in_map", LIGHT, before))
"""The two translations, and what proofs about each use: invariants, and what was proved of any state."""


def entries(function: Function) -> Prove:
    """In one step an entry is made, or taken away, or leads where it led, and what it led to stays what it is; where
    neither entry nor permission is written, the bytes stay right."""

    def prove(timeout: float, seed: int) -> Verdict:
        step = Step(function)
        claim = said(step, "only_once", OLD, NEW, name("x"), name("i"))
        return decided(step, None if change_of(step) is None else MAP, [], claim, timeout, seed)

    return prove


def refusals(function: Function) -> Prove:
    """A transition writes if and only if it returns 0; what it refuses changes nothing."""

    def prove(timeout: float, seed: int) -> Verdict:
        step = Step(function)
        solver = Solver(timeout, seed)
        for truth in step.state.definitions(): solver.suppose(truth)
        writes = all_of(step.writing)
        done = equal(step.result, 0)
        solver.suppose(negate(all_of([implies(writes, done), implies(done, writes)])))
        answer = solver.consistent()
        if answer != REFUTED: return Verdict(answer)
        values = solver.values(step.arguments)
        return Verdict(REFUTED, f"{step.name}({', '.join(str(value) for value in values.values())})")

    return prove


@cache
def fields() -> frozenset[str]:
    """The fields that translations depend on."""
    step = Step(source.function(TRANSLATION, "has_space"))
    read = [said(step, by, OLD, SPACE, *ADDRESS) for by, *_ in WAYS]
    return frozenset(str(term.args[0]) for term in reads_of([part for pair in read for part in pair]))


def obligations() -> Iterator[Obligation]:
    """What is proved of transitions: those that write nothing that translations depend on change none."""
    for its_name, function in transitions().items():
        try:
            step = Step(function)
        except REFUSED:
            kinds: tuple[Callable[[Function], Prove], ...] = (others, entries)  # which say why
        else:
            if not fields() & set(step.state.writes): continue
            kinds = (others, entries) if change_of(step) is None else (others, there, entries, refusals)
        for kind in kinds:
            yield Obligation(
                f"changes.{its_name}.{kind.__name__}", "changes of translations", sentence(kind), kind(function)
            )


__all__ = [
    "ADDRESS", "MAP", "OLD", "SPACE", "TRANSLATION", "TREE", "Change", "change_of", "decided", "entries", "obligations",
    "others", "ranged", "refusals", "said", "there",
]  # fmt: skip
