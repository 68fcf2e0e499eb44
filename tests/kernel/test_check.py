"""The checker: its levels, what it reports, and that each piece of it works by itself."""

from __future__ import annotations

import pytest

from kernel import ledgers
from kernel.boot import boot
from kernel.check import AUDIT_EVERY, Checker, CheckFailed
from kernel.evaluation import source
from kernel.fields import BITS
from kernel.invariants import INVARIANTS
from kernel.objects import CLASSES, KIND_NAMES, RUNNING, fields_of
from kernel.touched import BEYOND, COUNTS, LED_TO, OBJECTS, ROWS_BEYOND
from tests.kernel.driver import Driver
from tests.kernel.mutants import mutant
from tests.kernel.state import logged_store, snapshot
from tests.kernel.world import World, indices, page_at

V = page_at(1, 2, 3, 4)


def test_boot_state_is_sound() -> None:
    for blocks, cores in ((1, 1), (5, 3), (511, 1), (512, 1), (1022, 1), (1023, 1), (1024, 2), (65536, 64)):
        assert Checker(boot(blocks, cores)).audit() > 0


def test_state_is_sound_where_counts_and_ids_are_large() -> None:
    """Python keeps one object for each small integer: only beyond 256 does it show whether a clause compares values."""
    w = World(blocks=400 * 512 - 1, cores=300, level="full")
    k, v = w.k, page_at(3, 0, 0)
    assert k.memory.promised_giants == w.root.giants == 399
    s, d = w.process(), w.process()
    for i in range(2):
        w.map_giant(s, v + i * 512 * 512)
        w.do("share_giant", s, 3, i, d, 3, i, 1)
    w.do("unmap_giant", s, 3, 0)
    w.do("giant_split", k.root)
    w.map_block(s, page_at(5, 0, 0))
    w.do("unmap_block", s, 5, 0, 0)
    w.do("giant_merge", k.root)
    t = w.run(w.thread(s, 299))
    assert w.call("thread_yield", t) == 0
    w.end(s, 1)
    w.checker.audit()


@pytest.mark.parametrize(("blocks", "cores"), [(0, 1), (1, 0), (-1, 1)])
def test_machine_without_memory_or_cores_is_refused(blocks: int, cores: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        boot(blocks, cores)


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="off, touched, full"):
        Checker(boot(1, 1), "sometimes")


def test_off_neither_checks_nor_keeps_ledgers() -> None:
    w = World(level="off", with_transitions=mutant("page_table", "    S.mappings = S.mappings + 1\n", ""))
    w.map(w.process(), V)
    assert w.k.ledger is None
    assert w.checker.transitions == 0
    assert w.k.journal


def test_failure_names_clause_objects_call_and_changes() -> None:
    w = World(with_transitions=mutant("page_table", "    S.mappings = S.mappings + 1\n", ""))
    s = w.process()
    with pytest.raises(CheckFailed) as caught:
        w.map(s, V)
    failure = caught.value
    assert (failure.kind, failure.name, failure.ids) == ("invariant", "process_mappings", (s,))
    assert failure.meaning == "A process counts its mappings."
    assert (failure.transition, failure.arguments, failure.result) == ("map_page", (s, *indices(V), 7), 0)
    changed = {(change.table, change.field) for change in failure.changes}
    assert ("process", "map_page") in changed
    assert ("process", "mappings") not in changed
    assert f"invariant process_mappings({s}) does not hold: A process counts its mappings." in str(failure)
    assert f"after map_page({s}, 1, 2, 3, 4, 7) = 0" in str(failure)
    assert f"process[{s}].map_page[{V}]: 0 -> " in str(failure)


def test_write_outside_the_frame_is_named() -> None:
    bug = mutant("scheduler", "    R.current = 0\n    enqueue(k, t)\n", "    R.current = 0\n    enqueue(k, t)\n"
                 "    T.status = 7\n", occurrence=1)  # fmt: skip
    w = World(with_transitions=bug)
    t = w.running()
    with pytest.raises(CheckFailed) as caught:
        w.call("thread_yield", t)
    assert caught.value.kind == "specification"
    assert caught.value.meaning == f"thread[{t}].status: 0 -> 7 is not among what may change"


def test_full_audits_every_thousand_transitions_and_sees_what_the_journal_did_not() -> None:
    w = World(level="full")
    s = w.process()
    w.map(s, V)
    w.k.process[s].mappings += 1  # memory damaged from outside: no record, and nothing touches it
    while w.checker.transitions < AUDIT_EVERY - 1:
        w.call("schedule", 0)
    with pytest.raises(CheckFailed, match="process_mappings"):
        w.call("schedule", 0)


def test_audit_sees_that_the_journal_missed_a_write() -> None:
    w = World()
    s = w.process()
    w.map(s, V)
    assert w.k.ledger is not None
    w.k.ledger.mapped[s] += 1
    with pytest.raises(CheckFailed, match=rf"ledger mapped\[{s}\] is 2, counted 1"):
        w.checker.audit()


def test_checker_goes_on_after_a_failure_that_was_repaired() -> None:
    w = World()
    s = w.process()
    w.map(s, V)
    w.k.journal.clear()
    logged_store(w.k, ("process", s, "status", None), 5)
    logged_store(w.k, ("process", s, "state", None), 9)
    with pytest.raises(CheckFailed, match="process_charge"):
        w.checker.check_writes()
    w.k.process[s].state, w.k.process[s].status = 1, 0
    w.map(s, V + 1)
    w.checker.audit()


@pytest.mark.parametrize("seed", range(4))
def test_ledgers_kept_from_the_journal_are_the_counted_ones(seed: int) -> None:
    driver = Driver(seed, "touched", blocks=3)
    for _ in range(20):
        driver.run(40)
        assert driver.k.ledger is not None
        assert ledgers.differences(driver.k.ledger, ledgers.count(driver.k)) == []


def test_check_changes_nothing() -> None:
    checked, unchecked = Driver(3, "touched"), Driver(3, "off")
    checked.run(500)
    unchecked.run(500)
    assert snapshot(checked.k) == snapshot(unchecked.k)


def test_check_makes_no_blank_objects_of_what_it_looks_at() -> None:
    """Memory that a check keeps would grow with the pages that a program maps."""
    w = World(blocks=4)
    s = w.process()
    for i in range(600):
        if w.root.pages < 2: w.do("quota_split", w.k.root)
        w.map(s, V + i)
    kinds = [P.kind for P in w.k.page.values()]
    for table in ("container", "process", "thread", "table"):
        live = kinds.count(KIND_NAMES.index(table))
        assert len(getattr(w.k, table)) <= live + 1, table


def test_tables_of_what_is_touched_name_what_there_is() -> None:
    """Fields and clauses of kernel.touched exist, and clauses are about the table they are said to be."""
    blank: dict[str, tuple[str, ...]] = {of(0).table_name: fields_of(of) for of in CLASSES}
    for table, reached in BEYOND.items():
        for field, target, reads, names in reached:
            assert {field, *reads} <= set(blank[table])
            assert set(names) <= set(OBJECTS[target])
    for (table, row), named in ROWS_BEYOND.items():
        assert row in blank[table]
        for target, names in named:
            assert set(names) <= set(OBJECTS[target])
    for table, leads in LED_TO.items():
        for domain, holder, index, reads in leads:
            assert {index, *reads} <= set(blank[table])
            assert holder == "" or holder in blank[table]
            assert any(clause.domain == (domain,) for clause in INVARIANTS.values())
    for (table, field), (row, _, names) in COUNTS.items():
        assert {field, row} <= set(blank[table])
        assert set(names) <= {name for target, _ in ROWS_BEYOND.get((table, row), ()) for name in OBJECTS[target]}


def test_what_is_evaluated_can_be_read() -> None:
    lines = source().splitlines()
    start = lines.index("def check_core(k: Kernel, w: Written, tally: Tally) -> Broken | None:")
    clause = lines.index('        if not core_current(k, id): return "core_current", (id,)', start)
    assert f"    if fields & {BITS['core']['current']:#x}:" in lines[start:clause]


@pytest.mark.parametrize(
    ("module", "text", "replacement"),
    [
        ("page_table", "    S.mappings = S.mappings + 1\n", ""),
        ("page_table", "    X.permission[i] = permission\n", "    X.permission[i] = 7 - permission\n"),
        ("page_table", "    P.references = P.references + 1\n", ""),
        ("page_allocator", "C.pages = C.pages - 1\n", "C.pages = C.pages - 2\n"),
        ("page_allocator", "    B.listed = n - 1\n", "    B.listed = n\n"),
    ],
)
def test_bug_that_shows_after_many_sound_calls_is_caught(module: str, text: str, replacement: str) -> None:
    """By then what is known of written objects was made for earlier calls."""
    w = World()
    s = w.process()
    w.map(s, V)
    for _ in range(20):
        w.map(s, V + 1, 1)
        w.do("unmap_page", s, *indices(V + 1))
    w.transitions = mutant(module, text, replacement)
    with pytest.raises(CheckFailed):
        w.map(s, V + 1, 1)


def test_old_state_is_that_before_the_writes() -> None:
    w = World()
    t = w.running()
    u = w.thread(w.process())
    old = w.checker._old
    s = w.k.thread[t].process
    for _ in range(20):
        t, u = u, t
        w.run(t)
        w.k.journal.clear()
        rank = w.k.core[0].ticket
        w.transitions["thread_yield"](w.k, t)
        logged_store(w.k, ("process", s, "map_page", V), 7)
        logged_store(w.k, ("process", s, "map_page", V), 8)
        old.enter(w.k.journal)
        assert (old.thread[t].state, old.thread[t].rank, w.k.thread[t].rank) == (RUNNING, 0, rank)
        assert old.thread[t].process == w.k.thread[t].process
        assert old.thread[u] is w.k.thread[u] or old.thread[u].next == 0
        assert (old.process[s].map_page[V], w.k.process[s].map_page[V]) == (0, 8)
        assert dict(old.process[s].map_page.items()) == {V: 0}
        old.leave()
        assert old.thread[t] is w.k.thread[t]
        w.k.process[s].map_page[V] = 0
