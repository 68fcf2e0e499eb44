"""What specifications say of handles."""

from __future__ import annotations

from kernel.objects import HANDLES
from kernel.specs import Frame, State

HANDLE_FIELDS = ("handle_count", "handle_opened", "handle_carved", "handle_listed", "handle_stack", "handle_position")


def allows(mine: int, asked: int) -> bool:
    """What is asked for, rights or permissions, is a subset of what is mine: bit by bit, of three."""
    if asked & 1 and not mine & 1: return False
    if asked & 2 and not mine & 2: return False
    return not asked & 4 or bool(mine & 4)


def named(old: State, s: int, slot: int, generation: int) -> int:
    """What process s names by a slot and generation, 0 if nothing."""
    if slot < 0 or slot >= HANDLES or generation <= 0: return 0
    if old.process[s].handle_generation[slot] != generation: return 0
    return int(old.process[s].handle_object[slot])


def handle_room(old: State, s: int) -> bool:
    """Process s holds fewer handles than it may."""
    return bool(old.process[s].handle_count < HANDLES)


def handle_opened(old: State, new: State, f: Frame, s: int, value: int, o: int) -> bool:
    """``value`` names object o in process s, in a slot that was empty and with a generation never used."""
    slot = value % 65536
    f.may("process", s, *HANDLE_FIELDS)
    f.may_item("process", s, "handle_object", slot)
    f.may_item("process", s, "handle_generation", slot)
    generation = old.process[s].handle_opened + 1
    if old.process[s].handle_object[slot] != 0 or value // 65536 != generation: return False
    if new.process[s].handle_opened != generation: return False
    return named(new, s, slot, generation) == o and bool(
        new.process[s].handle_count == old.process[s].handle_count + 1
    )


def handle_closed(old: State, new: State, f: Frame, s: int, slot: int) -> bool:
    """Process s names nothing by this slot any more."""
    f.may("process", s, *HANDLE_FIELDS)
    f.may_item("process", s, "handle_object", slot)
    f.may_item("process", s, "handle_generation", slot)
    if new.process[s].handle_opened != old.process[s].handle_opened: return False
    return bool(
        new.process[s].handle_object[slot] == 0 and new.process[s].handle_count == old.process[s].handle_count - 1
    )
