"""Transitions run on real kernels, with all that was written kept in order: what the evaluation on terms is compared
with.

The allocator's functions that proofs take at contracts leave a mark when they return: the state at that moment can be
asked for, as the formulas ask for it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from kernel import ledgers
from kernel.objects import Kernel, Ledger
from kernel.prove.contracts import CONTRACTS
from kernel.prove.meaning import Meaning, Undefined, field_of, ledger_of
from kernel.prove.steps import Step
from kernel.prove.terms import Integer, Term, name
from tests.kernel.driver import Call, Driver
from tests.kernel.mutants import transitions_of
from tests.kernel.scenarios import CASES
from tests.kernel.state import find, load, store
from tests.kernel.test_touched import all_places, other_value
from tests.kernel.world import Transition

Place = tuple[str, tuple[int, ...]]
"""A field as table.field, and the ids and indices."""


class Mark:
    """A return of one of the allocator's functions: which, what it returned, after how many writes, and the ledgers."""

    def __init__(self, function: str, result: int | None, writes: int, ledger: Ledger) -> None:
        self.function = function
        self.result = result
        self.writes = writes
        self.ledger = ledger


class Run:
    """One call of a transition: the kernel has the state after it."""

    def __init__(self, k: Kernel, name_: str, arguments: tuple[int, ...], planted: dict[str, Transition] | None = None):
        self.k = k
        self.name = name_
        self.arguments = arguments
        self.marks: list[Mark] = []
        self.before = ledgers.count(k)
        entries: list[tuple[Any, ...]] = []
        log, k.log = k.log, entries.append
        _running.append(self)
        self._entries = entries
        self._inside = 0
        try:
            self.result = (planted or marking())[name_](k, *arguments)
        finally:
            k.log = log
            _running.pop()
        self.after = ledgers.count(k)
        self.was: dict[Place, list[tuple[int, int]]] = {}
        """By place: what was there before each write, with the number of writes before that."""
        for number, entry in enumerate(entries):
            self.was.setdefault(_place(entry), []).append((number, int(entry[-1])))

    @property
    def wrote(self) -> bool:
        """True if it wrote anything."""
        return bool(self._entries)

    def field(self, field: str, index: tuple[int, ...], writes: int = 0) -> int:
        """What a field held after so many writes."""
        for number, before in self.was.get((field, index), ()):
            if number >= writes: return before
        return field_of(self.k, field, index)

    def undo(self) -> None:
        """Takes back what was written."""
        for entry in reversed(self._entries): _put(entry[0], entry[1], entry[2] if len(entry) == 4 else None, entry[-1])

    def changed(self) -> dict[Place, int]:
        """What is different after it, and what it is."""
        now = {place: field_of(self.k, *place) for place in self.was}
        return {place: value for place, value in now.items() if value != self.was[place][0][1]}

    def mark(self, function: str, result: int | None) -> None:
        """One of the allocator's functions returns."""
        self.marks.append(Mark(function, result, len(self._entries), ledgers.count(self.k)))


_running: list[Run] = []


def _place(entry: tuple[Any, ...]) -> Place:
    of, field = entry[0], f"{entry[0].table_name}.{entry[1]}"
    return field, ((of.id, entry[2]) if len(entry) == 4 else (of.id,))


def _marked(function: Callable[..., Any], name_: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        run = _running[-1]
        run._inside += 1
        result = function(*arguments)
        run._inside -= 1
        if run._inside == 0: run.mark(name_, result)
        return result

    return call


def marked(transitions: dict[str, Transition]) -> dict[str, Transition]:
    """These transitions, whose modules are theirs alone, with the allocator's functions leaving marks."""
    names = {id(function.__globals__): function.__globals__ for function in transitions.values()}
    for variables in names.values():
        for function in CONTRACTS:
            if function in variables: variables[function] = _marked(variables[function], function)
    return transitions


@cache
def marking() -> dict[str, Transition]:
    """The sound transitions by name, leaving marks."""
    return marked(transitions_of({}))


def constants(k: Kernel) -> dict[Term, int]:
    """Names that mean the same throughout a kernel's life."""
    return {name("root"): k.root, name("cores"): k.cores}


def meaning_of(step: Step, run: Run, names: dict[Term, int] | None = None) -> Meaning:
    """What a step's terms are in a run of it.  Checks that it takes the same way through the allocator's functions, and
    that their contracts hold there."""
    positions: dict[str, Mark] = {}

    def field(field: str, index: tuple[int, ...]) -> int:
        field, _, version = field.partition("#")
        if version and version not in positions: raise Undefined(f"{field}#{version}")
        mark = positions[version] if version else None
        if field.startswith("ledger."): return ledger_of(mark.ledger if mark else run.before, field[7:], index)
        return run.field(field, index, mark.writes if mark else 0)

    meant: dict[Term, Integer] = {its: term for term, its in step.state.names.items()}
    known = constants(run.k) | dict(zip(step.arguments, run.arguments, strict=True)) | (names or {})
    meaning = Meaning(field, known, meant)
    marks = iter(run.marks)
    for number, agreement in enumerate(step.agreements, 1):
        if not meaning.truth(agreement.condition): continue
        mark = next(marks)
        assert mark.function == agreement.function
        assert meaning.truth(agreement.required), f"{run.name}{run.arguments}: {mark.function} is called without quota"
        positions[str(agreement.after)] = mark
        if mark.result is not None: meaning.names[name(f"page'{number}@{mark.function}")] = mark.result
        assert meaning.truth(agreement.known), f"{run.name}{run.arguments}: {mark.function} chose {mark.result}"
    if step.agreements: assert next(marks, None) is None, f"{run.name}{run.arguments}: another call of the allocator"
    return meaning


class Sampler:
    """Random calls on random kernels, of each transition, and each way that it ends, about as many."""

    def __init__(self, seed: int, damaging: bool = False, planted: dict[str, Transition] | None = None) -> None:
        self.random = random.Random(seed)
        self._planted = planted
        self.damaging = damaging
        """Whether the state before may be an unsound one."""
        self._seen: Counter[object] = Counter()
        self._damage: list[tuple[Any, str, int | None, int]] = []

    def runs(self, each: int, calls: int) -> Iterator[Run]:
        """Runs of the transitions, each taken back after it was looked at; ``each``: of each way that one ends."""
        for number, driver in enumerate(self._drivers()):
            if number * 1000 >= calls: return
            for _ in range(min(calls, 1000)):
                call = driver.choose()
                for tried in (call, self._hostile(call)):
                    if self._seen[call[0]] >= 8 * each: continue
                    if tried is call or self._seen[call[0]] < 4 * each: yield from self._one(driver, tried, each)
                driver.call(*call)

    def _drivers(self) -> Iterator[Driver]:
        """Kernels of several shapes."""
        while True:
            n = self.random.randrange(1 << 30)
            yield Driver(n, "off", blocks=n % 4 + 1, pages=(511, 40, 20)[n % 3], giants=n % 4 == 3)

    def _hostile(self, call: Call) -> Call:
        """The same call with some arguments of any size."""
        values = (-1, 0, 1, 255, 256, 511, 512, 4095, 1 << 16, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1)
        arguments = [self.random.choice(values) if self.random.random() < 0.3 else a for a in call[1:]]
        return (call[0], *arguments)

    def _one(self, driver: Driver, call: Call, each: int) -> Iterator[Run]:
        if self.damaging: self._do_damage(driver.k)
        run = Run(driver.k, call[0], call[1:], self._planted)
        way = call[0], min(run.result, 0)
        self._seen[way] += 1
        if self._seen[way] <= each:
            self._seen[call[0]] += 1
            yield run
        run.undo()
        for of, field, index, was in reversed(self._damage): _put(of, field, index, was)
        self._damage = []

    def _do_damage(self, k: Kernel) -> None:
        places = all_places(k)
        for _ in range(self.random.randrange(1, 4)):
            table, id, field, index = place = self.random.choice(places)
            self._damage.append((find(k, table, id), field, index, load(k, place)))
            store(k, place, other_value(self.random, k, places, place))


def _put(of: Any, field: str, index: int | None, value: int) -> None:
    if index is None: setattr(of, field, value)
    else: getattr(of, field)[index] = value


def scenario_runs() -> Iterator[tuple[str, Run]]:
    """The call of each case of the scenarios: the outcome's name, and the run."""
    for case in CASES:
        w, arguments = case.build("off")
        w.k.journal.clear()
        yield case.outcome, Run(w.k, case.transition, arguments)
