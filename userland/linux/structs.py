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



_STATX: Final = struct.Struct("<IIQIIIHHQQQQ" + "qII" * 4 + "IIIIQ" + "8x" + "96x")
"""struct statx (linux/stat.h): mask blksize attributes nlink uid gid mode pad ino size blocks attributes_mask, access
birth change modification times (sec, nsec, pad), rdev and dev as major minor, mnt_id."""
_STATX_BASIC: Final = 0x7FF
_STATFS: Final = struct.Struct("<qqQQQQQIIqqq32x")
"""struct statfs (asm-generic/statfs.h): type bsize blocks bfree bavail files ffree fsid namelen frsize flags."""
_FILESYSTEM_TYPE: Final = 0xAE05


def pack_statx(status: os.stat_result) -> bytes:
    """``struct statx``, 256 bytes, with the fields that ``stat`` has; no birth time."""
    access, change, modification = (
        (*divmod(value, _NANO), 0) for value in (status.st_atime_ns, status.st_ctime_ns, status.st_mtime_ns)
    )
    return _STATX.pack(
        _STATX_BASIC,
        status.st_blksize,
        0,
        status.st_nlink & 0xFFFF_FFFF,
        status.st_uid,
        status.st_gid,
        status.st_mode,
        0,
        status.st_ino,
        status.st_size,
        status.st_blocks,
        0,
        *access,
        0,
        0,
        0,
        *change,
        *modification,
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        os.major(status.st_dev),
        os.minor(status.st_dev),
        0,
    )


def pack_statfs(values: os.statvfs_result | None) -> bytes:
    """``struct statfs``, 120 bytes; None for the personality's own files, which take no space."""
    if values is None:
        return _STATFS.pack(_FILESYSTEM_TYPE, 4096, 0, 0, 0, 0, 0, 0, 0, 255, 4096, 1)
    return _STATFS.pack(
        _FILESYSTEM_TYPE,
        values.f_bsize,
        values.f_blocks,
        values.f_bfree,
        values.f_bavail,
        values.f_files,
        values.f_ffree,
        0,
        0,
        values.f_namemax,
        values.f_frsize,
        values.f_flag,
    )


__all__ = ["STAT", "TIMESPEC", "pack_stat", "pack_statfs", "pack_statx"]
