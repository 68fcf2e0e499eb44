"""What this host's KVM does, found by trying it: vendors and versions do not tell.

Starting a machine needs ``lstar_cpl`` alone (a small machine of its own, a few milliseconds, once a process);
``probe`` is for ``doctor``, benchmarks and tests.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from abi.layout import EXECUTE, READ, SYSTEM_SLOT, WRITE
from hv.engine import SYSCALL, TRAP_NAMES
from hv.gate import GATE, Gate
from hv.guest_memory import GuestMemory
from hv.kvm import Kvm, Vm, ffi, ioctl
from hv.page_tables import TableFrames, encode_entry
from hv.vcpu import Vcpu

CR4_PGE: Final = 1 << 7

CODE: Final = 0x10_0000
"""Where the probing program lies; it reads at rdi and makes a system call, for ever."""
READ_LOOP: Final = bytes.fromhex("488b1f 0f05 ebf9")  # 1: mov rbx, [rdi]; syscall; jmp 1b
DATA: Final = 0x11_0000
CODE_PAGE, FIRST_PAGE, SECOND_PAGE = 0, 1, 2
MEMORY: Final = 1 << 20


class HostFacts(NamedTuple):
    """How this host's KVM behaves."""

    lstar_cpl: int
    """The privilege level at which ``syscall`` arrives: 0 as on hardware, 3 where KVM enters LSTAR without leaving
    ring 3."""
    out_rip_advances: bool
    """At an exit by ``out``, RIP is behind the instruction already."""
    paging: str
    """``"nested"`` (the CPU walks guest tables, EPT or NPT) or ``"shadow"`` (KVM does, and remembers what it read)."""
    host_writes_noticed: bool
    """A present page-table entry that the host changes takes effect with nothing else done."""
    drop_works: bool
    """``GuestMemory.drop`` makes a vCPU forget a translation."""
    release_works: bool
    """So does ``GuestMemory.release``, and the page reads as zero."""
    sync_regs: bool
    """Registers travel with KVM_RUN."""
    exit_cost_us: float
    """One system call to the host and back, without anything done about it: median, in microseconds."""


class _Sample:
    """The smallest machine with a program in it."""

    def __init__(self, kvm: Kvm, lstar_cpl: int) -> None:
        self.vm: Vm = kvm.vm()
        self.memory = GuestMemory(self.vm, MEMORY)
        self.memory.ensure(0)
        self.tables = TableFrames(self.vm, MEMORY)
        self.gate = Gate(self.vm, lstar_cpl)
        for table in range(4):
            self.tables.create(table)
        for table in range(3):
            self.tables.set_entry(table, 0, encode_entry(self.tables.gpa(table + 1), 0, table=True, large=False))
        self.tables.set_entry(0, SYSTEM_SLOT, self.gate.system_pml4_entry())
        self.map(CODE, CODE_PAGE, READ | EXECUTE)
        self.map(DATA, FIRST_PAGE, READ | WRITE)
        self.memory.view[: len(READ_LOOP)] = READ_LOOP
        self.vcpu = Vcpu(self.vm, self.gate, 0)
        self.vcpu.start(self.tables.gpa(0), CODE, 0, rdi=DATA)

    def map(self, address: int, page: int, permissions: int) -> None:
        self.tables.set_entry(3, address >> 12, encode_entry(page << 12, permissions, table=False, large=False))

    def store(self, page: int, value: int) -> None:
        self.memory.view[page << 12 : (page << 12) + 8] = struct.pack("<Q", value)

    def read(self) -> int:
        """What the program reads at DATA."""
        trap = self.vcpu.run()
        if trap != SYSCALL:
            raise RuntimeError(f"the probing program did not come back: {TRAP_NAMES[trap]} {self.vcpu.crash_reason}")
        return self.vcpu.regs.rbx

    def close(self) -> None:
        self.vcpu.close()
        self.vm.close()
        self.gate.close()
        self.tables.close()
        self.memory.close()


_lstar_cpl: int | None = None
_facts: HostFacts | None = None


def lstar_cpl(kvm: Kvm) -> int:
    """The privilege level, 0 or 3, at which a program's ``syscall`` arrives at LSTAR.  Tried once a process."""
    global _lstar_cpl
    if _lstar_cpl is None:
        sample = _Sample(kvm, 3)  # a gate that both kinds of host can execute, for one system call
        try:
            sample.read()
            _lstar_cpl = int(sample.vcpu.segments().cs.selector) & 3
        finally:
            sample.close()
    return _lstar_cpl


def _flush_translations(vcpu: Vcpu) -> None:
    """Makes KVM set its MMU up anew; that flushes the TLB, but not shadow page tables."""
    segments = vcpu.segments()
    for _ in range(2):
        segments.cr4 ^= CR4_PGE
        ioctl(vcpu.fd, "KVM_SET_SREGS", segments)


def _probe(kvm: Kvm) -> HostFacts:
    cpl = lstar_cpl(kvm)
    sample = _Sample(kvm, cpl)
    try:
        sample.store(FIRST_PAGE, 1)
        sample.store(SECOND_PAGE, 2)
        sample.read()
        registers = ffi.new("struct kvm_regs *")
        ioctl(sample.vcpu.fd, "KVM_GET_REGS", registers)
        advances = int(registers.rip) != GATE

        sample.map(DATA, SECOND_PAGE, READ)
        noticed = sample.read() == 2
        _flush_translations(sample.vcpu)
        nested = sample.read() == 2

        sample.memory.drop(FIRST_PAGE)
        sample.memory.drop(SECOND_PAGE)
        drops = sample.read() == 2
        sample.map(DATA, FIRST_PAGE, READ)
        sample.memory.release(SECOND_PAGE)
        releases = sample.read() == 1 and not any(sample.memory.view[SECOND_PAGE << 12 : (SECOND_PAGE + 1) << 12])

        from statistics import median  # not on the path of those who only run programs

        cost = 0.0
        if kvm.sync_regs:
            cost = median(sample.vcpu.raw_exit_loop(200) / 200 for _ in range(9)) / 1000
        return HostFacts(
            lstar_cpl=cpl,
            out_rip_advances=advances,
            paging="nested" if nested else "shadow",
            host_writes_noticed=noticed,
            drop_works=drops,
            release_works=releases,
            sync_regs=kvm.sync_regs,
            exit_cost_us=cost,
        )
    finally:
        sample.close()


def probe(kvm: Kvm) -> HostFacts:
    """All of the facts; tens of milliseconds, once a process.  RuntimeError when no program can be run at all."""
    global _facts
    if _facts is None:
        _facts = _probe(kvm)
    return _facts
