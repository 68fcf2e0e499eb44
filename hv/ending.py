"""The making of a report: what is to be seen of a program at the moment it is ended.  Imported only then."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from abi.calls import BY_NUMBER
from abi.layout import NATIVE_FIRST
from hv.engine import PAGE_FAULT, PAGE_FAULT_FETCH, PAGE_FAULT_PRESENT, PAGE_FAULT_WRITE, REGISTERS
from hv.personality import Fault, UserFault
from hv.report import VECTORS, Report, Trap

if TYPE_CHECKING:
    from hv.machine import Machine
    from hv.process import Process
    from hv.thread import Thread


STACK_WORDS: Final = 256
"""How far up the stack return addresses are looked for."""
MOST_CALLS: Final = 8


def fault_reason(fault: Fault) -> str:
    """A fault in a sentence: what, where, and for page faults which access and why not."""
    name, _ = VECTORS.get(fault.vector, (f"exception {fault.vector}", 11))
    reason = f"{name} at {fault.rip:#x}"
    code = fault.error_code
    if fault.vector == PAGE_FAULT:
        access = "executing" if code & PAGE_FAULT_FETCH else "writing" if code & PAGE_FAULT_WRITE else "reading"
        why = "not permitted" if code & PAGE_FAULT_PRESENT else "not mapped"
        return f"{reason}, {access} {fault.fault_address:#x} ({why})"
    return f"{reason}, error code {code:#x}" if code else reason


def trap_name(what: int, address: int | None) -> str:
    """A system-call number, or -1 - vector for an exception, in words."""
    if what < 0:
        name = VECTORS.get(-1 - what, (f"exception {-1 - what}", 0))[0]
        return f"{name} ({address:#x})" if address else name
    call = BY_NUMBER.get(what)
    if call is not None: return call.name
    return f"Linux call {what}" if what < NATIVE_FIRST else f"call {what:#x}"


def last_traps(machine: Machine) -> list[Trap]:
    """A machine's last traps, the earliest first."""
    return [Trap(t, trap_name(what, address)) for t, what, address in machine.last_traps]


def take_report(machine: Machine, process: Process, reason: str, status: int, culprit: Thread | None) -> Report:
    """What is to be seen of a process that is about to be ended; ``culprit`` is the thread whose doing it is."""
    report = Report(process.name, reason, status, traps=last_traps(machine), image=process.image)
    if culprit is None or culprit.vcpu is None: return report
    report.thread = culprit.id
    regs, memory = culprit.vcpu.regs, process.memory
    report.registers = {name: getattr(regs, name) for name in REGISTERS}
    for length in (16, 8, 4, 2, 1):
        with contextlib.suppress(UserFault):
            report.code = memory.read(regs.rip, length)
            break
    stack: list[int] = []
    with contextlib.suppress(UserFault):
        for i in range(8):
            stack.append(memory.read_u64(regs.rsp + 8 * i))
    report.stack = stack
    report.calls = return_addresses(process, regs.rsp)
    return report


def return_addresses(process: Process, rsp: int) -> list[int]:
    """What lies on the stack and points behind a call instruction of the program, the innermost first.

    A guess, as Linux makes it in its oopses: without frame pointers the stack itself does not say what is what."""
    image, memory = process.image, process.memory
    if image is None: return []
    found: list[int] = []
    with contextlib.suppress(UserFault):
        for i in range(STACK_WORDS):
            value = memory.read_u64(rsp + 8 * i)
            if not image.is_code(value - 6): continue
            if _is_call(memory.observe(value - 6, 6)): found.append(value)
            if len(found) == MOST_CALLS: break
    return found


def _is_call(before: bytes) -> bool:
    """The bytes before an address end in a call: relative, or by a register or memory without an index."""
    if before[1] == 0xE8: return True
    for length in (2, 3, 6):
        opcode, modrm = before[6 - length], before[7 - length]
        if opcode != 0xFF or modrm >> 3 & 7 != 2: continue
        mode, register = modrm >> 6, modrm & 7
        if length == {3: 2, 0: 6 if register == 5 else 2, 1: 3, 2: 6}[mode]: return True
    return False


__all__ = ["fault_reason", "last_traps", "return_addresses", "take_report", "trap_name"]
