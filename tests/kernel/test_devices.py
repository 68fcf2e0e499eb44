"""Calls on devices and IOMMU domains, on the kernel alone: ranges, what stays, and what an end takes with it."""

from __future__ import annotations

import pytest

from abi.errors import EEXIST, EFAULT, EINVAL, ENOSPC, EPERM, ESRCH
from abi.layout import BLOCK_SIZE, PAGE_SIZE, READ, WRITE
from kernel.calls import System
from kernel.calls.devices import MOST_AT_ONCE
from kernel.calls.messages import FOREVER
from kernel.objects import READY
from tests.kernel.world import World

A = 0x1000_0000
IOVA = 0x4000_0000
BOTH = READ | WRITE


class Driver:
    """A process with a device and a domain, its thread running."""

    def __init__(self, blocks: int = 10) -> None:
        self.w = World(blocks=blocks, cores=1)
        self.k = self.w.k
        self.system = System(self.k, self.w.checker.step, lambda *started: None)
        self.t = self.w.running()
        self.s = self.k.thread[self.t].process
        self.device_id = self.system.add_device(self.k.root)
        self.device = self.system.open_device(self.device_id, self.s)
        self.domain = self.system.domain_create(self.t)
        self.M = self.k.domain[self.k.process[self.s].handle_object[self.domain % 65536]]
        assert min(self.device_id, self.device, self.domain) > 0

    def map(self, pages: int, address: int = A) -> None:
        """Maps pages in the process."""
        assert self.system.complete(self.system.mmap(self.t, address, pages * PAGE_SIZE, BOTH)) == 0

    def reach(self, pages: int, address: int = A, iova: int = IOVA, protection: int = BOTH) -> int:
        """Lets the device reach them."""
        return self.system.domain_map(self.t, self.domain, address, pages * PAGE_SIZE, iova, protection)


def test_range_of_pages_and_blocks() -> None:
    d = Driver()
    start = (A & -BLOCK_SIZE) - 2 * PAGE_SIZE
    d.map(2 + 512 + 1, start)
    assert d.reach(2 + 512 + 1, start, IOVA - 2 * PAGE_SIZE) == 0
    assert d.M.mappings == 4
    assert d.system.domain_unmap(d.t, d.domain, IOVA, BLOCK_SIZE - PAGE_SIZE) == -EINVAL
    assert d.system.domain_unmap(d.t, d.domain, IOVA - 2 * PAGE_SIZE, BLOCK_SIZE + 3 * PAGE_SIZE) == 0
    assert d.M.mappings == 0
    assert dict(d.M.map_page) == {}


def test_failure_in_the_middle_leaves_nothing() -> None:
    d = Driver()
    d.map(4)
    assert d.reach(1, A + 2 * PAGE_SIZE, IOVA + 2 * PAGE_SIZE) == 0
    assert d.reach(4) == -EEXIST
    assert d.M.mappings == 1
    assert d.system.mprotect(d.t, A + 3 * PAGE_SIZE, PAGE_SIZE, READ) == 0
    assert d.reach(4, iova=2 * IOVA) == -EPERM
    assert d.M.mappings == 1
    assert d.reach(5, iova=2 * IOVA) == -EFAULT
    d.w.checker.audit()


def test_more_than_one_call_takes() -> None:
    d = Driver()
    d.map(MOST_AT_ONCE + 1, A + PAGE_SIZE)
    assert d.reach(MOST_AT_ONCE + 1, A + PAGE_SIZE) == -ENOSPC
    assert d.reach(MOST_AT_ONCE, A + PAGE_SIZE) == 0
    assert d.reach(1, A + (MOST_AT_ONCE + 1) * PAGE_SIZE, IOVA + MOST_AT_ONCE * PAGE_SIZE) == 0
    assert d.system.domain_unmap(d.t, d.domain, IOVA, (MOST_AT_ONCE + 1) * PAGE_SIZE) == -ENOSPC
    assert d.system.domain_unmap(d.t, d.domain, IOVA, MOST_AT_ONCE * PAGE_SIZE) == 0


@pytest.mark.parametrize(
    ("address", "length", "iova", "protection"),
    [
        (A + 1, PAGE_SIZE, IOVA, BOTH), (A, 0, IOVA, BOTH), (A, PAGE_SIZE, IOVA + 8, BOTH), (A, PAGE_SIZE, IOVA, 0),
        (A, PAGE_SIZE, IOVA, 4), (A, PAGE_SIZE, IOVA, 1 << 40), (A, PAGE_SIZE, 1 << 48, BOTH),
        (A, 2 * PAGE_SIZE, (1 << 48) - PAGE_SIZE, BOTH), (0, PAGE_SIZE, IOVA, BOTH), (A, 1 << 63, IOVA, BOTH),
    ],
)  # fmt: skip
def test_what_is_no_range(address: int, length: int, iova: int, protection: int) -> None:
    d = Driver()
    d.map(2)
    assert d.system.domain_map(d.t, d.domain, address, length, iova, protection) == -EINVAL
    assert d.system.domain_map(d.t, d.device, A, PAGE_SIZE, IOVA, BOTH) == -ESRCH


def test_memory_that_a_device_reaches_stays_when_the_process_unmaps_it() -> None:
    d = Driver()
    d.map(1)
    page = d.k.process[d.s].map_page[A >> 12]
    used = d.w.root.used_pages
    assert d.reach(1) == 0
    assert d.system.munmap(d.t, A, PAGE_SIZE) == 0
    assert d.k.page[page].references == 1
    assert d.system.domain_unmap(d.t, d.domain, IOVA, PAGE_SIZE) == 0
    assert d.k.page[page].kind == 0
    assert d.w.root.used_pages < used


def test_end_of_the_process_takes_the_device_off_its_memory_first() -> None:
    d = Driver()
    d.map(3)
    assert d.reach(3) == 0
    assert d.system.device_attach(d.t, d.device, d.domain) == 0
    endpoint = d.system.endpoint_create(d.t)
    assert d.system.interrupt_bind(d.t, d.device, endpoint) == 0
    order: list[str] = []
    step = d.system.step
    d.system.step = lambda transition, *arguments: order.append(transition.__name__) or step(transition, *arguments)
    assert d.system.end(d.s, 1) == 0
    d.system.operations.drain()
    assert order.index("device_release") < order.index("domain_unmap") < order.index("unmap_page")
    D = d.k.device[d.device_id]
    assert (D.holder, D.domain, D.endpoint) == (0, 0, 0)
    assert d.system.interrupt(d.device_id) == -EINVAL
    again = d.w.process()
    assert d.system.open_device(d.device_id, again) > 0
    d.w.checker.audit()


def test_interrupts_are_received_as_signals() -> None:
    d = Driver()
    endpoint = d.system.endpoint_create(d.t)
    assert d.system.interrupt_bind(d.t, d.device, endpoint) == 0
    assert d.system.interrupt(d.device_id) == 0
    assert d.system.interrupt(d.device_id) == 0
    assert d.system.message_receive(d.t, endpoint, FOREVER) == 2
    assert d.system.message_receive(d.t, endpoint, FOREVER) == 0
    assert d.system.interrupt(d.device_id) == d.t
    assert d.k.thread[d.t].state == READY


def test_device_that_is_taken_away_while_it_works() -> None:
    d = Driver()
    d.map(1)
    assert d.reach(1) == 0
    assert d.system.device_attach(d.t, d.device, d.domain) == 0
    assert d.system.remove_device(d.device_id) == 0
    assert d.system.device_attach(d.t, d.device, d.domain) == -ESRCH
    assert d.M.device_count == 0
    d.w.checker.audit()


LAST = (1 << 48) - PAGE_SIZE
"""The last page of I/O virtual addresses."""


def test_last_pages_that_a_device_can_reach() -> None:
    d = Driver()
    d.map(4)
    assert d.reach(1, iova=LAST) == 0
    assert d.reach(3, iova=LAST - 3 * PAGE_SIZE) == 0
    assert d.M.mappings == 4
    assert d.system.domain_unmap(d.t, d.domain, LAST - 3 * PAGE_SIZE, 4 * PAGE_SIZE) == 0
    for pages in (2, 3, 4):
        assert d.reach(pages, iova=LAST) == -EINVAL
        assert d.reach(pages, iova=LAST - (pages - 2) * PAGE_SIZE) == -EINVAL
    assert d.M.mappings == 0


@pytest.mark.parametrize(
    ("iova", "protection", "pages"),
    [(IOVA, 0, 1), (IOVA, 4, 1), (IOVA, -1, 1), (IOVA + 1, READ, 1), (LAST, READ, 2), (LAST + PAGE_SIZE, READ, 1)],
)
def test_what_is_no_range_is_said_before_what_is_not_mapped(iova: int, protection: int, pages: int) -> None:
    d = Driver()
    assert d.reach(pages, iova=iova, protection=protection) == -EINVAL
    assert d.reach(1) == -EFAULT
