"""Guest memory: grown on demand, zeroed and given back, safe to close."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from abi.layout import BLOCK_PAGES, DATA_LIMIT, PAGE_SIZE
from hv.guest_memory import GuestMemory, HostMemory
from hv.kvm import Kvm
from tests.hv.guest import DATA, STORE_RBX, SYSCALL_CODE, Guest, Space, run

pytestmark = pytest.mark.kvm


@pytest.mark.parametrize("limit", [0, -4096, 4095, 4097, DATA_LIMIT + PAGE_SIZE])
def test_a_limit_is_pages_and_not_too_many(kvm: Kvm, limit: int) -> None:
    vm = kvm.vm()
    with pytest.raises(ValueError, match="limit"):
        GuestMemory(vm, limit)
    vm.close()


def test_the_largest_machine_costs_nothing_until_it_is_used(kvm: Kvm) -> None:
    vm = kvm.vm()
    memory = GuestMemory(vm, DATA_LIMIT)
    assert memory.covered == 0
    memory.ensure(0)
    assert memory.covered == 16 << 20
    assert memory.resident() == 0
    memory.view[DATA_LIMIT - 1] = 1
    assert 0 < memory.resident() <= 4 << 20
    memory.close()
    vm.close()


def test_it_grows_in_doubling_chunks_to_its_limit(kvm: Kvm) -> None:
    vm = kvm.vm()
    memory = GuestMemory(vm, 100 << 20)
    grown = []
    for page in (0, 4095, 4096, 4097, 25599):
        memory.ensure(page)
        grown.append(memory.covered >> 20)
    assert grown == [16, 16, 48, 48, 100]
    for page in (25600, -1, 1 << 60):
        with pytest.raises(ValueError, match="beyond"):
            memory.ensure(page)
    memory.close()
    vm.close()


def test_it_grows_once_however_many_threads_ask(kvm: Kvm) -> None:
    vm = kvm.vm()
    memory = GuestMemory(vm, 1 << 30)
    barrier = threading.Barrier(8)
    failures: list[BaseException] = []

    def ask(number: int) -> None:
        barrier.wait()
        try:
            for page in range(number, (1 << 30) // PAGE_SIZE, 4096):
                memory.ensure(page)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert memory.covered == 1 << 30
    memory.close()
    vm.close()


def test_every_chunk_is_reachable_from_the_guest(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(256 << 20)
    space = Space(guest)
    space.put(STORE_RBX + SYSCALL_CODE)
    vcpu = guest.vcpu()
    edges = [(16 << 20, 0), (48 << 20, 0), (112 << 20, 0), (240 << 20, 0), (256 << 20, -1)]
    for number, (boundary, after) in enumerate(edges):
        for page in {boundary // PAGE_SIZE - 1, boundary // PAGE_SIZE + after}:
            guest.memory.ensure(page)
            space.map(DATA, page)
            guest.memory.drop(0, 256 << 8)
            vcpu.start(space.cr3, 0x40_0000, 0, rdi=DATA)
            vcpu.regs.rbx = number + 1
            assert run(vcpu) == "syscall"
            assert guest.load(page) == number + 1


def test_drop_keeps_and_release_zeroes(guest: Guest) -> None:
    memory = guest.memory
    content = bytes(range(256)) * 48
    memory.view[PAGE_SIZE : PAGE_SIZE * 4] = content
    memory.drop(1, 3)
    assert memory.view[PAGE_SIZE : PAGE_SIZE * 4] == content
    memory.release(2)
    assert memory.view[PAGE_SIZE : PAGE_SIZE * 2] == content[:PAGE_SIZE]
    assert not any(memory.view[PAGE_SIZE * 2 : PAGE_SIZE * 3])
    assert memory.view[PAGE_SIZE * 3 : PAGE_SIZE * 4] == content[PAGE_SIZE * 2 :]


def test_released_memory_goes_back_to_the_host(guest: Guest) -> None:
    memory = guest.memory
    memory.view[: 8 << 20] = b"\x01" * (8 << 20)
    assert memory.resident() >= 8 << 20
    memory.release(0, 4 * BLOCK_PAGES)
    assert memory.resident() <= 2 << 20
    assert not any(memory.view[: 8 << 20])


@pytest.mark.parametrize("pages", [(-1, 1), (0, 0), (0, -1), (4095, 2), (4096, 1), (1 << 60, 1)])
def test_ranges_outside_are_refused(guest: Guest, pages: tuple[int, int]) -> None:
    for operation in (guest.memory.drop, guest.memory.release):
        with pytest.raises(ValueError, match="not within"):
            operation(*pages)
    with pytest.raises(ValueError, match="not within"):
        guest.memory.huge(4096)


def test_memory_is_aligned_for_large_pages() -> None:
    memory = HostMemory(4 << 20)
    assert memory.address % (2 << 20) == 0
    memory.close()


def test_a_view_outlives_its_memory(kvm: Kvm) -> None:
    """Whoever still holds a part of it reads what was there; nothing crashes."""
    vm = kvm.vm()
    memory = GuestMemory(vm, 16 << 20)
    part = memory.view[:16]
    part[:] = b"still here......"
    memory.close()
    memory.close()
    assert bytes(part) == b"still here......"
    with pytest.raises(ValueError, match="released"):
        memory.view[0]
    vm.close()


def test_a_forked_child_does_not_share_the_guest(guest: Guest) -> None:
    """Its memory is not passed on, so that no write of either is copied or seen by the other."""
    guest.memory.view[0] = 7
    child = os.fork()
    if child == 0:
        with open("/proc/self/smaps") as maps:
            os._exit(0 if not any(guest_part(line, guest) for line in maps) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def guest_part(line: str, guest: Guest) -> bool:
    """Whether a line of smaps begins a mapping that holds the guest's memory."""
    first, dash, rest = line.partition("-")
    if not dash or " " not in rest or ":" in first:
        return False
    address = guest.memory._host.address
    return int(first, 16) <= address < int(rest.split(" ", 1)[0], 16)
