"""Invariants of devices and IOMMU domains.

Source: Atmosphere, section 4.2 (IOMMU mappings count as references of a page, so that none is freed that a device
reaches).
"""

from __future__ import annotations

from kernel.invariants import invariant
from kernel.ledgers import region_of
from kernel.objects import (
    DEVICE,
    DOMAIN,
    DOMAIN_MAPPINGS,
    DOMAIN_PAGES,
    DOMAIN_REGIONS,
    ENDPOINT,
    MAPPED,
    MAPPED_BLOCK,
    PROCESS,
    REGION_BLOCK,
    Kernel,
)  # fmt: skip


@invariant("device")
def device_holder(k: Kernel, o: int) -> bool:
    """Who holds a device has a handle to it; what is no device is blank, and what nobody holds is in no domain and
    bound to no endpoint."""
    D = k.device[o]
    if D.holder == 0: return D.holder_slot == 0 and D.domain == 0 and D.endpoint == 0
    if k.page[o].kind != DEVICE or k.page[D.holder].kind != PROCESS: return False
    if k.page[o].owner != k.process[D.holder].container: return False
    return k.process[D.holder].handle_object[D.holder_slot] == o


@invariant("device")
def device_domain(k: Kernel, o: int) -> bool:
    """A device is among the devices of its domain, at its place; its interrupts are signalled at an endpoint."""
    D = k.device[o]
    if D.endpoint != 0 and k.page[D.endpoint].kind != ENDPOINT: return False
    if D.domain == 0: return D.place == 0
    M = k.domain[D.domain]
    if k.page[D.domain].kind != DOMAIN or M.holder != D.holder: return False
    return D.place >= 0 and D.place < M.device_count and M.devices[D.place] == o


@invariant("domain")
def domain_holder(k: Kernel, m: int) -> bool:
    """A domain is held by a process that has a handle to it, in the container charged for it; what is no domain is
    blank."""
    M = k.domain[m]
    if k.page[m].kind != DOMAIN:
        return M.holder == 0 and M.holder_slot == 0 and M.device_count == 0 and M.mappings == 0
    if k.page[M.holder].kind != PROCESS or k.page[m].owner != k.process[M.holder].container: return False
    return k.process[M.holder].handle_object[M.holder_slot] == m


@invariant("domain")
def domain_mappings(k: Kernel, m: int) -> bool:
    """A domain counts its mappings, which have a limit."""
    assert k.ledger is not None
    M = k.domain[m]
    return M.mappings == k.ledger.reachable[m] and M.mappings <= DOMAIN_MAPPINGS and M.device_count >= 0


@invariant("domain.devices")
def domain_device(k: Kernel, m: int, i: int) -> bool:
    """Each of a domain's devices says so and knows its place."""
    M = k.domain[m]
    if i < 0 or i >= M.device_count: return True
    D = k.device[M.devices[i]]
    return k.page[M.devices[i]].kind == DEVICE and D.domain == m and D.place == i


@invariant("domain.map_page")
def domain_mapped(k: Kernel, m: int, w: int) -> bool:
    """What a domain maps is a 4 KiB page, or alone in its region and aligned a block, readable and perhaps writable;
    what it does not map, nothing is permitted on."""
    M = k.domain[m]
    p = M.map_page[w]
    if p == 0: return M.map_permission[w] == 0
    if k.page[m].kind != DOMAIN or w < 0 or w >= DOMAIN_PAGES: return False
    if M.map_permission[w] != 1 and M.map_permission[w] != 3: return False
    n = M.regions[w // 512]
    if k.page[p].kind == MAPPED_BLOCK: return w % 512 == 0 and n == REGION_BLOCK
    return k.page[p].kind == MAPPED and n != REGION_BLOCK


@invariant("domain.regions")
def domain_region(k: Kernel, m: int, g: int) -> bool:
    """A domain counts what is mapped in each region of 2 MiB: its pages, or one block; there are so many regions."""
    assert k.ledger is not None
    M = k.domain[m]
    n = M.regions[g]
    if g < 0 or g >= DOMAIN_REGIONS: return n == 0
    if n != REGION_BLOCK: return n >= 0 and n <= 512 and n == k.ledger.regions[region_of(m, g * 512)]
    return k.ledger.regions[region_of(m, g * 512)] == 1 and k.page[M.map_page[g * 512]].kind == MAPPED_BLOCK
