"""Transitions as nobody should write them: each leaks something from one container to another."""

from __future__ import annotations

from abi.errors import EAGAIN, EINVAL, ENOMEM, OK
from kernel.endpoint import leave_queue, name_endpoint
from kernel.handles import handle_value
from kernel.objects import (
    CLOSING,
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDPOINT,
    MAPPED,
    PROCESS,
    RUNNING,
    SEND,
    Kernel,
    copy_row,
)  # fmt: skip
from kernel.page_allocator import allocate_page
from kernel.scheduler import enqueue


def page_told(k: Kernel, t: int) -> int:
    """Allocates a page and tells its number, which says what others allocated."""
    c = k.process[k.thread[t].process].container
    if k.container[c].pages < 1: return -ENOMEM
    return allocate_page(k, c, DEVICE)


def page_if_free(k: Kernel, t: int) -> int:
    """Allocates a page where the machine has free ones in split blocks, whosever doing that is."""
    c = k.process[k.thread[t].process].container
    if k.container[c].pages < 1 or k.memory.free_pages < 1: return -ENOMEM
    allocate_page(k, c, DEVICE)
    return OK


def next_page(k: Kernel, t: int) -> int:
    """Asks what is in the page behind that of its process."""
    return k.page[k.thread[t].process + 1].kind


def page_owned(k: Kernel, t: int, n: int) -> int:
    """Whether the page of this number is charged to the caller's container: asked often, that tells which are."""
    return 1 if k.page[n].owner == k.process[k.thread[t].process].container else 0


def page_marked(k: Kernel, t: int, n: int) -> int:
    """Writes to whatever is at this number."""
    N = k.process[n]
    N.status = 1
    return OK


def names_shown(k: Kernel, t: int) -> int:
    """Makes the page numbers that a process names badges, which programs are told."""
    S = k.process[k.thread[t].process]
    copy_row(k, S, "handle_badge", S.handle_object)
    return OK


def send_anywhere(k: Kernel, t: int, e: int) -> int:
    """Sends to an endpoint by its number: no handle, no rights."""
    if k.thread[t].state != RUNNING or k.page[e].kind != ENDPOINT: return -EINVAL
    E = k.endpoint[e]
    u = E.head
    if u == 0 or E.receiving == 0: return -EAGAIN
    leave_queue(k, u)
    U = k.thread[u]
    U.waits = 0
    enqueue(k, u)
    return OK


def kill_sibling(k: Kernel, t: int) -> int:
    """Ends the container that was created after one's own."""
    c = k.process[k.thread[t].process].container
    C = k.container[c]
    n = k.container[C.parent].children[C.position + 1]
    if k.page[n].kind != CONTAINER: return -EINVAL
    N = k.container[n]
    N.state = CLOSING
    return OK


def name_another(k: Kernel, t: int, e: int) -> int:
    """Gives the caller a handle to an endpoint by its number."""
    if k.page[e].kind != ENDPOINT: return -EINVAL
    return handle_value(k, k.thread[t].process, name_endpoint(k, k.thread[t].process, e, SEND, 0))


def reach_by_number(k: Kernel, t: int, slot: int, w: int, p: int) -> int:
    """Lets the devices of a domain that the caller holds reach a page by its number."""
    m = k.process[k.thread[t].process].handle_object[slot]
    if k.page[m].kind != DOMAIN or k.page[p].kind != MAPPED: return -EINVAL
    M = k.domain[m]
    M.map_page[w] = p
    return OK


def hand_on(k: Kernel, t: int, slot: int, d: int) -> int:
    """Gives another process a handle to an endpoint that the caller names: what a mediator must not do."""
    e = k.process[k.thread[t].process].handle_object[slot]
    if k.page[e].kind != ENDPOINT or k.page[d].kind != PROCESS: return -EINVAL
    return handle_value(k, d, name_endpoint(k, d, e, SEND, 0))
