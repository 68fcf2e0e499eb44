"""Faults that are injected: late, lost, twice, failed, gone; and guests that do what they must not."""

from __future__ import annotations

import os
import random
import struct
import threading
import time

import pytest

from drivers.model.faults import Faults
from drivers.nvme.backing import in_memory
from drivers.nvme.model import NvmeModel

from .conftest import MakeHost
from .host import PAGE, Host, Queue


def ready(make_host: MakeHost, **faults: float) -> tuple[Host, Queue]:
    host = make_host(faults=Faults(**faults))  # type: ignore[arg-type]
    host.enable()
    host.model.poll()
    return host, host.queue(1, 64)


def many(host: Host, queue: Queue, count: int) -> list[int]:
    page = host.page()
    sent = [queue.put(2, nsid=1, prp1=page) for _ in range(count)]
    queue.ring()
    host.model.poll()
    return sent


def test_late_ones_come_when_their_time_has_come(make_host: MakeHost) -> None:
    host, queue = ready(make_host, late=1.0, late_ms=30)
    start = time.monotonic()
    sent = many(host, queue, 3)
    assert queue.peek() is None
    got = []
    while len(got) < 3 and time.monotonic() < start + 60:
        host.model.poll()
        got += queue.take()
    assert time.monotonic() - start >= 0.03
    assert sorted(one.cid for one in got) == sorted(sent)


def test_lost_ones_are_done_but_never_told(make_host: MakeHost) -> None:
    host, queue = ready(make_host, lost=1.0)
    many(host, queue, 5)
    host.model.poll()
    assert queue.take() == []
    assert host.model.counts()["reads"] == 5


def test_some_are_told_twice(make_host: MakeHost) -> None:
    host, queue = ready(make_host, duplicated=1.0)
    sent = many(host, queue, 3)
    assert [one.cid for one in queue.take()] == [cid for cid in sent for _ in range(2)]


def test_failed_ones_are_not_done(make_host: MakeHost) -> None:
    host, queue = ready(make_host, error=1.0)
    page = host.page()
    host.store(page, b"x" * PAGE)
    assert host.write(queue, 0, 8, page).status == 0x280
    assert host.read(queue, 0, 8, page).status == 0x281
    assert host.model.backing.memory is not None
    assert host.model.backing.memory[:PAGE] == bytes(PAGE)


def test_the_same_seed_gives_the_same_run(make_host: MakeHost) -> None:
    runs = []
    for seed in (4, 4, 5):
        host, queue = ready(make_host, seed=seed, error=0.3, duplicated=0.3, lost=0.2)
        for _ in range(4): many(host, queue, 10)
        runs.append([(one.cid, one.status) for one in queue.take()])
    assert runs[0] == runs[1] != runs[2]


def test_gone_in_the_middle(make_host: MakeHost) -> None:
    host, queue = ready(make_host, removal=5)
    many(host, queue, 20)
    assert len(queue.take()) <= 5
    assert host.bar.read32(0x1C) == 0xFFFFFFFF
    assert os.eventfd_read(host.model.removal) == 1


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_guest_writes_the_host_goes_on(make_host: MakeHost, seed: int) -> None:
    """Random registers, doorbells, rings and lists: no exception, no memory outside what is mapped, an end."""
    draw = random.Random(seed)
    host = make_host(queues=4, entries=16, faults=Faults(seed=seed, late=0.1, lost=0.1, duplicated=0.1, late_ms=0.01))
    guard = host.address
    host.model.unmap(0x7_0000_0000, 4 * PAGE)
    host.memory[: 4 * PAGE] = b"G" * 4 * PAGE
    host._next += 4 * PAGE
    area = host.page(32)

    def somewhere() -> int:
        return draw.choice([area + draw.randrange(32) * PAGE, area + draw.randrange(32 * PAGE), draw.getrandbits(64), 0,
                            0x7_0000_0000 + draw.randrange(4 * PAGE)])  # fmt: skip

    for _ in range(60):
        host.enable(16)
        host.model.poll()
        for number in range(1, 5):
            for opcode in (5, 1):
                host.admin.put(opcode, prp1=area + draw.randrange(16) * PAGE, dw10=number | draw.randrange(1, 16) << 16,
                               dw11=draw.choice([number << 16 | 1, draw.getrandbits(32)]))  # fmt: skip
        host.admin.ring()
        host.model.poll()
        for _ in range(40):
            kind = draw.randrange(5)
            if kind == 0:
                host.store(area + draw.randrange(32) * PAGE, draw.randbytes(PAGE))
            elif kind == 1:
                entry = struct.pack("<BBHIQQQQ6I", draw.choice([0, 1, 2, 8, 9, 0x7C, 6, 12, draw.randrange(256)]), 0,
                                    draw.randrange(8), 1, 0, 0, somewhere(), somewhere(),
                                    draw.randrange(40000), 0, draw.randrange(2048), 0, 0, 0)  # fmt: skip
                host.store(area + draw.randrange(32) * PAGE + 64 * draw.randrange(64), entry)
            elif kind == 2:
                for _ in range(4):
                    host.bar.write32(0x1000 + 4 * draw.randrange(12), draw.randrange(20))
            elif kind == 3:
                host.model.write(0, draw.randrange(0x4000), draw.choice([1, 2, 4, 8]), draw.getrandbits(32))
            else:
                host.model.poll()
        host.bar.write32(0x14, 0)
        host.model.poll()
    assert host.memory[: 4 * PAGE] == b"G" * 4 * PAGE
    assert host.address == guard
    while host.bar.read32(0x1C) & 3: host.bar.write32(0x14, 0)
    host._next = area
    host.store(area, bytes(16 * PAGE))
    host.enable()
    assert host.run(host.admin, 0x0A, dw10=7).status == 0


@pytest.mark.parametrize("fast", [False, True])
def test_with_a_thread_of_its_own(fast: bool) -> None:
    """As in a machine: the host only rings and looks."""
    backing = in_memory(1 << 20)
    model = NvmeModel(backing, fast=fast)
    host = Host(model)
    deadline = time.monotonic() + 120

    def wait(queue: Queue, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            assert time.monotonic() < deadline
            found += [done.status for done in queue.take()]
            time.sleep(1e-5)  # there may be one processor for both
        return found

    try:
        host.enable()
        while host.bar.read32(0x1C) != 1: assert time.monotonic() < deadline
        cq, sq, page = host.page(), host.page(), host.page()
        host.admin.put(0x05, prp1=cq, dw10=1 | 31 << 16, dw11=3)
        host.admin.put(0x01, prp1=sq, dw10=1 | 31 << 16, dw11=1 << 16 | 1)
        host.admin.ring()
        assert wait(host.admin, 2) == [0, 0]
        queue = Queue(host, 1, sq, cq, 32, 32)
        for _ in range(100):
            for _ in range(8): queue.put(2, nsid=1, prp1=page)
            queue.ring()
            assert wait(queue, 8) == [0] * 8
        assert model.counts()["reads"] == 800
        # Memory is taken away by another thread, as a machine does it, while commands go on.
        stop = threading.Event()

        def away() -> None:
            while not stop.is_set():
                model.unmap(page, PAGE)
                model.map(page, host.address + page - 0x7_0000_0000, PAGE, True)

        thread = threading.Thread(target=away)
        thread.start()
        try:
            for _ in range(50):
                for _ in range(8): queue.put(2, nsid=1, prp1=page)
                queue.ring()
                assert set(wait(queue, 8)) <= {0, 4}
        finally:
            stop.set()
            thread.join()
    finally:
        model.close()
        backing.close()
