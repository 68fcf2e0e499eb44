"""What a vCPU can reach after the host changed a page table: tried by loads and stores from inside the guest, also
while a second vCPU is on the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import hv.guest_memory
from abi.layout import BLOCK_PAGES, BLOCK_SIZE, EXECUTE, PAGE_SIZE, READ, WRITE
from hv.vcpu import Vcpu
from tests.hv.guest import (
    CODE,
    DATA,
    LOAD_RBX,
    STACK,
    STORE_RBX,
    SYSCALL_CODE,
    Guest,
    Space,
    jump_back,
    run,
)

pytestmark = pytest.mark.kvm

INC_MEMORY = b"\x48\xff\x07"  # inc qword [rdi]
INC_R8 = b"\x49\xff\xc0"
BLOCK = 1 << 30
"""Where tests map 2 MiB pages."""


class Accessor:
    """A vCPU in a space that loads, stores or executes at an address when told."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.vcpu = space.guest.vcpu()

    def load(self, address: int) -> int | str:
        """The value there, or the fault."""
        self.vcpu.start(self.space.cr3, CODE, STACK, rdi=address)
        outcome = run(self.vcpu)
        return self.vcpu.regs.rbx if outcome == "syscall" else f"{outcome} {self.vcpu.error_code:#x}"

    def store(self, address: int, value: int) -> str:
        self.vcpu.start(self.space.cr3, CODE + 16, STACK, rdi=address)
        self.vcpu.regs.rbx = value
        outcome = run(self.vcpu)
        return outcome if outcome == "syscall" else f"{outcome} {self.vcpu.error_code:#x}"

    def execute(self, address: int) -> str:
        self.vcpu.start(self.space.cr3, address, STACK)
        outcome = run(self.vcpu)
        return outcome if outcome == "syscall" else f"{outcome} {self.vcpu.error_code:#x}"


def accessor(guest: Guest) -> Accessor:
    space = Space(guest)
    space.put((LOAD_RBX + SYSCALL_CODE).ljust(16, b"\x90") + (STORE_RBX + SYSCALL_CODE).ljust(16, b"\x90"))
    return Accessor(space)


class Counter:
    """A second vCPU, in a host thread of its own, that increments a word of a page for ever."""

    def __init__(self, space: Space, address: int) -> None:
        page = space.guest.new_page()
        space.guest.write(page, jump_back(INC_MEMORY + INC_R8))
        space.map(CODE + 0x1000, page, READ | EXECUTE)
        self.vcpu: Vcpu = space.guest.vcpu()
        self.vcpu.start(space.cr3, CODE + 0x1000, STACK, rdi=address)
        self.outcome = ""
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.outcome = run(self.vcpu)

    def stop(self) -> str:
        """What ended it: ``"preempted"`` if nothing did before."""
        self.vcpu.kick()
        self.thread.join()
        return self.outcome

    def wait(self) -> str:
        """What ends it by itself."""
        self.thread.join(timeout=30)
        return self.outcome or f"still running, then {self.stop()}"


@contextmanager
def counting(guest: Guest, space: Space, address: int, page: int) -> Iterator[Counter]:
    """A counter that is known to have begun."""
    before = guest.load(page)
    counter = Counter(space, address)
    try:
        while guest.load(page) < before + 1000:
            time.sleep(0.001)
        yield counter
    finally:
        counter.stop()


# One vCPU.


def test_what_is_mapped_anew_is_seen_without_a_drop(guest: Guest) -> None:
    program = accessor(guest)
    page = guest.new_page()
    guest.store(page, 5)
    assert program.load(DATA) == "fault 14 0x4"
    program.space.map(DATA, page, READ)
    assert program.load(DATA) == 5
    assert program.store(DATA, 6) == "fault 14 0x7"
    program.space.map(DATA, page, READ | WRITE)
    assert program.store(DATA, 6) == "syscall"
    assert guest.load(page) == 6


def test_unmap_and_drop_then_read_faults(guest: Guest) -> None:
    program = accessor(guest)
    page = guest.new_page()
    program.space.map(DATA, page)
    assert program.store(DATA, 7) == "syscall"
    program.space.map(DATA, page, 0)
    guest.memory.drop(page)
    assert program.load(DATA) == "fault 14 0x4"
    assert program.store(DATA, 8) == "fault 14 0x6"
    assert guest.load(page) == 7


def test_write_protect_and_drop_then_write_faults(guest: Guest) -> None:
    program = accessor(guest)
    page = guest.new_page()
    program.space.map(DATA, page)
    assert program.store(DATA, 7) == "syscall"
    program.space.map(DATA, page, READ)
    guest.memory.drop(page)
    assert program.store(DATA, 8) == "fault 14 0x7"
    assert program.load(DATA) == 7


def test_execute_protect_and_drop_then_execution_faults(guest: Guest) -> None:
    program = accessor(guest)
    page = guest.new_page()
    guest.write(page, SYSCALL_CODE)
    program.space.map(DATA, page, READ | EXECUTE)
    assert program.execute(DATA) == "syscall"
    program.space.map(DATA, page, READ)
    guest.memory.drop(page)
    assert program.execute(DATA) == "fault 14 0x15"
    program.space.map(DATA, page, READ | EXECUTE)
    assert program.execute(DATA) == "syscall"


def test_another_page_in_its_place_is_seen_after_a_drop(guest: Guest) -> None:
    program = accessor(guest)
    pages = [guest.new_page() for _ in range(3)]
    for number, page in enumerate(pages):
        guest.store(page, number)
    for turn in range(12):
        program.space.map(DATA, pages[turn % 3])
        guest.memory.drop(pages[(turn - 1) % 3])
        assert program.load(DATA) == turn % 3


def test_a_released_page_is_zero_for_whom_it_is_given_to(guest: Guest) -> None:
    first, second = accessor(guest), accessor(guest)
    page = guest.new_page()
    first.space.map(DATA, page)
    assert first.store(DATA, 0x5EC2E7) == "syscall"
    first.space.map(DATA, page, 0)
    guest.memory.release(page)
    second.space.map(DATA, page)
    assert second.load(DATA) == 0
    assert second.store(DATA, 9) == "syscall"
    assert first.load(DATA) == "fault 14 0x4"


def test_a_drop_reaches_every_address_and_space_of_a_page(guest: Guest) -> None:
    programs = [accessor(guest), accessor(guest)]
    page = guest.new_page()
    places = [(programs[0], DATA), (programs[0], DATA + 0x10_0000), (programs[1], DATA), (programs[1], 1 << 40)]
    for program, address in places:
        program.space.map(address, page)
        assert program.store(address, 1) == "syscall"
    for program, address in places:
        program.space.map(address, page, 0)
    guest.memory.drop(page)
    for program, address in places:
        assert program.load(address) == "fault 14 0x4"


def test_a_drop_leaves_the_neighbours(guest: Guest) -> None:
    program = accessor(guest)
    pages = [guest.new_page() for _ in range(3)]
    for number, page in enumerate(pages):
        program.space.map(DATA + number * PAGE_SIZE, page)
        assert program.store(DATA + number * PAGE_SIZE, number + 1) == "syscall"
    guest.memory.drop(pages[1])
    assert [program.load(DATA + number * PAGE_SIZE) for number in range(3)] == [1, 2, 3]


# 2 MiB pages.


def test_a_large_page_is_mapped_protected_and_unmapped(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(64 << 20)
    program = accessor(guest)
    block = guest.new_block()
    guest.memory.huge(block)
    last = BLOCK + BLOCK_SIZE - 8
    program.space.map(BLOCK, block, large=True)
    assert program.store(BLOCK, 1) == "syscall"
    assert program.store(last, 2) == "syscall"
    assert program.store(last + 8, 2) == "fault 14 0x6"
    assert guest.load(block) == 1
    program.space.map(BLOCK, block, READ, large=True)
    guest.memory.drop(block, BLOCK_PAGES)
    assert program.store(BLOCK + 0x12340, 3) == "fault 14 0x7"
    assert program.load(last) == 2
    program.space.map(BLOCK, block, 0, large=True)
    guest.memory.release(block, BLOCK_PAGES)
    assert program.load(last) == "fault 14 0x4"
    assert not any(guest.memory.view[block * PAGE_SIZE : (block + BLOCK_PAGES) * PAGE_SIZE])


def test_a_large_page_gives_way_to_small_ones_and_back(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(64 << 20)
    program = accessor(guest)
    space = program.space
    block, other = guest.new_block(), guest.new_page()
    guest.store(other, 99)
    for turn in range(4):
        space.map(BLOCK, block, large=True)
        guest.memory.drop(block, BLOCK_PAGES)
        guest.memory.drop(other)
        assert program.store(BLOCK + 0x5000, turn) == "syscall"
        assert program.load(BLOCK) == 0
        # Split: the same pages by a table, but for one.
        space.table(BLOCK, 3)
        for number in range(BLOCK_PAGES):
            space.map(BLOCK + number * PAGE_SIZE, block + number)
        space.map(BLOCK + 0x7000, other, READ)
        guest.memory.drop(block, BLOCK_PAGES)
        assert program.load(BLOCK + 0x5000) == turn
        assert program.load(BLOCK + 0x7000) == 99
        assert program.store(BLOCK + 0x7000, 1) == "fault 14 0x7"
        # Back: the table goes.
        space.forget_table(BLOCK, 1)
        guest.memory.drop(block, BLOCK_PAGES)
        guest.memory.drop(other)
        assert program.load(BLOCK + 0x5000) == "fault 14 0x4"
        assert program.load(BLOCK + 0x7000) == "fault 14 0x4"


def test_a_block_is_huge_again_after_it_was_used_in_pieces(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(64 << 20)
    program = accessor(guest)
    block = guest.new_block()
    program.space.map(DATA, block + 3)
    assert program.store(DATA, 5) == "syscall"
    guest.memory.huge(block)
    assert guest.load(block + 3) == 5, "a block in use stays as it is"
    program.space.map(DATA, block + 3, 0)
    guest.memory.release(block + 3)
    guest.memory.huge(block)
    program.space.map(BLOCK, block, large=True)
    assert program.load(BLOCK + 3 * PAGE_SIZE) == 0
    assert program.store(BLOCK + 3 * PAGE_SIZE, 6) == "syscall"
    assert guest.load(block + 3) == 6
    assert program.load(DATA) == "fault 14 0x4"


# While another vCPU is on the page.


def test_unmap_stops_a_running_vcpu(guest: Guest) -> None:
    program = accessor(guest)
    page = guest.new_page()
    program.space.map(DATA, page)
    with counting(guest, program.space, DATA, page) as counter:
        program.space.map(DATA, page, 0)
        guest.memory.drop(page)
        value = guest.load(page)
        assert counter.wait() == "fault 14"
        assert counter.vcpu.fault_address == DATA
        assert guest.load(page) == value
    assert program.load(DATA) == "fault 14 0x4"


def test_write_protection_stops_a_running_vcpu(guest: Guest) -> None:
    program = accessor(guest)
    page = guest.new_page()
    program.space.map(DATA, page)
    with counting(guest, program.space, DATA, page) as counter:
        program.space.map(DATA, page, READ)
        guest.memory.drop(page)
        value = guest.load(page)
        assert counter.wait() == "fault 14"
        assert counter.vcpu.error_code == 7
        assert guest.load(page) == value
        assert program.load(DATA) == value


def test_release_stops_a_running_vcpu_and_the_page_stays_zero(guest: Guest) -> None:
    program = accessor(guest)
    page = guest.new_page()
    program.space.map(DATA, page)
    with counting(guest, program.space, DATA, page) as counter:
        program.space.map(DATA, page, 0)
        guest.memory.release(page)
        assert counter.wait() == "fault 14"
        assert guest.load(page) == 0


def test_a_running_vcpu_goes_over_to_the_page_in_its_place(guest: Guest) -> None:
    program = accessor(guest)
    first, second = guest.new_page(), guest.new_page()
    program.space.map(DATA, first)
    with counting(guest, program.space, DATA, first) as counter:
        program.space.map(DATA, second)
        guest.memory.drop(first)
        value = guest.load(first)
        while guest.load(second) < 1000:
            time.sleep(0.001)
        assert counter.stop() == "preempted"
        assert guest.load(first) == value
        assert abs(counter.vcpu.regs.r8 - value - guest.load(second)) <= 1


@pytest.mark.parametrize("executable", [True, False], ids=["", "where PROT_EXEC is refused"])
def test_drops_lose_nothing_of_what_a_running_vcpu_writes(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, executable: bool
) -> None:
    """The vCPU counts in memory and in a register: every increment arrives, and nothing makes it stop."""
    if not executable:
        native = hv.guest_memory.lib

        class Refusing:
            def __getattr__(self, name: str) -> object:
                return getattr(native, name)

            def mprotect(self, address: object, length: int, protection: int) -> object:
                return -1 if protection & native.PROT_EXEC else native.mprotect(address, length, protection)

        monkeypatch.setattr(hv.guest_memory, "lib", Refusing())
    program = accessor(guest)
    page = guest.new_page()
    program.space.map(DATA, page)
    with counting(guest, program.space, DATA, page) as counter:
        for _ in range(3000):
            guest.memory.drop(page)
        assert counter.stop() == "preempted"
        assert guest.load(page) - counter.vcpu.regs.r8 in (0, 1)


def test_memory_grows_while_a_vcpu_runs(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(256 << 20)
    program = accessor(guest)
    page = guest.new_page()
    program.space.map(DATA, page)
    with counting(guest, program.space, DATA, page) as counter:
        covered = guest.memory.covered
        far = (128 << 20) // PAGE_SIZE
        guest.memory.ensure(far)
        assert guest.memory.covered > 128 << 20 > covered
        program.space.map(DATA + PAGE_SIZE, far)
        assert program.store(DATA + PAGE_SIZE, 5) == "syscall"
        assert guest.load(far) == 5
        assert counter.stop() == "preempted"


# Page-table frames.


def test_frames_come_back_only_by_recycling(guest: Guest) -> None:
    frames = guest.frames
    seen = [frames.create(number) for number in range(8)]
    for number in range(8):
        frames.set_entry(number, 5, 0x1234)
        frames.free(number)
    assert not set(seen) & {frames.create(number) for number in range(8)}
    frames.recycle()
    again = {frames.create(number): number for number in range(10, 18)}
    assert set(again) == set(seen)
    assert all(frames.entry(number, 5) == 0 for number in again.values())


def test_a_recycled_frame_shows_what_is_in_it_now(guest: Guest) -> None:
    """Without the recycling step a shadow MMU goes on with what the frame held in its last life."""
    program, bystander = accessor(guest), accessor(guest)
    mine = guest.new_page()
    guest.store(mine, 4711)
    bystander.space.map(DATA, mine)
    used: set[int] = set()
    for life in range(12):
        page = guest.new_page()
        guest.store(page, life)
        # A table is needed at each of two addresses, alternately: the frame changes its place too.
        address = BLOCK + (life % 2 << 30)
        program.space.map(address, page)
        table = program.space.table(address, 1)
        reused = guest.frames.gpa(table) in used
        assert reused == (life > 0)
        used.add(guest.frames.gpa(table))
        assert program.load(address) == life
        assert program.load(address + PAGE_SIZE) == "fault 14 0x4"
        assert program.load(BLOCK + ((life + 1) % 2 << 30)) == "fault 14 0x4"
        program.space.map(address, page, 0)
        guest.memory.drop(page)
        program.space.forget_table(address, 1)
        guest.frames.recycle()
        assert bystander.load(DATA) == 4711


def test_a_root_table_is_recycled(guest: Guest) -> None:
    """Spaces come and go in the same few frames."""
    cr3s = []
    for life in range(6):
        program = accessor(guest)
        cr3s.append(program.space.cr3)
        page = guest.new_page()
        guest.store(page, life)
        program.space.map(DATA, page)
        assert program.load(DATA) == life
        assert program.load(DATA + BLOCK_SIZE) == "fault 14 0x4"
        for table in (*program.space.tables.values(), program.space.root):
            guest.frames.free(table)
        for number in range(page + 1):
            guest.memory.drop(number)
        guest.frames.recycle()
    assert len(set(cr3s)) < len(cr3s)
