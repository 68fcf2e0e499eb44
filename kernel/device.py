"""Devices and IOMMU domains: what hardware a process may drive, and what memory that hardware may reach.

A device belongs to the container that is charged for it and is held by at most one process; the host puts it there.  A
domain maps pages of a process at I/O virtual addresses; a page that a domain maps is counted like any other mapping of
it, so that it is not freed while a device can reach it.  A device reaches the memory of the domain it is attached to,
and without one nothing.  Handles to either pass from process to process, and are never in two.

Ending a process detaches its devices from its domains and unmaps these first, step by step.

Source: Atmosphere, section 3.4 (IOMMU address spaces as kernel objects); Intel VT-d specification, section 3.4.
"""

from __future__ import annotations

from abi.errors import EBUSY, EEXIST, EFAULT, EINVAL, ENOMEM, ENOSPC, EPERM, ESRCH, OK
from abi.layout import BLOCK_PAGES
from kernel.endpoint import endpoint_of, free_if_unused, may_receive
from kernel.handles import close_handle, handle_available, handle_value, object_of, open_handle
from kernel.objects import (
    ACTIVE,
    ALIVE,
    CONTAINER,
    DEVICE,
    DOMAIN,
    DOMAIN_MAPPINGS,
    DOMAIN_PAGES,
    ENDING,
    MAPPED,
    MAPPED_BLOCK,
    NEW,
    PROCESS,
    REGION_BLOCK,
    RUNNING,
    Kernel,
)  # fmt: skip
from kernel.page_allocator import allocate_page, free_block, free_page
from kernel.page_table import indices_valid, narrower, page_number


def held(k: Kernel, s: int, slot: int, generation: int, kind: int) -> int:
    """The device or domain (``kind``) that process s names by this slot and generation, or 0."""
    o = object_of(k, s, slot, generation)
    if o == 0: return 0
    if k.page[o].kind != kind: return 0
    return o


def charge_to(k: Kernel, p: int, c: int) -> None:
    """Moves the charge for kernel page p to container c, which has a page of quota left unless it is the same."""
    P = k.page[p]
    if P.owner == c: return
    A = k.container[P.owner]
    A.pages = A.pages + 1
    A.used_pages = A.used_pages - 1
    C = k.container[c]
    C.pages = C.pages - 1
    C.used_pages = C.used_pages + 1
    P.owner = c


def may_pass(k: Kernel, o: int, d: int) -> int:
    """OK if device or domain o can pass to process d; -EINVAL: d holds it; -EBUSY: a device that is attached or has its
    interrupts bound, a domain that maps something or has devices; -ENOMEM: d's container cannot be charged for it."""
    if k.page[o].kind == DEVICE:
        D = k.device[o]
        if D.holder == d: return -EINVAL
        if D.domain != 0 or D.endpoint != 0: return -EBUSY
    else:
        M = k.domain[o]
        if M.holder == d: return -EINVAL
        if M.mappings != 0 or M.device_count != 0: return -EBUSY
    c = k.process[d].container
    if k.page[o].owner != c and k.container[c].pages < 1: return -ENOMEM
    return OK


def pass_on(k: Kernel, s: int, slot: int, d: int) -> int:
    """The device or domain that process s holds in ``slot`` passes to process d, which has room.  Returns d's slot."""
    o = k.process[s].handle_object[slot]
    close_handle(k, s, slot)
    charge_to(k, o, k.process[d].container)
    place = open_handle(k, d, o)
    if k.page[o].kind == DEVICE:
        D = k.device[o]
        D.holder = d
        D.holder_slot = place
    else:
        M = k.domain[o]
        M.holder = d
        M.holder_slot = place
    return place


def detach(k: Kernel, o: int) -> None:
    """Device o reaches no memory any more; the last of its domain's devices takes its place."""
    D = k.device[o]
    M = k.domain[D.domain]
    n = M.device_count - 1
    last = M.devices[n]
    M.devices[D.place] = last
    L = k.device[last]
    L.place = D.place
    M.devices[n] = 0
    M.device_count = n
    D.domain = 0
    D.place = 0


def unbind(k: Kernel, o: int) -> None:
    """The interrupts of device o are signalled nowhere."""
    D = k.device[o]
    e = D.endpoint
    if e == 0: return
    D.endpoint = 0
    E = k.endpoint[e]
    E.references = E.references - 1
    E.senders = E.senders - 1
    free_if_unused(k, e)


# The host.


def device_add(k: Kernel, c: int) -> int:
    """The host lends a device to container c.  Returns its id; -EINVAL: no such container, or it is ending; -ENOMEM: no
    quota for the device's page."""
    if k.page[c].kind != CONTAINER: return -EINVAL
    if k.container[c].state != ACTIVE: return -EINVAL
    if k.container[c].pages < 1: return -ENOMEM
    return allocate_page(k, c, DEVICE)


def device_open(k: Kernel, o: int, s: int) -> int:
    """The host gives process s the handle to device o, which nobody holds.  Returns the handle; -EINVAL: no such
    device, no such process, or it is ending; -EBUSY: somebody holds it; -ENOSPC: no free handle; -ENOMEM: the process's
    container cannot be charged for it."""
    if k.page[o].kind != DEVICE or k.page[s].kind != PROCESS: return -EINVAL
    S = k.process[s]
    if S.state != NEW and S.state != ALIVE: return -EINVAL
    D = k.device[o]
    if D.holder != 0: return -EBUSY
    if not handle_available(k, s): return -ENOSPC
    if k.page[o].owner != S.container and k.container[S.container].pages < 1: return -ENOMEM
    charge_to(k, o, S.container)
    slot = open_handle(k, s, o)
    D.holder = s
    D.holder_slot = slot
    return handle_value(k, s, slot)


def device_remove(k: Kernel, o: int) -> int:
    """The host takes device o back, whoever holds it: it reaches no memory, and nothing is left of it.  -EINVAL: no
    such device."""
    if k.page[o].kind != DEVICE: return -EINVAL
    D = k.device[o]
    if D.domain != 0: detach(k, o)
    unbind(k, o)
    if D.holder != 0: close_handle(k, D.holder, D.holder_slot)
    D.holder = 0
    D.holder_slot = 0
    free_page(k, o)
    return OK


# Threads.


def domain_create(k: Kernel, t: int) -> int:
    """Running thread t creates an IOMMU domain that maps nothing.  Returns a handle; -EINVAL: t does not run; -EBUSY:
    its container is ending; -ENOSPC: no free handle; -ENOMEM: no quota for the domain's page."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    s = T.process
    c = k.process[s].container
    if k.container[c].state != ACTIVE: return -EBUSY
    if not handle_available(k, s): return -ENOSPC
    if k.container[c].pages < 1: return -ENOMEM
    m = allocate_page(k, c, DOMAIN)
    slot = open_handle(k, s, m)
    M = k.domain[m]
    M.holder = s
    M.holder_slot = slot
    return handle_value(k, s, slot)


def domain_map(
    k: Kernel, t: int, slot: int, generation: int, i4: int, i3: int, i2: int, i1: int, w: int, permission: int
) -> int:
    """Maps what the process of running thread t has at indices i4..i1, a 4 KiB page or the first page of a 2 MiB block,
    at I/O virtual page w of the domain it names.  -EINVAL: t does not run, not a program's address, w out of range or
    not aligned as the block, or permissions other than READ and READ | WRITE; -ESRCH: not a handle of a domain;
    -EFAULT: nothing of such a size is mapped there; -EPERM: more than the process may do; -EEXIST: something is mapped
    at w; -ENOSPC: the domain has all the mappings it can."""
    T = k.thread[t]
    if T.state != RUNNING or not indices_valid(i4, i3, i2, i1): return -EINVAL
    if w < 0 or w >= DOMAIN_PAGES: return -EINVAL
    if permission != 1 and permission != 3: return -EINVAL
    s = T.process
    m = held(k, s, slot, generation, DOMAIN)
    if m == 0: return -ESRCH
    S = k.process[s]
    v = page_number(i4, i3, i2, i1)
    p = S.map_page[v]
    if p == 0: return -EFAULT
    kind = k.page[p].kind
    if kind != MAPPED and kind != MAPPED_BLOCK: return -EFAULT
    if not narrower(permission, S.map_permission[v]): return -EPERM
    M = k.domain[m]
    g = w // BLOCK_PAGES
    n = M.regions[g]
    if M.mappings >= DOMAIN_MAPPINGS: return -ENOSPC
    if kind == MAPPED_BLOCK:
        if w % BLOCK_PAGES != 0: return -EINVAL
        if n != 0: return -EEXIST
        M.regions[g] = REGION_BLOCK
    else:
        if n >= BLOCK_PAGES or M.map_page[w] != 0: return -EEXIST
        M.regions[g] = n + 1
    M.map_page[w] = p
    M.map_permission[w] = permission
    M.mappings = M.mappings + 1
    P = k.page[p]
    P.references = P.references + 1
    return OK


def domain_unmap(k: Kernel, m: int, w: int) -> int:
    """Removes what domain m maps at I/O virtual page w; frees it if nothing else maps it.  -EINVAL: no such domain;
    -EFAULT: nothing is mapped there."""
    if k.page[m].kind != DOMAIN: return -EINVAL
    M = k.domain[m]
    p = M.map_page[w]
    if p == 0: return -EFAULT
    g = w // BLOCK_PAGES
    n = M.regions[g]
    if n == REGION_BLOCK:
        M.regions[g] = 0
    else:
        M.regions[g] = n - 1
    M.map_page[w] = 0
    M.map_permission[w] = 0
    M.mappings = M.mappings - 1
    P = k.page[p]
    P.references = P.references - 1
    if P.references != 0: return OK
    if P.kind == MAPPED_BLOCK:
        free_block(k, p)
    else:
        free_page(k, p)
    return OK


def device_attach(k: Kernel, t: int, slot: int, generation: int, other: int, other_generation: int) -> int:
    """The device that running thread t names reaches the memory of the domain it names.  -EINVAL: t does not run;
    -ESRCH: not handles of a device and of a domain; -EBUSY: the device is attached to one."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    o = held(k, T.process, slot, generation, DEVICE)
    m = held(k, T.process, other, other_generation, DOMAIN)
    if o == 0 or m == 0: return -ESRCH
    D = k.device[o]
    if D.domain != 0: return -EBUSY
    M = k.domain[m]
    D.domain = m
    D.place = M.device_count
    M.devices[M.device_count] = o
    M.device_count = M.device_count + 1
    return OK


def device_detach(k: Kernel, t: int, slot: int, generation: int) -> int:
    """The device that running thread t names reaches no memory any more.  -EINVAL: t does not run, or the device is not
    attached; -ESRCH: not a handle of a device."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    o = held(k, T.process, slot, generation, DEVICE)
    if o == 0: return -ESRCH
    if k.device[o].domain == 0: return -EINVAL
    detach(k, o)
    return OK


def interrupt_bind(k: Kernel, t: int, slot: int, generation: int, other: int, other_generation: int) -> int:
    """Interrupts of the device that running thread t names are signalled at the endpoint it names (generation 0:
    nowhere any more).  -EINVAL: t does not run; -ESRCH: not handles of a device and of an endpoint; -EPERM: it cannot
    receive; -EBUSY: they are signalled somewhere."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    s = T.process
    o = held(k, s, slot, generation, DEVICE)
    if o == 0: return -ESRCH
    if other_generation == 0:
        unbind(k, o)
        return OK
    e = endpoint_of(k, s, other, other_generation)
    if e == 0: return -ESRCH
    if not may_receive(k.process[s].handle_rights[other]): return -EPERM
    D = k.device[o]
    if D.endpoint != 0: return -EBUSY
    D.endpoint = e
    E = k.endpoint[e]
    E.references = E.references + 1
    E.senders = E.senders + 1
    return OK


# Steps of ending their holder.


def device_release(k: Kernel, o: int) -> int:
    """A step of ending the process that holds device o: it reaches no memory, its interrupts go nowhere, nobody holds
    it.  -EINVAL: no such device, or its holder is not ending."""
    if k.page[o].kind != DEVICE: return -EINVAL
    D = k.device[o]
    if D.holder == 0: return -EINVAL
    if k.process[D.holder].state != ENDING: return -EINVAL
    if D.domain != 0: detach(k, o)
    unbind(k, o)
    close_handle(k, D.holder, D.holder_slot)
    D.holder = 0
    D.holder_slot = 0
    return OK


def domain_release(k: Kernel, m: int) -> int:
    """A step of ending the process that holds domain m, which maps nothing and has no devices: nothing is left of it.
    -EINVAL: no such domain, or its holder is not ending; -EBUSY: something is left in it."""
    if k.page[m].kind != DOMAIN: return -EINVAL
    M = k.domain[m]
    if k.process[M.holder].state != ENDING: return -EINVAL
    if M.mappings != 0 or M.device_count != 0: return -EBUSY
    close_handle(k, M.holder, M.holder_slot)
    M.holder = 0
    M.holder_slot = 0
    free_page(k, m)
    return OK


def domain_close(k: Kernel, t: int, slot: int, generation: int) -> int:
    """Running thread t closes the handle to an empty domain: nothing is left of it.  -EINVAL: t does not run; -ESRCH:
    not a handle of a domain; -EBUSY: it maps something, or has devices."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    m = held(k, T.process, slot, generation, DOMAIN)
    if m == 0: return -ESRCH
    M = k.domain[m]
    if M.mappings != 0 or M.device_count != 0: return -EBUSY
    close_handle(k, T.process, slot)
    M.holder = 0
    M.holder_slot = 0
    free_page(k, m)
    return OK
