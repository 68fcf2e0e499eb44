"""Registers of devices in the address spaces of programs.

The kernel maps an ordinary page, charged, shared, protected and freed like any other; what its page-table entries lead
to is a page of a device instead.  Each call that maps registers gets guest-physical addresses of its own, above those
of memory.  Where the device's page is memory of this process there is a memslot, and programs reach it without an exit;
elsewhere there is none, and each access leaves the guest to be made by ``serve``.

Pages go *dead* when the device passes to another holder, is released, or is removed: their memslots are gone, loads
give all ones and stores vanish, as on a bus from which a card was pulled.  That needs no change of page tables, so
whoever else was given such a page loses it too.

KVM does not see the host write page tables, and keeps translations; those to registers are dropped by making their
memslots anew, or any memslot where there is none: KVM tags what it remembers of an address without memslot with a
generation, which each change of memslots advances.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from abi.layout import DEVICES_BASE, PAGE_SIZE, TABLES_BASE
from hv.kvm import Vm, ffi

if TYPE_CHECKING:
    from hv.device import Device
    from hv.engine import Engine

MOST_PAGES: Final = 64
"""Pages of registers that one call maps."""
STRIDE: Final = MOST_PAGES * PAGE_SIZE
"""Guest-physical addresses that such a call gets."""
MOST_MAPPINGS: Final = 64
"""Mappings that are alive for a device: what bounds its memslots."""
PLACES: Final = (TABLES_BASE - DEVICES_BASE) // STRIDE
SIZES: Final = {1: "uint8_t *", 2: "uint16_t *", 4: "uint32_t *", 8: "uint64_t *"}


class Mapping:
    """What one call has mapped: ``count`` pages of a device's region, from page ``first`` of it on."""

    __slots__ = ("alive", "count", "device", "first", "frames", "lock", "memslots", "place", "region")

    def __init__(self, device: Device, lock: threading.Lock, region: int, first: int, count: int, place: int) -> None:
        self.device = device
        self.lock = lock
        """Held during each trapped access to the device: what is dead is out of reach of those under way as well."""
        self.region = region
        self.first = first
        self.count = count
        self.place = place
        self.frames: set[int] = set()
        """Pages of the kernel whose entries lead here."""
        self.memslots: list[tuple[int, int, int, int]] = []
        """slot number, guest-physical address, bytes, host address"""
        self.alive = True

    @property
    def address(self) -> int:
        """Guest-physical."""
        return DEVICES_BASE + self.place * STRIDE

    def page_address(self, page: int) -> int:
        """Guest-physical address of a page of it, counted from its first."""
        return self.address + page * PAGE_SIZE


class RegisterPages:
    """The pages of one machine that lead to registers.  Hold the big lock, but for ``serve``."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self.frames: dict[int, int] = {}
        """By page of the kernel: the guest-physical address that its entries lead to."""
        self.next_address = 0
        """What the page that is mapped next leads to; 0: it is memory."""
        self._by_place: dict[int, Mapping] = {}
        self._unused: list[int] = []
        self._quarantine: list[int] = []
        """Places that were used, and that an access under way may still look up."""
        self._fresh = 1
        self._stale: dict[Mapping, None] = {}
        """Mappings of which translations are to be dropped."""
        self._slots: list[int] = []
        """Numbers of memslots that were used and are not now."""
        self._flip: int = -1
        self._spare_page: object = None
        self.failure: BaseException | None = None
        """What a device raised while it was accessed: a bug in a model."""

    # Mapping.

    def create(self, device: Device, lock: threading.Lock, region: int, first: int, count: int) -> Mapping | None:
        """A new mapping, of at most MOST_PAGES pages; None: the addresses are used up, those in quarantine excepted."""
        if self._unused: place = self._unused.pop()
        elif self._fresh < PLACES: place, self._fresh = self._fresh, self._fresh + 1
        else: return None
        made = self._by_place[place] = Mapping(device, lock, region, first, count, place)
        start = 0
        regions = device.regions[region]
        try:
            for page in range(1, count + 1):
                host = regions.host_address((first + start) * PAGE_SIZE)
                if page < count and self._continues(made, start, page, host): continue
                if host:
                    self._add_memslot(made, made.page_address(start), (page - start) * PAGE_SIZE, host)
                start = page
        except OSError:
            self.kill(made)
            self._remove_memslots(made)
            self._forget(made)
            return None
        return made

    @staticmethod
    def _continues(mapping: Mapping, start: int, page: int, host: int) -> bool:
        """The page follows those from ``start`` on without a seam."""
        found = mapping.device.regions[mapping.region].host_address((mapping.first + page) * PAGE_SIZE)
        return found == host + (page - start) * PAGE_SIZE if host else found == 0

    def _add_memslot(self, mapping: Mapping, gpa: int, size: int, host: int) -> None:
        slot = self._slots.pop() if self._slots else self._vm.new_slot()
        try:
            self._vm.set_memslot(slot, gpa, size, host)
        except OSError:
            self._slots.append(slot)
            raise
        mapping.memslots.append((slot, gpa, size, host))

    def _remove_memslots(self, mapping: Mapping) -> None:
        for slot, gpa, _, host in mapping.memslots:
            self._vm.set_memslot(slot, gpa, 0, host)
            self._slots.append(slot)
        mapping.memslots.clear()

    def at(self, address: int) -> Mapping | None:
        """The mapping that this guest-physical address is of."""
        return self._by_place.get(place_of(address))

    def mapped(self, p: int) -> None:
        """Page p of the kernel has been mapped, by the call that set ``next_address``."""
        address, self.next_address = self.next_address, 0
        self.frames[p] = address
        self._by_place[place_of(address)].frames.add(p)

    def dropped(self, address: int) -> None:
        """An entry that led to this guest-physical address has changed."""
        mapping = self.at(address)
        if mapping is not None: self._stale[mapping] = None

    def freed(self, p: int) -> None:
        """Page p of the kernel is free, and will be memory when it is used again."""
        mapping = self._by_place[place_of(self.frames.pop(p))]
        mapping.frames.discard(p)
        self._stale[mapping] = None

    def unused(self, mapping: Mapping) -> None:
        """Nothing was mapped after all."""
        if not mapping.frames: self._stale[mapping] = None

    def kill(self, mapping: Mapping) -> None:
        """The pages are dead, and no access under way reaches the device when this returns; memslots go with
        ``settle``."""
        with mapping.lock:
            mapping.alive = False
        if self._by_place.get(mapping.place) is mapping: self._stale[mapping] = None

    # Translations.

    @property
    def settled(self) -> bool:
        """There is nothing to do for ``settle``."""
        return not self._stale

    def settle(self) -> None:
        """Drops the translations of what has changed."""
        stale, self._stale = list(self._stale), {}
        dropped = False
        for mapping in stale:
            if mapping.memslots: dropped = True
            if mapping.alive and mapping.frames:
                # In between, accesses are trapped, and made all the same.
                for slot, gpa, _, host in mapping.memslots: self._vm.set_memslot(slot, gpa, 0, host)
                for slot, gpa, size, host in mapping.memslots: self._vm.set_memslot(slot, gpa, size, host)
                continue
            self._remove_memslots(mapping)
            if not mapping.frames: self._forget(mapping)
        if stale and not dropped: self._new_generation()

    def _new_generation(self) -> None:
        """A change of memslots that changes nothing else."""
        if self._flip < 0:
            self._flip = self._vm.new_slot()
            self._spare_page = ffi.new("char[]", 2 * PAGE_SIZE)
        host = (int(ffi.cast("uintptr_t", self._spare_page)) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1)
        self._vm.set_memslot(self._flip, DEVICES_BASE, PAGE_SIZE, host)
        self._vm.set_memslot(self._flip, DEVICES_BASE, 0, host)

    def _forget(self, mapping: Mapping) -> None:
        del self._by_place[mapping.place]
        self._quarantine.append(mapping.place)
        self._stale.pop(mapping, None)

    @property
    def short(self) -> bool:
        """All addresses are used or in quarantine."""
        return not self._unused and self._fresh >= PLACES and bool(self._quarantine)

    def recycle(self) -> None:
        """Addresses in quarantine can be used again; no vCPU is in its guest, nor in ``serve``."""
        self._unused += self._quarantine
        self._quarantine = []

    # Trapped accesses.

    def serve(self, vcpu: Engine) -> bool:
        """Makes the access that a vCPU has trapped with.  False if it is not to registers, or the device raised
        something (``failure``).  Without the big lock."""
        address, length = vcpu.mmio_address, vcpu.mmio_length
        if not DEVICES_BASE <= address < TABLES_BASE: return False
        place, offset = divmod(address - DEVICES_BASE, STRIDE)
        mapping = self._by_place.get(place)
        value = (1 << 8 * length) - 1
        if mapping is not None and length in SIZES:
            with mapping.lock:
                if mapping.alive:
                    try:
                        value = _access(mapping, mapping.first * PAGE_SIZE + offset, length, vcpu)
                    except BaseException as error:
                        self.failure = error
                        return False
        if not vcpu.mmio_is_write: vcpu.mmio_data = value
        return True

    def close(self) -> None:
        """The virtual machine is closed."""
        self._by_place.clear()
        self.frames.clear()


def place_of(address: int) -> int:
    """The place of the mapping that this guest-physical address is of."""
    return (address - DEVICES_BASE) // STRIDE


def _access(mapping: Mapping, offset: int, length: int, vcpu: Engine) -> int:
    """Makes one access to a device; what it loads."""
    device, number = mapping.device, mapping.region
    region = device.regions[number]
    if offset + length > region.size: return (1 << 8 * length) - 1
    host = region.host_address(offset & ~(PAGE_SIZE - 1))
    if host:  # its memslot is being made anew
        register = ffi.cast(SIZES[length], host + offset % PAGE_SIZE)
        if not vcpu.mmio_is_write: return int(register[0])
        register[0] = vcpu.mmio_data
    elif vcpu.mmio_is_write:
        device.write(number, offset, length, vcpu.mmio_data)
    else:
        return device.read(number, offset, length)
    return 0


__all__ = ["MOST_MAPPINGS", "MOST_PAGES", "PLACES", "Mapping", "RegisterPages", "place_of"]
