"""What the host sees of what tests in the lab did with its devices, when QEMU has ended."""

import struct
from collections.abc import Callable, Iterator

from tests.drivers.nvme.pattern import blocks
from tests.lab.hardware import MAC, Left

__all__ = ["CHECKS", "frames_of"]

FIRST_OF_IOMMU = 40000
"""The block from which inside/test_iommu.py writes."""
EXPERIMENTAL = b"\x88\xb5"
ARP = b"\x08\x06"


def frames_of(pcap: bytes) -> Iterator[bytes]:
    """The frames of a pcap file (little-endian, as QEMU writes it): a header of 24 bytes, then 16 before each."""
    assert struct.unpack_from("<I", pcap)[0] == 0xA1B2C3D4
    at = 24
    while at < len(pcap):
        length = struct.unpack_from("<I", pcap, at + 8)[0]
        yield pcap[at + 16 : at + 16 + length]
        at += 16 + length


def _devices(left: Left) -> None:
    """After inside/test_vfio.py and inside/test_iommu.py."""
    assert left.disk[8 * 512 : 16 * 512] == bytes(n * 7 & 255 for n in range(4096))
    assert left.disk[FIRST_OF_IOMMU * 512 : (FIRST_OF_IOMMU + 8) * 512] == b"written" * 585 + b"x"
    assert b"SECRET" not in left.disk


def _drivers(left: Left) -> None:
    """After inside/test_drivers.py."""
    for lba, count, seed in ((64, 1000, 2), (8192, 64, 5), (16384, 200, 6)):
        assert left.disk[lba * 512 : (lba + count) * 512] == blocks(seed, lba, count), f"block {lba}"
    assert not any(left.disk[: 8 * 512])
    assert not any(left.disk[16 * 512 : 64 * 512])
    ours = bytes.fromhex(MAC.replace(":", ""))
    frames = list(frames_of(left.frames))
    sent = [frame for frame in frames if frame[6:12] == ours]
    numbered = [frame for frame in sent if frame[12:14] == EXPERIMENTAL]
    assert [struct.unpack_from("<Q", frame, 22)[0] for frame in numbered] == list(range(200))
    assert {(len(frame), frame[14:22]) for frame in numbered} == {(60, b"aerostat")}
    assert len([frame for frame in sent if frame[12:14] == ARP]) == 100 + 100 + 20
    assert len([frame for frame in frames if frame[:6] == ours and frame[12:14] == ARP]) == 100 + 100 + 20


CHECKS: dict[str, tuple[Callable[[Left], None], ...]] = {
    "devices": (_devices,), "drivers": (_drivers,), "iommufd": (_devices, _drivers),
}  # fmt: skip
"""By batch."""
