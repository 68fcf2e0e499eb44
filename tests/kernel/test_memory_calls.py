"""Calls on address spaces, on the kernel alone: what is said of ranges that cut something, quota that is there in
larger pieces, and what is taken back."""

from __future__ import annotations

import pytest

from abi.errors import ECHILD, EEXIST, EFAULT, EINVAL, ENOMEM, ESRCH
from abi.layout import BLOCK_SIZE, GIANT_PAGES, PAGE_SIZE
from kernel.calls import Operation, System
from kernel.objects import PAGES_OF, PROCESS
from tests.kernel.world import World, indices

A = 0x4000_0000
GIANT_SIZE = GIANT_PAGES * PAGE_SIZE
RW = 3


class Parent:
    """A running thread, and a child of it that never starts, in a container of its own."""

    def __init__(self, pages: int = 40, blocks: int = 2, memory: int = 8) -> None:
        self.w = World(memory, 1)
        self.k = self.w.k
        self.system = System(self.k, self.w.checker.step, lambda *_: None)
        self.t = self.w.running()
        self.s = self.k.thread[self.t].process
        self.container = self.call("container_create", pages, blocks, 0, 0)
        self.handle = self.call("process_create_in", self.container)
        self.d = self.system.named(self.t, self.handle, PROCESS)
        assert min(self.container, self.handle, self.d) > 0
        self.C = self.k.container[self.k.process[self.d].container]

    def call(self, name: str, *arguments: int) -> int:
        """What a call returns when all of it is done."""
        return self.system.complete(getattr(self.system, name)(self.t, *arguments))

    def share(self, pages: int, destination: int, address: int = A) -> int | Operation:
        """Begins to share pages with the child."""
        return self.system.process_share(self.t, self.handle, address, pages * PAGE_SIZE, destination, RW)

    def mapped(self, s: int) -> list[int]:
        """The virtual pages that a process maps."""
        return sorted(v for v, p in self.k.process[s].map_page.items() if p)


@pytest.mark.parametrize("address", [A, A + PAGE_SIZE, A + BLOCK_SIZE - PAGE_SIZE])
def test_one_page_of_a_block_is_no_range(address: int) -> None:
    """There is something: it is -EINVAL, and not the -EFAULT of the page behind it, where there is nothing."""
    parent = Parent()
    assert parent.call("mmap", A, BLOCK_SIZE, RW) == 0
    for name, more in (("munmap", ()), ("mprotect", (1,))):
        assert parent.call(name, address, PAGE_SIZE, *more) == -EINVAL
        assert parent.call(name, address, 2 * PAGE_SIZE, *more) == (-EFAULT if address < A else -EINVAL)
        assert parent.call(name, A + BLOCK_SIZE, PAGE_SIZE, *more) == -EFAULT
        assert parent.call(name, A - PAGE_SIZE, PAGE_SIZE, *more) == -EFAULT
    assert parent.call("munmap", A, BLOCK_SIZE) == 0


@pytest.mark.parametrize("inside", [0, 1, 511, 512, 513, GIANT_PAGES - 512, GIANT_PAGES - 1])
def test_a_part_of_a_giant_is_no_range(inside: int) -> None:
    w = World(3 * 512 + 1, 1)
    system = System(w.k, w.checker.step, lambda *_: None)
    s = w.process()
    w.map_giant(s, GIANT_PAGES)
    address = GIANT_SIZE + inside * PAGE_SIZE
    assert system.unmap_range(s, address, PAGE_SIZE) == -EINVAL
    assert system.protect_range(s, address, PAGE_SIZE, 1) == -EINVAL
    assert system.unmap_range(s, 2 * GIANT_SIZE, PAGE_SIZE) == -EFAULT
    assert system.unmap_range(s, GIANT_SIZE - PAGE_SIZE, PAGE_SIZE) == -EFAULT
    assert system.complete(system.protect_range(s, GIANT_SIZE, GIANT_SIZE, 1)) == 0
    assert system.complete(system.unmap_range(s, GIANT_SIZE, GIANT_SIZE)) == 0


@pytest.mark.parametrize("destination", [A, 2 * A, 3 * A + BLOCK_SIZE - PAGE_SIZE])
def test_tables_for_what_is_shared_are_paid_for_with_blocks(destination: int) -> None:
    parent = Parent(pages=2, blocks=2)
    assert parent.C.pages == 0
    assert parent.call("mmap", A, 3 * PAGE_SIZE, RW) == 0
    assert parent.system.complete(parent.share(3, destination)) == 0
    first = destination // PAGE_SIZE
    assert parent.mapped(parent.d) == [first, first + 1, first + 2]
    assert parent.C.blocks == 1
    parent.w.checker.audit()


def test_tables_for_what_is_shared_cannot_be_paid_for() -> None:
    parent = Parent(pages=2, blocks=0)
    assert parent.call("mmap", A, 3 * PAGE_SIZE, RW) == 0
    assert parent.system.complete(parent.share(3, A)) == -ENOMEM
    assert parent.mapped(parent.d) == []


@pytest.mark.parametrize("pages", [4, 5, 6])
@pytest.mark.parametrize("destination", [A, 2 * A, A // 2])
def test_what_was_shared_is_taken_back_when_the_quota_is_gone(destination: int, pages: int) -> None:
    """The tables of a second block's addresses are more than the child's container can pay."""
    parent = Parent(pages=5, blocks=0)
    assert parent.C.pages == 3
    assert parent.call("mmap", A, pages * PAGE_SIZE, RW) == 0
    assert parent.system.complete(parent.share(pages, destination + BLOCK_SIZE - 2 * PAGE_SIZE)) == -ENOMEM
    assert parent.mapped(parent.d) == []
    assert (parent.C.pages, len(parent.mapped(parent.s))) == (3, pages)
    assert parent.system.complete(parent.share(2, destination + BLOCK_SIZE - 2 * PAGE_SIZE)) == 0


@pytest.mark.parametrize("destination", [A // 2, A, 2 * A, 5 * A + 7 * PAGE_SIZE])
@pytest.mark.parametrize("after", [1, 3, 5, 6])
def test_who_shares_ends_in_the_middle(after: int, destination: int) -> None:
    """The other process, which goes on, keeps nothing of it, and what it had before."""
    parent = Parent()
    parent.handle = parent.call("process_create")
    parent.d = parent.system.named(parent.t, parent.handle, PROCESS)
    assert parent.call("process_start", parent.handle, A, A, 0) == 0
    assert parent.call("mmap", A, 5 * PAGE_SIZE, RW) == 0
    kept = destination // PAGE_SIZE + 5
    parent.w.do("map_page", parent.d, *indices(kept), 1)
    sharing = parent.share(5, destination)
    assert isinstance(sharing, Operation)
    while len(parent.mapped(parent.d)) < min(after, 5) + 1: assert not sharing.advance(1)
    assert parent.mapped(parent.d) == [destination // PAGE_SIZE + i for i in range(min(after, 5))] + [kept]
    if after == 6: sharing.advance(2)
    assert parent.system.end(parent.s, 0) == 0
    result = parent.system.complete(sharing)
    parent.system.operations.drain()
    shared = [] if result < 0 else [destination // PAGE_SIZE + i for i in range(5)]
    assert result == (0 if after == 6 else -ESRCH)
    assert parent.mapped(parent.d) == [*shared, kept]
    parent.w.checker.audit()


def test_who_is_shared_with_ends_in_the_middle() -> None:
    parent = Parent()
    assert parent.call("mmap", A, 5 * PAGE_SIZE, RW) == 0
    sharing = parent.share(5, A)
    assert isinstance(sharing, Operation)
    while len(parent.mapped(parent.d)) < 2: sharing.advance(1)
    assert parent.call("process_kill", parent.handle) == 0
    assert parent.system.complete(sharing) == -ECHILD
    parent.system.operations.drain()
    assert len(parent.mapped(parent.s)) == 5
    parent.w.checker.audit()


def test_exit_status_has_32_bits() -> None:
    parent = Parent()
    w, k = parent.w, parent.k
    for status in (0, 5, 0xFFFF_FFFF, 0x1_0000_0007, (1 << 64) - 1):
        handle = parent.call("thread_create", A, A, 0)
        u = k.process[parent.s].handle_object[handle % 65536]
        w.run(u)
        assert parent.system.thread_exit(u, status) == 0
        w.run(parent.t)
        assert parent.call("thread_join", handle) == status & 0xFFFF_FFFF
        child = parent.call("process_create")
        assert parent.call("process_start", child, A, A, 0) == 0
        s = parent.system.named(parent.t, child, PROCESS)
        u = w.run(k.process[s].threads[0])
        assert parent.system.process_exit(u, status) == 0
        parent.system.operations.drain()
        w.run(parent.t)
        assert parent.call("process_wait", child) == status & 0xFFFF_FFFF


@pytest.mark.parametrize("left", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("blocks", [0, 1])
def test_one_page_and_its_tables_are_paid_for_with_a_block(left: int, blocks: int) -> None:
    """A page where there are no tables takes four; one more beside it takes one."""
    w = World(8, 1, "full")
    system = System(w.k, w.checker.step, lambda *_: None)
    c = system.spawn_container(w.k.root, 2 + left, blocks, 0, 0)
    s = system.spawn(c)
    C = w.k.container[c]
    assert (C.pages, C.blocks) == (left, blocks)
    enough = left >= 4 or blocks == 1
    assert system.map_range(s, A, PAGE_SIZE, RW) == (0 if enough else -ENOMEM)
    if not enough: assert (C.pages, C.blocks) == (left, 0)
    elif left >= 4: assert (C.pages, C.blocks) == (left - 4, blocks)
    else: assert (C.pages, C.blocks) == (left + 512 - 4, 0)
    if enough: assert system.map_range(s, A, PAGE_SIZE, RW) == -EEXIST
    assert system.map_range(s, A, PAGE_SIZE, RW + 8) == -EINVAL
    assert system.map_range(s, A + 1, PAGE_SIZE, RW) == -EINVAL


@pytest.mark.parametrize("largest", [1, 512, GIANT_PAGES])
def test_as_large_as_it_may_be(largest: int) -> None:
    w = World(3 * 512 + 1, 1)
    system = System(w.k, w.checker.step, lambda *_: None)
    s = w.process()
    length = GIANT_SIZE + BLOCK_SIZE + PAGE_SIZE if largest > 1 else BLOCK_SIZE + PAGE_SIZE
    with w.unchecked():
        assert system.complete(system.map_range(s, GIANT_SIZE, length, RW, largest)) == 0
    found = [PAGES_OF[w.k.page[p].kind] for _, p in sorted(w.k.process[s].map_page.items())]
    if largest == 1: assert found == [1] * 513
    elif largest == 512: assert found == [512] * 513 + [1]
    else: assert found == [GIANT_PAGES, 512, 1]


@pytest.mark.parametrize("v", [5 * 512 - 2, GIANT_PAGES - 2, 3 * GIANT_PAGES + 4 * 512 - 2, (1 << 27) - 2, 3 * 512 + 7])
@pytest.mark.parametrize("pages", [2, 3, 4, 5])
@pytest.mark.parametrize("short", [0, 1])
def test_pages_for_exactly_what_a_range_and_its_tables_take(v: int, pages: int, short: int) -> None:
    """Small pages on both sides of a table's end: each table that translates one of them is counted once."""
    tables = sum(len({(v + i) >> shift for i in range(pages)}) for shift in (9, 18, 27))
    w = World(8, 1, "full")
    system = System(w.k, w.checker.step, lambda *_: None)
    c = system.spawn_container(w.k.root, 2 + pages + tables - short, 0, 0, 0)
    s = system.spawn(c)
    result = system.complete(system.map_range(s, v * PAGE_SIZE, pages * PAGE_SIZE, RW))
    assert (result, w.k.container[c].pages) == ((-ENOMEM, pages + tables - 1) if short else (0, 0))
    assert len([p for p in w.k.process[s].map_page.values() if p]) == (0 if short else pages)
