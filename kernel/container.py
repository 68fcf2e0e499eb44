"""Containers: a tree of quotas.

What a container gives a child it does not have; what dies comes back.  ``path`` is the row of a container's ancestors
by depth, the root first, so that "is in the subtree of" is one comparison.  A container is held by the process that
created it, which can kill it, and ends with that process at the latest; or it is the host's (``kernel.hosting``).
Ending a subtree is a sequence of small steps, like ending a process: ``container_end`` for each container in it, then,
leaves first, the ends of its processes, ``page_inherit`` for each page that others still map, ``core_return`` for each
core, and ``container_finish``.

Source: Atmosphere, sections 3.1 and 4.1 (container tree, path, subtree, quotas).
"""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL, ENOMEM, ENOSPC, ESRCH, OK
from abi.queries import (
    BLOCKS_LEFT,
    BLOCKS_USED,
    CONTAINERS,
    CORES,
    CORES_OWNED,
    DEPTH,
    GIANTS_LEFT,
    GIANTS_USED,
    PAGES_LEFT,
    PAGES_USED,
    PROCESSES,
)  # fmt: skip
from kernel.handles import close_handle, handle_available, handle_value, object_of, open_handle
from kernel.objects import (
    ACTIVE,
    ALIVE,
    CLOSING,
    CONTAINER,
    DEPTH_LIMIT,
    DEVICE,
    ENDPOINT,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    Kernel,
    clear_row,
    copy_row,
)  # fmt: skip
from kernel.page_allocator import allocate_page, free_page


def new_container(k: Kernel, c: int, pages: int, blocks: int, giants: int) -> int:
    """Creates a container below container c, which has this quota to give and a page more.  Returns its id."""
    C = k.container[c]
    n = allocate_page(k, c, CONTAINER)
    C.pages = C.pages - pages
    C.blocks = C.blocks - blocks
    C.giants = C.giants - giants
    N = k.container[n]
    N.state = ACTIVE
    N.parent = c
    N.depth = C.depth + 1
    N.pages = pages
    N.blocks = blocks
    N.giants = giants
    N.core = C.core
    N.cores_of = C.cores_of
    copy_row(k, N, "path", C.path)
    N.path[C.depth] = c
    N.position = C.child_count
    C.children[C.child_count] = n
    C.child_count = C.child_count + 1
    return n


def creation_error(k: Kernel, t: int, pages: int, blocks: int, giants: int) -> int:
    """Why thread t cannot create a container with this quota: 0 if it can."""
    s = k.thread[t].process
    C = k.container[k.process[s].container]
    if pages < 0 or blocks < 0 or giants < 0: return -EINVAL
    if C.state != ACTIVE or k.process[s].state != ALIVE: return -EBUSY
    if C.depth >= DEPTH_LIMIT: return -ENOSPC
    if not handle_available(k, s): return -ENOSPC
    if C.pages < pages + 1 or C.blocks < blocks or C.giants < giants: return -ENOMEM
    return OK


def container_create(k: Kernel, t: int, pages: int, blocks: int, giants: int) -> int:
    """Creates a container below that of thread t, with a quota of ``pages`` 4 KiB pages, ``blocks`` 2 MiB blocks and
    ``giants`` 1 GiB giants taken from it.  Returns a handle; -EINVAL: a negative quota; -EBUSY: its process or
    container is ending; -ENOSPC: no free handle, or the tree would be deeper than DEPTH_LIMIT; -ENOMEM: the caller's
    container has not that much, and a page for the container itself."""
    refused = creation_error(k, t, pages, blocks, giants)
    if refused != 0: return refused
    s = k.thread[t].process
    n = new_container(k, k.process[s].container, pages, blocks, giants)
    slot = open_handle(k, s, n)
    N = k.container[n]
    N.holder = s
    N.holder_slot = slot
    return handle_value(k, s, slot)


def container_query(k: Kernel, t: int, slot: int, generation: int, what: int) -> int:
    """One number about the container that thread t names, or about its own (slot and generation 0): what is one of
    abi.queries.  -ESRCH: not a handle of a container; -EINVAL: no such question."""
    c = k.process[k.thread[t].process].container
    if slot != 0 or generation != 0:
        c = object_of(k, k.thread[t].process, slot, generation)
    if k.page[c].kind != CONTAINER: return -ESRCH
    C = k.container[c]
    if what == PAGES_LEFT: return C.pages
    if what == PAGES_USED: return C.used_pages
    if what == BLOCKS_LEFT: return C.blocks
    if what == BLOCKS_USED: return C.used_blocks
    if what == GIANTS_LEFT: return C.giants
    if what == GIANTS_USED: return C.used_giants
    if what == CORES: return k.container[C.cores_of].core_count
    if what == CORES_OWNED: return C.core_count
    if what == DEPTH: return C.depth
    if what == PROCESSES: return C.processes
    if what == CONTAINERS: return C.child_count
    return -EINVAL


def container_kill(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Begins to end the container that thread t names, with its subtree.  -ESRCH: not a handle of a container;
    -EBUSY: it is ending already."""
    c = object_of(k, k.thread[t].process, slot, generation)
    if c == 0: return -ESRCH
    if k.page[c].kind != CONTAINER: return -ESRCH
    C = k.container[c]
    if C.state != ACTIVE: return -EBUSY
    C.state = CLOSING
    return OK


def container_close(k: Kernel, c: int) -> int:
    """The host begins to end container c, with its subtree.  -EINVAL: no container, or the root; -EBUSY: it is ending
    already."""
    if k.page[c].kind != CONTAINER or c == k.root: return -EINVAL
    C = k.container[c]
    if C.state != ACTIVE: return -EBUSY
    C.state = CLOSING
    return OK


def container_end(k: Kernel, c: int) -> int:
    """A step of ending a subtree: container c, whose parent is ending, ends too.  -EINVAL otherwise."""
    if k.page[c].kind != CONTAINER: return -EINVAL
    C = k.container[c]
    if C.state != ACTIVE or c == k.root: return -EINVAL
    if k.container[C.parent].state != CLOSING: return -EINVAL
    C.state = CLOSING
    return OK


def page_inherit(k: Kernel, p: int) -> int:
    """A step of ending a container without processes: page, block or giant p, which others still map, endpoint p, which
    others still name, or device p passes to the parent, charge included, and is refunded there when its last use goes.
    -EINVAL: not such a page."""
    P = k.page[p]
    if P.kind != MAPPED and P.kind != MAPPED_BLOCK and P.kind != MAPPED_GIANT:
        if P.kind != ENDPOINT and P.kind != DEVICE: return -EINVAL
    C = k.container[P.owner]
    if C.state != CLOSING or C.processes != 0: return -EINVAL
    A = k.container[C.parent]
    if P.kind == MAPPED_BLOCK:
        C.used_blocks = C.used_blocks - 1
        A.used_blocks = A.used_blocks + 1
        B = k.block[P.block]
        B.owner = C.parent
    elif P.kind == MAPPED_GIANT:
        C.used_giants = C.used_giants - 1
        A.used_giants = A.used_giants + 1
        B = k.block[P.block]
        B.owner = C.parent
        G = k.giant[B.giant]
        G.owner = C.parent
    else:
        C.used_pages = C.used_pages - 1
        A.used_pages = A.used_pages + 1
    P.owner = C.parent
    return OK


def container_finish(k: Kernel, c: int) -> int:
    """The last step of ending container c, in which nothing is left: its quota goes back to its parent.  -EINVAL: it is
    not ending; -EBUSY: something is left in it."""
    if k.page[c].kind != CONTAINER: return -EINVAL
    C = k.container[c]
    if C.state != CLOSING: return -EINVAL
    if C.processes != 0 or C.child_count != 0 or C.core_count != 0: return -EBUSY
    if C.used_pages != 0 or C.used_blocks != 0 or C.used_giants != 0: return -EBUSY
    A = k.container[C.parent]
    A.pages = A.pages + C.pages
    A.blocks = A.blocks + C.blocks
    A.giants = A.giants + C.giants
    C.pages = 0
    C.blocks = 0
    C.giants = 0
    n = A.child_count - 1
    last = A.children[n]
    A.children[C.position] = last
    L = k.container[last]
    L.position = C.position
    A.children[n] = 0
    A.child_count = n
    if C.holder != 0: close_handle(k, C.holder, C.holder_slot)
    C.state = 0
    C.born = 0
    C.parent = 0
    C.depth = 0
    C.core = 0
    C.cores_of = 0
    C.position = 0
    C.holder = 0
    C.holder_slot = 0
    C.hosted = 0
    clear_row(k, C, "path")
    free_page(k, c)
    return OK
