"""A machine without a kernel: address spaces written by hand, programs given as machine code."""

from __future__ import annotations

import itertools
import os
import struct

from abi.layout import BLOCK_PAGES, EXECUTE, PAGE_SIZE, READ, SYSTEM_SLOT, WRITE
from hv.engine import TRAP_NAMES
from hv.gate import Gate
from hv.guest_memory import GuestMemory
from hv.kvm import Kvm
from hv.page_tables import TableFrames, encode_entry
from hv.probe import lstar_cpl
from hv.vcpu import Vcpu

PLAIN_EMULATION = os.environ.get("AEROSTAT_LAB") == "1"
"""In the lab.  QEMU's emulated CPU raises neither alignment checks nor SSE exceptions."""

CODE = 0x40_0000
DATA = 0x50_0000
STACK = 0x60_0000
"""Where a program is put, has a page of data, and the end of its page of stack."""

SYSCALL_CODE = b"\x0f\x05"
SPIN = b"\xeb\xfe"
LOAD_RBX = b"\x48\x8b\x1f"  # mov rbx, [rdi]
STORE_RBX = b"\x48\x89\x1f"  # mov [rdi], rbx


def jump_back(body: bytes) -> bytes:
    """The body, for ever."""
    return body + b"\xeb" + struct.pack("b", -len(body) - 2)


def set_register(number: int, value: int) -> bytes:
    """mov register, imm64; 0 to 15 are rax rcx rdx rbx rsp rbp rsi rdi r8 ... r15."""
    return bytes([0x48 | number >> 3, 0xB8 | number & 7]) + struct.pack("<Q", value)


RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
NUMBERED = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
"""Register names in the order of their numbers."""


class Space:
    """One address space."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.tables: dict[tuple[int, int], int] = {}
        """(level, address shifted to that level) -> table id"""
        self.root = guest.new_table()
        guest.frames.set_entry(self.root, SYSTEM_SLOT, guest.gate.system_pml4_entry())

    @property
    def cr3(self) -> int:
        return self.guest.frames.gpa(self.root)

    def table(self, address: int, level: int) -> int:
        """The table whose entries map ``512 ** (level - 1)`` pages each: 1 is the lowest, 4 the root."""
        if level == 4:
            return self.root
        key = (level, address >> 12 + 9 * level)
        if key not in self.tables:
            self.tables[key] = self.guest.new_table()
            above = self.table(address, level + 1)
            entry = encode_entry(self.guest.frames.gpa(self.tables[key]), 0, table=True, large=False)
            self.guest.frames.set_entry(above, address >> 12 + 9 * level & 511, entry)
        return self.tables[key]

    def forget_table(self, address: int, level: int) -> None:
        """Unlinks a table and frees its frame."""
        self.guest.frames.set_entry(self.table(address, level + 1), address >> 12 + 9 * level & 511, 0)
        self.guest.frames.free(self.tables.pop((level, address >> 12 + 9 * level)))

    def map(self, address: int, page: int, permissions: int = READ | WRITE, *, large: bool = False) -> None:
        """Writes an entry; permissions 0 takes it away.  Drops nothing."""
        level = 2 if large else 1
        entry = encode_entry(page * PAGE_SIZE, permissions, table=False, large=large)
        self.guest.frames.set_entry(self.table(address, level), address >> 12 + 9 * (level - 1) & 511, entry)

    def map_giant(self, address: int, page: int, permissions: int = READ | WRITE) -> None:
        """Maps 1 GiB by whatever the vCPUs know; permissions 0 takes it away.  Drops nothing."""
        entry = encode_entry(page * PAGE_SIZE, permissions, table=False, large=True)
        self.guest.frames.set_giant(self.table(address, 3), address >> 30 & 511, entry)

    def put(self, code: bytes, address: int = CODE) -> None:
        """Maps new pages there, executable, that hold the code."""
        for offset in range(0, len(code), PAGE_SIZE):
            page = self.guest.new_page()
            self.guest.write(page, code[offset : offset + PAGE_SIZE])
            self.map(address + offset, page, READ | WRITE | EXECUTE)

    def with_data(self) -> int:
        """Maps a page of data and one of stack; returns the first's number."""
        page = self.guest.new_page()
        self.map(DATA, page)
        self.map(STACK - PAGE_SIZE, self.guest.new_page())
        return page


class Guest:
    """A machine for one test."""

    def __init__(self, kvm: Kvm, memory: int = 16 << 20, giant_entries: bool = True) -> None:
        self.kvm = kvm
        self.vm = kvm.vm()
        self.memory = GuestMemory(self.vm, memory)
        self.frames = TableFrames(self.vm, 64 << 20, giant_entries=giant_entries and kvm.giant_pages)
        self.gate = Gate(self.vm, lstar_cpl(kvm))
        self.vcpus: list[Vcpu] = []
        self._pages = itertools.count()
        self._tables = itertools.count(1_000_000)

    def new_page(self) -> int:
        page = next(self._pages)
        self.memory.ensure(page)
        return page

    def new_block(self) -> int:
        """The first page of an aligned 2 MiB that nothing has used."""
        first = -(-next(self._pages) // BLOCK_PAGES) * BLOCK_PAGES
        self._pages = itertools.count(first + BLOCK_PAGES)
        self.memory.ensure(first + BLOCK_PAGES - 1)
        return first

    def new_table(self) -> int:
        table = next(self._tables)
        self.frames.create(table)
        return table

    def vcpu(self) -> Vcpu:
        self.vcpus.append(Vcpu(self.vm, self.gate, len(self.vcpus)))
        return self.vcpus[-1]

    def program(self, code: bytes, *, rdi: int = DATA, vcpu: Vcpu | None = None) -> Vcpu:
        """A vCPU about to run this code in a space of its own, with a page of data and one of stack."""
        space = Space(self)
        space.put(code)
        space.with_data()
        vcpu = vcpu or self.vcpu()
        vcpu.start(space.cr3, CODE, STACK, rdi=rdi)
        return vcpu

    def write(self, page: int, data: bytes, offset: int = 0) -> None:
        start = page * PAGE_SIZE + offset
        self.memory.view[start : start + len(data)] = data

    def store(self, page: int, value: int) -> None:
        self.write(page, struct.pack("<Q", value))

    def load(self, page: int) -> int:
        value: int = struct.unpack_from("<Q", self.memory.view, page * PAGE_SIZE)[0]
        return value

    def close(self) -> None:
        for vcpu in self.vcpus:
            vcpu.close()
        self.vm.close()
        self.gate.close()
        self.frames.close()
        self.memory.close()


def run(vcpu: Vcpu) -> str:
    """One run: ``"syscall"``, ``"preempted"`` ..., ``"fault 14"``, or the reason of a crash."""
    trap = TRAP_NAMES[vcpu.run()]
    if trap == "fault":
        return f"fault {vcpu.vector}"
    return f"crashed: {vcpu.crash_reason}" if trap == "crashed" else trap
