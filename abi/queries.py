"""What container_query tells of a container: one number, selected by its last argument."""

from __future__ import annotations

from typing import Final

PAGES_LEFT: Final = 0
PAGES_USED: Final = 1
BLOCKS_LEFT: Final = 2
BLOCKS_USED: Final = 3
GIANTS_LEFT: Final = 4
GIANTS_USED: Final = 5
CORES: Final = 6
CORES_OWNED: Final = 7
DEPTH: Final = 8
PROCESSES: Final = 9
CONTAINERS: Final = 10

MEANINGS: Final[dict[str, tuple[int, str]]] = {
    "PAGES_LEFT": (PAGES_LEFT, "4 KiB pages it may still use (blocks that are left can become pages)"),
    "PAGES_USED": (PAGES_USED, "4 KiB pages it is charged for"),
    "BLOCKS_LEFT": (BLOCKS_LEFT, "2 MiB blocks it may still use"),
    "BLOCKS_USED": (BLOCKS_USED, "2 MiB blocks it is charged for"),
    "GIANTS_LEFT": (GIANTS_LEFT, "1 GiB giants it may still use"),
    "GIANTS_USED": (GIANTS_USED, "1 GiB giants it is charged for"),
    "CORES": (CORES, "cores its threads can be placed on"),
    "CORES_OWNED": (CORES_OWNED, "cores it owns; without any it uses those of the nearest container above that does"),
    "DEPTH": (DEPTH, "containers above it"),
    "PROCESSES": (PROCESSES, "processes in it"),
    "CONTAINERS": (CONTAINERS, "containers directly below it"),
}
"""By name: the number, and what it selects."""
