"""Specifications of devices, IOMMU domains, and of handles that pass from process to process."""

from __future__ import annotations

from abi.errors import EBUSY, EEXIST, EFAULT, EINVAL, ENOMEM, ENOSPC, EPERM, ESRCH
from kernel.objects import (
    ACTIVE,
    ALIVE,
    CONTAINER,
    DEVICE,
    DOMAIN,
    DOMAIN_MAPPINGS,
    DOMAIN_PAGES,
    ENDING,
    ENDPOINT,
    FREE,
    GRANT,
    MAPPED,
    MAPPED_BLOCK,
    NEW,
    PROCESS,
    RECEIVE,
    RUNNING,
    SEND,
)  # fmt: skip
from kernel.specs import Frame, State, specification
from kernel.specs.endpoints import (
    ALL,
    counted,
    endpoint_freed_if_unused,
    endpoint_handle_opened,
    endpoint_named,
)  # fmt: skip
from kernel.specs.handles import allows, handle_closed, handle_opened, handle_room, named
from kernel.specs.quotas import charged, page_becomes


def held(old: State, s: int, slot: int, generation: int, kind: int) -> int:
    """The device or domain that process s names by a slot and generation, 0 if none."""
    o = named(old, s, slot, generation)
    return o if o != 0 and old.page[o].kind == kind else 0


def charge_moved(old: State, new: State, f: Frame, o: int, c: int) -> bool:
    """The page of object o is container c's, which pays for it out of its quota; who paid before has that back."""
    a = old.page[o].owner
    if a == c: return True
    f.may("page", o, "owner")
    f.may("container", a, "pages", "used_pages")
    f.may("container", c, "pages", "used_pages")
    if new.page[o].owner != c or new.container[a].pages != old.container[a].pages + 1: return False
    if new.container[a].used_pages != old.container[a].used_pages - 1: return False
    if new.container[c].pages != old.container[c].pages - 1: return False
    return bool(new.container[c].used_pages == old.container[c].used_pages + 1)


def passing_refused(old: State, s: int, slot: int, generation: int, rights: int, d: int) -> int:
    """Why process s cannot pass a handle to process d, which has room; 0 if it can."""
    o = named(old, s, slot, generation)
    if o == 0 or old.page[o].kind not in (ENDPOINT, DEVICE, DOMAIN): return -ESRCH
    if old.page[o].kind == ENDPOINT:
        own = old.process[s].handle_rights[slot]
        return 0 if own & GRANT and 1 <= rights <= ALL and allows(own, rights) else -EPERM
    if rights != 0: return -EPERM
    if s == d: return -EINVAL
    D, M = old.device[o], old.domain[o]
    if D.domain or D.endpoint or M.mappings or M.device_count: return -EBUSY
    c = old.process[d].container
    return 0 if old.page[o].owner == c or old.container[c].pages >= 1 else -ENOMEM


def passed(old: State, new: State, f: Frame, s: int, slot: int, rights: int, d: int, value: int) -> bool:
    """``value`` names in process d what process s has in ``slot``: an endpoint, with these rights; or a device or
    domain, which s no longer has."""
    o = old.process[s].handle_object[slot]
    kind = old.page[o].kind
    if kind == ENDPOINT:
        badge = old.process[s].handle_badge[slot]
        return counted(old, new, f, o, rights, 1) and endpoint_handle_opened(old, new, f, d, value, o, rights, badge)
    if kind == DEVICE:
        f.may("device", o, "holder", "holder_slot")
        if new.device[o].holder != d or new.device[o].holder_slot != value % 65536: return False
    else:
        f.may("domain", o, "holder", "holder_slot")
        if new.domain[o].holder != d or new.domain[o].holder_slot != value % 65536: return False
    if not handle_closed(old, new, f, s, slot) or not handle_opened(old, new, f, d, value, o): return False
    return charge_moved(old, new, f, o, old.process[d].container)


@specification
def handle_give(
    old: State, new: State, f: Frame, result: int,
    t: int, child: int, child_generation: int, slot: int, generation: int, rights: int,
) -> bool:  # fmt: skip
    """The child has a handle to the same endpoint, with some of the rights and the same badge; or the device or domain,
    which its parent has no more."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    s = old.thread[t].process
    d = named(old, s, child, child_generation)
    if d == 0 or old.page[d].kind != PROCESS: return result == -ESRCH
    if old.process[d].state != NEW: return result == -EBUSY
    why = passing_refused(old, s, slot, generation, rights, d)
    if why: return result == why
    if not handle_room(old, d): return result == -ENOSPC
    return result > 0 and passed(old, new, f, s, slot, rights, d, result)


@specification
def device_add(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """A new device of the container, that nobody holds."""
    if old.page[c].kind != CONTAINER or old.container[c].state != ACTIVE: return result == -EINVAL
    if old.container[c].pages < 1: return result == -ENOMEM
    if not page_becomes(old, new, f, result, FREE, DEVICE) or new.page[result].owner != c: return False
    return charged(old, new, f, c, 1, 0)


@specification
def device_open(old: State, new: State, f: Frame, result: int, o: int, s: int) -> bool:
    """The process holds the device, and its container pays for it."""
    if old.page[o].kind != DEVICE or old.page[s].kind != PROCESS: return result == -EINVAL
    c = old.process[s].container
    if old.process[s].state not in (NEW, ALIVE): return result == -EINVAL
    if old.device[o].holder != 0: return result == -EBUSY
    if not handle_room(old, s): return result == -ENOSPC
    if old.page[o].owner != c and old.container[c].pages < 1: return result == -ENOMEM
    f.may("device", o, "holder", "holder_slot")
    if new.device[o].holder != s or new.device[o].holder_slot != result % 65536: return False
    return result > 0 and handle_opened(old, new, f, s, result, o) and charge_moved(old, new, f, o, c)


def detached(old: State, new: State, f: Frame, o: int) -> bool:
    """Device o is in no domain; the last of the domain's devices has its place."""
    m = old.device[o].domain
    if m == 0: return bool(new.device[o].domain == 0)
    n = old.domain[m].device_count - 1
    f.may("device", o, "domain", "place")
    f.may("device", old.domain[m].devices[n], "place")
    f.may("domain", m, "device_count")
    f.may_item("domain", m, "devices", n)
    f.may_item("domain", m, "devices", old.device[o].place)
    return bool(new.device[o].domain == 0 and new.domain[m].device_count == n)


def unbound(old: State, new: State, f: Frame, o: int, beside: tuple[int, int] = (0, 0)) -> bool:
    """The interrupts of device o are signalled nowhere.  ``beside``: a container, and for how many pages more it is no
    longer charged."""
    e = old.device[o].endpoint
    if e == 0: return bool(new.device[o].endpoint == 0)
    f.may("device", o, "endpoint")
    if new.device[o].endpoint != 0 or not counted(old, new, f, e, SEND, -1): return False
    return endpoint_freed_if_unused(old, new, f, e, old.endpoint[e].references - 1, beside)


@specification
def device_remove(old: State, new: State, f: Frame, result: int, o: int) -> bool:
    """Nothing is left of the device, nor of the handle to it."""
    D = old.device[o]
    if old.page[o].kind != DEVICE: return result == -EINVAL
    f.may("device", o, "holder", "holder_slot")
    c = old.page[o].owner
    if result != 0 or not detached(old, new, f, o) or not unbound(old, new, f, o, (c, 1)): return False
    if D.holder != 0 and not handle_closed(old, new, f, D.holder, D.holder_slot): return False
    e = D.endpoint
    pages = 1 + int(e != 0 and new.page[e].kind == FREE and old.page[e].owner == c)
    return page_becomes(old, new, f, o, DEVICE, FREE) and charged(old, new, f, c, -pages, 0)


@specification
def domain_create(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """A new empty domain, which the caller's process holds."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    s = old.thread[t].process
    c = old.process[s].container
    if old.container[c].state != ACTIVE: return result == -EBUSY
    if not handle_room(old, s): return result == -ENOSPC
    if old.container[c].pages < 1: return result == -ENOMEM
    m = new.process[s].handle_object[result % 65536]
    f.may("domain", m, "holder", "holder_slot")
    if not page_becomes(old, new, f, m, FREE, DOMAIN) or new.page[m].owner != c: return False
    if new.domain[m].holder != s or new.domain[m].holder_slot != result % 65536: return False
    return result > 0 and handle_opened(old, new, f, s, result, m) and charged(old, new, f, c, 1, 0)


@specification
def domain_map(
    old: State, new: State, f: Frame, result: int,
    t: int, slot: int, generation: int, i4: int, i3: int, i2: int, i1: int, w: int, permission: int,
) -> bool:  # fmt: skip
    """The domain has, at this I/O virtual page, what the process has at its virtual page; it has one mapping more."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    if not 0 <= i4 < 255 or not all(0 <= i < 512 for i in (i3, i2, i1)): return result == -EINVAL
    if not 0 <= w < DOMAIN_PAGES or permission not in (1, 3): return result == -EINVAL
    s = old.thread[t].process
    m = held(old, s, slot, generation, DOMAIN)
    if m == 0: return result == -ESRCH
    v = ((i4 * 512 + i3) * 512 + i2) * 512 + i1
    p = old.process[s].map_page[v]
    if p == 0 or old.page[p].kind not in (MAPPED, MAPPED_BLOCK): return result == -EFAULT
    if not allows(old.process[s].map_permission[v], permission): return result == -EPERM
    M = old.domain[m]
    if M.mappings >= DOMAIN_MAPPINGS: return result == -ENOSPC
    whole = old.page[p].kind == MAPPED_BLOCK
    if whole and w % 512: return result == -EINVAL
    n = M.regions[w // 512]
    if M.map_page[w] != 0 or n >= 512 or (whole and n != 0): return result == -EEXIST
    f.may_item("domain", m, "map_page", w)
    f.may_item("domain", m, "map_permission", w)
    f.may_item("domain", m, "regions", w // 512)
    f.may("domain", m, "mappings")
    f.may("page", p, "references")
    if new.domain[m].map_page[w] != p or new.domain[m].map_permission[w] != permission: return False
    return bool(result == 0 and new.domain[m].mappings == M.mappings + 1)


@specification
def domain_unmap(old: State, new: State, f: Frame, result: int, m: int, w: int) -> bool:
    """The domain has nothing there; a page or block that nothing else maps is free, and nobody is charged for it."""
    M = old.domain[m]
    if old.page[m].kind != DOMAIN: return result == -EINVAL
    p = M.map_page[w]
    if p == 0: return result == -EFAULT
    f.may_item("domain", m, "map_page", w)
    f.may_item("domain", m, "map_permission", w)
    f.may_item("domain", m, "regions", w // 512)
    f.may("domain", m, "mappings")
    f.may("page", p, "references")
    if result != 0 or new.domain[m].map_page[w] != 0 or new.domain[m].mappings != M.mappings - 1: return False
    if old.page[p].references > 1: return bool(new.page[p].kind == old.page[p].kind)
    whole = old.page[p].kind == MAPPED_BLOCK
    if not page_becomes(old, new, f, p, old.page[p].kind, FREE): return False
    return charged(old, new, f, old.page[p].owner, 0 if whole else -1, -1 if whole else 0)


@specification
def device_attach(
    old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, other: int,
    other_generation: int,
) -> bool:  # fmt: skip
    """The device is the last of the domain's."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    s = old.thread[t].process
    o = held(old, s, slot, generation, DEVICE)
    m = held(old, s, other, other_generation, DOMAIN)
    if o == 0 or m == 0: return result == -ESRCH
    if old.device[o].domain != 0: return result == -EBUSY
    n = old.domain[m].device_count
    f.may("device", o, "domain", "place")
    f.may("domain", m, "device_count")
    f.may_item("domain", m, "devices", n)
    if new.device[o].domain != m or new.domain[m].device_count != n + 1: return False
    return bool(result == 0 and new.domain[m].devices[n] == o)


@specification
def device_detach(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The device is in no domain."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    o = held(old, old.thread[t].process, slot, generation, DEVICE)
    if o == 0: return result == -ESRCH
    if old.device[o].domain == 0: return result == -EINVAL
    return result == 0 and detached(old, new, f, o)


@specification
def interrupt_bind(
    old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, other: int,
    other_generation: int,
) -> bool:  # fmt: skip
    """The device's interrupts are signalled at the endpoint, which has a reference more; or nowhere."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    s = old.thread[t].process
    o = held(old, s, slot, generation, DEVICE)
    if o == 0: return result == -ESRCH
    if other_generation == 0: return result == 0 and unbound(old, new, f, o)
    e = endpoint_named(old, s, other, other_generation)
    if e == 0: return result == -ESRCH
    if not old.process[s].handle_rights[other] & RECEIVE: return result == -EPERM
    if old.device[o].endpoint != 0: return result == -EBUSY
    f.may("device", o, "endpoint")
    return result == 0 and new.device[o].endpoint == e and counted(old, new, f, e, SEND, 1)


@specification
def device_release(old: State, new: State, f: Frame, result: int, o: int) -> bool:
    """Nobody holds the device, which reaches nothing; its interrupts go nowhere."""
    D = old.device[o]
    if old.page[o].kind != DEVICE or D.holder == 0: return result == -EINVAL
    if old.process[D.holder].state != ENDING: return result == -EINVAL
    f.may("device", o, "holder", "holder_slot")
    if result != 0 or new.device[o].holder != 0 or not handle_closed(old, new, f, D.holder, D.holder_slot): return False
    return detached(old, new, f, o) and unbound(old, new, f, o)


def domain_freed(old: State, new: State, f: Frame, m: int) -> bool:
    """Nothing is left of domain m, nor of the handle to it."""
    M = old.domain[m]
    f.may("domain", m, "holder", "holder_slot")
    if not handle_closed(old, new, f, M.holder, M.holder_slot) or not page_becomes(old, new, f, m, DOMAIN, FREE):
        return False
    return charged(old, new, f, old.page[m].owner, -1, 0)


@specification
def domain_release(old: State, new: State, f: Frame, result: int, m: int) -> bool:
    """Nothing is left of an empty domain whose holder is ending."""
    M = old.domain[m]
    if old.page[m].kind != DOMAIN or old.process[M.holder].state != ENDING: return result == -EINVAL
    if M.mappings != 0 or M.device_count != 0: return result == -EBUSY
    return result == 0 and domain_freed(old, new, f, m)


@specification
def domain_close(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """Nothing is left of an empty domain."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    m = held(old, old.thread[t].process, slot, generation, DOMAIN)
    if m == 0: return result == -ESRCH
    if old.domain[m].mappings != 0 or old.domain[m].device_count != 0: return result == -EBUSY
    return result == 0 and domain_freed(old, new, f, m)
