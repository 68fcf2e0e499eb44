"""The mediator V, through which A and B talk: what it may do, as an automaton over its system calls, and what its steps
suppose.

V hears requests at one endpoint, which A can send to, and asks B at another.  It is in one of few states (STATES), each
with the calls it may make there (ALLOWED); no call of it carries pages or handles, and it takes none, so that what
passes between A and B are words.  When a side is gone, V gives up what it held for it before it does anything else:
its handle to that side's endpoint, which is all it ever holds.

``Automaton`` follows a real program, call by call, on a concrete kernel; a test runs the one in userland/demo under it.
STEPS are the transitions of the allowed calls, each with what the automaton lets its arguments be: that these keep A
and B isolated is proved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kernel.endpoint import endpoint_of
from kernel.objects import PROCESS, THREAD, Kernel
from kernel.prove.isolation.statements import NEITHER, Side, process_side, thread_side, words_alone

# What V is doing.
LISTENING: Final = "listening"
"""It owes nobody a reply."""
SERVING: Final = "serving"
"""It has received a call and owes the reply."""
RELEASING: Final = "releasing"
"""A side is gone: it is to give up the handle to that side's endpoint."""
STATES: Final = (LISTENING, SERVING, RELEASING)

ALLOWED: Final[dict[str, frozenset[str]]] = {
    LISTENING: frozenset({"message_receive", "debug_print", "process_exit"}),
    SERVING: frozenset({"message_call", "message_reply", "debug_print"}),
    RELEASING: frozenset({"handle_close"}),
}
"""The calls it may make."""
ITEM: Final = {"message_call": 2, "message_reply": 0}
"""Of calls that can carry something: which argument says what."""


class NotAllowed(Exception):
    """A call that the mediator may not make."""


class Automaton:
    """Follows a mediator, process ``s``: ``request`` is its handle for hearing A, ``answer`` the one for asking B.

    What a call that waited has returned is not seen.  That a side is gone V need not know before it calls it again:
    until then it may go on or give up what it held, and from then on it has to."""

    def __init__(self, k: Kernel, s: int, request: int, answer: int) -> None:
        self.k = k
        self.s = s
        self.request = request
        self.answer = answer
        self.held = {request, answer}
        """The handles it has not closed."""
        self.left: set[int] = set()
        """Those of them that it has to close next."""
        self.serving = False
        """It has waited for a request, and has not replied since."""

    def states(self, t: int) -> set[str]:
        """What the mediator's thread t may be doing."""
        if self.serving:
            heard_nothing = self.k.thread[t].caller == 0 and self._gone(self.request)
            return {SERVING, RELEASING} if heard_nothing else {SERVING}
        if self.left: return {RELEASING}
        return {LISTENING, RELEASING} if any(self._gone(handle) for handle in self.held) else {LISTENING}

    def _gone(self, handle: int) -> bool:
        """Nobody is at the other end of a handle."""
        k = self.k
        E = k.endpoint[endpoint_of(k, self.s, handle % 65536, handle >> 16)]
        return (E.senders if handle == self.request else E.receivers) == 0

    def call(self, t: int, name: str, arguments: tuple[int, ...]) -> None:
        """Thread t makes this call.  Raises NotAllowed."""
        states = self.states(t)
        allowed = {call for state in states for call in ALLOWED[state]}
        if name not in allowed:
            raise NotAllowed(f"{name}{arguments} while {' or '.join(states)}: it may do {', '.join(sorted(allowed))}")
        if name in ITEM and arguments[ITEM[name]] != 0:
            raise NotAllowed(f"{name}{arguments}: it carries more than words")
        if name == "process_exit" and self.held: raise NotAllowed(f"it ends and still holds {sorted(self.held)}")
        if name == "message_receive":
            self._names(name, arguments[0], {self.request})
            if self._gone(self.request): self.left.add(self.request)
            else: self.serving = True
        elif name == "message_call":
            self._names(name, arguments[0], {self.answer})
            if self._gone(self.answer): self.left.add(self.answer)
        elif name == "message_reply":
            self.serving = False
        elif name == "handle_close":
            self._names(name, arguments[0], self.left | {h for h in self.held if self._gone(h)})
            self.serving = False
            self.held.discard(arguments[0])
            self.left.discard(arguments[0])
            if arguments[0] == self.request: self.left |= self.held  # with nobody who asks, there is nothing to ask for

    def _names(self, name: str, handle: int, these: set[int]) -> None:
        if handle not in these & self.held:
            raise NotAllowed(f"{name} by handle {handle:#x}: it may name {sorted(these & self.held)}")


def speaks(k: Kernel, a: int, b: int, d: int, side: Side, t: int, item: int) -> bool:
    """Thread t, of neither side, gives and takes words alone, and so does what it sends."""
    return k.page[t].kind == THREAD and thread_side(k, a, b, d, t) == NEITHER and words_alone(k, t) and item == 0


def listens(k: Kernel, a: int, b: int, d: int, side: Side, t: int) -> bool:
    """Thread t is of neither side, and gives and takes words alone."""
    return k.page[t].kind == THREAD and thread_side(k, a, b, d, t) == NEITHER and words_alone(k, t)


def its_process(k: Kernel, a: int, b: int, d: int, side: Side, s: int) -> bool:
    """Process s is of neither side."""
    return k.page[s].kind == PROCESS and process_side(k, a, b, d, s) == NEITHER


STEPS: Final[dict[str, tuple[Callable[..., bool], tuple[str, ...]]]] = {
    "message_receive": (listens, ("t",)), "message_call": (speaks, ("t", "item")),
    "message_reply": (speaks, ("t", "item")), "handle_close": (listens, ("t",)), "process_exit": (listens, ("t",)),
    "message_cancel": (listens, ("t",)),
    # What follows from its end, whoever brings it about.
    "process_end": (its_process, ("s",)), "thread_end": (listens, ("t",)), "handle_drop": (its_process, ("s",)),
    "unmap_page": (its_process, ("s",)), "unmap_block": (its_process, ("s",)), "process_finish": (its_process, ("s",)),
}  # fmt: skip
"""By transition: what is supposed of which of its arguments."""


def words_still(k: Kernel, a: int, b: int, d: int, side: Side, t: int) -> bool:
    """Thread t of the mediator gives and takes words alone (or is no more)."""
    return k.page[t].kind != THREAD or words_alone(k, t)


__all__ = [
    "ALLOWED", "ITEM", "LISTENING", "RELEASING", "SERVING", "STATES", "STEPS", "Automaton", "NotAllowed", "words_still",
]  # fmt: skip
