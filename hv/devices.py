"""The devices that the host lends to a machine: what the kernel decides about them is carried out on the hardware, or
on the model, that stands behind each (``hv.device``).

*Memory*: a device reaches what the IOMMU domain maps that it is attached to.  What the kernel maps there is mapped in
the device at once; what it takes away is gone before the big lock is given up, and before a page that it freed is used
again.  *Registers* are in ``hv.register_pages``.  *Interrupts* are eventfds, which the machine's event thread reads:
each becomes a signal at the endpoint that the device is bound to.

A device that nobody holds any more is reset before the next program gets it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from abi import device_queries as queries
from abi.errors import EBUSY, EFAULT, EINVAL, EIO, ENOMEM, ENOSPC, ESRCH, OK
from abi.layout import PAGE_SHIFT, PAGE_SIZE, WRITE
from hv.device import Device
from hv.effects import joined
from hv.failures import OutOfMemory
from hv.personality import BLOCKED
from hv.register_pages import MOST_MAPPINGS, MOST_PAGES, Mapping, RegisterPages
from kernel.calls import Operation, SpaceBusy, effective
from kernel.calls.devices import MOST_AT_ONCE
from kernel.calls.ranges import range_valid
from kernel.objects import DEVICE, PAGES_OF

if TYPE_CHECKING:
    from hv.events import Watch
    from hv.machine import Machine
    from hv.thread import Thread
    from kernel.calls.operations import Steps
    from kernel.consequences import Consequences
    from kernel.objects import Device as KernelDevice

SIGNALS_AT_ONCE: Final = 64
"""Interrupts that are passed on before the big lock is given up."""


class LentDevice:
    """A device in a machine.  ``id`` is the kernel's object."""

    def __init__(self, machine: Machine, device: Device, id: int) -> None:
        self.machine = machine
        self.device = device
        self.id = id
        self.gone = False
        """It was removed."""
        self.used = False
        """Somebody held it since it was reset."""
        self.resetting = False
        self.lock = threading.Lock()
        """Held during each trapped access."""
        self.mappings: list[Mapping] = []
        self.mirrored: dict[int, tuple[int, int]] = {}
        """What the device can reach: by I/O virtual page, the page or first page of a block there, and how many."""
        self.mirroring: Operation | None = None
        """The call that attached it, as long as that is still mapping what the domain had before."""
        self.unmaps: list[tuple[int, int]] = []
        """What it is to lose: (I/O virtual page, pages)."""
        self.refused: OSError | None = None
        """It could not map what the kernel did."""
        self.interrupts = [0] * len(device.interrupts)
        """By vector: how many have come since its holder got it."""
        self.owed = 0
        """Interrupts that are still to be signalled."""
        self.watches: list[Watch | None] = []
        self.removal: Watch | None = None

    def remove(self) -> None:
        """Takes it from whoever holds it, and lets go of it: a surprise to its driver.  No effect if it was removed."""
        with self.machine.lock:
            self.machine.devices.remove(self)


class Devices:
    """The devices of one machine.  Hold the big lock."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.lent: dict[int, LentDevice] = {}
        """By the kernel's id."""
        self.registers = RegisterPages(machine.vm)
        self._removed: list[LentDevice] = []
        """Those whose device is to be closed when nothing leads to it any more."""
        self._losing: dict[LentDevice, None] = {}
        """Those with ``unmaps``."""
        self._resets: list[tuple[threading.Thread, int]] = []

    # The host.

    def add(self, device: Device, container: int) -> LentDevice:
        """Lends a device to a container, by its id; the machine closes it at its end.  Raises OutOfMemory, and
        ValueError for a container that there is not."""
        machine = self._machine
        o = machine.system.add_device(container)
        if o == -ENOMEM: raise OutOfMemory(f"no memory for device {device.name}")
        if o < 0: raise ValueError(f"there is no container {container}")
        made = self.lent[o] = LentDevice(machine, device, o)
        if device.removal >= 0:
            made.removal = machine.events.when_ready(device.removal, "r", partial(self.remove, made), background=True)
        return made

    def give(self, lent: LentDevice, s: int, name: str) -> int:
        """Gives process s the handle to a device, which it returns.  Raises OutOfMemory, and ValueError for one that
        somebody holds, or that is gone."""
        if lent.gone: raise ValueError(f"{name}: device {lent.device.name} was removed")
        if lent.used and self._machine.kernel.device[lent.id].holder == 0:
            with contextlib.suppress(OSError): lent.device.reset()  # not all hardware can
            lent.used = False
        value = self._machine.system.open_device(lent.id, s)
        if value == -ENOMEM: raise OutOfMemory(f"{name}: no memory for device {lent.device.name}")
        if value == -EBUSY: raise ValueError(f"{name}: another program holds device {lent.device.name}")
        if value < 0: raise ValueError(f"{name}: the program cannot get device {lent.device.name}")
        return value

    def remove(self, lent: LentDevice) -> None:
        """See LentDevice.remove."""
        if lent.gone: return
        lent.gone = True
        if lent.removal is not None: lent.removal.cancel()
        if not self._machine.stopping: self._machine.system.remove_device(lent.id)
        self._disarm(lent)
        self.lent.pop(lent.id, None)
        self._removed.append(lent)
        self._machine.lock.notify_all()

    def close(self) -> None:
        """Lets go of all devices.  No vCPU runs, and the virtual machine is closed."""
        for worker, done in self._resets:
            worker.join()
            os.close(done)
        self._resets.clear()
        for lent in [*self.lent.values(), *self._removed]:
            lent.gone = True
            lent.device.close()
        self.lent.clear()
        self._removed.clear()
        self.registers.close()

    # What the kernel's transitions mean.

    def changed(self, found: Consequences) -> None:
        """Carries out what a transition has changed of devices and domains, but for what ``settle`` does."""
        for D, holder, domain in found.devices:
            lent = self.lent.get(D.id)
            if lent is not None: self._device_changed(lent, D, holder, domain)
        k = self._machine.kernel
        for (m, w), before in found.mappings.items():
            M = k.domain[m]
            for place in range(M.device_count):
                lent = self.lent.get(M.devices[place])
                if lent is None: continue
                if before: self._unmap(lent, w)
                now = M.map_page.get(w, 0)
                if now: self._map(lent, w, now, M.map_permission[w])

    def _device_changed(self, lent: LentDevice, D: KernelDevice, holder: int, domain: int) -> None:
        if D.holder != holder:
            for mapping in lent.mappings: self.registers.kill(mapping)
            lent.mappings.clear()
            if holder: lent.used = True
            self._forget_interrupts(lent)
        if D.domain != domain:
            lent.mirroring = None
            for w in list(lent.mirrored): self._unmap(lent, w)
        if D.endpoint: self._arm(lent)
        else: self._disarm(lent)

    def _map(self, lent: LentDevice, w: int, p: int, permission: int) -> None:
        if lent.unmaps: self._flush(lent)
        if lent.refused is not None: return  # the call is going to fail as a whole
        machine = self._machine
        count = PAGES_OF[machine.kernel.page[p].kind]
        address = machine.memory.host_address(p)
        try:
            lent.device.map(w << PAGE_SHIFT, address, count << PAGE_SHIFT, bool(permission & WRITE))
        except OSError as error:
            lent.refused = error
            return
        lent.mirrored[w] = (p, count)

    def _unmap(self, lent: LentDevice, w: int) -> None:
        mapped = lent.mirrored.pop(w, None)
        if mapped is None: return  # it was refused
        lent.unmaps.append((w, mapped[1]))
        self._losing[lent] = None

    def _flush(self, lent: LentDevice) -> None:
        unmaps, lent.unmaps = lent.unmaps, []
        self._losing.pop(lent, None)
        for first, count in joined(unmaps): lent.device.unmap(first << PAGE_SHIFT, count << PAGE_SHIFT)

    @property
    def settled(self) -> bool:
        """There is nothing to do for ``settle``."""
        return not self._losing and self.registers.settled and not self._removed

    def settle(self) -> None:
        """Devices no longer reach what was taken from them, nor programs the registers that they lost."""
        for lent in list(self._losing): self._flush(lent)
        self.registers.settle()
        removed, self._removed = self._removed, []
        for lent in removed: lent.device.close()

    # Interrupts.

    def _arm(self, lent: LentDevice) -> None:
        """Its interrupts are waited for."""
        if lent.watches or lent.gone: return
        lent.watches = [None] * len(lent.device.interrupts)
        for vector in range(len(lent.watches)): self._watch(lent, vector)

    def _watch(self, lent: LentDevice, vector: int) -> None:
        lent.watches[vector] = self._machine.events.when_ready(
            lent.device.interrupts[vector], "r", partial(self._interrupted, lent, vector)
        )

    def _disarm(self, lent: LentDevice) -> None:
        for watch in lent.watches:
            if watch is not None: watch.cancel()
        lent.watches = []
        lent.owed = 0

    def _interrupted(self, lent: LentDevice, vector: int) -> None:
        count = _taken(lent.device.interrupts[vector])
        lent.interrupts[vector] += count
        lent.owed += count
        self._watch(lent, vector)
        self._signal(lent)

    def _signal(self, lent: LentDevice) -> None:
        """Signals what interrupts are owed, a bounded number at once."""
        machine = self._machine
        for _ in range(min(lent.owed, SIGNALS_AT_ONCE)):
            e = machine.kernel.device[lent.id].endpoint
            if e == 0: return
            lent.owed -= 1
            machine.messages.signal(e)
        if lent.owed: machine.events.at(time.monotonic(), partial(self._signal, lent))

    def _forget_interrupts(self, lent: LentDevice) -> None:
        """Those of one holder are not the next one's."""
        lent.interrupts = [0] * len(lent.device.interrupts)
        lent.owed = 0
        for fd in lent.device.interrupts: _taken(fd)

    # Calls.

    def calls(self) -> dict[str, Callable[..., int | Operation]]:
        """What serves the native calls on devices that need more than the kernel, by name."""
        return {
            "device_map": self._device_map, "device_info": self._device_info, "device_reset": self._device_reset,
            "device_attach": self._device_attach, "domain_map": self._domain_map,
        }  # fmt: skip

    def _named(self, t: int, handle: int) -> LentDevice | None:
        o = self._machine.system.named(t, handle, DEVICE)
        return self.lent.get(o)

    def _device_map(
        self, t: int, handle: int, region: int, offset: int, address: int, length: int, protection: int
    ) -> int:
        lent = self._named(t, handle)
        if lent is None: return -ESRCH
        regions = lent.device.regions
        permission = effective(protection) if 0 <= protection <= 3 else 0
        if region >= len(regions) or permission == 0 or not range_valid(address, length): return -EINVAL
        first, count = offset >> PAGE_SHIFT, length >> PAGE_SHIFT
        if offset % PAGE_SIZE or first + count > regions[region].pages: return -EINVAL
        lent.mappings = [mapping for mapping in lent.mappings if mapping.frames]
        if count > MOST_PAGES or len(lent.mappings) >= MOST_MAPPINGS: return -ENOSPC
        machine, system, registers = self._machine, self._machine.system, self.registers
        s = machine.kernel.thread[t].process
        holder = system.busy.get(s)
        if holder is not None: raise SpaceBusy(holder)
        if registers.short:
            machine.quiesce()
            registers.recycle()
        mapping = registers.create(lent.device, lent.lock, region, first, count)
        if mapping is None: return -ENOSPC
        lent.mappings.append(mapping)
        v = address >> PAGE_SHIFT
        for page in range(count):
            registers.next_address = mapping.page_address(page)
            result = system.map_one(s, v + page, permission)
            registers.next_address = 0
            if result == OK: continue
            for done in range(page): system.unmap_piece(s, v + done)
            registers.unused(mapping)
            return result
        return OK

    def _device_info(self, t: int, handle: int, what: int) -> int:
        lent = self._named(t, handle)
        if lent is None: return -ESRCH
        device = lent.device
        if what == queries.IDENTITY: return device.vendor_id | device.device_id << 16
        if what == queries.CLASS: return device.class_code
        if what == queries.REGIONS: return len(device.regions)
        if what == queries.VECTORS: return len(device.interrupts)
        number = what & 0xFFFF_FFFF
        if what - number == queries.REGION_SIZE and number < len(device.regions): return device.regions[number].size
        if what - number == queries.INTERRUPTS and number < len(lent.interrupts):
            come = _taken(device.interrupts[number])
            lent.interrupts[number] += come
            if lent.watches and come:  # the event thread will not find them any more
                lent.owed += come
                self._signal(lent)
            return lent.interrupts[number]
        return -EINVAL

    def _device_reset(self, t: int, handle: int) -> int:
        lent, machine = self._named(t, handle), self._machine
        if lent is None: return -ESRCH
        if lent.resetting: return -EBUSY
        # Hardware takes up to a second, for which the machine does not stand still.
        lent.resetting = True
        caller, done = machine.threads[t], os.eventfd(0, os.EFD_CLOEXEC)
        results: list[int] = []

        def work() -> None:
            try:
                lent.device.reset()
                results.append(OK)
            except OSError:
                results.append(-EIO)
            except BaseException as error:
                machine.fail(error)
            os.eventfd_write(done, 1)

        worker = threading.Thread(target=work, name="aerostat-device-reset", daemon=True)
        self._resets.append((worker, done))
        machine.block(caller)
        machine.events.when_ready(done, "r", partial(self._was_reset, lent, caller, results, worker, done))
        worker.start()
        return BLOCKED

    def _was_reset(
        self, lent: LentDevice, caller: Thread, results: list[int], worker: threading.Thread, done: int
    ) -> None:
        lent.resetting = False
        self._resets.remove((worker, done))
        os.close(done)
        if results: self._machine.wake(caller, results[0])

    def _domain_map(self, t: int, handle: int, address: int, length: int, iova: int, protection: int) -> int:
        machine = self._machine
        system, frames = machine.system, self.registers.frames
        if frames and range_valid(address, length):
            s = machine.kernel.thread[t].process
            pieces = system.mapped_pieces(s, address, length, MOST_AT_ONCE)
            mapped = machine.kernel.process[s].map_page
            if not isinstance(pieces, int) and any(mapped.get(v) in frames for v, _ in pieces): return -EFAULT
        result = system.domain_map(t, handle, address, length, iova, protection)
        if result != OK: return result
        refusal = self._refusal()
        if refusal != OK: system.domain_unmap(t, handle, iova, length)
        return refusal

    def _device_attach(self, t: int, handle: int, domain: int) -> int | Operation:
        result = self._machine.system.device_attach(t, handle, domain)
        lent = self._named(t, handle)
        if result != OK or lent is None: return result
        operation = lent.mirroring = Operation(partial(self._mirror, lent), t, handle)
        operation.begun = True
        return operation

    def _mirror(self, lent: LentDevice, this: Operation, t: int, handle: int) -> Steps:
        """Has a device that was just attached reach what the domain maps, page by page.  What is mapped and unmapped
        meanwhile is so for the device as well (``changed``); being detached meanwhile ends it."""
        machine = self._machine
        M = machine.kernel.domain[machine.kernel.device[lent.id].domain]
        for w in list(M.map_page):
            p = M.map_page.get(w, 0)
            if not p or w in lent.mirrored: continue
            self._map(lent, w, p, M.map_permission[w])
            refusal = self._refusal()
            if refusal != OK:
                # Nobody can be told where the thread is gone.
                if machine.system.device_detach(t, handle) != OK: self.remove(lent)
                return refusal
            yield None
            if lent.mirroring is not this: return OK
        lent.mirroring = None
        return OK

    def _refusal(self) -> int:
        """What the call returns that has mapped memory for devices: 0, or an error if one of them could not."""
        result = OK
        for lent in self.lent.values():
            if lent.refused is None: continue
            result = -ENOSPC if lent.refused.errno in (ENOMEM, ENOSPC) else -EIO
            lent.refused = None
        return result


def _taken(eventfd: int) -> int:
    """What has come to an eventfd since the last time."""
    try:
        return os.eventfd_read(eventfd)
    except OSError:  # nothing, or it was closed
        return 0


__all__ = ["Devices", "LentDevice"]
