"""Devices that QEMU gives the lab: a disk and a network card behind an IOMMU, and what they leave outside."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DISK_BYTES", "IOMMU_PARAMETERS", "SERIAL", "Hardware", "Left"]

DISK_BYTES = 64 << 20
SERIAL = "AEROLAB-0001"
MAC = "52:54:00:12:34:99"
IOMMU_PARAMETERS = "intel_iommu=on"
"""For the kernel's command line."""


@dataclass
class Left:
    """What is there when the lab has ended, as the host sees it."""

    disk: bytes = b""
    """All that is on the NVMe disk."""
    frames: bytes = b""
    """A pcap file of what went over the network card's wire."""
    errors: str = ""
    """What QEMU says that drivers did wrong with these devices (-d guest_errors)."""


class Hardware:
    """NVMe at 0000:00:05.0 and an 82574 (e1000e) at 0000:00:06.0, each in an IOMMU group of its own; QEMU's own network
    is behind the card, where 10.0.2.2 answers.  At 0000:00:07.0 and .1 two small disks that are two functions of one
    device, and so in one group.  At 0000:00:08.0 an 82540 (e1000), which has no interrupts but its line."""

    def __init__(self, scratch: Path) -> None:
        self._disk, self._frames, self._log = scratch / "disk.img", scratch / "frames.pcap", scratch / "qemu.log"
        with self._disk.open("wb") as disk: disk.truncate(DISK_BYTES)

    def options(self) -> list[str]:
        """For QEMU's command line."""
        return [
            "-device", "intel-iommu,intremap=on",
            "-drive", f"file={self._disk},if=none,id=disk,format=raw,cache=unsafe",
            "-device", f"nvme,drive=disk,serial={SERIAL},addr=05.0",
            "-netdev", "user,id=net,restrict=on",
            "-object", f"filter-dump,id=dump,netdev=net,file={self._frames}",
            "-device", f"e1000e,netdev=net,mac={MAC},addr=06.0,romfile=",
            "-blockdev", "null-co,node-name=one,size=1048576",
            "-blockdev", "null-co,node-name=two,size=1048576",
            "-device", "nvme,drive=one,serial=ONE,addr=07.0,multifunction=on",
            "-device", "nvme,drive=two,serial=TWO,addr=07.1",
            "-netdev", "user,id=line,restrict=on", "-device", "e1000,netdev=line,addr=08.0,romfile=",
            "-d", "guest_errors", "-D", str(self._log),
        ]  # fmt: skip

    def left(self) -> Left:
        """When QEMU has ended."""
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        about = [line for line in log.splitlines() if "nvme" in line.lower() or "e1000" in line.lower()]
        frames = self._frames.read_bytes() if self._frames.exists() else b""
        return Left(self._disk.read_bytes(), frames, "\n".join(about))
