"""Which module serves which system call.

The function that serves call ``x`` is ``sys_x``; it takes the task and as many register arguments as it declares, as
unsigned 64-bit integers, and returns the result, ``-errno`` or BLOCKED, or raises.  Modules are imported when a program
first makes one of their calls: ``hello`` needs three of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kernel.calls.operations import Operation
from userland.linux.numbers import NUMBERS

Handler = Callable[..., int | Operation]

_SERVED: Final[dict[str, str]] = {
    "memory_calls": "brk mmap munmap mprotect mremap madvise msync mincore mlock mlock2 munlock mlockall munlockall "
    "membarrier",
    "file_calls": "read write readv writev pread64 pwrite64 preadv pwritev close lseek fstat ioctl",
    "clock_calls": "clock_gettime clock_getres clock_settime settimeofday gettimeofday time times nanosleep "
    "clock_nanosleep alarm setitimer getitimer",
    "descriptor_calls": "dup dup2 dup3 close_range pipe pipe2 fcntl flock fsync fdatasync sync syncfs sync_file_range "
    "fadvise64 readahead fallocate sendfile copy_file_range",
    "futex": "futex",
    "name_calls": "mkdir mkdirat mknod mknodat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink "
    "symlinkat",
    "open_calls": "open openat openat2 creat getcwd chdir fchdir getdents64 umask",
    "process_calls": "arch_prctl set_tid_address set_robust_list uname exit exit_group getpid gettid getppid "
    "getuid geteuid getgid getegid prlimit64 getrandom rseq personality wait4 waitid",
    "identity_calls": "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid getresuid getresgid "
    "getgroups setgroups getpgrp getpgid getsid setpgid setsid capget capset",
    "scheduling_calls": "getrlimit setrlimit getrusage sysinfo prctl sched_yield sched_getaffinity sched_setaffinity "
    "sched_getscheduler sched_getparam sched_setscheduler sched_setparam sched_get_priority_max "
    "sched_get_priority_min getpriority setpriority getcpu get_robust_list",
    "refused_calls": "socket socketpair chroot mount umount2 pivot_root swapon swapoff reboot sethostname "
    "setdomainname ptrace bpf init_module delete_module acct iopl ioperm vhangup kexec_load perf_event_open",
    "signal_calls": "rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn sigaltstack kill tkill tgkill "
    "rt_sigqueueinfo rt_tgsigqueueinfo pause rt_sigsuspend rt_sigtimedwait",
    "status_calls": "stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat chmod fchmod fchmodat "
    "fchmodat2 chown lchown fchown fchownat utimensat futimesat utimes utime truncate ftruncate statfs fstatfs "
    "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr",
    "poll_calls": "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd "
    "eventfd2 timerfd_create timerfd_settime timerfd_gettime",
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
