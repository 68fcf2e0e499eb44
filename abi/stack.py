"""The first stack of a program: argc, argv, envp and the auxiliary vector, as the AMD64 ABI wants them at entry.

From the stack pointer up: argc; argv pointers and a null; envp pointers and a null; (type, value) pairs ended by
AT_NULL; then the strings and the 16 random bytes they point to.

Source: System V ABI AMD64 supplement, 3.4.1 and 3.4.3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from errno import E2BIG
from typing import Final, NamedTuple

from abi.image import Image
from abi.layout import PAGE_SIZE, STACK_SIZE, STACK_TOP

AT_NULL: Final = 0
AT_PHDR: Final = 3
AT_PHENT: Final = 4
AT_PHNUM: Final = 5
AT_PAGESZ: Final = 6
AT_BASE: Final = 7
AT_FLAGS: Final = 8
AT_ENTRY: Final = 9
AT_UID: Final = 11
AT_EUID: Final = 12
AT_GID: Final = 13
AT_EGID: Final = 14
AT_PLATFORM: Final = 15
AT_HWCAP: Final = 16
AT_CLKTCK: Final = 17
AT_SECURE: Final = 23
AT_RANDOM: Final = 25
AT_HWCAP2: Final = 26
AT_EXECFN: Final = 31

LONGEST_STRING: Final = 128 << 10
"""Bytes of one argument or environment string, its end included: Linux's MAX_ARG_STRLEN."""


class ArgumentsTooLong(Exception):
    """Arguments and environment that do not fit: ``errno`` is E2BIG, what ``execve`` would return."""

    errno: Final = E2BIG


class FirstStack(NamedTuple):
    """``data`` goes to ``rsp`` (a multiple of 16) and ends at the stack's top."""

    data: bytes
    rsp: int


def build_stack(
    image: Image,
    argv: Sequence[bytes],
    env: Sequence[bytes] = (),
    *,
    random: bytes,
    executable: bytes = b"",
    top: int = STACK_TOP,
    size: int = STACK_SIZE,
    uid: int = 0,
    gid: int = 0,
    hwcap: int = 0,
    hwcap2: int = 0,
    extra: Mapping[int, int] | None = None,
) -> FirstStack:
    """Lays out the first stack of ``image`` below ``top``, a multiple of 16.

    ``argv`` and ``env`` are strings without a zero byte; an empty ``argv`` becomes one empty string, as on Linux, for
    programs that never look at argc.  ``random``: 16 bytes, which C libraries seed their canaries with.  ``executable``
    is AT_EXECFN, by default argv[0].  ``extra``: further auxiliary values, which also replace those given here
    (AT_BASE of an interpreter, say).

    Raises ArgumentsTooLong when a string exceeds 128 KiB or all of it a quarter of ``size``, and ValueError for
    arguments that no caller may give.
    """
    if len(random) != 16:
        raise ValueError(f"16 random bytes are needed, not {len(random)}")
    if top % 16:
        raise ValueError(f"the top of the stack, {top:#x}, is no multiple of 16")
    arguments = list(argv) or [b""]
    for string in (*arguments, *env, executable):
        if b"\0" in string:
            raise ValueError(f"the string {string[:64]!r} has a zero byte in it")
        if len(string) >= LONGEST_STRING:
            raise ArgumentsTooLong(f"an argument or environment string has {len(string)} bytes of {LONGEST_STRING - 1}")

    # Strings first: the pointers need their addresses.  They grow down from the top, so sizes come before addresses.
    strings = [b"x86_64", executable or arguments[0], *arguments, *env]
    pool = b"".join(string + b"\0" for string in strings)
    random_at = top - len(random)
    pool_at = (random_at - len(pool)) & -16
    addresses: list[int] = []
    address = pool_at
    for string in strings:
        addresses.append(address)
        address += len(string) + 1

    vector = {
        AT_HWCAP: hwcap,
        AT_PAGESZ: PAGE_SIZE,
        AT_CLKTCK: 100,
        AT_PHDR: image.phdr_address,
        AT_PHENT: image.phentsize,
        AT_PHNUM: image.phnum,
        AT_BASE: 0,
        AT_FLAGS: 0,
        AT_ENTRY: image.entry,
        AT_UID: uid,
        AT_EUID: uid,
        AT_GID: gid,
        AT_EGID: gid,
        AT_SECURE: 0,
        AT_RANDOM: random_at,
        AT_HWCAP2: hwcap2,
        AT_EXECFN: addresses[1],
        AT_PLATFORM: addresses[0],
        **(extra or {}),
    }
    first_env = 2 + len(arguments)
    words = [len(arguments), *addresses[2:first_env], 0, *addresses[first_env:], 0]
    for key, value in vector.items():
        words += (key, value)
    words += (AT_NULL, 0)
    rsp = (pool_at - 8 * len(words)) & -16
    limit = size // 4
    if top - rsp > limit:
        raise ArgumentsTooLong(f"arguments and environment take {top - rsp} bytes; a quarter of the stack is {limit}")
    table = struct.pack(f"<{len(words)}Q", *words)
    data = table.ljust(pool_at - rsp, b"\0") + pool.ljust(random_at - pool_at, b"\0") + random
    return FirstStack(data, rsp)


__all__ = [
    "AT_BASE", "AT_CLKTCK", "AT_EGID", "AT_ENTRY", "AT_EUID", "AT_EXECFN", "AT_FLAGS", "AT_GID", "AT_HWCAP",
    "AT_HWCAP2", "AT_NULL", "AT_PAGESZ", "AT_PHDR", "AT_PHENT", "AT_PHNUM", "AT_PLATFORM", "AT_RANDOM", "AT_SECURE",
    "AT_UID", "LONGEST_STRING", "ArgumentsTooLong", "FirstStack", "build_stack",
]  # fmt: skip
