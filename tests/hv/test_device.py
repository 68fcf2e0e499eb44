"""What a device's regions may look like."""

import pytest

from hv.device import Region, Window


def test_pages_of_a_region_are_memory_or_trapped() -> None:
    region = Region(0x4000, (Window(0x1000, 0x1000, 0x7000_0000), Window(0x3000, 0x1000, 0x7000_8000)))
    assert region.pages == 4
    assert [region.host_address(offset) for offset in (0, 0x1000, 0x2000, 0x3000)] == [0, 0x7000_0000, 0, 0x7000_8000]


def test_a_region_smaller_than_a_page_takes_one() -> None:
    assert Region(0x40).pages == 1
    assert Region(0).pages == 0


@pytest.mark.parametrize("place", [(1, 0x1000, 0), (0, 0, 0), (0, 0x800, 0), (0, 0x1000, 8), (-0x1000, 0x1000, 0)])
def test_a_window_is_made_of_pages(place: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not made of pages"):
        Window(*place)


def test_windows_do_not_overlap_and_lie_within() -> None:
    with pytest.raises(ValueError, match="overlap at 0x1000"):
        Region(0x4000, (Window(0x1000, 0x1000, 0x9000), Window(0, 0x2000, 0x5000)))
    with pytest.raises(ValueError, match="beyond"):
        Region(0x2800, (Window(0x2000, 0x2000, 0x5000),))
