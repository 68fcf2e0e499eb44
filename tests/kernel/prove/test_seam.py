"""What is proved of transitions is proved of the kernel: nothing else writes its state, and whatever 64-bit numbers a
program puts into its registers, a native call makes transitions of them or refuses.

Transitions are proved for all integers, without a precondition; so it does not matter which of them reach one.
"""

from __future__ import annotations

import ast
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from abi.calls import CALLS
from kernel.journaled import TRANSITIONS
from kernel.objects import CLASSES, TABLE_NAMES
from kernel.storage import Row
from tests.kernel.fuzz.run import NOT_HERE, Run
from tests.kernel.pure import with_sources

pytestmark = with_sources

ROOT = Path(__file__).resolve().parents[3]
WRITERS = {"kernel.boot", "kernel.objects.state", *(f"kernel.journaled.{name}" for name in TRANSITIONS)}
"""Modules that write kernel objects: the transitions, their copying of rows, and what a machine starts with."""
EDGES = (0, 1, 2, 4095, 4096, 1 << 12, 1 << 21, 1 << 30, 1 << 39, 1 << 47, (1 << 47) - 4096, 1 << 48, 1 << 63,
         (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 4096, 0x1000_0000)  # fmt: skip


def of_the_kernel(node: ast.AST) -> bool:
    """True for an expression that goes through a table of the kernel, or its allocator's state."""
    return any(
        isinstance(part, ast.Attribute) and part.attr in (*TABLE_NAMES, "memory")
        and ((isinstance(part.value, ast.Name) and part.value.id in ("k", "kernel"))
             or (isinstance(part.value, ast.Attribute) and part.value.attr in ("k", "kernel")))
        for part in ast.walk(node)
    )  # fmt: skip


def stores(tree: ast.AST) -> Iterator[ast.expr]:
    """Fields and items that are assigned, added to or deleted."""
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete): targets = list(node.targets)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign): targets = [node.target]
        while targets:
            target = targets.pop()
            if isinstance(target, ast.Tuple): targets += target.elts
            elif isinstance(target, ast.Attribute | ast.Subscript): yield target


def writes(path: Path) -> list[str]:
    """Stores to objects of the kernel in a module: reached through a table, or by a variable that was."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions: list[ast.AST] = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        objects = {
            name.id for node in ast.walk(function) if isinstance(node, ast.Assign) and of_the_kernel(node.value)
            for target in node.targets for name in getattr(target, "elts", [target]) if isinstance(name, ast.Name)
        }  # fmt: skip
        for target in stores(function):
            assert isinstance(target, ast.Attribute | ast.Subscript)
            base: ast.expr = target
            while isinstance(base, ast.Attribute | ast.Subscript): base = base.value
            through = of_the_kernel(target.value) or (isinstance(base, ast.Name) and base.id in objects)
            if through: found.append(f"{path.name}:{target.lineno} {ast.unparse(target)}")
    return found


def test_nothing_but_transitions_stores_to_objects_of_the_kernel() -> None:
    found = []
    for package in ("kernel", "hv", "userland", "aerostat"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            transition = module.removeprefix("kernel.") in TRANSITIONS
            # The effects of contracts are evaluated on terms alone.
            if not transition and module not in WRITERS | {"kernel.prove.contracts"}: found += writes(path)
    assert found == []


def test_stores_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("def f(self, k, t):\n    T = self.machine.kernel.thread[t]\n    T.state = 1\n"
                    "    k.page[3].kind = 2\n    S, x = k.process[T.process], 1\n    S.children[1] += 1\n"
                    "    self.state = T.state\n")
    assert [text.split()[1] for text in writes(path)] == ["T.state", "k.page[3].kind", "S.children[1]"]
    assert writes(ROOT / "kernel" / "thread.py")


@contextmanager
def guarded() -> Iterator[Counter[str]]:
    """Within, only WRITERS write fields and rows of kernel objects; yields how often which did."""
    counted: Counter[str] = Counter()
    (base,) = {of.__mro__[-2] for of in CLASSES}

    def allowed(depth: int = 2) -> None:
        writer = sys._getframe(depth).f_globals["__name__"]
        if writer in ("kernel.journal", "<kernel.evaluated>", "kernel.written", "kernel.check", "kernel.view"): return
        if writer.startswith("kernel.objects.") or writer in ("kernel.ledgers", "kernel.evaluated"): return
        counted[writer] += 1
        assert writer in WRITERS, f"{writer} writes an object of the kernel"

    def set_field(self: object, name: str, value: object) -> None:
        if name != "written": allowed()
        object.__setattr__(self, name, value)

    def set_item(self: Any, index: int, value: int) -> None:
        allowed()
        dict.__setitem__(self, index, value)

    base.__setattr__ = set_field
    Row.__setitem__ = set_item  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        del base.__setattr__
        del Row.__setitem__


def any_numbers(rnd: random.Random, k: Any, t: int, count: int) -> list[int]:
    """Arguments of any size: at edges, small, arbitrary, or handles of the thread's process."""
    S = k.process[k.thread[t].process]
    handles = [g << 16 | slot for slot, g in S.handle_generation.items() if g] or [1 << 16]
    return [
        rnd.choice((rnd.choice(EDGES), rnd.randrange(16), rnd.getrandbits(64), rnd.choice(handles),
                    rnd.getrandbits(rnd.randrange(1, 65)), rnd.choice(EDGES) + rnd.randrange(3) * 4096 & (1 << 64) - 1))
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_every_call_takes_any_registers(seed: int) -> None:
    """No exception, only errors that the call documents (Run asserts it), every check holds, and only transitions
    write."""
    rnd = random.Random(seed)
    calls = [call for call in CALLS if call.name not in NOT_HERE]
    made: Counter[str] = Counter()
    run = Run(blocks=seed % 2 + 2, cores=2, level="touched")
    with guarded() as counted:
        for _ in range(2500):
            for core in range(2):
                while run.k.core[core].current == 0 and run.do(("schedule", core)) == 0:
                    if run.do(("spawn",)) < 0: break
            core = rnd.randrange(2)
            t = run.k.core[core].current
            if t == 0: continue
            call = rnd.choice(calls)
            if call.name in ("process_exit", "thread_exit") and rnd.random() < 0.8: continue
            run.do(("call", core, call.name, *any_numbers(rnd, run.k, t, len(call.arguments))))
            run.do(("go", core, 50))
            run.do(("reap", 50))
            made[call.name] += 1
            if rnd.random() < 0.1: run.do(("preempt", core))
        run.w.checker.audit()
    assert len(made) == len(calls)
    assert set(counted) <= WRITERS
    assert len(counted) > 5
