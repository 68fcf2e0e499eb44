"""For every transition the cases its specification distinguishes: each error it names, and each way to succeed.

``@case("map_page", "ENOMEM")`` marks a function that brings a world to where the call, with the arguments that the
function returns, ends so; ``OK`` stands for success.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from abi import errors
from kernel.objects import BLOCKED, DEAD, ENDED, ENDING, HANDLES
from tests.kernel.world import World, indices, page_at

Arguments = tuple[int, ...]
Setting = Callable[[World], Arguments]

V = page_at(1, 2, 3, 4)
W = page_at(5, 6, 7, 0)


@dataclass(frozen=True)
class Case:
    """A call that ends in a certain way."""

    transition: str
    outcome: str
    setting: Setting
    blocks: int = 3

    @property
    def name(self) -> str:
        return f"{self.transition}-{self.outcome}-{self.setting.__name__}"

    def build(self, level: str = "touched") -> tuple[World, Arguments]:
        """The world before the call, and the arguments of the call."""
        w = World(self.blocks, cores=2, level=level)
        return w, self.setting(w)

    def ends_so(self, result: int) -> bool:
        """The call's result is this outcome."""
        return result >= 0 if self.outcome == "OK" else result == -int(getattr(errors, self.outcome))


CASES: list[Case] = []


def case(transition: str, outcome: str = "OK", blocks: int = 3) -> Callable[[Setting], Setting]:
    """Registers a setting in which the transition ends so."""

    def register(setting: Setting) -> Setting:
        CASES.append(Case(transition, outcome, setting, blocks))
        return setting

    return register


# Quotas


@case("quota_split")
def has_a_block(w: World) -> Arguments:
    return (w.k.root,)


@case("quota_split", "ENOMEM")
def has_no_block(w: World) -> Arguments:
    while w.root.blocks:
        w.do("quota_split", w.k.root)
    return (w.k.root,)


@case("quota_merge")
def has_two_blocks_of_pages(w: World) -> Arguments:
    w.do("quota_split", w.k.root)
    return (w.k.root,)


@case("quota_merge", "ENOMEM")
def has_too_few_pages(w: World) -> Arguments:
    return (w.k.root,)


@case("quota_merge", "ENOMEM")
def no_block_is_whole(w: World) -> Arguments:
    s = w.process()
    with w.unchecked():
        for _ in range(2):
            w.do("quota_split", w.k.root)
        for i in range(1200):
            w.map(s, V + i)
        for i in range(0, 1200, 2):
            w.do("unmap_page", s, *indices(V + i))
    assert w.root.pages >= 512
    return (w.k.root,)


# Mapping


@case("map_page")
def three_tables_are_missing(w: World) -> Arguments:
    return (w.process(), *indices(V), 7)


@case("map_page")
def two_tables_are_missing(w: World) -> Arguments:
    s = w.process()
    w.map(s, page_at(1, 3, 3, 4))
    return (s, *indices(V), 3)


@case("map_page")
def one_table_is_missing(w: World) -> Arguments:
    s = w.process()
    w.map(s, page_at(1, 2, 4, 4))
    return (s, *indices(V), 5)


@case("map_page")
def no_table_is_missing(w: World) -> Arguments:
    s = w.process()
    w.map(s, V + 1)
    return (s, *indices(V), 0)


@case("map_page")
def page_that_came_back(w: World) -> Arguments:
    s = w.process()
    for v in (V + 1, V + 2, V + 3):
        w.map(s, v)
    w.do("unmap_page", s, *indices(V + 2))
    return (s, *indices(V), 1)


@case("map_page")
def last_page_of_a_block(w: World) -> Arguments:
    s = w.process()
    v = V
    with w.unchecked():
        while w.k.memory.free_pages > 1:
            w.map(s, v)
            v += 1
    return (s, *indices(v), 7)


@case("map_page")
def first_page_of_a_block(w: World) -> Arguments:
    s, *address, _ = last_page_of_a_block(w)
    w.do("quota_split", w.k.root)
    v = page_at(*address)
    w.map(s, v)
    return (s, *indices(v + 1), 7)


@case("map_page", "EINVAL")
def machines_own_slot(w: World) -> Arguments:
    return (w.process(), 255, 0, 0, 0, 7)


@case("map_page", "EINVAL")
def index_out_of_range(w: World) -> Arguments:
    return (w.process(), 0, 0, 512, 0, 7)


@case("map_page", "EINVAL")
def negative_index(w: World) -> Arguments:
    return (w.process(), 0, 0, 0, -1, 7)


@case("map_page", "EINVAL")
def write_without_read(w: World) -> Arguments:
    return (w.process(), *indices(V), 2)


@case("map_page", "EEXIST")
def page_is_mapped_there(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), 7)


@case("map_page", "EEXIST")
def block_is_mapped_around(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, V & ~511)
    return (s, *indices(V), 7)


@case("map_page", "ENOMEM")
def quota_for_tables_alone(w: World) -> Arguments:
    s = w.process()
    w.leave(3)
    return (s, *indices(V), 7)


@case("map_block")
def both_tables_are_missing(w: World) -> Arguments:
    return (w.process(), *indices(W)[:3], 7)


@case("map_block")
def one_table_is_missing_for_a_block(w: World) -> Arguments:
    s = w.process()
    w.map(s, page_at(5, 1, 1, 1))
    return (s, *indices(W)[:3], 7)


@case("map_block")
def beside_a_page(w: World) -> Arguments:
    s = w.process()
    w.map(s, W + 512)
    return (s, *indices(W)[:3], 1)


@case("map_block")
def block_that_came_back(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    w.do("unmap_block", s, *indices(W)[:3])
    return (s, *indices(W)[:3], 1)


@case("map_block", "EINVAL")
def slot_beyond_the_last(w: World) -> Arguments:
    return (w.process(), 256, 0, 0, 7)


@case("map_block", "EINVAL")
def unknown_permission(w: World) -> Arguments:
    return (w.process(), *indices(W)[:3], 8)


@case("map_block", "EEXIST")
def table_is_there(w: World) -> Arguments:
    s = w.process()
    w.map(s, W + 3)
    return (s, *indices(W)[:3], 7)


@case("map_block", "EEXIST")
def block_is_there(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], 7)


@case("map_block", "ENOMEM")
def no_block_left(w: World) -> Arguments:
    s = w.process()
    w.leave(300, 0)
    return (s, *indices(W)[:3], 7)


@case("map_block", "ENOMEM")
def no_page_for_the_tables(w: World) -> Arguments:
    s = w.process()
    w.leave(1)
    return (s, *indices(W)[:3], 7)


@case("unmap_page")
def last_mapping_of_all(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V))


@case("unmap_page")
def two_tables_empty(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.map(s, page_at(1, 3, 3, 3))
    return (s, *indices(V))


@case("unmap_page")
def one_table_empties(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.map(s, V + 512)
    return (s, *indices(V))


@case("unmap_page")
def no_table_empties(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.map(s, V + 1)
    return (s, *indices(V))


@case("unmap_page")
def page_is_shared(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.do("share_page", s, *indices(V), d, *indices(W), 5)
    return (s, *indices(V))


@case("unmap_page")
def block_becomes_free(w: World) -> Arguments:
    """The only page in use of the second block goes."""
    s, *address, _ = first_page_of_a_block(w)
    w.map(s, page_at(*address))
    return (s, *address)


@case("unmap_page")
def block_below_another_becomes_free(w: World) -> Arguments:
    """The only page in use of the second block goes; that block is not the last with free pages."""
    s, *address, _ = first_page_of_a_block(w)
    v = page_at(*address)
    w.map(s, v)
    for i in (1, 2):
        w.do("unmap_page", s, *indices(v - i))
    return (s, *address)


@case("unmap_page")
def full_block_has_a_free_page(w: World) -> Arguments:
    s, *address, _ = first_page_of_a_block(w)
    return (s, *indices(page_at(*address) - 5))


@case("unmap_page", "EINVAL")
def no_programs_address(w: World) -> Arguments:
    return (w.process(), -1, 0, 0, 0)


@case("unmap_page", "EFAULT")
def nothing_is_mapped(w: World) -> Arguments:
    return (w.process(), *indices(V))


@case("unmap_page", "EFAULT")
def part_of_a_block(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W))


@case("unmap_block")
def last_block_of_all(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3])


@case("unmap_block")
def one_table_empties_with_the_block(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    w.map(s, page_at(5, 1, 1, 1))
    return (s, *indices(W)[:3])


@case("unmap_block")
def block_is_shared(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.do("share_block", s, *indices(W)[:3], d, *indices(W)[:3], 1)
    return (d, *indices(W)[:3])


@case("unmap_block", "EINVAL")
def no_programs_block(w: World) -> Arguments:
    return (w.process(), 0, 512, 0)


@case("unmap_block", "EFAULT")
def pages_are_mapped(w: World) -> Arguments:
    s = w.process()
    w.map(s, W)
    return (s, *indices(W)[:3])


@case("protect_page")
def page_is_protected(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), 1)


@case("protect_page", "EINVAL")
def permission_out_of_range(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), -1)


@case("protect_page", "EFAULT")
def nothing_to_protect(w: World) -> Arguments:
    return (w.process(), *indices(V), 1)


@case("protect_page", "EFAULT")
def page_of_a_block(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W), 1)


@case("protect_block")
def block_is_protected(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], 0)


@case("protect_block", "EINVAL")
def execute_without_read(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], 4)


@case("protect_block", "EFAULT")
def page_instead_of_a_block(w: World) -> Arguments:
    s = w.process()
    w.map(s, W)
    return (s, *indices(W)[:3], 1)


# Sharing


@case("share_page")
def with_three_tables(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    return (s, *indices(V), d, *indices(W), 5)


@case("share_page")
def with_two_tables(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(d, page_at(5, 1, 1, 1))
    return (s, *indices(V), d, *indices(W), 5)


@case("share_page")
def with_one_table(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(d, W + 512)
    return (s, *indices(V), d, *indices(W), 7)


@case("share_page")
def within_one_process(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, *indices(V + 1), 7)


@case("share_page", "EINVAL")
def target_is_no_programs(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    return (s, *indices(V), s, 255, 0, 0, 0, 7)


@case("share_page", "EINVAL")
def wider_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map(s, V, 5)
    return (s, *indices(V), s, *indices(W), 3)


@case("share_page", "EFAULT")
def nothing_to_share(w: World) -> Arguments:
    s = w.process()
    return (s, *indices(V), s, *indices(W), 3)


@case("share_page", "EEXIST")
def target_is_mapped(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map(d, V)
    return (s, *indices(V), d, *indices(V), 3)


@case("share_page", "EEXIST")
def target_is_in_a_block(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.map_block(d, W)
    return (s, *indices(V), d, *indices(W + 3), 3)


@case("share_page", "ENOMEM")
def no_quota_for_tables_to_share(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map(s, V)
    w.leave(2)
    return (s, *indices(V), d, *indices(W), 3)


@case("share_block")
def block_with_two_tables(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 5)


@case("share_block")
def block_with_one_table(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map(d, page_at(5, 1, 1, 1))
    return (s, *indices(W)[:3], d, *indices(W)[:3], 5)


@case("share_block")
def block_within_one_process(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W, 3)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 3)


@case("share_block", "EINVAL")
def block_wider_than_ones_own(w: World) -> Arguments:
    s = w.process()
    w.map_block(s, W, 1)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 3)


@case("share_block", "EINVAL")
def source_is_no_programs(w: World) -> Arguments:
    s = w.process()
    return (s, 255, 0, 0, s, *indices(W)[:3], 3)


@case("share_block", "EFAULT")
def page_shared_as_a_block(w: World) -> Arguments:
    s = w.process()
    w.map(s, W)
    return (s, *indices(W)[:3], s, *indices(W + 512)[:3], 3)


@case("share_block", "EEXIST")
def target_has_a_table(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.map(d, W + 9)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 3)


@case("share_block", "ENOMEM")
def no_quota_for_tables_to_share_a_block(w: World) -> Arguments:
    s, d = w.process(), w.process()
    w.map_block(s, W)
    w.leave(1)
    return (s, *indices(W)[:3], d, *indices(W)[:3], 3)


# Scheduling


@case("schedule")
def one_is_ready(w: World) -> Arguments:
    w.thread(w.process())
    return (0,)


@case("schedule")
def two_are_ready(w: World) -> Arguments:
    s = w.process()
    w.thread(s)
    w.thread(s)
    return (0,)


@case("schedule")
def nobody_is_ready(w: World) -> Arguments:
    return (1,)


@case("schedule", "EINVAL")
def core_that_is_not(w: World) -> Arguments:
    return (2,)


@case("schedule", "EBUSY")
def core_runs_one(w: World) -> Arguments:
    w.running()
    return (0,)


@case("preempt")
def alone(w: World) -> Arguments:
    w.running()
    return (0,)


@case("preempt")
def others_wait(w: World) -> Arguments:
    w.running()
    w.thread(w.process())
    return (0,)


@case("preempt", "EINVAL")
def core_is_idle(w: World) -> Arguments:
    return (0,)


@case("preempt", "EINVAL")
def negative_core(w: World) -> Arguments:
    return (-1,)


@case("thread_yield")
def to_nobody(w: World) -> Arguments:
    return (w.running(),)


@case("thread_yield")
def to_another(w: World) -> Arguments:
    t = w.running()
    w.thread(w.process())
    return (t,)


@case("thread_yield", "EINVAL")
def ready_one(w: World) -> Arguments:
    return (w.thread(w.process()),)


@case("thread_block")
def running_one(w: World) -> Arguments:
    return (w.running(),)


@case("thread_block", "EINVAL")
def no_thread(w: World) -> Arguments:
    return (w.process(),)


@case("thread_wake")
def blocked_one(w: World) -> Arguments:
    t = w.running()
    w.do("thread_block", t)
    return (t,)


@case("thread_wake")
def behind_another(w: World) -> Arguments:
    t = w.running()
    w.do("thread_block", t)
    w.thread(w.process())
    return (t,)


@case("thread_wake", "EINVAL")
def not_blocked(w: World) -> Arguments:
    return (w.running(),)


@case("thread_wake", "EINVAL")
def waits_for_an_end(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    assert w.k.thread[t].state == BLOCKED
    return (t,)


# Threads


def joinable(w: World) -> Arguments:
    """A running thread and one it created: (running, other, slot, generation)."""
    t = w.running()
    return (t, *w.created_thread(t))


@case("thread_start")
def first_thread(w: World) -> Arguments:
    return (w.process(),)


@case("thread_start")
def second_thread(w: World) -> Arguments:
    s = w.process()
    w.thread(s)
    return (s,)


@case("thread_start", "EINVAL")
def ending_process(w: World) -> Arguments:
    s = w.process()
    w.do("process_end", s, 0)
    return (s,)


@case("thread_start", "EINVAL")
def no_process(w: World) -> Arguments:
    return (w.k.root,)


@case("thread_start", "ENOMEM")
def no_page_for_a_thread(w: World) -> Arguments:
    s = w.process()
    w.leave(0)
    return (s,)


@case("thread_create")
def fresh_slot(w: World) -> Arguments:
    return (w.running(),)


@case("thread_create")
def slot_that_came_back(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.created_thread(t)
    w.do("thread_exit", w.run(u), 0)
    w.do("thread_join", w.run(t), slot, generation)
    return (t,)


@case("thread_create", "ENOSPC", blocks=9)
def no_slot(w: World) -> Arguments:
    t = w.running()
    with w.unchecked():
        while w.root.blocks:
            w.do("quota_split", w.k.root)
        for _ in range(HANDLES):
            w.created_thread(t)
    return (t,)


@case("thread_create", "ENOMEM")
def no_page_for_another_thread(w: World) -> Arguments:
    t = w.running()
    w.leave(0)
    return (t,)


@case("thread_exit")
def nobody_has_a_handle(w: World) -> Arguments:
    t = w.running()
    w.thread(w.k.thread[t].process)
    return (t, 3)


@case("thread_exit")
def last_of_its_process(w: World) -> Arguments:
    return (w.running(), (1 << 32) - 1)


@case("thread_exit")
def last_of_an_ending_process(w: World) -> Arguments:
    t = w.running()
    w.do("process_end", w.k.thread[t].process, 9)
    return (t, 3)


@case("thread_exit")
def thread_that_joined_another(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    w.do("thread_exit", w.run(u), 8)
    assert w.k.thread[t].result == 8
    return (w.run(t), 0)


@case("thread_exit")
def somebody_has_a_handle(w: World) -> Arguments:
    return (w.run(joinable(w)[1]), 3)


@case("thread_exit")
def somebody_joins(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    return (w.run(u), 3)


@case("thread_exit")
def first_of_three(w: World) -> Arguments:
    t = w.running()
    for _ in range(2):
        w.thread(w.k.thread[t].process, 1)
    return (t, 0)


@case("thread_exit", "EINVAL")
def does_not_run(w: World) -> Arguments:
    return (w.thread(w.process()), 0)


@case("thread_exit", "EINVAL")
def status_out_of_range(w: World) -> Arguments:
    return (w.running(), 1 << 32)


@case("thread_kill")
def kill_running(w: World) -> Arguments:
    t = w.running()
    w.do("process_end", w.k.thread[t].process, 0)
    return (t,)


@case("thread_kill")
def kill_ready(w: World) -> Arguments:
    """In the middle of its queue, and of its process's list."""
    s = w.process()
    _, t, _ = (w.thread(s) for _ in range(3))
    w.do("process_end", s, 0)
    return (t,)


@case("thread_kill")
def kill_joined(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    w.do("process_end", w.k.thread[t].process, 0)
    return (u,)


@case("thread_kill")
def kill_joiner(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    w.do("process_end", w.k.thread[t].process, 0)
    return (t,)


@case("thread_kill")
def kill_waiter(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.child(t)
    w.do("process_wait", t, slot, generation)
    w.do("process_end", w.k.thread[t].process, 0)
    return (t,)


@case("thread_kill", "EINVAL")
def process_is_alive(w: World) -> Arguments:
    return (w.running(),)


@case("thread_kill", "EINVAL")
def kill_no_thread(w: World) -> Arguments:
    return (w.process(),)


@case("thread_kill", "EINVAL")
def has_ended(w: World) -> Arguments:
    t, u, _, _ = joinable(w)
    w.do("thread_exit", w.run(u), 0)
    w.do("process_end", w.k.thread[t].process, 0)
    assert w.k.thread[u].state == DEAD
    return (u,)


@case("thread_join")
def runs_yet(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation)


@case("thread_join")
def ended_before(w: World) -> Arguments:
    t, u, slot, generation = joinable(w)
    w.do("thread_exit", w.run(u), 77)
    return (w.run(t), slot, generation)


@case("thread_join", "ESRCH")
def stale_handle(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation + 1)


@case("thread_join", "ESRCH")
def slot_out_of_range(w: World) -> Arguments:
    return (w.running(), HANDLES, 1)


@case("thread_join", "ESRCH")
def handle_of_a_process(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("thread_join", "EBUSY")
def another_joins(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    third, _, _ = w.created_thread(t)
    w.do("thread_join", t, slot, generation)
    return (w.run(third), slot, generation)


@case("thread_join", "EDEADLK")
def joins_itself(w: World) -> Arguments:
    _, u, slot, generation = joinable(w)
    return (w.run(u), slot, generation)


# Processes


@case("process_spawn")
def in_the_root(w: World) -> Arguments:
    return (w.k.root,)


@case("process_spawn", "EINVAL")
def in_no_container(w: World) -> Arguments:
    return (w.process(),)


@case("process_spawn", "ENOMEM")
def one_page_left_for_two(w: World) -> Arguments:
    w.leave(1)
    return (w.k.root,)


@case("process_create")
def first_child(w: World) -> Arguments:
    return (w.running(),)


@case("process_create")
def second_child(w: World) -> Arguments:
    t = w.running()
    w.child(t)
    return (t,)


@case("process_create", "ENOSPC", blocks=9)
def no_slot_for_a_child(w: World) -> Arguments:
    return no_slot(w)


@case("process_create", "ENOMEM")
def one_page_left_for_a_child(w: World) -> Arguments:
    t = w.running()
    w.leave(1)
    return (t,)


@case("process_start")
def new_child(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t, start=False)[1:])


@case("process_start", "ESRCH")
def start_of_a_thread(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation)


@case("process_start", "ESRCH")
def start_of_nothing(w: World) -> Arguments:
    return (w.running(), 0, 0)


@case("process_start", "EBUSY")
def started_before(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("process_start", "ECHILD")
def child_has_ended(w: World) -> Arguments:
    t = w.running()
    s, slot, generation = w.child(t)
    w.end(s)
    return (t, slot, generation)


@case("process_start", "ENOMEM")
def no_page_for_the_first_thread(w: World) -> Arguments:
    t = w.running()
    _, slot, generation = w.child(t, start=False)
    w.leave(0)
    return (t, slot, generation)


@case("process_exit")
def running_thread(w: World) -> Arguments:
    return (w.running(), 1)


@case("process_exit", "EINVAL")
def ready_thread(w: World) -> Arguments:
    return (w.thread(w.process()), 0)


@case("process_exit", "EINVAL")
def negative_status(w: World) -> Arguments:
    return (w.running(), -1)


@case("process_exit", "EINVAL")
def ends_already(w: World) -> Arguments:
    t = w.running()
    w.do("process_end", w.k.thread[t].process, 5)
    return (t, 6)


@case("process_end")
def never_started(w: World) -> Arguments:
    return (w.process(), 137)


@case("process_end")
def with_threads(w: World) -> Arguments:
    return (w.k.thread[w.running()].process, 137)


@case("process_end", "EINVAL")
def end_no_process(w: World) -> Arguments:
    return (w.k.root, 0)


@case("process_end", "EINVAL")
def end_twice(w: World) -> Arguments:
    s = w.process()
    w.do("process_end", s, 1)
    return (s, 2)


@case("process_end", "EINVAL")
def end_with_too_large_a_status(w: World) -> Arguments:
    return (w.process(), 1 << 32)


def ending_holder(w: World, start: bool = True) -> Arguments:
    """A process that is ending, has no thread left, and holds a child in its second slot: (process, child, slot)."""
    t = w.running()
    w.child(t)
    child, slot, _ = w.child(t, start)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_kill", t)
    return s, child, slot


@case("handle_drop")
def child_that_runs(w: World) -> Arguments:
    s, _, slot = ending_holder(w)
    return s, slot


@case("handle_drop")
def child_that_never_started(w: World) -> Arguments:
    s, _, slot = ending_holder(w, start=False)
    return s, slot


@case("handle_drop")
def child_that_has_ended(w: World) -> Arguments:
    s, child, slot = ending_holder(w)
    w.end(child, 4)
    assert w.k.process[child].state == ENDED
    return s, slot


@case("handle_drop")
def child_that_is_ending(w: World) -> Arguments:
    s, child, slot = ending_holder(w)
    w.do("process_end", child, 4)
    assert w.k.process[child].state == ENDING
    return s, slot


@case("handle_drop")
def thread_that_has_ended(w: World) -> Arguments:
    t, u, slot, _ = joinable(w)
    w.do("thread_exit", w.run(u), 0)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    w.do("thread_kill", t)
    return s, slot


@case("handle_drop", "EINVAL")
def holder_is_alive(w: World) -> Arguments:
    t, _, slot, _ = joinable(w)
    return w.k.thread[t].process, slot


@case("handle_drop", "EINVAL")
def holder_is_no_process(w: World) -> Arguments:
    return w.k.root, 0


@case("handle_drop", "EBUSY")
def holder_has_threads(w: World) -> Arguments:
    t = w.running()
    _, slot, _ = w.child(t)
    s = w.k.thread[t].process
    w.do("process_end", s, 0)
    return s, slot


@case("handle_drop", "ESRCH")
def slot_is_empty(w: World) -> Arguments:
    s, _, slot = ending_holder(w)
    return s, slot + 1


@case("process_finish")
def host_will_collect(w: World) -> Arguments:
    s = w.process()
    w.do("process_end", s, 1)
    return (s,)


@case("process_finish")
def parent_has_a_handle(w: World) -> Arguments:
    t = w.running()
    s, _, _ = w.child(t, start=False)
    w.do("process_end", s, 1)
    return (s,)


@case("process_finish")
def parent_waits(w: World) -> Arguments:
    t = w.running()
    w.child(t)
    s, slot, generation = w.child(t)
    w.do("process_wait", t, slot, generation)
    w.do("process_end", s, 200)
    w.do("thread_kill", w.k.process[s].threads[0])
    return (s,)


@case("process_finish")
def parent_is_gone(w: World) -> Arguments:
    s, child, slot = ending_holder(w, start=False)
    w.do("handle_drop", s, slot)
    return (child,)


@case("process_finish", "EINVAL")
def finish_the_living(w: World) -> Arguments:
    return (w.process(),)


@case("process_finish", "EINVAL")
def finish_no_process(w: World) -> Arguments:
    return (w.running(),)


@case("process_finish", "EBUSY")
def a_thread_is_left(w: World) -> Arguments:
    s = w.process()
    w.thread(s)
    w.do("process_end", s, 0)
    return (s,)


@case("process_finish", "EBUSY")
def a_mapping_is_left(w: World) -> Arguments:
    s = w.process()
    w.map(s, V)
    w.do("process_end", s, 0)
    return (s,)


@case("process_finish", "EBUSY")
def a_handle_is_left(w: World) -> Arguments:
    return (ending_holder(w)[0],)


@case("process_collect")
def ended_process(w: World) -> Arguments:
    s = w.process()
    w.end(s, 42)
    return (s,)


@case("process_collect")
def ended_process_that_had_handles(w: World) -> Arguments:
    t = w.running()
    for _ in range(2):
        w.child(t)
    s = w.k.thread[t].process
    w.end(s, 42)
    return (s,)


@case("process_collect", "EINVAL")
def process_of_another(w: World) -> Arguments:
    t = w.running()
    return (w.child(t)[0],)


@case("process_collect", "EINVAL")
def collect_no_process(w: World) -> Arguments:
    return (w.running(),)


@case("process_collect", "EBUSY")
def process_that_lives(w: World) -> Arguments:
    return (w.process(),)


@case("process_wait")
def child_runs_yet(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t)[1:])


@case("process_wait")
def child_is_ending(w: World) -> Arguments:
    t = w.running()
    s, slot, generation = w.child(t)
    w.do("process_end", s, 6)
    return (t, slot, generation)


@case("process_wait")
def child_ended_before(w: World) -> Arguments:
    t = w.running()
    w.child(t)
    s, slot, generation = w.child(t)
    w.end(s, 99)
    return (t, slot, generation)


@case("process_wait", "ESRCH")
def wait_for_a_thread(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    return (t, slot, generation)


@case("process_wait", "ESRCH")
def wait_for_nothing(w: World) -> Arguments:
    return (w.running(), 3, 1)


@case("process_wait", "EINVAL")
def wait_for_the_unstarted(w: World) -> Arguments:
    t = w.running()
    return (t, *w.child(t, start=False)[1:])


@case("process_wait", "EBUSY")
def another_waits(w: World) -> Arguments:
    t, u, _, _ = joinable(w)
    _, slot, generation = w.child(t)
    w.do("process_wait", t, slot, generation)
    return (w.run(u), slot, generation)
