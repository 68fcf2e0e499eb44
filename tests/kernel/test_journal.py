"""The journal: what it keeps of what is written, and what that means for whoever carries it out."""

from __future__ import annotations

import pytest

from kernel.consequences import consequences
from kernel.objects import ALIVE, BLOCKED, DEAD, ENDING, FREE, MAPPED, READY, RUNNING, Kernel
from kernel.specs import Frame
from kernel.view import OldKernel
from tests.kernel.state import logged_store


@pytest.fixture
def k() -> Kernel:
    made = Kernel()
    made.thread[7].state = RUNNING
    made.process[5].handle_object[3] = 9
    return made


def test_of_several_writes_to_a_place_the_first_tells_what_was_there(k: Kernel) -> None:
    for value in (READY, BLOCKED): logged_store(k, ("thread", 7, "state", None), value)
    for value in (0, 8): logged_store(k, ("process", 5, "handle_object", 3), value)
    assert k.journal.entries() == [(k.thread[7], "state", RUNNING), (k.process[5], "handle_object", 3, 9)]


def test_an_item_that_was_not_there_is_kept_as_zero(k: Kernel) -> None:
    for value in (1, 2): logged_store(k, ("process", 5, "handle_object", 4), value)
    assert list(k.journal) == [(k.process[5], "handle_object", 4, 0)]


def test_writes_may_be_noted_when_they_have_been_made(k: Kernel) -> None:
    k.thread[7].state = DEAD
    k.process[5].handle_object[3] = 1
    k.journal.replace([(k.thread[7], "state", RUNNING), (k.process[5], "handle_object", 3, 9)])
    old = OldKernel(k)
    old.enter(k.journal)
    assert (old.thread[7].state, old.process[5].handle_object[3]) == (RUNNING, 9)
    old.leave()


def test_a_cleared_journal_has_forgotten_everything(k: Kernel) -> None:
    logged_store(k, ("thread", 7, "state", None), DEAD)
    k.journal.clear()
    assert not k.journal
    assert k.journal.entries() == []
    assert k.thread[7].written is None
    logged_store(k, ("thread", 7, "core", None), 1)  # the record is used again, and says nothing of the state
    assert k.journal.entries() == [(k.thread[7], "core", 0)]


def test_writes_after_a_look_at_the_old_state_go_to_the_same_records(k: Kernel) -> None:
    old = OldKernel(k)
    logged_store(k, ("thread", 7, "state", None), READY)
    for turn in range(2):
        old.enter(k.journal)
        assert old.thread[7].state == RUNNING
        assert old.thread[7].core == 0
        old.leave()
        assert old.thread[7] is k.thread[7]
        logged_store(k, ("thread", 7, "core", None), turn + 1)
    assert len(k.journal.written) == 1
    assert k.journal.entries() == [(k.thread[7], "core", 0), (k.thread[7], "state", RUNNING)]


def test_what_one_check_allows_is_nothing_to_the_next(k: Kernel) -> None:
    logged_store(k, ("process", 5, "handle_object", 3), 8)
    for _ in range(2):
        old, frame = OldKernel(k), Frame(k)
        old.enter(k.journal)
        [w] = old.objects
        assert frame.beyond(w) != 0
        frame.may_item("process", 5, "handle_object", 3)
        assert frame.beyond(w) == 0
        old.leave()


def test_what_means_nothing_outside_has_no_consequences(k: Kernel) -> None:
    assert consequences(k) is None
    logged_store(k, ("thread", 7, "state", None), BLOCKED)
    logged_store(k, ("core", 0, "current", None), 7)
    logged_store(k, ("table", 4, "used", None), 1)
    assert consequences(k) is None


def test_threads_that_are_ready_or_dead_and_results(k: Kernel) -> None:
    logged_store(k, ("thread", 7, "state", None), READY)
    logged_store(k, ("thread", 7, "result", None), -3)
    logged_store(k, ("thread", 8, "result", None), 4)
    logged_store(k, ("thread", 9, "state", None), DEAD)
    found = consequences(k)
    assert found is not None
    assert found.threads == [(k.thread[7], True), (k.thread[7], False), (k.thread[9], False)]


def test_pages_entries_and_processes_with_what_they_were(k: Kernel) -> None:
    k.page[6].kind = MAPPED
    k.process[5].state = ALIVE
    logged_store(k, ("page", 6, "kind", None), FREE)
    logged_store(k, ("process", 5, "state", None), ENDING)
    logged_store(k, ("table", 4, "entry", 2), 6)
    logged_store(k, ("table", 4, "permission", 2), 1)
    logged_store(k, ("table", 4, "permission", 3), 1)
    found = consequences(k)
    assert found is not None
    assert found.kinds == {6: MAPPED}
    assert found.processes == [(k.process[5], ALIVE)]
    assert list(found.entries) == [(4, 2), (4, 3)]


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("row", ["entry", "permission"])
def test_an_entry_that_was_written_alone(k: Kernel, row: str, counted: bool) -> None:
    """What leads to another table has no permission; what is protected leads where it did."""
    logged_store(k, ("table", 4, row, 5), 1)
    if counted: logged_store(k, ("table", 4, "used", None), 1)
    found = consequences(k)
    assert found is not None
    assert list(found.entries) == [(4, 5)]
    assert (found.kinds, found.threads, found.processes, found.left) == ({}, [], [], [])


def test_what_devices_reach_and_who_holds_them(k: Kernel) -> None:
    k.domain[8].map_page[70] = 6
    k.device[9].holder, k.device[9].domain = 5, 8
    logged_store(k, ("domain", 8, "mappings", None), 2)
    assert consequences(k) is None
    logged_store(k, ("domain", 8, "map_page", 70), 0)
    logged_store(k, ("domain", 8, "map_page", 71), 4)
    found = consequences(k)
    assert found is not None
    assert (found.mappings, found.devices) == ({(8, 70): 6, (8, 71): 0}, [])
    logged_store(k, ("device", 9, "holder", None), 0)
    logged_store(k, ("device", 9, "domain", None), 0)
    found = consequences(k)
    assert found is not None
    assert found.devices == [(k.device[9], 5, 8)]


def test_a_device_that_was_written_alone(k: Kernel) -> None:
    k.device[9].holder = 5
    logged_store(k, ("device", 9, "holder_slot", None), 3)
    found = consequences(k)
    assert found is not None
    assert found.devices == [(k.device[9], 5, 0)]


def test_a_thread_that_is_ready_on_another_core_has_left_the_one_it_ran_on(k: Kernel) -> None:
    k.core[1].current = 7
    logged_store(k, ("core", 1, "current", None), 0)
    logged_store(k, ("thread", 7, "state", None), READY)
    found = consequences(k)
    assert found is not None
    assert found.left == [(7, 1)]
    logged_store(k, ("thread", 7, "core", None), 1)  # it is ready on the very core
    found = consequences(k)
    assert found is not None
    assert found.left == []
