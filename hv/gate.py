"""The machine's own few pages in every address space: gate, descriptor tables, exception stubs, one page a vCPU.

They fill PML4 slot 255, which all address spaces of a machine share.  Everything is supervisor-only, with one
exception: where KVM enters LSTAR without leaving ring 3, the gate page has to be executable from there, and the I/O
bitmap of the TSS has to let the gate's one port through.

===========  =================================================================================================
page 0       the gate: what LSTAR points to, ``out GATE_PORT, al; sysretq``
page 1       GDT, laid out as Linux does (programs see its selectors: 0x33 code, 0x2b data)
page 2       IDT, 32 vectors; ``int n`` above them is a #GP
page 3       exception stubs, ``out STUB_PORT + vector, al``; and the ``iretq`` that faults are left by
page 4 + i   vCPU i: TSS with the I/O bitmap, a stack for double faults, the ring-0 stack
===========  =================================================================================================

Ring 0 is a handful of instructions: where there is no VMX or SVM each one is emulated, at half a microsecond.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from typing import Any, Final

from abi.layout import PAGE_SIZE, SYSTEM_BASE, SYSTEM_PHYSICAL, SYSTEM_SLOT, USER_END
from hv.kvm import Vm, ffi
from hv.page_tables import ACCESSED, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE

MAX_VCPUS: Final = 1024

GATE_PORT: Final = 0x20
STUB_PORT: Final = 0x40
VECTORS: Final = 32
PAGE_FAULT_VECTOR: Final = 14

KERNEL_CODE: Final = 0x10
KERNEL_DATA: Final = 0x18
USER_DATA: Final = 0x28 | 3
USER_CODE: Final = 0x30 | 3
STAR: Final = (0x23 << 48) | (KERNEL_CODE << 32)
"""syscall loads CS 0x10 and SS 0x18; sysretq loads SS 0x23 + 8 and CS 0x23 + 16."""

GATE: Final = SYSTEM_BASE
SYSRET: Final = GATE + 2
GDT: Final = SYSTEM_BASE + 1 * PAGE_SIZE
GDT_LIMIT: Final = 7 * 8 - 1
IDT: Final = SYSTEM_BASE + 2 * PAGE_SIZE
IDT_LIMIT: Final = VECTORS * 16 - 1
STUBS: Final = SYSTEM_BASE + 3 * PAGE_SIZE
STUB_STRIDE: Final = 16
IRET: Final = STUBS + 0x800
REHEARSAL: Final = STUBS + 0x810
"""A ud2 for ring 0, see ``Vcpu``."""
VCPU_PAGES: Final = SYSTEM_BASE + 4 * PAGE_SIZE
SYSTEM_PAGES: Final = 4 + MAX_VCPUS

# Within a vCPU's page.
TSS_SIZE: Final = 104
IO_BITMAP: Final = bytes(
    0xFF if port // 8 != GATE_PORT // 8 else 0xFF & ~(1 << GATE_PORT % 8) for port in range(0, 64, 8)
)
"""Ports 0 to 63, one bit each, 0 = allowed; the CPU always reads two bytes, so one more than the gate's is needed."""
DOUBLE_FAULT_STACK: Final = 0x800
STACK: Final = PAGE_SIZE

# The tables of slot 255 follow the pages they map.
_PDPT: Final = SYSTEM_PAGES
_DIRECTORY: Final = SYSTEM_PAGES + 1
_TABLES: Final = SYSTEM_PAGES + 2
_TABLE_COUNT: Final = -(-SYSTEM_PAGES // 512)
_ROOT: Final = _TABLES + _TABLE_COUNT
_ALL_PAGES: Final = _ROOT + 1

ILLEGAL_FILL: Final = b"\xf4"
"""hlt: privileged, so that a jump to any other byte of the gate page is a #GP at once."""


def vcpu_page(index: int) -> int:
    """Guest-virtual address of the vCPU's page; its TSS is at the start, its ring-0 stack grows down from the end."""
    return VCPU_PAGES + index * PAGE_SIZE


def stub_code(vector: int) -> bytes:
    """The stub of an exception.  That of #PF saves RAX on the stack and brings CR2 in it."""
    out = bytes([0xE6, STUB_PORT + vector])
    if vector == PAGE_FAULT_VECTOR:
        return b"\x50" + b"\x0f\x20\xd0" + out  # push rax; mov rax, cr2; out
    return out


def _idt_gate(vector: int) -> bytes:
    """An interrupt gate (SDM vol. 3, 6.14.1).  Each one names a stack (IST), so that nothing ever depends on RSP, which
    is the program's own at LSTAR; #DF, NMI and #MC have another one, which they do not overwrite a frame on."""
    address = STUBS + vector * STUB_STRIDE
    stack = 2 if vector in (2, 8, 18) else 1
    privilege = 3 if vector == 3 else 0
    kind = 0x8E | privilege << 5
    return struct.pack("<HHBBHII", address & 0xFFFF, KERNEL_CODE, stack, kind, address >> 16 & 0xFFFF, address >> 32, 0)


def _tss(index: int, *, gate_port: bool) -> bytes:
    """The 64-bit TSS (SDM vol. 3, 7.7) and its I/O bitmap."""
    page = vcpu_page(index)
    tss = bytearray(TSS_SIZE)
    struct.pack_into("<Q", tss, 4, page + STACK)  # RSP0
    struct.pack_into("<QQ", tss, 36, page + STACK, page + DOUBLE_FAULT_STACK)  # IST1, IST2
    struct.pack_into("<H", tss, 102, TSS_SIZE)
    return bytes(tss) + (IO_BITMAP if gate_port else b"\xff" * len(IO_BITMAP))


TSS_LIMIT: Final = TSS_SIZE + len(IO_BITMAP) - 1


class Gate:
    """The system pages of one machine, in a memslot of their own.

    ``lstar_cpl``: the privilege level at which this host's KVM enters LSTAR (``hv.probe``), 0 or 3.
    """

    def __init__(self, vm: Vm, lstar_cpl: int) -> None:
        if lstar_cpl not in (0, 3):
            raise ValueError(f"lstar_cpl {lstar_cpl}")
        self.lstar_cpl = lstar_cpl
        self._memory = mmap.mmap(-1, _ALL_PAGES * PAGE_SIZE)
        self._write_pages()
        self._write_tables()
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(self._memory)))
        vm.set_memslot(vm.new_slot(), SYSTEM_PHYSICAL, _ALL_PAGES * PAGE_SIZE, address)

    def _write(self, page: int, offset: int, data: bytes) -> None:
        start = page * PAGE_SIZE + offset
        self._memory[start : start + len(data)] = data

    def _write_pages(self) -> None:
        self._write(0, 0, (bytes([0xE6, GATE_PORT]) + b"\x48\x0f\x07").ljust(PAGE_SIZE, ILLEGAL_FILL))
        # Accessed already, so that the CPU never writes here; 0x20 would be 32-bit user code, which there is not.
        descriptors = (0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF)
        self._write(1, 0, struct.pack("<7Q", *descriptors))
        self._write(2, 0, b"".join(_idt_gate(vector) for vector in range(VECTORS)))
        for vector in range(VECTORS):
            self._write(3, vector * STUB_STRIDE, stub_code(vector).ljust(STUB_STRIDE, ILLEGAL_FILL))
        self._write(3, IRET - STUBS, b"\x48\xcf")
        self._write(3, REHEARSAL - STUBS, b"\x0f\x0b")

    def _write_tables(self) -> None:
        # Upper levels restrict nothing that the entry below does not; but user access is given nowhere without need.
        user = USER if self.lstar_cpl == 3 else 0
        upper = PRESENT | WRITABLE | ACCESSED | user
        self._entry(_PDPT, 0, (SYSTEM_PHYSICAL + _DIRECTORY * PAGE_SIZE) | upper)
        for table in range(_TABLE_COUNT):
            self._entry(_DIRECTORY, table, (SYSTEM_PHYSICAL + (_TABLES + table) * PAGE_SIZE) | upper)
        self._entry(_ROOT, SYSTEM_SLOT, self.system_pml4_entry())
        fixed = PRESENT | ACCESSED | DIRTY
        for page, flags in enumerate((fixed | user, fixed | NO_EXECUTE, fixed | NO_EXECUTE, fixed)):
            self._map(page, flags)

    def _map(self, page: int, flags: int) -> None:
        self._entry(_TABLES + page // 512, page % 512, (SYSTEM_PHYSICAL + page * PAGE_SIZE) | flags)

    def _entry(self, page: int, index: int, value: int) -> None:
        self._write(page, index * 8, struct.pack("<Q", value))

    def system_pml4_entry(self) -> int:
        """What PML4 slot 255 of every address space holds."""
        user = USER if self.lstar_cpl == 3 else 0
        return (SYSTEM_PHYSICAL + _PDPT * PAGE_SIZE) | PRESENT | WRITABLE | ACCESSED | user

    def root(self) -> int:
        """CR3 of an address space that has nothing but the system pages."""
        return SYSTEM_PHYSICAL + _ROOT * PAGE_SIZE

    def add_vcpu(self, index: int) -> Any:
        """Fills and maps the page of vCPU ``index`` (ValueError beyond MAX_VCPUS); returns a cffi view of its bytes,
        which keeps the system pages alive."""
        if not 0 <= index < MAX_VCPUS:
            raise ValueError(f"vCPU {index}: there is room for {MAX_VCPUS}")
        page = 4 + index
        self._write(page, 0, _tss(index, gate_port=self.lstar_cpl == 3))
        self._map(page, PRESENT | WRITABLE | ACCESSED | DIRTY | NO_EXECUTE)
        return ffi.from_buffer(memoryview(self._memory)[page * PAGE_SIZE : (page + 1) * PAGE_SIZE])

    def layout(self) -> Any:
        """A ``struct aero_gate``: the same, for the native part."""
        gate = ffi.new("struct aero_gate *")
        gate.user_end = USER_END
        gate.gate, gate.sysret, gate.stubs, gate.iret = GATE, SYSRET, STUBS, IRET
        gate.gate_port, gate.stub_port, gate.lstar_cpl = GATE_PORT, STUB_PORT, self.lstar_cpl
        return gate

    def close(self) -> None:
        """Gives the pages back, or leaves that to the last vCPU.  May be called again."""
        with contextlib.suppress(BufferError):
            self._memory.close()
