"""What the host sets up before the programs of a machine run: containers, endpoints, their timers, who has handles to
them, and whose page faults they are told of.

A program reaches what it has a handle to.  A process that the host spawned gets its handles here, before its first
thread: whoever gets none then, and is passed none, never reaches the endpoint.
"""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL, ENOMEM, ENOSPC, OK
from kernel.container import new_container
from kernel.endpoint import name_endpoint, rights_within, set_pager
from kernel.handles import handle_available, handle_value
from kernel.objects import ACTIVE, CONTAINER, DEPTH_LIMIT, ENDPOINT, GRANT, NEW, PROCESS, RECEIVE, SEND, Kernel
from kernel.page_allocator import allocate_page


def container_spawn(k: Kernel, c: int, pages: int, blocks: int, giants: int) -> int:
    """The host creates a container below container c, with a quota taken from it; it lives until the host ends it, or
    c ends.  Returns its id; -EINVAL: no such container, it is ending, or a negative quota; -ENOSPC: the tree would be
    deeper than DEPTH_LIMIT; -ENOMEM: c has not that much, and a page for the container itself."""
    if k.page[c].kind != CONTAINER: return -EINVAL
    C = k.container[c]
    if C.state != ACTIVE or pages < 0 or blocks < 0 or giants < 0: return -EINVAL
    if C.depth >= DEPTH_LIMIT: return -ENOSPC
    if C.pages < pages + 1 or C.blocks < blocks or C.giants < giants: return -ENOMEM
    n = new_container(k, c, pages, blocks, giants)
    N = k.container[n]
    N.hosted = 1
    return n


def unready(k: Kernel, d: int, rights: int, badge: int) -> int:
    """Why process d cannot be given a handle with these rights and badge by the host; 0 if it can."""
    if k.page[d].kind != PROCESS: return -EINVAL
    D = k.process[d]
    if D.hosted != 1 or badge < 0 or not rights_within(rights, SEND + RECEIVE + GRANT): return -EINVAL
    if D.state != NEW: return -EBUSY
    if not handle_available(k, d): return -ENOSPC
    return 0


def endpoint_spawn(k: Kernel, d: int, c: int, rights: int, badge: int) -> int:
    """The host creates an endpoint, charged to container c, and gives process d, which it spawned and which has not
    started, the first handle to it.  Returns the handle; -EINVAL: no such process or container, the container is
    ending, no such rights, or a negative badge; -EBUSY: d has started; -ENOSPC: d has no free handle; -ENOMEM: no quota
    for the endpoint's page."""
    error = unready(k, d, rights, badge)
    if error != 0: return error
    if k.page[c].kind != CONTAINER: return -EINVAL
    if k.container[c].state != ACTIVE: return -EINVAL
    if k.container[c].pages < 1: return -ENOMEM
    e = allocate_page(k, c, ENDPOINT)
    E = k.endpoint[e]
    E.ticket = 1
    return handle_value(k, d, name_endpoint(k, d, e, rights, badge))


def handle_assign(k: Kernel, d: int, e: int, rights: int, badge: int) -> int:
    """The host gives process d, which it spawned and which has not started, a handle to endpoint e.  Returns the
    handle; -EINVAL: no such process or endpoint, no such rights, or a negative badge; -EBUSY: d has started; -ENOSPC: d
    has no free handle."""
    error = unready(k, d, rights, badge)
    if error != 0: return error
    if k.page[e].kind != ENDPOINT: return -EINVAL
    return handle_value(k, d, name_endpoint(k, d, e, rights, badge))


def pager_assign(k: Kernel, d: int, e: int, badge: int) -> int:
    """Page faults of process d, which the host spawned and which has not started, become messages with this badge (0:
    none) to endpoint e.  -EINVAL: no such process or endpoint, or a negative badge; -EBUSY: d has started, or has a
    pager."""
    if k.page[d].kind != PROCESS or k.page[e].kind != ENDPOINT: return -EINVAL
    D = k.process[d]
    if D.hosted != 1 or badge < 0: return -EINVAL
    if D.state != NEW or D.pager != 0: return -EBUSY
    set_pager(k, d, e, badge)
    return OK


def timer_assign(k: Kernel, e: int) -> int:
    """The host binds a timer to endpoint e.  -EINVAL: no such endpoint; -EBUSY: one is bound to it."""
    if k.page[e].kind != ENDPOINT: return -EINVAL
    E = k.endpoint[e]
    if E.timer != 0: return -EBUSY
    E.timer = 1
    return OK
