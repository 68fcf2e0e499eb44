"""What a program sees of its CPU, and what the host sees of the program, at system calls and faults."""

from __future__ import annotations

import gc
import struct

import pytest

from abi.layout import EXECUTE, PAGE_SIZE, READ, USER_END, WRITE
from hv import engine
from hv.engine import CRASHED, FAULT, MMIO, SYSCALL
from hv.gate import SYSTEM_BASE
from hv.kvm import Kvm, lib
from tests.hv.guest import (
    CODE,
    DATA,
    LOAD_RBX,
    NUMBERED,
    PLAIN_EMULATION,
    RAX,
    RBX,
    SPIN,
    STACK,
    STORE_RBX,
    SYSCALL_CODE,
    Guest,
    Space,
    jump_back,
    run,
    set_register,
)

pytestmark = pytest.mark.kvm


def expected(n: int) -> int:
    return 0x0F0F_0F0F_0F0F_0F0F * n + 7


ALL_REGISTERS = b"".join(set_register(n, expected(n)) for n in range(16) if n != 4)


def test_the_traps_have_the_numbers_of_the_native_part() -> None:
    for name in ("SYSCALL", "FAULT", "PREEMPTED", "MMIO", "CRASHED"):
        assert getattr(engine, name) == getattr(lib, f"TRAP_{name}")


def test_a_system_call_shows_the_programs_registers(guest: Guest) -> None:
    vcpu = guest.program(ALL_REGISTERS + SYSCALL_CODE)
    assert run(vcpu) == "syscall"
    after = CODE + len(ALL_REGISTERS) + 2
    for n, name in enumerate(NUMBERED):
        if name not in ("rsp", "rcx", "r11"):
            assert getattr(vcpu.regs, name) == expected(n), name
    assert vcpu.rip == after
    assert vcpu.rsp == STACK
    assert vcpu.rflags & 0x202 == 0x202


def test_a_system_call_changes_nothing_but_rcx_and_r11(guest: Guest) -> None:
    vcpu = guest.program(ALL_REGISTERS + SYSCALL_CODE + SYSCALL_CODE)
    assert run(vcpu) == "syscall"
    vcpu.regs.rax = 2**64 - 12
    assert run(vcpu) == "syscall"
    assert vcpu.regs.rax == 2**64 - 12
    for n, name in enumerate(NUMBERED):
        if name not in ("rax", "rsp", "rcx", "r11"):
            assert getattr(vcpu.regs, name) == expected(n), name


@pytest.mark.parametrize("stop", [SYSCALL_CODE, b"\x0f\x0b"], ids=["syscall", "fault"])
def test_the_host_may_set_every_register(guest: Guest, stop: bytes) -> None:
    """As for a signal's return: rcx and r11 as well, which a plain return from a system call would lose."""
    other = CODE + 0x100
    # At the other place the program keeps rcx and r11 where a system call leaves them alone.
    kept = b"\x48\x89\x0f" + b"\x4c\x89\x5f\x08" + b"\x48\x89\x67\x10"  # mov [rdi], rcx; [rdi+8], r11; [rdi+16], rsp
    space = Space(guest)
    space.put((stop + SPIN).ljust(0x100, b"\x90") + kept + SYSCALL_CODE)
    page = space.with_data()
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK)
    run(vcpu)
    for n, name in enumerate(NUMBERED):
        setattr(vcpu.regs, name, n + 100)
    vcpu.regs.rdi = DATA
    vcpu.rip, vcpu.rsp = other, STACK - 64
    assert run(vcpu) == "syscall"
    assert struct.unpack_from("<3Q", guest.memory.view, page * PAGE_SIZE) == (101, 111, STACK - 64)
    for n, name in enumerate(NUMBERED):
        if name not in ("rsp", "rcx", "r11", "rdi"):
            assert getattr(vcpu.regs, name) == n + 100


FAULTS = {
    "divide": (b"\x31\xd2\x31\xc9\xf7\xf1", 4, 0, 0),  # xor edx, edx; xor ecx, ecx; div ecx
    "undefined instruction": (b"\x0f\x0b", 0, 6, 0),
    "breakpoint": (b"\xcc", 1, 3, 0),
    "read of a non-canonical address": (set_register(RAX, 1 << 63) + b"\x48\x8b\x00", 10, 13, 0),
    "hlt": (b"\xf4", 0, 13, 0),
    "SSE exception": (  # ldmxcsr with all exceptions unmasked; divss xmm0, xmm1 (0/0)
        b"\x68\x00\x00\x00\x00\x0f\xae\x14\x24\x0f\x57\xc0\x0f\x57\xc9\xf3\x0f\x5e\xc1", 15, 19, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_vector_error_and_instruction(guest: Guest, name: str) -> None:
    code, offset, vector, error_code = FAULTS[name]
    vcpu = guest.program(code + SYSCALL_CODE)
    if PLAIN_EMULATION and vector == 19:
        assert vcpu.run() == SYSCALL
        return
    assert vcpu.run() == FAULT
    assert (vcpu.vector, vcpu.error_code) == (vector, error_code)
    assert vcpu.rip == CODE + offset


PAGE_FAULTS = {
    "read of nothing": (LOAD_RBX, DATA + 0x2345, 0, 4),
    "write to nothing": (STORE_RBX, DATA + 0x2345, 0, 6),
    "write to a read-only page": (STORE_RBX, DATA + 0x1FF8, READ, 7),
    "execution of nothing": (b"\xff\xe7", DATA + 0x2345, 0, 0x14),
    "execution of a data page": (b"\xff\xe7", DATA + 0x1010, READ | WRITE, 0x15),
}


@pytest.mark.parametrize("name", PAGE_FAULTS)
def test_a_page_fault_names_address_and_access(guest: Guest, name: str) -> None:
    code, address, permissions, error_code = PAGE_FAULTS[name]
    space = Space(guest)
    start = set_register(RAX, 0xABCD)
    space.put(start + code + SPIN)
    if permissions:
        space.map(DATA + 0x1000, guest.new_page(), permissions)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK, rdi=address)
    assert run(vcpu) == "fault 14"
    assert vcpu.fault_address == address
    assert vcpu.error_code == error_code
    assert vcpu.rip == (address if error_code & 16 else CODE + len(start))
    assert vcpu.regs.rax == 0xABCD


def test_a_repaired_fault_is_retried_with_all_registers_kept(guest: Guest) -> None:
    space = Space(guest)
    load = b"\x48\x8b\x20"  # mov rsp, [rax]: the one register that ALL_REGISTERS leaves alone
    space.put(ALL_REGISTERS + load + SYSCALL_CODE)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK)
    assert run(vcpu) == "fault 14"
    assert vcpu.fault_address == expected(0)
    page = guest.new_page()
    guest.store(page, 0x1234)
    vcpu.regs.rax = DATA
    space.map(DATA, page)
    assert run(vcpu) == "syscall"
    assert vcpu.rsp == 0x1234
    for n, name in enumerate(NUMBERED):
        if name not in ("rax", "rsp", "rcx", "r11"):
            assert getattr(vcpu.regs, name) == expected(n), name


def test_a_fault_with_any_stack_pointer_is_reported(guest: Guest) -> None:
    """The ring-0 stack is the vCPU's own: nothing depends on the program's."""
    for rsp in (0, 8, 1 << 63, SYSTEM_BASE + 0x4800, 2**64 - 1):
        vcpu = guest.program(set_register(4, rsp) + b"\x0f\x0b" + SYSCALL_CODE)
        assert run(vcpu) == "fault 6"
        assert vcpu.rsp == rsp
        vcpu.rip += 2
        assert run(vcpu) == "syscall"
        assert vcpu.rsp == rsp


def test_page_tables_decide_what_a_program_reads(guest: Guest) -> None:
    """The same address in two spaces."""
    vcpus = []
    for value in (11, 22):
        space = Space(guest)
        space.put(LOAD_RBX + SYSCALL_CODE)
        guest.store(space.with_data(), value)
        vcpu = guest.vcpu()
        vcpu.start(space.cr3, CODE, STACK, rdi=DATA)
        vcpus.append(vcpu)
    assert [run(vcpu) for vcpu in vcpus] == ["syscall", "syscall"]
    assert [vcpu.regs.rbx for vcpu in vcpus] == [11, 22]


def test_thread_pointers_are_readable_and_settable_from_both_sides(guest: Guest) -> None:
    write_bases = b"\xf3\x48\x0f\xae\xd7" + b"\xf3\x48\x0f\xae\xde"  # wrfsbase rdi; wrgsbase rsi
    space = Space(guest)
    space.put(b"\x64\x48\x8b\x04\x25\x00\x00\x00\x00" + SYSCALL_CODE + write_bases + SYSCALL_CODE)  # mov rax, fs:[0]
    guest.store(space.with_data(), 777)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK, rdi=0x1234_5678, fs_base=DATA)
    vcpu.regs.rsi = 0x8765_4321
    assert run(vcpu) == "syscall"
    assert vcpu.regs.rax == 777
    assert vcpu.fs_base == DATA
    vcpu.fs_base, vcpu.gs_base = CODE, STACK
    assert (vcpu.fs_base, vcpu.gs_base) == (CODE, STACK)
    assert run(vcpu) == "syscall"
    assert (vcpu.fs_base, vcpu.gs_base) == (0x1234_5678, 0x8765_4321)


def test_a_non_canonical_thread_pointer_is_refused(guest: Guest) -> None:
    vcpu = guest.program(SPIN)
    with pytest.raises((ValueError, OSError)):
        vcpu.fs_base = 1 << 63


def test_registers_hold_64_bits(guest: Guest) -> None:
    vcpu = guest.program(SPIN)
    with pytest.raises(OverflowError):
        vcpu.regs.rax = 2**64
    with pytest.raises(OverflowError):
        vcpu.regs.rax = -1


def test_translate_walks_the_programs_tables(guest: Guest) -> None:
    space = Space(guest)
    page = space.with_data()
    block = guest.new_block()
    space.map(1 << 30, block, READ, large=True)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK)
    assert vcpu.translate(DATA + 0x123).physical == page * PAGE_SIZE + 0x123
    assert vcpu.translate((1 << 30) + 0x12_3456).physical == block * PAGE_SIZE + 0x12_3456
    assert not vcpu.translate(DATA + PAGE_SIZE).valid
    assert not vcpu.translate(USER_END - 1).valid


def test_memory_that_nothing_backs_is_a_device(guest: Guest) -> None:
    """Loads and stores of it come to the host; a load gets what the host answers."""
    space = Space(guest)
    store = b"\x89\x07"  # mov [rdi], eax
    load = b"\x48\x8b\x5f\x08"  # mov rbx, [rdi + 8]
    space.put(set_register(RAX, 0xFEED_BEEF) + store + load + SYSCALL_CODE)
    space.map(DATA, (1 << 36) >> 12)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK, rdi=DATA)
    assert vcpu.run() == MMIO
    assert (vcpu.mmio_address, vcpu.mmio_length, vcpu.mmio_is_write) == (1 << 36, 4, True)
    assert vcpu.mmio_data == 0xFEED_BEEF
    assert vcpu.run() == MMIO
    assert (vcpu.mmio_address, vcpu.mmio_length, vcpu.mmio_is_write) == ((1 << 36) + 8, 8, False)
    vcpu.mmio_data = 0x1122_3344_5566_7788
    assert vcpu.run() == SYSCALL
    assert vcpu.regs.rbx == 0x1122_3344_5566_7788


def test_a_vcpu_stopped_at_a_device_can_be_given_to_another_program(guest: Guest) -> None:
    """KVM would finish the first program's instruction in the second one."""
    space = Space(guest)
    space.put(LOAD_RBX + SYSCALL_CODE)
    space.map(DATA, (1 << 36) >> 12)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK, rdi=DATA)
    assert vcpu.run() == MMIO
    vcpu.mmio_data = 42
    first = vcpu.save()
    guest.program(set_register(RBX, 5) + SYSCALL_CODE, vcpu=vcpu)
    assert (run(vcpu), vcpu.regs.rbx) == ("syscall", 5)
    vcpu.load(first, space.cr3)
    assert (run(vcpu), vcpu.regs.rbx) == ("syscall", 42)


def test_a_cpu_without_system_pages_crashes_with_a_reason(guest: Guest) -> None:
    """An address space that lacks the machine's own pages cannot deliver a fault."""
    space = Space(guest)
    guest.frames.set_entry(space.root, 255, 0)
    space.put(b"\x0f\x0b")
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK)
    assert vcpu.run() == CRASHED
    assert "shut down" in vcpu.crash_reason or "KVM" in vcpu.crash_reason


def test_a_closed_vcpu_crashes_instead_of_the_host(guest: Guest) -> None:
    vcpu = guest.program(SYSCALL_CODE)
    registers = vcpu.regs
    run(vcpu)
    vcpu.close()
    vcpu.close()
    assert vcpu.run() == CRASHED
    assert "closed" in vcpu.crash_reason
    vcpu.kick()
    registers.rax = 1
    with pytest.raises(OSError, match="Bad file"):
        vcpu.save()


def test_registers_outlive_their_vcpu(kvm: Kvm) -> None:
    guest = Guest(kvm)
    registers = guest.program(ALL_REGISTERS + SYSCALL_CODE).regs
    run(guest.vcpus[0])
    guest.close()
    del guest
    gc.collect()
    assert registers.rbx == expected(3)


def test_without_synchronized_registers_all_is_the_same(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way for a KVM that lacks KVM_CAP_SYNC_REGS."""
    monkeypatch.setattr(guest.kvm, "sync_regs", False)
    vcpu = guest.program(ALL_REGISTERS + SYSCALL_CODE + b"\x0f\x0b" + SYSCALL_CODE)
    monkeypatch.undo()
    assert run(vcpu) == "syscall"
    vcpu.regs.rax = 5
    assert run(vcpu) == "fault 6"
    assert vcpu.regs.rax == 5
    vcpu.rip += 2
    assert run(vcpu) == "syscall"
    for n, name in enumerate(NUMBERED):
        if name not in ("rax", "rsp", "rcx", "r11"):
            assert getattr(vcpu.regs, name) == expected(n), name


def test_the_raw_loop_counts_system_calls(guest: Guest) -> None:
    vcpu = guest.program(jump_back(b"\x48\xff\xc3" + SYSCALL_CODE))  # inc rbx
    assert run(vcpu) == "syscall"
    assert vcpu.raw_exit_loop(100) > 0
    assert vcpu.regs.rbx == 101
    assert run(vcpu) == "syscall"
    assert vcpu.regs.rbx == 102
    other = guest.program(b"\x0f\x05\x0f\x0b")
    run(other)
    with pytest.raises(OSError, match="raw exit loop"):
        other.raw_exit_loop(10)


def test_a_system_call_as_the_last_instruction_has_nowhere_to_return_to(guest: Guest) -> None:
    space = Space(guest)
    last = USER_END - PAGE_SIZE
    space.put(bytes(PAGE_SIZE - 2) + SYSCALL_CODE, last)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, USER_END - 2, STACK)
    assert (run(vcpu), vcpu.rip) == ("fault 13", USER_END)
    assert run(vcpu) == "fault 13"
    space.put(SYSCALL_CODE)
    vcpu.rip = CODE
    assert run(vcpu) == "syscall"


@pytest.mark.parametrize("rip", [USER_END, 1 << 47, 1 << 63, 2**64 - 1])
@pytest.mark.parametrize("stop", [SYSCALL_CODE, b"\x0f\x0b"], ids=["syscall", "fault"])
def test_no_program_is_resumed_outside_its_addresses(guest: Guest, stop: bytes, rip: int) -> None:
    vcpu = guest.program(stop)
    run(vcpu)
    vcpu.rip = rip
    assert (run(vcpu), vcpu.rip) == ("fault 13", rip)
    vcpu.start(vcpu.segments().cr3, rip, STACK)
    assert run(vcpu) == "fault 13"


def test_self_modifying_code_is_executed_as_it_stands(guest: Guest) -> None:
    # mov byte [rip + 6], 5: the immediate of `mov ebx, 1` behind the next instruction
    code = b"\xc6\x05\x01\x00\x00\x00\x05" + b"\xbb\x01\x00\x00\x00" + SYSCALL_CODE
    vcpu = guest.program(code)
    assert run(vcpu) == "syscall"
    assert vcpu.regs.rbx == 5


def test_many_vcpus_of_one_machine(guest: Guest) -> None:
    space = Space(guest)
    space.put(b"\x48\x89\xfb" + SYSCALL_CODE)  # mov rbx, rdi
    vcpus = [guest.vcpu() for _ in range(200)]
    for number, vcpu in enumerate(vcpus):
        vcpu.start(space.cr3, CODE, STACK, rdi=number)
    assert [run(vcpu) for vcpu in vcpus] == ["syscall"] * 200
    assert [vcpu.regs.rbx for vcpu in vcpus] == list(range(200))


def test_a_vcpu_number_out_of_range_is_refused(guest: Guest, kvm: Kvm) -> None:
    from hv.vcpu import Vcpu

    for number in (-1, 1024):
        with pytest.raises(ValueError, match="room"):
            Vcpu(guest.vm, guest.gate, number)
    guest.vcpu()
    with pytest.raises(OSError, match="KVM_CREATE_VCPU"):
        Vcpu(guest.vm, guest.gate, 0)


def test_execute_permission_is_enforced_on_large_pages(guest: Guest) -> None:
    block = guest.new_block()
    guest.write(block, SYSCALL_CODE)
    for permissions, outcome in ((READ | WRITE, "fault 14"), (READ | EXECUTE, "syscall")):
        space = Space(guest)
        space.map(1 << 30, block, permissions, large=True)
        vcpu = guest.vcpu()
        vcpu.start(space.cr3, 1 << 30, STACK)
        assert run(vcpu) == outcome
