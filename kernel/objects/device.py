"""Devices, and the IOMMU domains that say what memory they can reach."""

from __future__ import annotations

from typing import ClassVar, Final

from abi.layout import BLOCK_PAGES
from kernel.storage import Row
from kernel.written import Object

# IOMMU domains.
DOMAIN_PAGES: Final = 1 << 36
"""4 KiB pages of I/O virtual addresses: 48 bits of them, in bytes."""
DOMAIN_REGIONS: Final = DOMAIN_PAGES // BLOCK_PAGES
"""2 MiB of I/O virtual addresses each."""
DOMAIN_MAPPINGS: Final = 65535
"""Mappings in a domain at most: what VFIO takes by default."""
REGION_BLOCK: Final = 513
"""What Domain.regions counts where one 2 MiB block is mapped: more than 512 pages could be."""


class Device(Object):
    """A device that the host lends: held by one process, in one IOMMU domain, or in none and then without DMA."""

    __slots__ = ("holder", "holder_slot", "domain", "place", "endpoint")
    table_name: ClassVar[str] = "device"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.holder: int = 0
        """The process that has the handle to it; 0: the host may give it to one."""
        self.holder_slot: int = 0
        self.domain: int = 0
        """The domain it is attached to."""
        self.place: int = 0
        """Its place among the domain's devices."""
        self.endpoint: int = 0
        """Where its interrupts are signalled; 0 for nowhere."""


class Domain(Object):
    """An IOMMU domain: what memory the devices attached to it can reach, by I/O virtual page numbers."""

    __slots__ = ("holder", "holder_slot", "device_count", "devices", "mappings", "map_page", "map_permission",
                 "regions")  # fmt: skip
    table_name: ClassVar[str] = "domain"

    def __init__(self, id: int) -> None:
        super().__init__(id)
        self.holder: int = 0
        self.holder_slot: int = 0
        self.device_count: int = 0
        self.devices: Row = Row()
        """Entries 0 to device_count - 1."""
        self.mappings: int = 0
        """Entries in map_page."""
        self.map_page: Row = Row()
        """I/O virtual page -> the page, or a block's first page, there."""
        self.map_permission: Row = Row()
        """READ, or READ | WRITE: what a device may do."""
        self.regions: Row = Row()
        """By 2 MiB of addresses: 4 KiB pages mapped there, or REGION_BLOCK."""
