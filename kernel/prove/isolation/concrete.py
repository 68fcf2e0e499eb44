"""Isolation on a concrete kernel: the sides of its pages and endpoints, and the statements that do not hold."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.objects import CONTAINER, DEVICE, DOMAIN, ENDPOINT, PROCESS, THREAD, Kernel
from kernel.prove.isolation.statements import NEITHER, STATEMENTS, mapped, process_side, side_of, thread_side

_KIND = {"process": PROCESS, "thread": THREAD, "container": CONTAINER, "device": DEVICE, "domain": DOMAIN}


def sides(k: Kernel, a: int, b: int) -> dict[int, int]:
    """By page or endpoint: the side that reaches it, or is charged for it; of one that both reach, one of the two."""
    d = k.container[a].depth
    found: dict[int, int] = {}

    def reached(page: int, side: int) -> None:
        if page != 0 and side != NEITHER: found.setdefault(page, side)

    for p, P in k.page.items():
        if P.kind == PROCESS:
            S, z = k.process[p], process_side(k, a, b, d, p)
            for page in S.map_page.values(): reached(page, z)
            for o in S.handle_object.values():
                if k.page[o].kind == ENDPOINT: reached(o, z)
            reached(S.pager, z)
        elif P.kind == THREAD: reached(k.thread[p].endpoint, thread_side(k, a, b, d, p))
        elif P.kind == DEVICE: reached(k.device[p].endpoint, side_of(k, a, b, d, P.owner))
        elif P.kind == DOMAIN:
            for page in k.domain[p].map_page.values(): reached(page, process_side(k, a, b, d, k.domain[p].holder))
        elif P.kind == ENDPOINT or mapped(k, p): reached(p, side_of(k, a, b, d, P.owner))
    return found


def broken(k: Kernel, a: int, b: int) -> Iterator[str]:
    """The statements that do not hold of A and B, and of which objects."""
    d, its = k.container[a].depth, sides(k, a, b)

    def side(page: int) -> int:
        return its.get(page, NEITHER)

    for statement in STATEMENTS.values():
        table, _, field = statement.field.partition(".")
        objects = getattr(k, table)
        for id in [p for p, P in k.page.items() if table == "page" or P.kind == _KIND[table]]:
            row = getattr(objects[id], field)
            for ids in [(id,)] if isinstance(row, int) else [(id, index) for index in list(row)]:
                if not statement.holds(k, a, b, d, side, *ids): yield f"{statement.name}{ids}"


__all__ = ["broken", "sides"]
