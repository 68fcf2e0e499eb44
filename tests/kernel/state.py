"""The kernel's state as plain data: compared, and differences turned into a journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel.objects import (
    BLOCK_FREE,
    BLOCK_SPLIT,
    FREE,
    GIANT_SPLIT,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    Kernel,
    Object,
    Row,
    fields_of,
)

Place = tuple[str, int, str, int | None]
"""Table, id, field, and the index if the field is a row."""
Snapshot = dict[Place, int]

TABLES = (
    "page", "block", "giant", "container", "process", "thread", "endpoint", "device", "domain", "table", "core",
)  # fmt: skip


def objects(k: Kernel) -> Iterator[Object]:
    """All objects, blank ones included."""
    yield k.memory
    for name in TABLES:
        yield from list(getattr(k, name).values())


def find(k: Kernel, table: str, id: int) -> Any:
    """The object with this id."""
    return k.memory if table == "memory" else getattr(k, table)[id]


def fields(obj: Object) -> tuple[str, ...]:
    """The names of an object's fields and rows."""
    return fields_of(type(obj))


def snapshot(k: Kernel) -> Snapshot:
    """Everything in the state that is not 0 (a blank object differs in nothing from a missing one)."""
    found: Snapshot = {}
    for obj in objects(k):
        table, id = obj.table_name, obj.id
        for field in fields(obj):
            value = getattr(obj, field)
            if isinstance(value, Row):
                for index, item in value.items():
                    if item != 0: found[table, id, field, index] = item
            elif value != 0:
                found[table, id, field, None] = value
    # A core's ticket is the one field that is not 0 in a blank object, besides Memory.fresh.
    return {place: value for place, value in found.items() if (place[0], place[2], value) != ("core", "ticket", 1)}


def store(k: Kernel, place: Place, value: int) -> None:
    """Writes one place, without a record in the journal."""
    table, id, field, index = place
    obj = find(k, table, id)
    if index is None: setattr(obj, field, value)
    else: getattr(obj, field)[index] = value


def load(k: Kernel, place: Place) -> int:
    """Reads one place."""
    table, id, field, index = place
    value = getattr(find(k, table, id), field)
    return int(value if index is None else value[index])


def logged_store(k: Kernel, place: Place, value: int) -> None:
    """Writes one place as a journalled transition would."""
    log(k, place, load(k, place))
    store(k, place, value)


def log(k: Kernel, place: Place, before: int) -> None:
    """Records that a place is about to be, or was, overwritten."""
    table, id, field, index = place
    obj = find(k, table, id)
    k.journal.append((obj, field, before) if index is None else (obj, field, index, before))


def place_of(entry: tuple[Any, ...]) -> Place:
    """Where the write of a journal entry went."""
    return (entry[0].table_name, entry[0].id, entry[1], entry[2] if len(entry) == 4 else None)


def undo(k: Kernel) -> None:
    """Takes back all that the journal says was written, last first."""
    for entry in reversed(k.journal.entries()):
        store(k, place_of(entry), entry[-1])


def log_differences(k: Kernel, before: Snapshot) -> None:
    """Fills the journal with all that differs from an earlier snapshot of the state."""
    now = snapshot(k)
    for place in {**before, **now}:
        was = before.get(place, int(place[0] == "core" and place[2] == "ticket"))
        if load(k, place) != was: log(k, place, was)


def all_places(k: Kernel) -> list[Place]:
    """Every field, and of every row the items that were ever written and a few others."""
    places: list[Place] = []
    for obj in objects(k):
        for field in fields(obj):
            value = getattr(obj, field)
            if isinstance(value, Row):
                indices = [*value, max(value, default=0) + 1, max(value, default=0) + 2]
                places += [(obj.table_name, obj.id, field, index) for index in indices]
            else:
                places.append((obj.table_name, obj.id, field, None))
    return places


def idle(k: Kernel, place: Place) -> bool:
    """The place means nothing in this state: it is above the height of a stack or list, or of a page or slot that is
    not on one.  No clause reads it before it is written again."""
    table, id, field, i = place
    obj = find(k, table, id)
    if i is not None:
        if field == "stack":
            return bool(obj.kind != (BLOCK_SPLIT if table == "block" else GIANT_SPLIT) or i < 1 or i > obj.listed)
        if field == "free_stack": return i < 1 or i > k.memory.free_count
        if field == "partial_giant_stack": return i < 1 or i > k.memory.partial_giant_count
        if field == "partial_stack": return i < 1 or i > k.memory.partial_count
        if field == "threads": return i < 0 or i >= int(obj.thread_count)
        if field == "devices": return i < 0 or i >= int(obj.device_count)
        if field == "children": return i < 0 or i >= int(obj.child_count)
        if field == "members": return i < 0 or i >= int(obj.processes)
        if field == "cores": return i < 0 or i >= int(obj.core_count)
        if field == "placed": return i < 0 or i >= int(obj.placed_count)
        if field == "handle_stack": return i < 1 or i > int(obj.handle_listed)
        if field == "handle_position": return i < 0 or i >= int(obj.handle_carved) or obj.handle_object[i] != 0
    elif table == "page" and field in ("rank", "block"):
        B = k.block[obj.block]
        if obj.kind in (MAPPED_BLOCK, MAPPED_GIANT): return field == "rank"
        return bool(obj.kind == FREE and not (1 <= obj.rank <= B.listed and B.stack[obj.rank] == id))
    elif table == "block" and field in ("position", "giant"):
        G = k.giant[obj.giant]
        return bool(obj.kind == BLOCK_FREE and not (1 <= obj.position <= G.listed and G.stack[obj.position] == id))
    return False
