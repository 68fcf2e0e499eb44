"""What happened to a program that did not end itself: registers, code and the last traps, kept when it was ended.

Disassembly and symbols are made when the report is shown, not before.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hv.engine import REGISTERS

if TYPE_CHECKING:
    from abi.image import Image

VECTORS: Final[dict[int, tuple[str, int]]] = {
    0: ("divide error", 8), 1: ("debug trap", 5), 3: ("breakpoint", 5), 4: ("overflow", 11), 5: ("bound range", 11),
    6: ("invalid instruction", 4), 7: ("device not available", 8), 10: ("invalid TSS", 11),
    11: ("segment not present", 7), 12: ("stack fault", 7), 13: ("general protection fault", 11),
    14: ("page fault", 11), 16: ("floating-point error", 8), 17: ("misaligned access", 7),
    19: ("SIMD floating-point error", 8), 21: ("control-protection fault", 11),
}  # fmt: skip
"""Exception vector -> its name, and the number of the signal that Linux gives for it."""


def signal_of(vector: int) -> int:
    """The signal that an exception would be on Linux; the status of a program ended by it is 128 + this."""
    return VECTORS.get(vector, ("", 11))[1]


@dataclass
class Trap:
    """One of the last traps before the end."""

    thread: int
    what: str
    result: int | None = None


@dataclass
class Report:
    """Why a program was ended.  ``str`` gives it for people, ``as_dict`` for programs."""

    program: str
    reason: str
    status: int
    thread: int = 0
    registers: dict[str, int] = field(default_factory=dict)
    code: bytes = b""
    """Instructions from rip on, as far as they could be read."""
    stack: Sequence[int] = ()
    """Quadwords from rsp on."""
    calls: Sequence[int] = ()
    """What is on the stack that looks like return addresses, the innermost first; some may be left from earlier."""
    traps: Sequence[Trap] = ()
    image: Image | None = None

    def where(self) -> str | None:
        """The symbol that rip is in, if the image has symbols."""
        if self.image is None or "rip" not in self.registers: return None
        return self.image.symbolize(self.registers["rip"])

    def line(self) -> str | None:
        """The source line that rip is in, if the image has debugging information."""
        if self.image is None or "rip" not in self.registers: return None
        return self.image.line(self.registers["rip"])

    def callers(self) -> list[str]:
        """The calls by name, with source lines where the image has them: ``transfer+0x31 (bank.c:41)``."""
        image = self.image
        if image is None: return []
        found = []
        for address in self.calls:
            # A return address is behind its call, and may belong to the next line, or function.
            name, line = image.symbolize(address - 1), image.line(address - 1)
            if name is not None: found.append(f"{name} ({line})" if line else name)
        return found

    def disassembly(self) -> list[str]:
        """The instructions at rip, in Intel syntax."""
        if not self.code: return []
        import capstone

        decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        lines = [
            f"{i.address:#x}: {i.bytes.hex(' '):<24} {i.mnemonic} {i.op_str}".rstrip()
            for i in decoder.disasm(self.code, self.registers["rip"], 6)
        ]
        return lines or [f"{self.registers['rip']:#x}: {self.code[:16].hex(' ')}  (no instruction)"]

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "program": self.program,
            "reason": self.reason,
            "status": self.status,
            "thread": self.thread,
            "registers": {name: f"{value:#x}" for name, value in self.registers.items()},
            "symbol": self.where(),
            "line": self.line(),
            "disassembly": self.disassembly(),
            "stack": [f"{value:#x}" for value in self.stack],
            "callers": self.callers(),
            "traps": [{"thread": trap.thread, "what": trap.what, "result": trap.result} for trap in self.traps],
        }

    def __str__(self) -> str:
        lines = [f"{self.program}: {self.reason}"]
        symbol = self.where()
        line = self.line()
        if symbol: lines.append(f"  in {symbol} ({line})" if line else f"  in {symbol}")
        names = [name for name in REGISTERS if name in self.registers]
        for start in range(0, len(names), 4):
            row = (f"{name:>6} {self.registers[name]:016x}" for name in names[start : start + 4])
            lines.append("  " + "  ".join(row))
        if self.code: lines += ["  code:", *(f"    {line}" for line in self.disassembly())]
        if self.stack: lines.append("  stack: " + " ".join(f"{value:x}" for value in self.stack))
        callers = self.callers()
        if callers: lines += ["  called from (as the stack suggests):", *(f"    {caller}" for caller in callers)]
        if self.traps:
            lines.append("  last traps, the latest first:")
            for trap, alike in itertools.groupby(reversed(self.traps)):
                result = "" if trap.result is None else f" = {trap.result}"
                count = len(list(alike))
                times = f" ({count} times)" if count > 1 else ""
                lines.append(f"    thread {trap.thread}: {trap.what}{result}{times}")
        return "\n".join(lines)


__all__ = ["Report", "Trap", "signal_of"]
