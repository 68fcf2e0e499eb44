"""The native system calls: one table that yields the dispatch, the C header and the reference page.

Registers as in the Linux x86-64 convention: number in ``rax``; arguments in ``rdi rsi rdx r10 r8 r9``; the result in
``rax``, an error as ``-errno`` in [-4095, -1]; ``rcx`` and ``r11`` are lost.
"""

from __future__ import annotations

from typing import Final

from abi.calls.call import Argument, Call
from abi.calls.containers import CONTAINERS
from abi.calls.devices import DEVICES
from abi.calls.memory import MEMORY
from abi.calls.messages import MESSAGES
from abi.calls.printing import PRINTING
from abi.calls.processes import PROCESSES
from abi.calls.threads import THREADS

MESSAGE_WORDS: Final = ("r8", "r9", "r12", "r13", "r14", "r15")
"""The registers of a message's words.  A message that is received also leaves in rdi the badge of the handle by which
it was sent, and in rdx and r10 what it carries (``item`` and ``object``)."""

CALLS: Final[tuple[Call, ...]] = tuple(
    sorted((*PRINTING, *THREADS, *MEMORY, *PROCESSES, *CONTAINERS, *MESSAGES, *DEVICES), key=lambda call: call.number)
)
"""By number."""
BY_NUMBER: Final[dict[int, Call]] = {call.number: call for call in CALLS}
BY_NAME: Final[dict[str, Call]] = {call.name: call for call in CALLS}

__all__ = ["BY_NAME", "BY_NUMBER", "CALLS", "MESSAGE_WORDS", "Argument", "Call"]
