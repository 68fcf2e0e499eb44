"""The state before a transition, seen through the journal of what it wrote.

Objects that were not written are the live ones; those that were answer with their old fields.  Specs read it as
``old``, ledgers take from it what each written object used to contribute.
"""

from __future__ import annotations

from typing import Any

from kernel.objects import Kernel, Object

Overlay = dict[tuple[str, int], "OldObject"]


class OldRow:
    """A row as it was: old items where they were written, the live ones elsewhere."""

    __slots__ = ("live", "old")

    def __init__(self, live: Any, old: dict[int, int]) -> None:
        self.live = live
        self.old = old

    def __getitem__(self, index: int) -> int:
        value = self.old.get(index)
        if value is None: value = self.live[index]
        return int(value)


class OldObject:
    """An object as it was."""

    __slots__ = ("live", "fields", "rows", "id")

    def __init__(self, live: Object) -> None:
        self.live = live
        self.id = live.id
        self.fields: dict[str, int] = {}
        self.rows: dict[str, dict[int, int]] = {}

    def __getattr__(self, name: str) -> Any:
        fields = self.fields
        if name in fields: return fields[name]
        value = getattr(self.live, name)
        if name in self.rows: return OldRow(value, self.rows[name])
        return value


class OldTable:
    """A table as it was."""

    __slots__ = ("name", "live", "overlay")

    def __init__(self, name: str, live: Any, overlay: Overlay) -> None:
        self.name = name
        self.live = live
        self.overlay = overlay

    def __getitem__(self, id: int) -> Any:
        old = self.overlay.get((self.name, id))
        return self.live[id] if old is None else old


class OldKernel:
    """The state as it was before the journal's writes."""

    __slots__ = ("live", "overlay")

    def __init__(self, live: Kernel, overlay: Overlay) -> None:
        self.live = live
        self.overlay = overlay

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.live, name)
        if isinstance(value, int): return value
        if name == "memory": return self.overlay.get(("memory", 0), value)
        return OldTable(name, value, self.overlay)


def overlay_of(k: Kernel) -> Overlay:
    """What each object written since the journal was last cleared used to be; the first record of a field counts."""
    overlay: Overlay = {}
    for entry in k.journal:
        live = entry[0]
        key = (live.table_name, live.id)
        old = overlay.get(key)
        if old is None: old = overlay[key] = OldObject(live)
        if len(entry) == 3:
            old.fields.setdefault(entry[1], entry[2])
        else:
            row = old.rows.get(entry[1])
            if row is None: row = old.rows[entry[1]] = {}
            row.setdefault(entry[2], entry[3])
    return overlay
