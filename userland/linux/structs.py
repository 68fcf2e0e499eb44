"""The structures that calls read and write in guest memory, as Linux lays them out on x86-64."""

from __future__ import annotations

import os
import struct
from typing import Final

STAT: Final = struct.Struct("<QQQIIIIQqqqqqqqqq24x")
"""struct stat (asm/stat.h): dev ino nlink mode uid gid pad rdev size blksize blocks atime mtime ctime (sec, nsec)."""
TIMESPEC: Final = struct.Struct("<qq")
_NANO: Final = 1_000_000_000


def pack_stat(status: os.stat_result) -> bytes:
    """``struct stat``, 144 bytes."""
    return STAT.pack(
        status.st_dev,
        status.st_ino,
        status.st_nlink,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        0,
        status.st_rdev,
        status.st_size,
        status.st_blksize,
        status.st_blocks,
        *divmod(status.st_atime_ns, _NANO),
        *divmod(status.st_mtime_ns, _NANO),
        *divmod(status.st_ctime_ns, _NANO),
    )


__all__ = ["STAT", "TIMESPEC", "pack_stat"]
