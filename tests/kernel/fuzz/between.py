"""What comes in the middle of a call that is done in steps: actions aimed at one that has begun.

Chance alone seldom kills just the thread, the process or the container that such a call is about, and seldom has
another thread change the same addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from abi.layout import PAGE_SIZE
from kernel.objects import CONTAINER, PROCESS, THREAD, Kernel
from tests.kernel.fuzz.dice import Dice

if TYPE_CHECKING:
    from tests.kernel.fuzz.run import Action, Going


def between(k: Kernel, going: Mapping[int, Going], dice: Dice) -> Action | None:
    """An action that takes something from one of the calls in progress, or meets it: a kill of its thread, of a process
    that it is about or of a container around that, by the host or by a thread that can; or a call on the same
    addresses.  None where no call has begun.  ``going``: by thread."""
    begun = [t for t, call in going.items() if call.operation.begun]
    if not begun: return None
    t = dice.pick(begun)
    s = k.thread[t].process
    about = {s, *going[t].operation.spaces}
    if dice.chance(32): return ("end", dice.pick(sorted(about)), 137)
    kills: list[Action] = []
    meets: list[Action] = []
    for core, R in k.core.items():
        u = R.current
        if u == 0 or u in going: continue
        kills += _kills(k, core, u, t, about)
        if k.thread[u].process in about: meets += _meets(k, core, k.thread[u].process)
    if kills and dice.chance(64): return dice.pick(kills)
    return dice.pick(meets) if meets else None


def _kills(k: Kernel, core: int, u: int, t: int, about: set[int]) -> Iterator[Action]:
    """What thread u, which runs, can kill: thread t, one of these processes, or a container around one."""
    U = k.process[k.thread[u].process]
    for slot, o in U.handle_object.items():
        handle = U.handle_generation[slot] << 16 | slot
        kind = k.page[o].kind if o else 0
        if kind == THREAD and o == t: yield ("call", core, "thread_kill", handle)
        elif kind == PROCESS and o in about: yield ("call", core, "process_kill", handle)
        elif kind == CONTAINER:
            depth = k.container[o].depth
            around = {k.process[d].container for d in about}
            if any(c == o or k.container[c].path[depth] == o for c in around):
                yield ("call", core, "container_kill", handle)


def _meets(k: Kernel, core: int, s: int) -> Iterator[Action]:
    """Calls on the first and the last page that process s maps, and on all between."""
    mapped = [v for v, p in k.process[s].map_page.items() if p]
    if not mapped: return
    first, last = min(mapped) * PAGE_SIZE, max(mapped) * PAGE_SIZE
    for address, length in (first, PAGE_SIZE), (last, PAGE_SIZE), (first, min(last - first, 64 * PAGE_SIZE)):
        yield ("call", core, "munmap", address, length)
        yield ("call", core, "mmap", address, length, 3)
        yield ("call", core, "mprotect", address, length, 1)


__all__ = ["between"]
