"""What the proofs suppose that the check after a transition evaluates, it evaluates: kernel.prove.touching, on real
writes, against what kernel.evaluation wrote."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kernel import ledgers
from kernel.audit import instances
from kernel.evaluation import source
from kernel.invariants import INVARIANTS
from kernel.objects import Kernel
from kernel.prove.meaning import Meaning, field_of
from kernel.prove.touching import Other, Touching
from kernel.prove.touching import Place as Field
from kernel.touched import COUNTS
from kernel.view import OldKernel
from kernel.written import Tally, Unbounded
from tests.kernel.prove.runs import constants
from tests.kernel.prove.test_clauses import driven
from tests.kernel.pure import with_sources
from tests.kernel.scene import Scene
from tests.kernel.state import Place, all_places, find, load, log_differences, logged_store, place_of, snapshot, undo
from tests.kernel.test_touched import ELSEWHERE, Damage, other_value
from tests.kernel.violations import VIOLATIONS

pytestmark = with_sources
Evaluated = tuple[str, tuple[int, ...]]
Evaluate = Callable[[Kernel, Any, Tally], object]


def recording(evaluated: set[Evaluated]) -> Evaluate:
    """The check, that notes what it evaluates and finds nothing broken."""
    made: dict[str, Any] = {"__name__": "kernel.evaluated"}
    exec(compile(source(), "<recording>", "exec", dont_inherit=True), made)
    for name in INVARIANTS:

        def note(k: Kernel, *ids: int, name: str = name) -> bool:
            evaluated.add((name, ids))
            return True

        made[name] = note
    found: Evaluate = made["evaluate"]
    return found


def looked_at(k: Kernel) -> set[Evaluated] | None:
    """What the check evaluates for the writes in the journal; None: everything."""
    evaluated: set[Evaluated] = set()
    evaluate, old = recording(evaluated), OldKernel(k)
    try:
        old.enter(k.journal)
        evaluate(k, old.objects, Tally())
    except Unbounded:
        return None
    finally:
        old.leave()
    return evaluated


def as_field(place: Place) -> Field:
    table, id, field, index = place
    return f"{table}.{field}", (id,) if index is None else (id, index)


def meaning(k: Kernel, before: dict[Field, int]) -> Meaning:
    """What terms of the two states are: after the writes, and before them."""

    def field(its: str, index: tuple[int, ...]) -> int:
        name, _, other = its.partition("#")
        return field_of(k, name, index) if other or (name, index) not in before else before[name, index]

    return Meaning(field, constants(k))


def near(k: Kernel, before: dict[Field, int], rnd: random.Random) -> list[Evaluated]:
    """Clauses, of objects that have to do with what was written."""
    numbers = {0, -1}
    for (field, ids), was in before.items():
        numbers |= {*ids, was, field_of(k, field, ids)}
        table = field.partition(".")[0]
        of = find(k, table, ids[0])
        numbers |= {value for name in of.__slots__ if isinstance(value := getattr(of, name), int)}
    found: list[Evaluated] = []
    for clause in INVARIANTS.values():
        some = [ids for ids in instances(k, clause.domain) if numbers & {*ids}]
        close = [ids for ids in some if numbers >= {*ids}]
        found += [(clause.name, ids) for its in (some, close) for ids in rnd.sample(its, min(12, len(its)))]
    return found


def compared(k: Kernel, before: dict[Field, int], rnd: random.Random) -> int:
    """Compares for the writes in the journal what the proofs suppose with what is done.  Returns of how many clauses
    they suppose that they are evaluated."""
    evaluated = looked_at(k)
    means, other = meaning(k, before), Other()
    seen: dict[Field, None] = {}
    for field, ids in before:
        row = COUNTS.get((field.partition(".")[0], field.partition(".")[2]))
        if row is None: continue
        table = field.partition(".")[0]
        for i in list(getattr(find(k, table, ids[0]), row[0])): seen[f"{table}.{row[0]}", (ids[0], i)] = None
    changed = [place for place in before if means.truth(other.changed(place))]
    supposed = 0
    done = sorted(evaluated or ())
    for name, ids in {*near(k, before, rnd), *rnd.sample(done, min(60, len(done)))}:
        touching = Touching(other, INVARIANTS[name], ids, seen)
        for place in changed:
            if not means.truth(touching.by(place)): continue
            supposed += 1
            assert evaluated is None or (name, ids) in evaluated, (name, ids, place)
            break
    return supposed


@pytest.mark.parametrize("seed", range(6))
def test_what_proofs_suppose_of_random_writes_is_evaluated(seed: int) -> None:
    k, rnd = driven(seed), random.Random(seed)
    places = all_places(k)
    supposed = 0
    for _ in range(120):
        k.journal.clear()
        before: dict[Field, int] = {}
        for place in rnd.sample(places, rnd.randrange(1, 4)):
            before[as_field(place)] = load(k, place)
            logged_store(k, place, other_value(rnd, k, places, place))
        supposed += compared(k, before, rnd)
        undo(k)
        k.ledger = ledgers.count(k)
    assert supposed > 200


def violation(damage: Callable[[Scene], None]) -> Damage:
    """A violation as damage of what is done soundly before."""

    def steps(scene: Scene) -> Iterator[None]:
        yield
        damage(scene)

    return steps


DAMAGE = [*((function.__name__, violation(function)) for _, function in VIOLATIONS),
          *((function.__name__, function) for _, function in ELSEWHERE)]  # fmt: skip


@pytest.mark.parametrize("damage", [damage for _, damage in DAMAGE], ids=[name for name, _ in DAMAGE])
def test_what_proofs_suppose_of_a_violation_is_evaluated(damage: Damage) -> None:
    scene = Scene()
    k = scene.k
    steps = damage(scene)
    next(steps)
    was = snapshot(k)
    k.ledger = ledgers.count(k)
    for _ in steps: pass
    k.journal.clear()
    log_differences(k, was)
    before = {as_field(place_of(entry)): int(entry[-1]) for entry in k.journal.entries()}
    assert compared(k, before, random.Random(0)) > 0
