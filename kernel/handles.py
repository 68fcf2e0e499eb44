"""Handles: a process names the threads and processes it created by a slot and that slot's generation.

What a program is told is ``generation * 65536 + slot``, which depends on its own history alone: page numbers, which
depend on what others allocate, never reach it.
"""

from __future__ import annotations

from kernel.objects import HANDLES, Kernel


def handle_available(k: Kernel, s: int) -> bool:
    """True if process s can hold one more handle."""
    S = k.process[s]
    if S.handle_listed > 0: return True
    return S.handle_carved < HANDLES


def open_handle(k: Kernel, s: int, o: int) -> int:
    """Gives process s, which has room, a handle to object o.  Returns the slot."""
    S = k.process[s]
    n = S.handle_listed
    if n == 0:
        slot = S.handle_carved
        S.handle_carved = slot + 1
    else:
        slot = S.handle_stack[n]
        S.handle_stack[n] = 0
        S.handle_listed = n - 1
        S.handle_position[slot] = 0
    g = S.handle_opened + 1
    S.handle_opened = g
    S.handle_object[slot] = o
    S.handle_generation[slot] = g
    S.handle_count = S.handle_count + 1
    return slot


def close_handle(k: Kernel, s: int, slot: int) -> None:
    """Takes the handle in ``slot`` from process s; what it named is told nothing.  The next use of the slot has
    another generation, so that a stale handle names nothing."""
    S = k.process[s]
    S.handle_object[slot] = 0
    S.handle_generation[slot] = 0
    n = S.handle_listed + 1
    S.handle_listed = n
    S.handle_stack[n] = slot
    S.handle_position[slot] = n
    S.handle_count = S.handle_count - 1


def handle_value(k: Kernel, s: int, slot: int) -> int:
    """What the program is told: the slot and its generation."""
    return k.process[s].handle_generation[slot] * 65536 + slot


def object_of(k: Kernel, s: int, slot: int, generation: int) -> int:
    """The object that process s names by this slot and generation, or 0."""
    if slot < 0 or slot >= HANDLES: return 0
    S = k.process[s]
    if generation == 0 or S.handle_generation[slot] != generation: return 0
    return S.handle_object[slot]
