"""What a program can do at the gate and around it: nothing but a system call or a fault."""

from __future__ import annotations

import itertools
import struct

import capstone
import pytest

from abi.layout import EXECUTE, PAGE_SIZE, SYSTEM_BASE, USER_END
from hv import gate as system
from hv.engine import CRASHED, FAULT, SYSCALL
from hv.gate import GATE, GATE_PORT, GDT, IDT, IRET, STUB_PORT, STUBS, SYSRET, vcpu_page
from hv.page_tables import USER, WRITABLE
from tests.hv.guest import (
    CODE,
    DATA,
    LOAD_RBX,
    PLAIN_EMULATION,
    RAX,
    RBX,
    RCX,
    RDX,
    RSI,
    SPIN,
    STACK,
    STORE_RBX,
    SYSCALL_CODE,
    Guest,
    Space,
    run,
    set_register,
)

pytestmark = pytest.mark.kvm

TF, IF, DF, IOPL, NT, RF, VM, AC, ID = 1 << 8, 1 << 9, 1 << 10, 3 << 12, 1 << 14, 1 << 16, 1 << 17, 1 << 18, 1 << 21
NOP = b"\x90"


def set_flags(flags: int) -> bytes:
    """push imm32; popfq"""
    return b"\x68" + struct.pack("<I", flags) + b"\x9d"


def disassembled(code: bytes) -> list[str]:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return [f"{i.mnemonic} {i.op_str}".strip() for i in decoder.disasm(code, 0)]


def assert_still_good(guest: Guest, vcpu: object) -> None:
    """The vCPU runs the next program as if nothing had been."""
    from hv.vcpu import Vcpu

    assert isinstance(vcpu, Vcpu)
    guest.program(set_register(RBX, 77) + SYSCALL_CODE + b"\x0f\x0b", vcpu=vcpu)
    assert run(vcpu) == "syscall"
    assert vcpu.regs.rbx == 77
    assert (run(vcpu), vcpu.rip) == ("fault 6", CODE + 12)


# What is in the pages.


def test_ring_0_is_a_handful_of_instructions(guest: Guest) -> None:
    pages = guest.gate._memory
    assert disassembled(pages[:5]) == [f"out 0x{GATE_PORT:x}, al", "sysretq"]
    assert set(pages[5:PAGE_SIZE]) == {0xF4}
    for vector in range(32):
        start = STUBS - SYSTEM_BASE + vector * system.STUB_STRIDE
        out = [f"out 0x{STUB_PORT + vector:x}, al"]
        expected = ["push rax", "mov rax, cr2", *out] if vector == 14 else out
        assert disassembled(pages[start : start + system.STUB_STRIDE])[: len(expected) + 1] == [*expected, "hlt"]
    assert disassembled(pages[IRET - SYSTEM_BASE : IRET - SYSTEM_BASE + 2]) == ["iretq"]


def test_only_the_breakpoint_can_be_raised_by_a_program(guest: Guest) -> None:
    table = guest.gate._memory[IDT - SYSTEM_BASE : IDT - SYSTEM_BASE + 32 * 16]
    for vector in range(32):
        low, selector, stack, kind, middle, high, _ = struct.unpack_from("<HHBBHII", table, vector * 16)
        assert low | middle << 16 | high << 32 == STUBS + vector * system.STUB_STRIDE
        assert selector == system.KERNEL_CODE
        assert stack == (2 if vector in (2, 8, 18) else 1)
        assert kind == (0xEE if vector == 3 else 0x8E)


def test_the_io_bitmap_allows_the_gates_port_at_most(guest: Guest, gate_cpl: int) -> None:
    vcpu = guest.vcpu()
    page = bytes(vcpu._page_bytes())
    (bitmap_at,) = struct.unpack_from("<H", page, 102)
    bitmap = page[bitmap_at : system.TSS_LIMIT + 1]
    allowed = [port for port in range(len(bitmap) * 8) if not bitmap[port // 8] >> port % 8 & 1]
    assert allowed == ([GATE_PORT] if gate_cpl == 3 else [])
    assert bitmap[-1] == 0xFF


def test_the_system_pages_are_the_supervisors(guest: Guest, gate_cpl: int) -> None:
    """By their entries; below, by trying."""
    for index in range(3):
        guest.gate.add_vcpu(index)
    memory = guest.gate._memory
    first_table = system._TABLES * PAGE_SIZE
    entries = struct.unpack_from("<512Q", memory, first_table)
    present = {page: entry for page, entry in enumerate(entries) if entry & 1}
    assert sorted(present) == [0, 1, 2, 3, 4, 5, 6]
    for page, entry in present.items():
        assert bool(entry & USER) == (page == 0 and gate_cpl == 3)
        assert bool(entry & WRITABLE) == (page >= 4)
        assert entry >> 63 == (0 if page in (0, 3) else 1)


SYSTEM_ADDRESSES = {
    "gate": GATE,
    "gate + 2": SYSRET,
    "gate, last byte": GATE + PAGE_SIZE - 8,
    "GDT": GDT,
    "IDT": IDT,
    "stub of #DE": STUBS,
    "stub of #PF": STUBS + 14 * system.STUB_STRIDE,
    "iretq": IRET,
    "own page": vcpu_page(0),
    "own ring-0 stack": vcpu_page(0) + PAGE_SIZE - 48,
    "another vCPU's page": vcpu_page(1),
    "an unused vCPU's page": vcpu_page(2),
    "past the last": vcpu_page(1024),
    "tables": SYSTEM_BASE + system._PDPT * PAGE_SIZE,
    "upper half": 0xFFFF_8000_0000_0000,
}


@pytest.mark.parametrize("name", SYSTEM_ADDRESSES)
def test_programs_neither_read_nor_write_system_pages(guest: Guest, gate_cpl: int, name: str) -> None:
    address = SYSTEM_ADDRESSES[name]
    guest.vcpu()
    guest.vcpu()
    for access, code in (("read", LOAD_RBX), ("write", STORE_RBX)):
        vcpu = guest.program(code + SPIN, rdi=address, vcpu=guest.vcpus[0])
        readable = gate_cpl == 3 and address // PAGE_SIZE == GATE // PAGE_SIZE and access == "read"
        if readable:
            guest.program(code + SYSCALL_CODE, rdi=address, vcpu=vcpu)
            assert run(vcpu) == "syscall"
        else:
            assert run(vcpu) == "fault 14"
            assert vcpu.fault_address == address
            assert vcpu.rip == CODE
            assert vcpu.error_code & 4, "a user's access"


@pytest.mark.parametrize("flags", [0, TF, TF | NT | AC], ids=["", "TF", "TF NT AC"])
@pytest.mark.parametrize("name", SYSTEM_ADDRESSES)
def test_a_jump_to_system_pages_is_a_fault_or_a_system_call(guest: Guest, gate_cpl: int, name: str, flags: int) -> None:
    address = SYSTEM_ADDRESSES[name]
    jump = set_register(RCX, CODE) + set_register(11, 0x202)
    jump += set_flags(0x202 | flags) + b"\xff\xe7"  # jmp rdi
    vcpu = guest.program(jump, rdi=address)
    trap = vcpu.run()
    if gate_cpl == 3 and address == GATE and not flags & TF:
        assert (trap, vcpu.rip) == (SYSCALL, CODE)
    else:
        assert trap in (FAULT, SYSCALL) if address == GATE and gate_cpl == 3 else trap == FAULT
    assert_still_good(guest, vcpu)


@pytest.mark.parametrize("rcx", [USER_END, 1 << 47, 0x8000_0000_0000_0000, 2**64 - 1, SYSRET, IRET])
def test_a_jump_to_the_gate_with_a_bad_return_address(guest: Guest, rcx: int) -> None:
    vcpu = guest.program(set_register(RCX, rcx) + b"\xff\xe7", rdi=GATE)
    assert vcpu.run() == FAULT
    assert vcpu.vector in (13, 14)
    assert run(vcpu) in ("fault 13", "fault 14"), "and again, if nothing is done about it"
    assert_still_good(guest, vcpu)


def test_a_jump_to_the_gate_cannot_choose_privileged_flags(guest: Guest, gate_cpl: int) -> None:
    code = set_register(RCX, CODE + 0x100) + set_register(11, 0xFFFF_FFFF_FFFF_FFFF) + b"\xff\xe7"
    vcpu = guest.program(code.ljust(0x100, NOP) + b"\x9c\x5b" + SYSCALL_CODE, rdi=GATE)  # pushfq; pop rbx
    if gate_cpl == 0:
        assert run(vcpu) == "fault 14"
        return
    assert run(vcpu) == "syscall"
    assert vcpu.rflags & (TF | NT | IOPL | RF | VM) == 0
    vcpu.rflags &= ~AC
    assert run(vcpu) == "syscall"
    assert vcpu.regs.rbx & (TF | NT | IOPL | RF | VM | IF) == IF


# Flags.


@pytest.mark.parametrize("stop", [SYSCALL_CODE, b"\x0f\x0b", b"\xcc"], ids=["syscall", "undefined", "breakpoint"])
@pytest.mark.parametrize("flags", [NT, AC, IOPL, DF, ID, NT | AC | DF | IOPL, RF, VM])
def test_flags_of_a_program_do_not_reach_ring_0_or_stay(guest: Guest, stop: bytes, flags: int) -> None:
    code = set_flags(0x202 | flags) + stop
    vcpu = guest.program(code + b"\x9c\x5b" + SYSCALL_CODE)  # pushfq; pop rbx
    trap = vcpu.run()
    assert trap in (SYSCALL, FAULT)
    assert vcpu.rflags & (TF | NT | IOPL | RF | VM) == 0
    assert vcpu.rflags & IF
    assert vcpu.rflags & (DF | AC | ID) == flags & (DF | AC | ID)
    vcpu.rip = CODE + len(code)
    assert run(vcpu) == "syscall"
    assert vcpu.regs.rbx & (TF | NT | IOPL | IF) == IF
    assert vcpu.regs.rbx & (DF | AC | ID) == flags & (DF | AC | ID)


@pytest.mark.parametrize("where", [SYSCALL_CODE, NOP, b"\xcc", b"\x0f\x0b"], ids=["syscall", "nop", "int3", "ud2"])
def test_single_stepping_is_a_fault_and_ends_there(guest: Guest, where: bytes) -> None:
    vcpu = guest.program(set_flags(0x202 | TF) + where + NOP * 3 + SYSCALL_CODE)
    outcomes = []
    for _ in range(6):
        outcomes.append(run(vcpu))
        assert vcpu.rflags & TF == 0
        if outcomes[-1] == "syscall" and vcpu.rip == CODE + 6 + len(where) + 3 + 2:
            break
        if outcomes[-1] == "fault 6" or vcpu.rip >= USER_END:
            vcpu.rip = CODE + 6 + len(where)
    assert outcomes[-1] == "syscall", outcomes
    assert set(outcomes) <= {"syscall", "fault 1", "fault 3", "fault 6"}
    assert_still_good(guest, vcpu)


def test_what_the_host_writes_to_rflags_is_sanitized(guest: Guest) -> None:
    for stop in (SYSCALL_CODE, b"\x0f\x0b"):
        vcpu = guest.program(stop + b"\x9c\x5b" + SYSCALL_CODE)
        run(vcpu)
        vcpu.rip = CODE + 2
        vcpu.rflags = 2**64 - 1 - AC
        assert run(vcpu) == "syscall"
        assert vcpu.regs.rbx == 0x202 | 0xCD5 | ID


def test_unaligned_access_with_AC_is_an_alignment_check(guest: Guest) -> None:
    load = b"\x48\x8b\x5f\x01"  # mov rbx, [rdi + 1]
    vcpu = guest.program(set_flags(0x202 | AC) + load + SYSCALL_CODE)
    assert run(vcpu) == ("syscall" if PLAIN_EMULATION else "fault 17")


def test_a_stack_segment_load_before_a_system_call(guest: Guest) -> None:
    """`mov ss` holds interrupts off for one instruction; a debug trap then meets `syscall` (CVE-2018-8897)."""
    load_ss = b"\xb8\x2b\x00\x00\x00\x8e\xd0"  # mov eax, 0x2b; mov ss, eax
    vcpu = guest.program(set_flags(0x202 | TF) + load_ss + SYSCALL_CODE + SYSCALL_CODE)
    for _ in range(4):
        assert vcpu.run() in (FAULT, SYSCALL)
        if vcpu.rip >= USER_END:
            break
    assert_still_good(guest, vcpu)


# Ports.

PORT_INSTRUCTIONS = {
    "out imm8, al": bytes([0xE6]),
    "out imm8, eax": bytes([0xE7]),
    "in al, imm8": bytes([0xE4]),
    "in eax, imm8": bytes([0xE5]),
    "out dx, al": b"\xee",
    "out dx, ax": b"\x66\xef",
    "out dx, eax": b"\xef",
    "in al, dx": b"\xec",
    "in eax, dx": b"\xed",
    "outsb": b"\x6e",
    "outsd": b"\x6f",
    "insb": b"\x6c",
    "insd": b"\x6d",
    "rep outsb": b"\xf3\x6e",
    "rep insb": b"\xf3\x6c",
    "rep insd": b"\xf3\x6d",
}
PORTS = [GATE_PORT, GATE_PORT - 1, GATE_PORT + 1, STUB_PORT, STUB_PORT + 3, STUB_PORT + 14, 0, 0x80]


@pytest.mark.parametrize("count", [1, 3, 1 << 40])
@pytest.mark.parametrize("name", PORT_INSTRUCTIONS)
def test_no_port_is_the_programs(guest: Guest, name: str, count: int) -> None:
    """Not even the gate's, although the I/O bitmap may have to let it through."""
    vcpu = guest.vcpu()
    for port in PORTS:
        instruction = PORT_INSTRUCTIONS[name]
        if "imm8" in name:
            instruction += bytes([port])
        code = set_register(RDX, port) + set_register(RSI, DATA) + set_register(RCX, count) + instruction
        guest.program(code + SPIN, vcpu=vcpu)
        assert run(vcpu) == "fault 13", hex(port)
        assert CODE + len(code) - len(instruction) <= vcpu.rip <= CODE + len(code)
        assert_still_good(guest, vcpu)


# Privileged instructions, and other ways to ring 0.

PRIVILEGED = {
    "hlt": "f4",
    "cli": "fa",
    "sti": "fb",
    "mov rax, cr0": "0f20c0",
    "mov rax, cr3": "0f20d8",
    "mov cr0, rax": "0f22c0",
    "mov cr3, rax": "0f22d8",
    "mov cr4, rax": "0f22e0",
    "mov cr8, rax": "440f22c0",
    "mov rax, dr7": "0f21f8",
    "mov dr7, rax": "0f23f8",
    "clts": "0f06",
    "lgdt [rdi]": "0f0117",
    "lidt [rdi]": "0f011f",
    "lldt ax": "0f00d0",
    "ltr ax": "0f00d8",
    "lmsw ax": "0f01f0",
    "invlpg [rdi]": "0f013f",
    "invd": "0f08",
    "wbinvd": "0f09",
    "rdmsr": "0f32",
    "wrmsr": "0f30",
    "rdpmc": "0f33",
    "swapgs": "0f01f8",
    "sysretq": "480f07",
    "sysexit": "0f35",
    "sysenter": "0f34",
    "rsm": "0faa",
    "xsetbv": "0f01d1",
    "monitor": "0f01c8",
    "mwait": "0f01c9",
    "vmcall": "0f01c1",
    "vmmcall": "0f01d9",
    "vmrun": "0f01d8",
    "vmload": "0f01da",
    "stgi": "0f01dc",
    "vmxon [rdi]": "f30fc737",
    "encls": "0f01cf",
    "int 0": "cd00",
    "int 1": "cd01",
    "int 2": "cd02",
    "int 8": "cd08",
    "int 13": "cd0d",
    "int 14": "cd0e",
    "int 18": "cd12",
    "int 31": "cd1f",
    "int 32": "cd20",
    "int 0x80": "cd80",
    "int 255": "cdff",
    "icebp": "f1",
    "mov ss, 0x18": "b8180000008ed0",
    "mov ds, 0x10": "b8100000008ed8",
    "mov fs, 4 (LDT)": "b8040000008ee0",
    "push 0x10; push rax; lretq": "6a1050" + "48cb",
    "push 0x20; push rax; lretq": "6a2350" + "48cb",
    "lretq to an LDT selector": "6a0750" + "48cb",
    "iretq to ring 0": "6a18" + "54" + "9c" + "6a10" + "50" + "48cf",
    "into": "ce",
    "lock nop": "f090",
    "15 prefixes": "66" * 15 + "90",
}


@pytest.mark.parametrize("name", PRIVILEGED)
def test_privileged_instructions_fault(guest: Guest, name: str) -> None:
    vcpu = guest.program(bytes.fromhex(PRIVILEGED[name]) + SYSCALL_CODE)
    trap = vcpu.run()
    if name in ("vmcall", "vmmcall") and trap == SYSCALL:
        assert vcpu.regs.rax == 2**64 - 1, "KVM answers hypercalls from ring 3: not permitted"
    else:
        assert trap == FAULT
    assert_still_good(guest, vcpu)


def test_a_return_to_an_address_of_its_own_by_iretq(guest: Guest) -> None:
    """iretq within ring 3 is no privilege: but the flags it loads are a program's."""
    frame = b"\x6a\x2b\x54" + b"\x68" + struct.pack("<I", 0x202 | IOPL | NT) + b"\x6a\x33"
    code = frame + b"\x68" + struct.pack("<I", CODE + 0x80) + b"\x48\xcf"
    vcpu = guest.program(code.ljust(0x80, NOP) + SYSCALL_CODE)
    assert run(vcpu) == "syscall"
    assert vcpu.rflags & (IOPL | NT) == 0


def test_any_two_bytes_leave_the_cpu_usable(guest: Guest) -> None:
    """Every 37th of all pairs of bytes, as a program: it faults, calls or runs on, and the vCPU is good for another."""
    vcpu = guest.vcpu()
    space = Space(guest)
    page = guest.new_page()
    space.map(CODE, page, EXECUTE)
    space.with_data()
    for first, second in itertools.islice(itertools.product(range(256), repeat=2), 0, None, 37):
        guest.write(page, bytes([first, second]).ljust(32, NOP) + SYSCALL_CODE + b"\x0f\x0b")
        guest.memory.drop(page)
        vcpu.start(space.cr3, CODE, STACK - 256, rdi=DATA)
        vcpu.regs.rax = RAX
        if first == 0xEB or 0x70 <= first <= 0x7F or 0xE0 <= first <= 0xE3:
            continue  # a short jump may be an endless loop
        assert vcpu.run() != CRASHED, f"{first:02x} {second:02x}: {vcpu.crash_reason}"
    assert_still_good(guest, vcpu)
