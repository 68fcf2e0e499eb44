"""What device_info tells of a device: one number, selected by its last argument."""

from __future__ import annotations

from typing import Final

IDENTITY: Final = 0
CLASS: Final = 1
REGIONS: Final = 2
VECTORS: Final = 3
REGION_SIZE: Final = 1 << 32
INTERRUPTS: Final = 2 << 32

MEANINGS: Final[dict[str, tuple[int, str]]] = {
    "IDENTITY": (IDENTITY, "PCI vendor id in bits 0 to 15, device id in bits 16 to 31"),
    "CLASS": (CLASS, "PCI class code, 24 bits: 0x010802 is NVMe, 0x020000 Ethernet"),
    "REGIONS": (REGIONS, "regions of registers (BARs), those of size 0 included"),
    "VECTORS": (VECTORS, "interrupt vectors"),
    "REGION_SIZE": (REGION_SIZE, "plus the number of a region: its bytes, 0 where there is none"),
    "INTERRUPTS": (INTERRUPTS, "plus the number of a vector: interrupts of it since the caller got the device"),
}
"""By name: the number, and what it selects."""
