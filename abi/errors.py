"""Errors a system call can return.  A call returns ``-error``; the values are those of Linux's errno, so that a
program's ``strerror`` names them and one C library serves both ABIs."""

from __future__ import annotations

from typing import Final

OK: Final = 0
EPERM: Final = 1
ENOENT: Final = 2
ESRCH: Final = 3
EINTR: Final = 4
EIO: Final = 5
EBADF: Final = 9
ECHILD: Final = 10
EAGAIN: Final = 11
ENOMEM: Final = 12
EFAULT: Final = 14
EBUSY: Final = 16
EEXIST: Final = 17
EINVAL: Final = 22
ENOSPC: Final = 28
EPIPE: Final = 32
EDEADLK: Final = 35
ENOSYS: Final = 38
EPROTO: Final = 71
EMSGSIZE: Final = 90
ETIMEDOUT: Final = 110

MEANINGS: Final[dict[int, str]] = {
    EPERM: "the handle does not permit this",
    ESRCH: "no such object",
    EIO: "the hardware does not do this",
    ECHILD: "no such child",
    EAGAIN: "not now: try again",
    ENOMEM: "the container's quota is used up",
    EFAULT: "an address is not mapped as the call needs it",
    EBUSY: "the object is in use",
    EEXIST: "something is mapped there already",
    EINVAL: "an argument is out of its range",
    ENOSPC: "the table has no free slot",
    EPIPE: "nobody is at the other end",
    EDEADLK: "waiting for this would wait for ever",
    ENOSYS: "no such call",
    EPROTO: "the other side does not take what the message carries",
    EMSGSIZE: "more pages than the other side takes",
    ETIMEDOUT: "the time is over",
}

NAMES: Final[dict[int, str]] = {
    value: name for name, value in list(globals().items()) if name.startswith("E") and isinstance(value, int)
}


def error_name(result: int) -> str:
    """``-12`` -> ``"ENOMEM"``; a value that is no known error is given as the number it is."""
    return NAMES.get(-result, str(result))


__all__ = [
    "EAGAIN", "EBADF", "EBUSY", "ECHILD", "EDEADLK", "EEXIST", "EFAULT", "EINTR", "EINVAL", "EIO", "EMSGSIZE", "ENOENT",
    "ENOMEM", "ENOSPC", "ENOSYS", "EPERM", "EPIPE", "EPROTO", "ESRCH", "ETIMEDOUT", "MEANINGS", "NAMES", "OK",
    "error_name",
]  # fmt: skip
