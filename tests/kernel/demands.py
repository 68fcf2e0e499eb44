"""What each specification demands by itself, and which invariant forbids which damage, as text: ``demands.txt``.

The check of a transition notices a wrong write if its specification does or any invariant; a specification that has
become weaker may hide behind an invariant, and an invariant behind another.  Here each is told apart.  After a change
that is meant, ``python -m tests.kernel.demands`` writes the file anew: its difference shows what is demanded no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kernel import ledgers
from kernel.check import Checker, CheckFailed
from kernel.objects import Kernel
from tests.kernel.attempt import Attempt
from tests.kernel.scenarios import CASES
from tests.kernel.scene import Scene
from tests.kernel.state import Place, all_places, find, idle, load, logged_store, store, undo
from tests.kernel.violations import second_container

FILE: Final = Path(__file__).with_suffix(".txt")
ALIKE: Final = 3
"""Places that are damaged of those alike."""
BLANK: Final = ("container", "process", "thread", "endpoint", "device", "domain", "table")
DAMAGES: Final = ("+1", "-1", "=0", "=-1", "=1000000000000")


def of_specifications() -> Iterator[str]:
    """For each transition, the fields whose value after it its specification demands: of which it refuses one more and
    one less in every case that writes them ("field"), or in some ("field?")."""
    found: defaultdict[str, defaultdict[str, set[bool]]] = defaultdict(lambda: defaultdict(set))
    for case in CASES:
        if case.outcome != "OK": continue
        attempt = Attempt(case)
        k = attempt.k
        for place in attempt.before:
            now = load(k, place)
            if idle(k, place): continue
            for wrong in (now + 1, now - 1):
                store(k, place, wrong)
                noticed = attempt.refused().startswith("specification")
                store(k, place, now)
                found[case.transition][f"{place[0]}.{place[2]}"].add(noticed)
    for transition, fields in sorted(found.items()):
        named = [field if seen == {True} else f"{field}?" for field, seen in sorted(fields.items()) if True in seen]
        yield " ".join([f"{transition}:", *named])


def like(k: Kernel, place: Place) -> str:
    """What clauses tell places apart by: the field, and the kind and state of what it is of; "" for one that means
    nothing."""
    table, id, field, _ = place
    if idle(k, place): return ""
    kind = find(k, table, id).kind if table in ("block", "giant") else k.page[id].kind
    named = [f"kind {kind}"] if table != "memory" and table != "core" else []
    if hasattr(find(k, table, id), "state"): named.append(f"state {find(k, table, id).state}")
    value = load(k, place)
    sign = "0" if value == 0 else "above 0" if value > 0 else "below 0"
    return ", ".join([f"{table}.{field} {sign}", *named])


def damaged(now: int, damage: str) -> int:
    """The value with this damage."""
    return int(damage[1:]) if damage.startswith("=") else now + int(damage)


def of_invariants() -> Iterator[str]:
    """For each field, the clauses that forbid a damage of it, each the first that the check of the write names; "-"
    where something of the field can be damaged without violating any.  In brackets the damages, unless they are all."""
    scene = Scene()
    second_container(scene)
    k = scene.k
    for table in BLANK: getattr(k, table)[scene.shared]  # a page that is none of these: blank there
    checker = Checker(k)
    found: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    tried: defaultdict[str, int] = defaultdict(int)
    for place in all_places(k):
        kind = like(k, place)
        tried[kind] += 1
        if kind == "" or tried[kind] > ALIKE: continue
        now = load(k, place)
        for damage in DAMAGES:
            wrong = damaged(now, damage)
            if wrong == now: continue
            k.journal.clear()
            logged_store(k, place, wrong)
            name = "-"
            try:
                checker.check_writes()
            except CheckFailed as failure:
                name = failure.name
            if damage not in found[kind][name]: found[kind][name].append(damage)
            undo(k)
            k.ledger = ledgers.count(k)
    for kind, clauses in sorted(found.items()):
        seen = {damage for damages in clauses.values() for damage in damages}
        yield f"{kind}: " + "; ".join(
            name if set(damages) == seen else f"{name} ({', '.join(damages)})"
            for name, damages in sorted(clauses.items())
        )


def text() -> str:
    """The file."""
    return "\n".join([
        "What specifications demand by themselves (python -m tests.kernel.demands writes this file).",
        *of_specifications(), "",
        "Which invariants forbid what.",
        *of_invariants(), "",
    ])  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
