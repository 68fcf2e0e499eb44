"""Which pages of a BAR programs get as memory, by what VFIO says of it.

The structures are put together by hand, as include/uapi/linux/vfio.h has them: no device here has holes in a BAR.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hv.kvm import ffi
from hv.vfio import VfioDevice, _between

MMAP, CAPS = 1 << 2, 1 << 3
SPARSE_MMAP, TYPE = 1, 2


def region(size: int, *capabilities: bytes, flags: int = MMAP) -> tuple[Any, Any]:
    """``struct vfio_region_info`` with these capabilities behind it, each of which says where the next is."""
    data = bytearray(struct.pack("<IIIIQQ", 4096, flags | (CAPS if capabilities else 0), 0, 32 if capabilities else 0,
                                 size, 0))  # fmt: skip
    for number, capability in enumerate(capabilities):
        following = len(data) + len(capability) if number + 1 < len(capabilities) else 0
        data += capability[:4] + struct.pack("<I", following) + capability[8:]
    memory = ffi.new("char[]", bytes(data.ljust(4096, b"\0")))
    return ffi.cast("struct vfio_region_info *", memory), memory


def sparse(*areas: tuple[int, int]) -> bytes:
    return struct.pack("<HHIII", SPARSE_MMAP, 1, 0, len(areas), 0) + b"".join(struct.pack("<QQ", *a) for a in areas)


@pytest.mark.parametrize(("capabilities", "size", "mapped"), [
    ([], 0x4000, [(0, 0x4000)]),
    ([], 0x1800, [(0, 0x1000)]),
    ([], 0x800, []),
    ([sparse((0, 0x1000), (0x3000, 0x5000))], 0x10000, [(0, 0x1000), (0x3000, 0x8000)]),
    ([sparse((0x3000, 0x1000), (0, 0x1000))], 0x10000, [(0, 0x1000), (0x3000, 0x4000)]),
    ([sparse((0x800, 0x2000))], 0x10000, [(0x1000, 0x2000)]),
    ([sparse()], 0x10000, []),
    ([struct.pack("<HHIII", TYPE, 1, 0, 7, 7), sparse((0x1000, 0x1000))], 0x4000, [(0x1000, 0x2000)]),
    ([struct.pack("<HHIII", TYPE, 1, 0, 7, 7)], 0x4000, [(0, 0x4000)]),
], ids=str)  # fmt: skip
def test_what_of_a_region_is_memory(capabilities: list[bytes], size: int, mapped: list[tuple[int, int]]) -> None:
    info, memory = region(size, *capabilities)
    assert VfioDevice._mappable(info, memory) == mapped


def test_pages_of_the_msix_table_are_left_out() -> None:
    assert list(_between(0, 0x4000, [])) == [(0, 0x4000)]
    assert list(_between(0, 0x4000, [0])) == [(0x1000, 0x4000)]
    assert list(_between(0, 0x4000, [0x1000, 0x2000])) == [(0, 0x1000), (0x3000, 0x4000)]
    assert list(_between(0, 0x4000, [0x3000])) == [(0, 0x3000)]
    assert list(_between(0, 0x1000, [0])) == []


@pytest.mark.parametrize(("entries", "place", "pages"), [
    (1, 0, {(0, 0)}), (64, 0x2000 | 4, {(4, 0x2000)}), (256, 0x3000 | 3, {(3, 0x3000)}),
    (257, 0x3000 | 3, {(3, 0x3000), (3, 0x4000)}), (2, 0x1FF0, {(0, 0x1000), (0, 0x2000)}),
    (2048, 0x8000, {(0, 0x8000 + 0x1000 * n) for n in range(8)}),
])  # fmt: skip
def test_where_the_msix_table_is(entries: int, place: int, pages: set[tuple[int, int]]) -> None:
    """Configuration space of 256 bytes: the list of capabilities, of which MSI-X (0x11) is the second."""
    space = bytearray(256)
    space[0x34] = 0x40
    space[0x40:0x42] = bytes((0x01, 0x60))
    space[0x60:0x68] = struct.pack("<BBHI", 0x11, 0, entries - 1, place)

    class Device:
        def config_read(self, offset: int, size: int) -> int:
            return int.from_bytes(space[offset : offset + size], "little")

    assert VfioDevice._msix_pages(Device()) == pages  # type: ignore[arg-type]
    space[0x40] = 0x11
    space[0x41] = 0x40  # a list that leads round to itself, of another capability
    space[0x40] = 0x05
    assert VfioDevice._msix_pages(Device()) == set()  # type: ignore[arg-type]
