"""Calls on devices and IOMMU domains; and what the host does with the devices it lends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.errors import EFAULT, EINVAL, ENOSPC, OK
from abi.layout import BLOCK_PAGES, PAGE_SHIFT, PAGE_SIZE
from kernel.calls.messages import MessageCalls
from kernel.calls.operations import Operation
from kernel.calls.ranges import effective, indices, range_valid
from kernel.objects import DEVICE, DOMAIN, DOMAIN_MAPPINGS, DOMAIN_PAGES, MAPPED_BLOCK

if TYPE_CHECKING:
    from kernel import device
else:
    from kernel.journaled import device

MOST_AT_ONCE = 64
"""Pages and blocks that one call maps for devices, or unmaps: what bounds it."""


class DeviceCalls(MessageCalls):
    """domain_create, domain_close, domain_map, domain_unmap; device_attach, device_detach, interrupt_bind."""

    def domain_create(self, t: int) -> int:
        k = self.k
        return self.funded(k.process[k.thread[t].process].container, 1, device.domain_create, t)

    def domain_close(self, t: int, handle: int) -> int:
        return self.step(device.domain_close, t, handle % 65536, handle >> 16)

    def domain_map(self, t: int, handle: int, address: int, length: int, iova: int, protection: int) -> int:
        k = self.k
        m = self.named(t, handle, DOMAIN)
        if m < 0: return m
        permission = effective(protection) if 0 <= protection <= 3 else 0
        if not range_valid(address, length) or permission == 0 or iova % PAGE_SIZE: return -EINVAL
        w, M = iova >> PAGE_SHIFT, k.domain[m]
        if w + (length >> PAGE_SHIFT) > DOMAIN_PAGES: return -EINVAL
        s = k.thread[t].process
        pieces = self.mapped_pieces(s, address, length, MOST_AT_ONCE)
        if isinstance(pieces, int): return pieces
        if len(pieces) > MOST_AT_ONCE or M.mappings + len(pieces) > DOMAIN_MAPPINGS: return -ENOSPC
        done: list[int] = []
        for v, _ in pieces:
            at = w + v - (address >> PAGE_SHIFT)
            result = self.step(
                device.domain_map, t, handle % 65536, handle >> 16, *indices(v), at, permission
            )
            if result != OK:  # nothing stays of a call that fails
                for undone in done: self.step(device.domain_unmap, m, undone)
                return result
            done.append(at)
        return OK

    def domain_unmap(self, t: int, handle: int, iova: int, length: int) -> int:
        k = self.k
        m = self.named(t, handle, DOMAIN)
        if m < 0: return m
        if iova % PAGE_SIZE or length % PAGE_SIZE or length <= 0: return -EINVAL
        w, end, M = iova >> PAGE_SHIFT, (iova + length) >> PAGE_SHIFT, k.domain[m]
        mapped: list[int] = []
        while w < end:
            p = M.map_page.get(w)
            if not p or len(mapped) == MOST_AT_ONCE: return -EFAULT if not p else -ENOSPC
            mapped.append(w)
            w += BLOCK_PAGES if k.page[p].kind == MAPPED_BLOCK else 1
        if w > end: return -EINVAL
        for w in mapped: self.unmap_for_devices(m, w)
        return OK

    def device_attach(self, t: int, handle: int, domain: int) -> int:
        return self.step(device.device_attach, t, handle % 65536, handle >> 16, domain % 65536, domain >> 16)

    def device_detach(self, t: int, handle: int) -> int:
        return self.step(device.device_detach, t, handle % 65536, handle >> 16)

    def interrupt_bind(self, t: int, handle: int, endpoint: int) -> int | Operation:
        k = self.k
        o = device.held(k, k.thread[t].process, handle % 65536, handle >> 16, DEVICE)
        e = k.device[o].endpoint if o else 0
        result = self.step(
            device.interrupt_bind, t, handle % 65536, handle >> 16, endpoint % 65536, endpoint >> 16
        )
        return self.hang_up(e) if result == OK and endpoint == 0 and e else result

    # What the host does with the devices it lends.

    def add_device(self, c: int) -> int:
        """A new device of container c.  Its id, or -EINVAL or -ENOMEM."""
        return self.funded(c, 1, device.device_add, c)

    def open_device(self, o: int, s: int) -> int:
        """Process s gets the handle to device o.  The handle, or -EINVAL, -EBUSY, -ENOSPC or -ENOMEM."""
        return self.funded(self.k.process[s].container, 1, device.device_open, o, s)

    def remove_device(self, o: int) -> int:
        """Nothing is left of device o, whoever holds it.  -EINVAL: no such device."""
        e = self.k.device[o].endpoint
        result = self.step(device.device_remove, o)
        self.complete(self.hang_up(e))
        return result

    def interrupt(self, o: int) -> int:
        """Device o has something to say.  The thread that goes on with it, or 0; -EINVAL: nobody wants to know."""
        e = self.k.device[o].endpoint
        return self.signal(e) if e else -EINVAL


__all__ = ["MOST_AT_ONCE", "DeviceCalls"]
