"""Names of traps, for reports and traces; imported only when one is shown."""

from __future__ import annotations

from abi.calls import BY_NUMBER
from abi.layout import NATIVE_FIRST
from hv.report import VECTORS


def trap_name(what: int, address: int | None) -> str:
    """A system-call number, or -1 - vector for an exception, in words."""
    if what < 0:
        name = VECTORS.get(-1 - what, (f"exception {-1 - what}", 0))[0]
        return f"{name} ({address:#x})" if address else name
    call = BY_NUMBER.get(what)
    if call is not None: return call.name
    return f"Linux call {what}" if what < NATIVE_FIRST else f"call {what:#x}"


__all__ = ["trap_name"]
