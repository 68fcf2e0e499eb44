"""The journalled transitions are the plain ones, and their journal tells exactly what was overwritten."""

from __future__ import annotations

import ast

import pytest

from kernel.journaled import TRANSITIONS as MODULES
from kernel.journaled.rewrite import NotJournalable, journaled_source
from tests.kernel.driver import Driver
from tests.kernel.mutants import source
from tests.kernel.scenarios import CASES, Case
from tests.kernel.state import load, place_of, snapshot, undo
from tests.kernel.world import JOURNALED, PLAIN, World


@pytest.mark.parametrize(
    "store",
    [
        "k.thread[t].state = 1",
        "k.thread[t].state += 1",
        "S.threads[0][1] = 2",
        "row[3] = 4",
        "T.state, U.state = 1, 2",
        "T.state = U.state = 1",
        "T.state: int = 1",
        "del S.threads[0]",
        "del T.state",
        "other().state = 1",
        "(T if t else U).state = 1",
        "[T.state] = [1]",
    ],
)
def test_store_that_cannot_be_logged_is_refused(store: str) -> None:
    with pytest.raises(NotJournalable, match="line 3"):
        journaled_source(f"def transition(k, t):\n    T = k.thread[t]\n    {store}\n", "transition.py")


@pytest.mark.parametrize(
    ("store", "record"),
    [
        ("T.state = 1", "k.log((T, 'state', T.state))"),
        ("T.state += 1", "k.log((T, 'state', T.state))"),
        ("S.threads[n + 1] = t", "k.log((S, 'threads', n + 1, S.threads[n + 1]))"),
    ],
)
def test_store_is_preceded_by_what_it_overwrites(store: str, record: str) -> None:
    tree = journaled_source(f"def transition(k):\n    {store}\n", "transition.py")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    assert [ast.unparse(statement) for statement in function.body] == [record, store]


def test_names_are_bound_without_a_record() -> None:
    text = "def transition(k, t):\n    T = k.thread[t]\n    a = b = T.state\n    a += 1\n    return a"
    assert ast.unparse(journaled_source(text, "transition.py")) == text


def test_imports_between_transition_modules_go_to_their_journalled_twins() -> None:
    text = "from kernel.scheduler import enqueue\nfrom kernel.objects import Kernel"
    expected = "from kernel.journaled.scheduler import enqueue\nfrom kernel.objects import Kernel"
    assert ast.unparse(journaled_source(text, "thread.py")) == expected


@pytest.mark.parametrize("module", MODULES)
def test_every_store_of_the_transition_modules_is_logged(module: str) -> None:
    """One record before each store to a field or row, and nothing else is different."""
    plain = ast.parse(source(module))
    stores = sum(
        isinstance(node, ast.Assign | ast.AugAssign)
        and isinstance(node.targets[0] if isinstance(node, ast.Assign) else node.target, ast.Attribute | ast.Subscript)
        for node in ast.walk(plain)
    )
    journaled = journaled_source(source(module), module)
    assert ast.unparse(journaled).count("k.log(") == stores
    unlogged = [line for line in ast.unparse(journaled).splitlines() if not line.lstrip().startswith("k.log(")]
    assert "\n".join(unlogged).replace("kernel.journaled.", "kernel.") == ast.unparse(plain)


@pytest.mark.parametrize("seed", range(6))
def test_journalled_and_plain_transitions_do_the_same(seed: int) -> None:
    journaled = Driver(seed, "off", blocks=seed % 3 + 1, with_transitions=JOURNALED)
    plain = Driver(seed, "off", blocks=seed % 3 + 1, with_transitions=PLAIN)
    for turn in range(800):
        call = journaled.choose()
        assert call == plain.choose()
        assert journaled.call(*call) == plain.call(*call), call
        if turn % 20 == 0: assert snapshot(journaled.k) == snapshot(plain.k), call
    assert snapshot(journaled.k) == snapshot(plain.k)
    assert not plain.k.journal


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_journal_played_backwards_restores_the_state(case: Case) -> None:
    w, arguments = case.build("off")
    before = snapshot(w.k)
    w.call(case.transition, *arguments)
    after = snapshot(w.k)
    written = {place_of(entry) for entry in w.k.journal}
    changed = {place for place in before.keys() | after.keys() if before.get(place, 0) != after.get(place, 0)}
    assert changed <= written
    undo(w.k)
    assert snapshot(w.k) == before


@pytest.mark.parametrize("seed", range(4))
def test_journals_of_many_calls_played_backwards_restore_every_state(seed: int) -> None:
    driver = Driver(seed, "off", blocks=2)
    k = driver.k
    states, journals = [], []
    for _ in range(200):
        states.append(snapshot(k))
        driver.run(1)
        journals.append(list(k.journal))
    for state, journal in zip(reversed(states), reversed(journals), strict=True):
        k.journal.replace(journal)
        undo(k)
        assert snapshot(k) == state


def test_journal_is_of_the_last_transition_alone() -> None:
    w = World(level="off")
    w.map(w.process(), 0)
    w.do("quota_split", w.k.root)
    assert {(place_of(entry)[0], place_of(entry)[2]) for entry in w.k.journal} == {
        ("container", "pages"), ("container", "blocks"), ("memory", "promised_pages"), ("memory", "promised_blocks"),
    }  # fmt: skip
    assert all(load(w.k, place_of(entry)) != entry[-1] for entry in w.k.journal)
