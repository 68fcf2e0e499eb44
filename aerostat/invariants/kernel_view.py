"""The kernel's objects as invariants see them: those that exist, by kind, with their fields; nothing can be changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from aerostat.invariants.values import Read, ReadOnly
from kernel.objects import BLOCK_FREE, FREE, TABLE_NAMES, TABLES, Kernel, Object, Row, fields_of

KIND_OF = {table: kind for kind, table in TABLES.items()}


class Seen:
    """What was read of the kernel: for the report, and to know when to read it again."""

    __slots__ = ("more", "objects", "reads")

    def __init__(self) -> None:
        self.reads: list[Read] = []
        self.objects: set[tuple[str, int]] = set()
        """The objects, by table and id, of which anything was read."""
        self.more = False
        """More was looked at than fields of objects: which ones there are, the program, the exit."""


class ObjectView:
    """One kernel object.  Its fields are those of ``kernel.objects``; a row is a mapping, 0 where nothing is."""

    __slots__ = ("_object", "_seen")
    _object: Object
    _seen: Seen

    def __init__(self, of: Object, seen: Seen) -> None:
        object.__setattr__(self, "_object", of)
        object.__setattr__(self, "_seen", seen)

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(self._object, name)
        except AttributeError:
            fields = ", ".join(dir(self))
            raise AttributeError(f"{self} has no field {name!r}, but {fields}") from None
        self._seen.objects.add((self._object.table_name, self._object.id))
        if isinstance(value, Row): return MappingProxyType(value)
        self._seen.reads.append((self, name, value))
        return value

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise ReadOnly(f"{self}.{name} cannot be set: an invariant looks at the kernel and changes nothing")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectView) and other._object is self._object

    def __hash__(self) -> int:
        return hash(self._object)

    def __dir__(self) -> list[str]:
        return sorted(("id", *fields_of(type(self._object))))

    def __str__(self) -> str:
        return f"{self._object.table_name}[{self._object.id}]"

    def __repr__(self) -> str:
        shown = ((name, getattr(self._object, name)) for name in dir(self))
        fields = ", ".join(f"{name}={value}" for name, value in shown if isinstance(value, int) and name != "id")
        return f"<{self}: {fields}>"


class Objects:
    """The objects of one kind that exist: ``len``, iteration over them, ``[id]``, ``id in``."""

    __slots__ = ("_kernel", "_kind", "_seen", "_table")

    def __init__(self, k: Kernel, table: str, seen: Seen) -> None:
        self._kernel = k
        self._table = table
        self._kind = KIND_OF.get(table)
        self._seen = seen

    def _exists(self, id: int) -> bool:
        k, table = self._kernel, self._table
        if table == "core": return 0 <= id < k.cores
        if table == "block":
            block = k.block.get(id)
            return block is not None and block.kind != BLOCK_FREE
        page = k.page.get(id)
        if page is None: return False
        return page.kind != FREE if table == "page" else page.kind == self._kind

    def ids(self) -> list[int]:
        """Their ids."""
        self._seen.more = True
        return [id for id in getattr(self._kernel, self._table) if self._exists(id)]

    def __iter__(self) -> Iterator[ObjectView]:
        return (self[id] for id in self.ids())

    def __len__(self) -> int:
        return len(self.ids())

    def __contains__(self, id: object) -> bool:
        if isinstance(id, int): self._look_at(id)
        return isinstance(id, int) and self._exists(id)

    def _look_at(self, id: int) -> None:
        """Whether it exists is a matter of its page, or its own."""
        self._seen.objects.add((self._table if self._kind is None else "page", id))

    def __getitem__(self, id: int) -> ObjectView:
        self._look_at(id)
        if not self._exists(id): raise KeyError(f"there is no {self._table} {id}")
        return ObjectView(getattr(self._kernel, self._table)[id], self._seen)

    def __repr__(self) -> str:
        return f"<{len(self)} objects of kind {self._table}>"


def plural(table: str) -> str:
    """The name of all objects of a kind: "processes"."""
    return table + ("es" if table.endswith("s") else "s")


class KernelView:
    """The kernel: ``threads``, ``processes``, ``containers``, ``tables``, ``pages``, ``blocks`` and so on; ``memory``,
    the page allocator; ``root``, the root container."""

    __slots__ = ("_objects", "_kernel", "_seen")
    _objects: Mapping[str, Objects]
    _kernel: Kernel
    _seen: Seen

    def __init__(self, k: Kernel, seen: Seen) -> None:
        object.__setattr__(self, "_kernel", k)
        object.__setattr__(self, "_seen", seen)
        object.__setattr__(self, "_objects", {plural(name): Objects(k, name, seen) for name in TABLE_NAMES})

    @property
    def memory(self) -> ObjectView:
        """The page allocator's own state."""
        return ObjectView(self._kernel.memory, self._seen)

    @property
    def root(self) -> ObjectView:
        """The container at the root of the tree."""
        return ObjectView(self._kernel.container[self._kernel.root], self._seen)

    def __getattr__(self, name: str) -> Objects:
        found = self._objects.get(name)
        if found is None:
            raise AttributeError(f"the kernel has no {name!r}, but memory, root, {', '.join(self._objects)}")
        return found

    def of_kind(self, table: str) -> Objects:
        """The objects of a kind by the kind's name: "thread"."""
        return self._objects[plural(table)]

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise ReadOnly(f"{name} cannot be set: an invariant looks at the kernel and changes nothing")

    def __dir__(self) -> list[str]:
        return ["memory", "root", *self._objects]

    def __repr__(self) -> str:
        return f"<kernel: {', '.join(f'{len(found)} {name}' for name, found in self._objects.items())}>"


__all__ = ["KernelView", "ObjectView", "Objects", "Seen"]
