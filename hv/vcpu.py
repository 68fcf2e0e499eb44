"""A virtual CPU on KVM: the only place that knows KVM's registers.

Between two runs ``regs`` holds the program's registers, wherever the vCPU itself stands (``native/aerokvm.c``); the
host may change any of them, and the program goes on with what is there.
"""

from __future__ import annotations

import contextlib
import functools
import struct
import threading
from collections.abc import Callable
from typing import Any, Final, cast

from abi.layout import PAGE_SIZE
from hv import gate as system
from hv.engine import Context, Registers, Translation
from hv.gate import Gate
from hv.kvm import Kvm, Vm, check, ffi, ioctl, lib

MSR_STAR: Final = 0xC000_0081
MSR_LSTAR: Final = 0xC000_0082
MSR_SYSCALL_MASK: Final = 0xC000_0084
MSR_FS_BASE: Final = 0xC000_0100
MSR_GS_BASE: Final = 0xC000_0101

# PE MP ET NE WP AM PG.  AM: a program that sets RFLAGS.AC gets #AC for unaligned accesses, as it does on Linux.
CR0: Final = 0x8005_0033
EFER: Final = 0xD01
"""SCE LME LMA NXE"""
CR4_PAE: Final = 1 << 5
CR4_OSFXSR: Final = 1 << 9
CR4_OSXMMEXCPT: Final = 1 << 10
CR4_UMIP: Final = 1 << 11
CR4_FSGSBASE: Final = 1 << 16
CR4_OSXSAVE: Final = 1 << 18

XCR0_WANTED: Final = 0xE7
"""x87, SSE, AVX and AVX-512.  Not AMX, whose state outgrows KVM_GET_XSAVE, nor protection keys (no CR4.PKE)."""

ALL_FLAGS: Final = 0x25_7FD5
"""What ``syscall`` clears: every flag that a program can set."""

SELECTORS: Final = ("ds", "es", "fs", "gs")

XSAVE_SIZE: Final = 4096
MXCSR_RESET: Final = 0x1F80
X87_CONTROL_RESET: Final = 0x037F


def _initial_xsave() -> bytes:
    """The state at power-on.  x87 and SSE are given in full, with their bits set in XSTATE_BV: for a component whose
    bit is clear XRSTOR loads zeros, but leaves the MXCSR of whoever was there before."""
    area = bytearray(XSAVE_SIZE)
    struct.pack_into("<H", area, 0, X87_CONTROL_RESET)
    struct.pack_into("<I", area, 24, MXCSR_RESET)
    struct.pack_into("<Q", area, 512, 3)
    return bytes(area)


INITIAL_XSAVE: Final = _initial_xsave()


def _control_4(kvm: Kvm) -> int:
    _, _, features, _ = kvm.cpuid_leaf(1)
    _, extended_b, extended_c, _ = kvm.cpuid_leaf(7)
    value = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT
    if features & 1 << 26:
        value |= CR4_OSXSAVE
    if extended_b & 1 << 0:
        value |= CR4_FSGSBASE
    if extended_c & 1 << 2:
        value |= CR4_UMIP
    return value


class Vcpu:
    """One vCPU of a machine (an ``hv.engine.Engine``).

    ``index`` is unique in the machine, below ``gate.MAX_VCPUS`` and what KVM allows.  One host thread at a time may use
    it; ``kick`` may come from any.  Raises OSError when KVM refuses.
    """

    def __init__(self, vm: Vm, gate: Gate, index: int) -> None:
        self.index = index
        self._lstar_cpl = gate.lstar_cpl
        self.fd = -1
        self._lock = threading.Lock()
        self._state: Any = ffi.new("struct aero_vcpu *")
        # Plain attributes, for each system call uses them: a property and a method around them cost 0.1 us each.
        self.run: Callable[[], int] = functools.partial(lib.aero_run, self._state)
        """Lets the program run; returns why it stopped: SYSCALL, FAULT, PREEMPTED, MMIO or CRASHED (``hv.engine``)."""
        # Not `self._state.regs`, which would not keep the memory alive for whoever keeps only the registers.
        whole = ffi.buffer(self._state, ffi.sizeof("struct kvm_regs"))
        self.regs: Registers = ffi.from_buffer("struct kvm_regs *", whole)
        """The program's general registers, live."""
        self.deliver: Callable[[Registers, int, int, int], None] = functools.partial(lib.aero_deliver, self.regs)
        """Gives the program that has these registers the words of a message that this one has in its own, and badge,
        item and object besides."""
        self._page: Any = gate.add_vcpu(index)
        kvm = vm.kvm
        self.fd = vm.create_vcpu(index)
        check(
            lib.aero_open(
                self._state,
                self.fd,
                kvm.run_size,
                kvm.sync_regs,
                gate.layout(),
                self._page + PAGE_SIZE,
                system.vcpu_page(index) + PAGE_SIZE,
            ),
            "mapping struct kvm_run",
        )
        self._segments: Any = ffi.new("struct kvm_sregs *")
        try:
            self._configure(kvm)
            if gate.lstar_cpl == 0:
                self._rehearse(gate)
        except BaseException:
            self.close()
            raise

    def _configure(self, kvm: Kvm) -> None:
        ioctl(self.fd, "KVM_SET_CPUID2", bytearray(kvm.cpuid()))
        control_4 = _control_4(kvm)
        sregs = self._segments
        ioctl(self.fd, "KVM_GET_SREGS", sregs)
        sregs.cr0, sregs.cr4, sregs.efer = CR0, control_4, EFER
        data = {"limit": 0xFFFFFFFF, "type": 3, "present": 1, "dpl": 3, "db": 1, "s": 1, "g": 1}
        sregs.cs = data | {"selector": system.USER_CODE, "type": 11, "db": 0, "l": 1}
        sregs.ss = data | {"selector": system.USER_DATA}
        sregs.ds = sregs.es = sregs.fs = sregs.gs = data
        # No LDT: a program could else name one, at linear address 0, in its segment registers.
        sregs.ldt = {"type": 2, "unusable": 1}
        sregs.tr = {
            "base": system.vcpu_page(self.index), "limit": system.TSS_LIMIT, "selector": 0x38, "type": 11, "present": 1,
        }  # fmt: skip
        sregs.gdt = {"base": system.GDT, "limit": system.GDT_LIMIT}
        sregs.idt = {"base": system.IDT, "limit": system.IDT_LIMIT}
        if control_4 & CR4_OSXSAVE:
            supported, _, _, high = kvm.cpuid_leaf(0xD)
            xcrs = bytearray(392)
            struct.pack_into("<IIIIQ", xcrs, 0, 1, 0, 0, 0, (supported | high << 32) & XCR0_WANTED)
            ioctl(self.fd, "KVM_SET_SREGS", sregs)  # XCR0 can be set once CR4.OSXSAVE is
            ioctl(self.fd, "KVM_SET_XCRS", xcrs)
        self._write_msrs((MSR_STAR, system.STAR), (MSR_LSTAR, system.GATE), (MSR_SYSCALL_MASK, ALL_FLAGS))

    def _rehearse(self, gate: Gate) -> None:
        """One exception within ring 0, before any program runs, so that the host has mapped all that delivering one
        touches.  A CPU with nested paging that finds such a page missing is to execute an ``int3`` again; the one that
        QEMU emulates skips it instead, and the program would never stop at its breakpoint."""
        sregs = ffi.new("struct kvm_sregs *", self._segments[0])
        sregs.cr3 = gate.root()
        sregs.cs.selector, sregs.cs.dpl = system.KERNEL_CODE, 0
        sregs.ss.selector, sregs.ss.dpl = system.KERNEL_DATA, 0
        ioctl(self.fd, "KVM_SET_SREGS", sregs)
        registers = ffi.new("struct kvm_regs *")
        registers.rip, registers.rsp, registers.rflags = system.REHEARSAL, system.vcpu_page(self.index) + PAGE_SIZE, 2
        ioctl(self.fd, "KVM_SET_REGS", registers)
        ioctl(self.fd, "KVM_RUN", 0)

    # Running.

    def kick(self) -> None:
        """Makes the run under way, or else the next one, return PREEMPTED.  From any thread; no effect when closed."""
        with self._lock:
            lib.aero_kick(self._state)

    def raw_exit_loop(self, exits: int) -> int:
        """Benchmark: nanoseconds for ``exits`` system calls with nothing done between them.  The program has to stand
        at a system call and to make no other exit; OSError otherwise, or without synchronized registers."""
        return check(lib.aero_raw_exit_loop(self._state, exits), "raw exit loop")

    def replay(self, number: int, times: int, last: int) -> None:
        """Benchmark: the next ``times`` runs do not enter the guest but find it making system call ``number`` with the
        arguments now in rdi, rsi and rdx, and one more ``last``; all else is as ever.  OSError unless the program
        stands at a system call."""
        check(lib.aero_replay(self._state, number, times, last), "replay")

    @property
    def rip(self) -> int:
        """Where the program goes on; behind the ``syscall``, or at the faulting instruction."""
        return self.regs.rip

    @rip.setter
    def rip(self, value: int) -> None:
        self.regs.rip = value

    @property
    def rsp(self) -> int:
        """The program's stack pointer."""
        return self.regs.rsp

    @rsp.setter
    def rsp(self, value: int) -> None:
        self.regs.rsp = value

    @property
    def rflags(self) -> int:
        """The program's flags.  Of what is written CF PF AF ZF SF DF OF AC ID count when it goes on; IF is always set;
        TF NT IOPL RF VM never are."""
        return self.regs.rflags

    @rflags.setter
    def rflags(self, value: int) -> None:
        self.regs.rflags = value

    # What the last trap was.

    @property
    def vector(self) -> int:
        """FAULT: the exception, 0 to 31."""
        return cast(int, self._state.vector)

    @property
    def error_code(self) -> int:
        """FAULT: what the CPU pushed, 0 where it pushes nothing."""
        return cast(int, self._state.error_code)

    @property
    def fault_address(self) -> int:
        """FAULT of vector 14: the address that was accessed."""
        return cast(int, self._state.fault_address)

    @property
    def mmio_address(self) -> int:
        """MMIO: the guest-physical address."""
        return cast(int, self._state.mmio_address)

    @property
    def mmio_length(self) -> int:
        """MMIO: bytes, 1 to 8."""
        return cast(int, self._state.mmio_length)

    @property
    def mmio_is_write(self) -> bool:
        """MMIO: whether the program stores."""
        return bool(self._state.mmio_is_write)

    @property
    def mmio_data(self) -> int:
        """MMIO: what is stored; for a load, what the program is to get (little-endian, zero unless set)."""
        return cast(int, self._state.mmio_data)

    @mmio_data.setter
    def mmio_data(self, value: int) -> None:
        self._state.mmio_data = value

    @property
    def crash_reason(self) -> str:
        """CRASHED: what happened, a sentence."""
        return cast(bytes, ffi.string(self._state.crash_reason)).decode()

    # The whole state.

    def start(self, cr3: int, rip: int, rsp: int, *, rdi: int = 0, fs_base: int = 0) -> None:
        """Becomes a new program thread at ``rip`` in the address space whose root table is at guest-physical ``cr3``:
        other registers zero, x87, SSE and AVX as at power-on.  Nothing of an earlier program is left."""
        lib.aero_settle(self._state)
        sregs = self._segments
        sregs.cr3 = cr3
        sregs.fs.base = fs_base
        ioctl(self.fd, "KVM_SET_SREGS", sregs)
        ioctl(self.fd, "KVM_SET_XSAVE", bytearray(INITIAL_XSAVE))
        ffi.buffer(self.regs)[:] = bytes(ffi.sizeof("struct kvm_regs"))
        registers = self.regs
        registers.rip, registers.rsp, registers.rdi, registers.rflags = rip, rsp, rdi, 0x202
        self._take_selectors(sregs)
        lib.aero_settled_in_program(self._state)

    def save(self) -> Context:
        """All state of the program thread, whichever trap it was stopped by."""
        lib.aero_settle(self._state)
        sregs = self.segments()
        if self._lstar_cpl == 3:
            for name in SELECTORS:
                getattr(sregs, name).selector = getattr(self._state, name)
        extended = bytearray(XSAVE_SIZE)
        ioctl(self.fd, "KVM_GET_XSAVE", extended)
        registers = bytes(ffi.buffer(self.regs))
        return Context(registers, bytes(ffi.buffer(sregs)), bytes(extended))

    def load(self, context: Context, cr3: int) -> None:
        """Becomes the saved thread, of this or another vCPU, in the address space of ``cr3``."""
        lib.aero_settle(self._state)
        saved = ffi.new("struct kvm_sregs *")
        ffi.buffer(saved)[:] = context.segments
        sregs = ffi.new("struct kvm_sregs *", self._segments[0])
        # A program chooses these four, within what its descriptors allow; code and stack segment are always the same.
        sregs.ds, sregs.es, sregs.fs, sregs.gs = saved.ds, saved.es, saved.fs, saved.gs
        sregs.cr3 = cr3
        ioctl(self.fd, "KVM_SET_SREGS", sregs)
        ioctl(self.fd, "KVM_SET_XSAVE", bytearray(context.extended))
        ffi.buffer(self.regs)[:] = context.registers
        self._take_selectors(saved)
        lib.aero_settled_in_program(self._state)

    def _take_selectors(self, sregs: Any) -> None:
        """The program's data selectors, for hosts whose KVM does not switch them (``native/aerokvm.c``)."""
        for name in SELECTORS:
            setattr(self._state, name, getattr(sregs, name).selector)

    def _page_bytes(self) -> bytes:
        return bytes(ffi.buffer(self._page, PAGE_SIZE))

    @property
    def fs_base(self) -> int:
        """The program's FS base (thread-local storage); it may change it itself by ``wrfsbase``."""
        return self._read_msr(MSR_FS_BASE)

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self._write_msrs((MSR_FS_BASE, value))

    @property
    def gs_base(self) -> int:
        """The program's GS base."""
        return self._read_msr(MSR_GS_BASE)

    @gs_base.setter
    def gs_base(self, value: int) -> None:
        self._write_msrs((MSR_GS_BASE, value))

    def segments(self) -> Any:
        """A ``struct kvm_sregs`` as KVM has it: where the vCPU itself stands.  For probes and reports."""
        sregs = ffi.new("struct kvm_sregs *")
        ioctl(self.fd, "KVM_GET_SREGS", sregs)
        return sregs

    def _read_msr(self, number: int) -> int:
        message = bytearray(struct.pack("<IIIIQ", 1, 0, number, 0, 0))
        if ioctl(self.fd, "KVM_GET_MSRS", message) != 1:
            raise OSError(f"KVM does not give MSR {number:#x}")
        return cast(int, struct.unpack_from("<Q", message, 16)[0])

    def _write_msrs(self, *values: tuple[int, int]) -> None:
        message = bytearray(struct.pack("<II", len(values), 0))
        for number, value in values:
            message += struct.pack("<IIQ", number, 0, value)
        written = ioctl(self.fd, "KVM_SET_MSRS", message)
        if written != len(values):
            raise ValueError(f"KVM refuses {values[written][1]:#x} in MSR {values[written][0]:#x}")

    def translate(self, address: int) -> Translation:
        """Walks the page tables the program runs on (KVM_TRANSLATE), as supervisor.  KVM fills in ``writable`` and
        ``user`` with constants; only ``physical`` and ``valid`` say something.  Waits while the vCPU runs."""
        question = ffi.new("struct kvm_translation *")
        question.linear_address = address
        ioctl(self.fd, "KVM_TRANSLATE", question)
        return Translation(
            question.physical_address, bool(question.valid), bool(question.writeable), bool(question.usermode)
        )

    def close(self) -> None:
        """Gives the vCPU back; RuntimeError while a thread is in ``run``.  May be called again."""
        with self._lock:
            if self.fd < 0:
                return
            if lib.aero_is_running(self._state):
                raise RuntimeError(f"vCPU {self.index} is running")
            lib.aero_close(self._state)
            self.fd = -1
            self._page = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def slice_start(nanoseconds: int) -> None:
    """From now on the calling thread gets a tick every ``nanoseconds`` of its processor time, the guest's included: the
    ``run`` under way, or else its next one, returns PREEMPTED.  Called again it begins anew: a tick that has come and
    has ended no ``run`` yet is forgotten.  Raises OSError.
    """
    if nanoseconds <= 0:
        raise ValueError(f"a time slice of {nanoseconds} ns")
    check(lib.aero_slice_start(nanoseconds), "time-slice timer")


def slice_is_over() -> bool:
    """A tick has come to the calling thread while it was in no ``run``: the next one is going to return at once."""
    return bool(lib.aero_slice_is_over())


def slice_stop() -> None:
    """No more ticks for the calling thread; has to be called before the thread ends."""
    lib.aero_slice_stop()
