"""A thread's whole state: nothing of it is left for the next one, nothing of it is lost when it moves."""

from __future__ import annotations

import random
import struct

import pytest

from abi.layout import PAGE_SIZE, READ, WRITE
from hv.engine import SYSCALL
from hv.kvm import Kvm
from hv.vcpu import MXCSR_RESET, X87_CONTROL_RESET, Vcpu, slice_start, slice_stop
from tests.hv.guest import CODE, DATA, NUMBERED, SPIN, STACK, SYSCALL_CODE, Guest, Space, run

pytestmark = pytest.mark.kvm

AREA = DATA
SECOND_AREA = DATA + PAGE_SIZE
GET_XCR0 = b"\x31\xc9\x0f\x01\xd0"  # xor ecx, ecx; xgetbv
ALL_STATE = b"\xb8\xff\xff\xff\xff\xba\xff\xff\xff\xff"  # mov eax, -1; mov edx, -1
XRSTOR = ALL_STATE + b"\x48\x0f\xae\x2f"  # xrstor64 [rdi]
XSAVE = ALL_STATE + b"\x48\x0f\xae\x27"  # xsave64 [rdi]
LOAD_SELECTORS = b"\xb8\x2b\x00\x00\x00" + b"\x8e\xd8\x8e\xc0\x8e\xe0\x8e\xe8"  # mov eax, 0x2b; mov ds es fs gs, eax

INITIAL_X87 = struct.pack("<HHB", X87_CONTROL_RESET, 0, 0) + bytes(128)
BEYOND_SSE = (2, 5, 6, 7)
"""State components: AVX, opmask, upper halves and upper registers of AVX-512."""


def places(kvm: Kvm, mask: int) -> dict[int, tuple[int, int]]:
    """Offset and size in an XSAVE area of each component of the mask; CPUs differ in where (CPUID leaf 0xD)."""
    leaves = {bit: kvm.cpuid_leaf(0xD, bit) for bit in BEYOND_SSE if mask >> bit & 1}
    return {bit: (offset, size) for bit, (size, offset, _, _) in leaves.items()}


def components(area: bytes, where: dict[int, tuple[int, int]]) -> dict[str, bytes]:
    """What an XSAVE area says of each register file; a component not in it is in its initial state: zeros."""
    (present,) = struct.unpack_from("<Q", area, 512)
    assert struct.unpack_from("<Q", area, 520)[0] == 0, "the standard form"
    state = {"mxcsr": area[24:28]}
    state["x87"] = area[0:5] + area[32:160] if present & 1 else INITIAL_X87
    state["xmm"] = area[160:416] if present & 2 else bytes(256)
    for bit, (offset, size) in where.items():
        state[f"component {bit}"] = area[offset : offset + size] if present >> bit & 1 else bytes(size)
    return state


def xcr0(guest: Guest) -> int:
    vcpu = guest.program(GET_XCR0 + SYSCALL_CODE)
    assert vcpu.run() == SYSCALL
    return vcpu.regs.rax | vcpu.regs.rdx << 32


def random_area(mask: int, where: dict[int, tuple[int, int]], seed: int) -> bytes:
    """An XSAVE area with something everywhere."""
    numbers = random.Random(seed)
    area = bytearray(4096)
    area[:576] = bytes(512) + struct.pack("<Q", mask) + bytes(56)
    struct.pack_into("<HHB", area, 0, 0x027F, 0x3800, 0xFF)  # control, status with top of stack 7, all tags valid
    struct.pack_into("<I", area, 24, 0x1FA0)
    for register in range(8):
        area[32 + 16 * register : 42 + 16 * register] = numbers.randbytes(8) + b"\xff\x3f"
    area[160:416] = numbers.randbytes(256)
    for offset, size in where.values():
        area[offset : offset + size] = numbers.randbytes(size)
    return bytes(area)


def page_bytes(guest: Guest, page: int) -> bytes:
    return bytes(guest.memory.view[page * PAGE_SIZE : (page + 1) * PAGE_SIZE])


def space_for(guest: Guest, code: bytes) -> tuple[Space, int, int]:
    space = Space(guest)
    space.put(code)
    first = space.with_data()
    second = guest.new_page()
    space.map(SECOND_AREA, second, READ | WRITE)
    return space, first, second


def test_xcr0_offers_what_the_tests_cover(guest: Guest) -> None:
    mask = xcr0(guest)
    assert mask & 3 == 3
    assert mask & ~0xE7 == 0


def test_a_new_program_finds_a_cpu_as_after_reset(guest: Guest) -> None:
    mask = xcr0(guest)
    where = places(guest.kvm, mask)
    first = LOAD_SELECTORS + XRSTOR + b"\xf3\x48\x0f\xae\xd7" + b"\xf3\x48\x0f\xae\xdf"  # wrfsbase rdi; wrgsbase rdi
    everything = b"".join(bytes([0x48 | n >> 3, 0xB8 | n & 7]) + b"\x77" * 8 for n in range(16) if n != 4)
    space, page, _ = space_for(guest, first + everything + SYSCALL_CODE)
    guest.write(page, random_area(mask, where, 1))
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK, rdi=AREA)
    assert run(vcpu) == "syscall"
    vcpu.rflags = 0x202 | 0xCD5

    # pushfq; pop r8; mov r9d, ds; mov r10d, es; mov r12d, fs; mov r13d, gs; xsave
    look = b"\x9c\x41\x58" + b"\x41\x8c\xd9" + b"\x41\x8c\xc2" + b"\x41\x8c\xe4" + b"\x41\x8c\xed" + XSAVE
    space, page, _ = space_for(guest, SYSCALL_CODE + look + SYSCALL_CODE)
    guest.write(page, bytes(PAGE_SIZE))
    vcpu.start(space.cr3, CODE, STACK, rdi=AREA)
    for name in NUMBERED:
        assert getattr(vcpu.regs, name) == {"rdi": AREA, "rsp": STACK}.get(name, 0), name
    assert run(vcpu) == "syscall"
    for name in NUMBERED:
        if name not in ("rcx", "r11"):
            assert getattr(vcpu.regs, name) == {"rdi": AREA, "rsp": STACK}.get(name, 0), name
    assert (vcpu.fs_base, vcpu.gs_base) == (0, 0)
    assert run(vcpu) == "syscall"
    assert vcpu.regs.r8 == 0x202
    assert (vcpu.regs.r9, vcpu.regs.r10, vcpu.regs.r12, vcpu.regs.r13) == (0, 0, 0, 0), "ds es fs gs"
    state = components(page_bytes(guest, page), where)
    assert state.pop("mxcsr") == struct.pack("<I", MXCSR_RESET)
    assert state.pop("x87") == INITIAL_X87
    assert all(not any(content) for content in state.values()), {k: v.hex() for k, v in state.items() if any(v)}


def stop_at(vcpu: Vcpu, how: str, where: int) -> None:
    if how == "preempted":
        slice_start(3_000_000)
    assert run(vcpu) == how
    while how == "preempted" and vcpu.rip != where:  # a slow machine may take more than a slice to get there
        assert run(vcpu) == how
    slice_stop()


@pytest.mark.parametrize("how", ["syscall", "fault 6", "fault 14", "preempted"])
def test_a_thread_moves_to_another_vcpu_with_all_it_has(guest: Guest, how: str) -> None:
    mask = xcr0(guest)
    where = places(guest.kvm, mask)
    stop = {"syscall": SYSCALL_CODE, "fault 6": b"\x0f\x0b", "fault 14": b"\x8a\x00", "preempted": SPIN}[how]
    # mov r15, rdi; xrstor; wrfsbase rdi; stop here; lea rdi, [r15 + 4096]; xsave
    before = LOAD_SELECTORS + b"\x49\x89\xff" + XRSTOR + b"\xf3\x48\x0f\xae\xd7"
    after = b"\x49\x8d\xbf\x00\x10\x00\x00" + XSAVE + b"\x41\x8c\xd9" + SYSCALL_CODE
    space, page, second = space_for(guest, before + stop + after)
    guest.write(page, random_area(mask, where, 2))
    one, other = guest.vcpu(), guest.vcpu()
    one.start(space.cr3, CODE, STACK, rdi=AREA)
    one.regs.rbx, one.regs.r11, one.regs.rcx = 0x1111, 0x2222, 0x3333
    stop_at(one, how, CODE + len(before))
    context = one.save()
    registers = {name: getattr(one.regs, name) for name in (*NUMBERED, "rip", "rflags")}

    # Someone else, on both.
    disturbing, its_page, _ = space_for(guest, LOAD_SELECTORS + XRSTOR + SYSCALL_CODE)
    guest.write(its_page, random_area(mask, where, 3))
    for vcpu in (one, other):
        vcpu.start(disturbing.cr3, CODE, STACK, rdi=AREA, fs_base=AREA)
        assert run(vcpu) == "syscall"

    other.load(context, space.cr3)
    assert {name: getattr(other.regs, name) for name in (*NUMBERED, "rip", "rflags")} == registers
    other.rip = CODE + len(before) + len(stop)
    assert run(other) == "syscall"
    assert components(page_bytes(guest, second), where) == components(random_area(mask, where, 2), where)
    assert other.fs_base == AREA
    assert other.regs.r9 == 0x2B, "ds"
    assert other.regs.rbx == 0x1111
    if how in ("fault 6", "preempted"):
        assert registers["rcx"] == 0x3333
        assert registers["r11"] == 0x2222


def test_saving_changes_nothing(guest: Guest) -> None:
    for stop in (SYSCALL_CODE, b"\x0f\x0b"):
        vcpu = guest.program(b"\x48\xff\xc3" + stop + b"\x48\xff\xc3" + SYSCALL_CODE)
        run(vcpu)
        assert vcpu.save() == vcpu.save()
        vcpu.rip = CODE + 5
        assert run(vcpu) == "syscall"
        assert vcpu.regs.rbx == 2


def test_more_threads_than_vcpus(guest: Guest) -> None:
    """Ten threads of two spaces take turns on two vCPUs."""
    spaces = [Space(guest), Space(guest)]
    for space in spaces:
        space.put(b"\x48\xff\xc3\x0f\x05\xeb\xf9")  # 1: inc rbx; syscall; jmp 1b
    vcpus = [guest.vcpu(), guest.vcpu()]
    contexts = []
    for number in range(10):
        vcpus[0].start(spaces[number % 2].cr3, CODE, STACK)
        vcpus[0].regs.rbx = number * 1000
        contexts.append(vcpus[0].save())
    for turn in range(1, 6):
        for number in range(10):
            vcpu = vcpus[(turn + number) % 2]
            vcpu.load(contexts[number], spaces[number % 2].cr3)
            assert run(vcpu) == "syscall"
            assert vcpu.regs.rbx == number * 1000 + turn
            contexts[number] = vcpu.save()
