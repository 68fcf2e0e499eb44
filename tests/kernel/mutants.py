"""Transition modules with a bug planted in their source, journalled like the sound ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import kernel
from kernel import ledgers
from kernel.check import Checker, CheckFailed
from kernel.journaled import TRANSITIONS as MODULES
from kernel.journaled.rewrite import journaled_source
from kernel.objects import Kernel
from kernel.specs import SPECIFICATIONS
from tests.kernel.driver import Driver
from tests.kernel.scenarios import CASES
from tests.kernel.state import Place, load, place_of, store
from tests.kernel.world import Transition, World

MUTATED: Final = "AEROSTAT_MUTATED"
"""Set in the environment where the kernel's source is changed (tests.mutation): what looks for a text in it may not
find it."""
ALLOCATING = {
    "map_page", "map_block", "map_giant", "share_page", "share_block", "grant_page", "grant_block",
    "thread_start", "thread_create", "process_spawn",
    "process_create", "process_start", "container_spawn", "endpoint_spawn",
}  # fmt: skip
"""Transitions that use up quota."""


@cache
def source(module: str) -> str:
    """The source of a transition module."""
    return (Path(kernel.__file__).parent / f"{module}.py").read_text()


@contextmanager
def _replaced(modules: dict[str, ModuleType]) -> Iterator[None]:
    kept = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in kept.items():
            if module is None: del sys.modules[name]
            else: sys.modules[name] = module


def mutant(module: str, text: str, replacement: str, occurrence: int = 0) -> dict[str, Transition]:
    """All transitions by name, where in one module's source an occurrence of ``text`` is replaced."""
    parts = source(module).split(text)
    if len(parts) <= occurrence + 1 and MUTATED in os.environ: pytest.skip("the text is changed already")
    assert len(parts) > occurrence + 1, f"{module}.py has no such text: {text!r}"
    changed = text.join(parts[: occurrence + 1]) + replacement + text.join(parts[occurrence + 1 :])
    return transitions_of({module: changed})


def transitions_of(changed: dict[str, str]) -> dict[str, Transition]:
    """All transitions by name, from these sources in place of the modules' own."""
    made = {name: ModuleType(f"kernel.journaled.{name}") for name in MODULES}
    with _replaced({module.__name__: module for module in made.values()}):
        for name, module in made.items():
            tree = journaled_source(changed.get(name, source(name)), f"{name}.py")
            exec(compile(tree, f"{name}.py", "exec"), vars(module))
    return {name: getattr(module, name) for module in made.values() for name in SPECIFICATIONS
            if getattr(getattr(module, name, None), "__module__", "") == module.__name__}  # fmt: skip


def effect(k: Kernel) -> dict[Place, int]:
    """What the transition that the journal is of changed, and to what."""
    before: dict[Place, int] = {}
    for entry in k.journal:
        before.setdefault(place_of(entry), entry[-1])
    return {place: load(k, place) for place, was in before.items() if load(k, place) != was}


def first_difference(planted: dict[str, Transition], seeds: range = range(6)) -> tuple[Kernel, str] | None:
    """Makes calls side by side on a sound kernel and on one with the bug, until the bug does something else than the
    sound transition.  Returns the state after that step and what the check said to it ("" for nothing); None if the
    bug never showed."""
    tight = [case for case in CASES if case.outcome == "OK" and case.transition in ALLOCATING]
    for case, pages in [*((case, -1) for case in CASES), *((case, left) for case in tight for left in range(5))]:
        w, arguments = case.build("off")
        twin, _ = case.build("off")
        if pages >= 0:
            w.limit(pages)
            twin.limit(pages)
        step = _step(w, twin, planted, case.transition, arguments)
        if step is not None: return step
    for seed in seeds:
        driver = Driver(seed, "off", blocks=seed % 4 + 1, pages=(511, 40, 15)[seed % 3])
        w, twin = driver.w, World(driver.w.k.memory.blocks, driver.w.k.cores, "off")
        twin.limit(driver.w.root.pages)
        for _ in range(2000):
            name, *arguments_ = driver.choose()
            step = _step(w, twin, planted, name, tuple(arguments_))
            if step is not None: return step
    return None


def _step(
    w: World, twin: World, planted: dict[str, Transition], name: str, arguments: tuple[int, ...]
) -> tuple[Kernel, str] | None:
    result = w.call(name, *arguments)
    k = twin.k
    k.journal.clear()
    wrong = planted[name](k, *arguments)
    if wrong == result and effect(k) == effect(w.k): return None
    # The check of that very step, on a kernel whose ledgers are those of the state before it.
    now = effect(k)
    before: dict[Place, int] = {}
    for entry in k.journal:
        before.setdefault(place_of(entry), entry[-1])
    for place in now:
        store(k, place, before[place])
    ledger = ledgers.count(k)
    for place, value in now.items():
        store(k, place, value)
    checker = Checker(k)
    k.ledger = ledger
    try:
        checker.check(name, arguments, wrong)
    except CheckFailed as failure:
        return k, f"{failure.kind} {failure.name}"
    return k, ""
