"""Operations: work that grows with what a call is given, done in steps between which others run.

An operation is a generator that yields after each step: one transition, or a look at a bounded part of the state that
costs no more.  Whoever holds the big lock may advance it; where it stands is in the generator alone, and what it wants
from the state between two steps it asks again.

An operation that cannot go on before another has ended yields that one.  Advancing the first then does steps of the
second: nobody ever waits, and a turn is never spent for nothing.  Two things are waited for so:

- *Address spaces.*  An operation that changes one holds it (``Operations.hold``), so that what it found in its first
  steps is still so in the last ones.  Several are taken together or not at all, and who holds one waits for nothing.
- *What is ending.*  Each process and container is taken down by one operation, which is for whoever needs it gone.  It
  waits for what lies below it in the trees alone.

So nothing can wait in a circle.  A process that begins to end is taken from who holds its address space: there
``SpaceLost`` is raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Final, final

from abi.errors import ESRCH

BATCH: Final = 32
"""Steps that are done at once: 0.25 ms for pages unmapped, checks included; 1.2 ms where the kernel is not compiled."""
LOOKS: Final = 64
"""Pages of a range that are looked up in one step; fewer where more is asked about each."""


class SpaceLost(Exception):
    """The process whose address space an operation held has begun to end: it is none of the operation's business any
    more."""

    def __init__(self, s: int) -> None:
        super().__init__(f"process {s}")
        self.process = s


class SpaceBusy(Exception):
    """A call that is no operation would change an address space that an operation is changing: nothing has been done.
    It is to be made again when that one has ended, which the caller helps with.  ``call``: the call to make then, with
    the same first arguments, if it is not the same."""

    def __init__(self, holder: Operation, call: str = "") -> None:
        super().__init__("an address space is being changed by another call")
        self.holder = holder
        self.call = call


class Again(Exception):
    """A call that is no operation has done a bounded part of what was in its way.  It is to be made again, as ``call``
    with the same first arguments, after others have had the lock."""

    def __init__(self, call: str) -> None:
        super().__init__(call)
        self.call = call


@final
class Operation:
    """A call in progress.  ``steps(operation, *arguments)`` is what it does."""

    __slots__ = ("_awaits", "_steps", "begun", "result", "spaces")

    def __init__(self, steps: Callable[..., Steps], *arguments: int) -> None:
        self._steps = steps(self, *arguments)
        self._awaits: Operation | None = None
        """What it cannot go on without."""
        self.begun = False
        """It has changed something, or relies on something, that only it can bring to a good end."""
        self.spaces: tuple[int, ...] = ()
        """The processes whose address spaces it took."""
        self.result: int | None = None
        """What the call returns, once it has ended."""

    def advance(self, steps: int = BATCH) -> bool:
        """Goes on by up to this many steps, its own or of what it waits for.  True once it has ended."""
        for _ in range(steps):
            if self.result is not None: return True
            working = self
            while (awaited := working._awaits) is not None:
                if awaited.result is None: working = awaited
                else: working._awaits = None
            working._step()
        return self.result is not None

    def _step(self) -> None:
        try:
            self._awaits = next(self._steps)
        except StopIteration as end:
            self.result = end.value

    def complete(self) -> int:
        """Does all that is left, and returns the result."""
        while not self.advance(): pass
        assert self.result is not None
        return self.result

    def lose(self, s: int) -> None:
        """Tells it that process s, whose address space it holds, has begun to end."""
        try:
            self._awaits = self._steps.throw(SpaceLost(s))
        except StopIteration as end:
            self.result = end.value


Steps = Generator[Operation | None, None, int]
"""Yields None after each step, or the operation that has to end before the next; returns the call's result."""


class Operations:
    """The operations of one kernel: which address spaces they hold, what is being taken down, and which of them no
    thread goes on with."""

    def __init__(self, alive: Callable[[int], bool]) -> None:
        self._alive = alive
        """Whether a process has not begun to end."""
        self.holders: dict[int, Operation] = {}
        """By process: the operation that is changing its address space."""
        self.endings: dict[int, Operation] = {}
        """By process or container that is ending: the operation that takes it down."""
        self.orphans: deque[Operation] = deque()
        """Operations that are nobody's call, or whose thread is gone: the cores advance them (``reap``)."""
        self.orphaned: Callable[[], None] = lambda: None
        """Called when there is a new one."""

    # For operations.

    def hold(self, operation: Operation, *processes: int) -> Generator[Operation, None, None]:
        """Takes the address spaces of these processes for an operation, all at once, when nobody has one of them.  In
        a ``try`` with ``release`` in its ``finally``.

        Anything may have happened when it is through: what the operation relies on has to be looked at only then.
        SpaceLost is raised if one of the processes is ending, and may be at any later ``yield``; and from now on the
        operation must not wait for others."""
        while others := [self.holders[s] for s in processes if s in self.holders]:
            yield others[0]
        for s in processes:
            if not self._alive(s): raise SpaceLost(s)
        for s in processes:
            self.holders[s] = operation
        operation.spaces = processes
        operation.begun = True

    def release(self, operation: Operation) -> None:
        """Gives up all address spaces that an operation still holds."""
        for s in operation.spaces:
            if self.holders.get(s) is operation: del self.holders[s]

    def lose(self, s: int) -> None:
        """Process s has begun to end: who holds its address space is told."""
        holder = self.holders.pop(s, None)
        if holder is not None: holder.lose(s)

    # For those who advance them.

    def adopt(self, operation: Operation) -> None:
        """Nobody waits for this operation any more.  If it has begun, it goes on all the same, so that a call is
        carried out as a whole or not at all."""
        if not operation.begun: operation.result = -ESRCH
        if operation.result is None:
            self.orphans.append(operation)
            self.orphaned()

    def reap(self, steps: int = BATCH) -> None:
        """Advances one of the orphans, each in its turn.  There must be one."""
        operation = self.orphans.popleft()
        if not operation.advance(steps): self.orphans.append(operation)

    def drain(self) -> None:
        """Brings all orphans to their end."""
        while self.orphans:
            self.reap()


__all__ = ["BATCH", "LOOKS", "Again", "Operation", "Operations", "SpaceBusy", "SpaceLost", "Steps"]
