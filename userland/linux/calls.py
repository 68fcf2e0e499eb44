"""Which module serves which system call.

The function that serves call ``x`` is ``sys_x``; it takes the task and as many register arguments as it declares, as
unsigned 64-bit integers, and returns the result, ``-errno`` or BLOCKED, or raises.  Modules are imported when a program
first makes one of their calls: ``hello`` needs three of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from userland.linux.numbers import NUMBERS

Handler = Callable[..., int]

_SERVED: Final[dict[str, str]] = {
    "memory_calls": "brk mmap munmap mprotect",
    "file_calls": "read write readv writev pread64 pwrite64 preadv pwritev close lseek fstat ioctl",
    "futex": "futex",
    "open_calls": "open openat openat2 creat getcwd chdir fchdir getdents64 umask",
    "process_calls": "arch_prctl set_tid_address set_robust_list uname exit exit_group getpid gettid getppid "
    "getuid geteuid getgid getegid prlimit64 getrandom rseq",
    "threads": "clone clone3",
}

TABLE_SIZE: Final = 512

MODULES: Final[list[str]] = [""] * TABLE_SIZE
"""By number: the module that serves the call, "" for none."""
for _module, _names in _SERVED.items():
    for _name in _names.split():
        MODULES[NUMBERS[_name]] = _module


def resolve(number: int) -> tuple[Handler, int] | None:
    """The function that serves a call and how many register arguments it takes; None for a call that is not served."""
    module = MODULES[number] if number < TABLE_SIZE else ""
    if not module:
        return None
    from importlib import import_module

    from userland.linux.numbers import call_name

    handler: Handler = getattr(import_module(f"userland.linux.{module}"), f"sys_{call_name(number)}")
    return handler, handler.__code__.co_argcount - 1


def served() -> list[str]:
    """The names of all calls that are served, ascending by number."""
    return [name for name, number in NUMBERS.items() if MODULES[number]]


__all__ = ["MODULES", "TABLE_SIZE", "Handler", "resolve", "served"]
