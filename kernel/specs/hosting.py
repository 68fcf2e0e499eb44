"""Specifications of what the host sets up before programs run."""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL, ENOMEM, ENOSPC
from kernel.objects import ACTIVE, CONTAINER, DEPTH_LIMIT, ENDPOINT, NEW, PROCESS, SEND
from kernel.specs import Frame, State, specification
from kernel.specs.containers import container_added
from kernel.specs.endpoints import ALL, counted, endpoint_added, endpoint_handle_opened
from kernel.specs.handles import handle_room


@specification
def container_spawn(
    old: State, new: State, f: Frame, result: int, c: int, pages: int, blocks: int, giants: int
) -> bool:
    """A new container below c, with the quota that c gave, which is the host's."""
    C = old.container[c]
    if old.page[c].kind != CONTAINER or C.state != ACTIVE: return result == -EINVAL
    if pages < 0 or blocks < 0 or giants < 0: return result == -EINVAL
    if C.depth >= DEPTH_LIMIT: return result == -ENOSPC
    if C.pages < pages + 1 or C.blocks < blocks or C.giants < giants: return result == -ENOMEM
    f.may("container", result, "hosted")
    if new.container[result].hosted != 1 or new.container[result].holder != 0: return False
    return container_added(old, new, f, c, result, pages, blocks, giants)


def given(old: State, d: int, rights: int, badge: int) -> bool:
    """The host may give process d handles, and these are rights and a badge."""
    if old.page[d].kind != PROCESS or old.process[d].hosted != 1: return False
    return 1 <= rights <= ALL and badge >= 0


@specification
def endpoint_spawn(old: State, new: State, f: Frame, result: int, d: int, c: int, rights: int, badge: int) -> bool:
    """A new endpoint of container c, to which the process has the only handle."""
    if not given(old, d, rights, badge): return result == -EINVAL
    if old.process[d].state != NEW: return result == -EBUSY
    if not handle_room(old, d): return result == -ENOSPC
    if old.page[c].kind != CONTAINER or old.container[c].state != ACTIVE: return result == -EINVAL
    if old.container[c].pages < 1: return result == -ENOMEM
    e = new.process[d].handle_object[result % 65536]
    return endpoint_added(old, new, f, c, e, rights) and endpoint_handle_opened(
        old, new, f, d, result, e, rights, badge
    )


@specification
def handle_assign(old: State, new: State, f: Frame, result: int, d: int, e: int, rights: int, badge: int) -> bool:
    """The process has a handle to the endpoint, with these rights and this badge."""
    if not given(old, d, rights, badge): return result == -EINVAL
    if old.process[d].state != NEW: return result == -EBUSY
    if not handle_room(old, d): return result == -ENOSPC
    if old.page[e].kind != ENDPOINT: return result == -EINVAL
    return counted(old, new, f, e, rights, 1) and endpoint_handle_opened(
        old, new, f, d, result, e, rights, badge
    )


@specification
def pager_assign(old: State, new: State, f: Frame, result: int, d: int, e: int, badge: int) -> bool:
    """The process has this pager, whose messages have this badge, and the endpoint a reference more that can send."""
    if old.page[d].kind != PROCESS or old.process[d].hosted != 1: return result == -EINVAL
    if old.page[e].kind != ENDPOINT or badge < 0: return result == -EINVAL
    if old.process[d].state != NEW or old.process[d].pager: return result == -EBUSY
    f.may("process", d, "pager", "pager_badge")
    if new.process[d].pager != e or new.process[d].pager_badge != badge: return False
    return result == 0 and counted(old, new, f, e, SEND, 1)


@specification
def timer_assign(old: State, new: State, f: Frame, result: int, e: int) -> bool:
    """The endpoint has a timer."""
    if old.page[e].kind != ENDPOINT: return result == -EINVAL
    if old.endpoint[e].timer: return result == -EBUSY
    f.may("endpoint", e, "timer")
    return bool(result == 0 and new.endpoint[e].timer == 1)
