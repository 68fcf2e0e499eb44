"""Arguments for system calls, by the names that ``abi.calls`` gives them: mostly such as can succeed, some hostile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

from abi.calls import Argument, Call
from abi.layout import BLOCK_SIZE, PAGE_SIZE, USER_END, USER_MIN
from abi.queries import MEANINGS
from kernel.calls.messages import FOREVER
from kernel.objects import CONTAINER, DEVICE, DOMAIN, ENDPOINT, HANDLE, MOVE, PROCESS, SHARE, THREAD, Kernel
from tests.kernel.fuzz.dice import Dice

HOSTILE: Final = (
    0, 1, 2, 0xFFF, PAGE_SIZE, USER_MIN - PAGE_SIZE, USER_END - PAGE_SIZE, USER_END, 1 << 32, 1 << 40, 1 << 47, 1 << 63,
    (1 << 64) - 1, (1 << 64) - PAGE_SIZE, (1 << 63) - 1, 0xFFFF_8000_0000_0000, 0x1234_5678,
)  # fmt: skip
"""Values that no argument expects, or that lie at an edge."""
AREAS: Final = (
    0x1000_0000, 0x1000_0000 + BLOCK_SIZE - 2 * PAGE_SIZE, 1 << 30, (1 << 39) - BLOCK_SIZE, 1 << 39, USER_MIN,
    USER_END - 2 * BLOCK_SIZE,
)  # fmt: skip
"""Where ranges lie: near each other, so that they meet, and across the borders of every level of page tables."""
LENGTHS: Final = (1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5, 512, 512, 513, 1024, 1100, 262144, 262144 + 513)
"""In pages."""
QUOTAS: Final = (3, 5, 10, 20, 40, 100, 600)

Choose = Callable[[Kernel, int, Dice], int]
"""An argument of a call that thread t makes on kernel k."""


def _address(k: Kernel, t: int, dice: Dice) -> int:
    base, offset = dice.pick(AREAS), dice.roll()
    if offset < 160: return base + (offset & 7) * PAGE_SIZE
    if offset < 250: return (base & -BLOCK_SIZE) + (offset & 1) * BLOCK_SIZE
    return base + offset


def _mapped_or_not(k: Kernel, t: int, dice: Dice) -> int:
    """Where something is mapped, in most cases."""
    mapped = k.process[k.thread[t].process].map_page
    if not mapped or dice.roll() >= 200: return _address(k, t, dice)
    return dice.pick(list(islice(mapped, 64))) * PAGE_SIZE


def _destination(k: Kernel, t: int, dice: Dice) -> int:
    """Few places, so that two meet."""
    return AREAS[0] + (dice.roll() & 1) * PAGE_SIZE if dice.roll() < 160 else _address(k, t, dice)


def _length(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick(LENGTHS) * PAGE_SIZE


def _protection(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((3, 1, 7, 5, 0, 2, 4, 6, 3, 1, 3, 8, 1 << 31))


def _handle(k: Kernel, t: int, dice: Dice, kind: int = 0) -> int:
    """A handle of the calling process, if it has one to an object of this kind mostly such a one; and now and then one
    that it no longer has, or never had."""
    S = k.process[k.thread[t].process]
    which = dice.roll()
    handles = [(o, S.handle_generation[slot] << 16 | slot) for slot, o in islice(S.handle_object.items(), 32) if o]
    if not handles or which >= 250: return dice.pick((1 << 16, 1 << 16 | 5, 2 << 16, 1 << 16 | 4095, 1 << 16 | 4096))
    if which < 160: handles = [(o, handle) for o, handle in handles if k.page[o].kind == kind] or handles
    _, handle = dice.pick(handles)
    return handle if which < 245 else handle + (1 << 16)


def _start(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((0x1000_0000, USER_MIN, USER_END - 16, 0x2000_0000, USER_END, USER_MIN - 1))


def _quota(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick(QUOTAS)


def _few(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((0, 0, 0, 1, 0, 2))


def _small(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((0, 1, 2, 3, 4, 7, 8, 16, 100))


def _endpoint(k: Kernel, t: int, dice: Dice) -> int:
    return _handle(k, t, dice, ENDPOINT)


def _child(k: Kernel, t: int, dice: Dice) -> int:
    return 0 if dice.roll() < 40 else _handle(k, t, dice, PROCESS)


def _timeout(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((0, FOREVER, FOREVER, 1_000_000))


def _asked(k: Kernel, t: int, dice: Dice) -> int:
    return dice.roll() % (len(MEANINGS) + 1)


def _rights(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((7, 7, 3, 1, 2, 5, 6, 0, 8))


def _badge(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((0, 0, 0, 7, 1 << 62))


def _item(k: Kernel, t: int, dice: Dice) -> int:
    """Mostly nothing; else a page or a few, a handle, or what is no item."""
    roll = dice.roll()
    if roll < 110: return 0
    length = _length(k, t, dice) if dice.chance(8) else dice.pick((1, 1, 1, 2)) * PAGE_SIZE
    if roll < 170: return SHARE | dice.pick((1, 1, 3, 7)) << 4 | length
    if roll < 220: return MOVE | dice.pick((1, 1, 3)) << 4 | length
    return HANDLE | _rights(k, t, dice) << 4 if roll < 250 else dice.pick((4, 0x81, 3 | PAGE_SIZE))


def _window(k: Kernel, t: int, dice: Dice) -> int:
    """Where pages are taken: now and then where something is mapped."""
    return _mapped_or_not(k, t, dice) if dice.roll() < 60 else _destination(k, t, dice) + dice.roll() * PAGE_SIZE


def _object(k: Kernel, t: int, dice: Dice) -> int:
    return _endpoint(k, t, dice) if dice.roll() < 70 else _mapped_or_not(k, t, dice)


def _domain(k: Kernel, t: int, dice: Dice) -> int:
    return _handle(k, t, dice, DOMAIN)


def _iova(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((0, 1 << 21, 1 << 21, 1 << 22, (1 << 48) - PAGE_SIZE, 1 << 48, 1)) + (dice.roll() & 1) * PAGE_SIZE


def _accepted(k: Kernel, t: int, dice: Dice) -> int:
    return dice.pick((1, 1, 0, 2))


BY_NAME: Final[dict[str, Choose]] = {
    "mmap address": _address, "address": _mapped_or_not, "destination": _destination, "length": _length,
    "protection": _protection, "entry": _start, "stack": _start, "pages": _quota, "blocks": _few, "cores": _few,
    "thread_affinity core": _few,
    "process": _child, "pager_set handle": _endpoint, "timeout": _timeout, "rights": _rights, "badge": _badge,
    "item": _item, "object": _object, "message_accept address": _window, "handles": _accepted, "giants": _few,
    "domain": _domain, "iova": _iova, "endpoint": _endpoint, "what": _asked,
}  # fmt: skip
"""By an argument's name, with the call's before it where that makes a difference.  Others get small numbers."""

KINDS: Final = {
    "thread": THREAD, "process": PROCESS, "container": CONTAINER, "process_create_in": CONTAINER,
    "handle": ENDPOINT, "message": ENDPOINT, "pager": ENDPOINT, "timer": ENDPOINT,
    "domain": DOMAIN, "device": DEVICE, "interrupt": DEVICE,
}  # fmt: skip
"""By a call's name, or how it begins: what its handle names."""


def arguments(call: Call, k: Kernel, t: int, dice: Dice, others: Mapping[str, Choose] = BY_NAME) -> list[int]:
    """Arguments for a call that thread t makes, chosen by ``others`` where it has their names; in one of 16 calls, one
    of them is hostile."""
    kind = KINDS.get(call.name) or KINDS.get(call.name.partition("_")[0], 0)
    chosen = [_one(call, argument, k, t, dice, kind, others) for argument in call.arguments]
    if chosen and dice.chance(16): chosen[dice.roll() % len(chosen)] = dice.pick(HOSTILE)
    return chosen


def _one(
    call: Call, argument: Argument, k: Kernel, t: int, dice: Dice, kind: int, others: Mapping[str, Choose]
) -> int:
    if argument.name == "handle": return _handle(k, t, dice, kind)
    for name in (f"{call.name} {argument.name}", argument.name):
        choose = others.get(name) or BY_NAME.get(name)
        if choose is not None: return choose(k, t, dice)
    return _small(k, t, dice)


__all__ = ["HOSTILE", "Choose", "arguments"]
